//! The end of work that nobody waits for any more.

use std::{fmt, sync::Arc};

/// Nobody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cancelled;

/// Whether somebody waits. It is asked within each layer of a model, so that even a long prompt on a slow
/// machine ends soon.
#[derive(Clone)]
pub(super) struct Cancel(Arc<dyn Fn() -> bool + Send + Sync>);

impl Cancel {
    /// With a question that costs next to nothing.
    pub fn when(is_over: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Arc::new(is_over))
    }

    /// Nothing more when nobody waits.
    pub fn check(&self) -> Result<(), Cancelled> {
        if (self.0)() { Err(Cancelled) } else { Ok(()) }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cancel")
    }
}
