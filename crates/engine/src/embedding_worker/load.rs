//! How much of the processors everything but the embedding takes: while that is much, vectors wait.

use std::time::Duration;

use tokio::time::Instant;

use super::batch::CHUNKS;
use crate::{Engine, embedding::EmbeddingModel};

/// How long turns that run hold up a model of a provider at the most, before each call.
const MAX_YIELD: Duration = Duration::from_millis(500);
/// How long a busy server holds up a model in the process, before each call. A call takes about 0.13 s of one
/// processor, so a server that is busy all the time gives a twentieth of one to vectors.
#[cfg(feature = "local-models")]
const MAX_YIELD_HERE: Duration = Duration::from_millis(2_500);
/// Chunks that a model in the process is given at once: so many as hold turns up for a moment only.
#[cfg(feature = "local-models")]
const CHUNKS_HERE: usize = 8;
/// For how long the processor time is looked at.
#[cfg(feature = "local-models")]
const SAMPLE: Duration = Duration::from_millis(8);
/// The share of one processor above which a server is busy: 1 / this.
#[cfg(feature = "local-models")]
const BUSY: u32 = 2;

/// Chunks that a model is given at once.
pub(super) fn chunks_of_a_call(model: &EmbeddingModel) -> usize {
    #[cfg(feature = "local-models")]
    if model.computes_here() {
        return CHUNKS_HERE;
    }
    let _ = model;
    CHUNKS
}

impl Engine {
    /// Everything else comes first: while it goes on, the worker waits, but not for ever.
    pub(super) async fn yield_to_others(&self, model: &EmbeddingModel) {
        let begun = Instant::now();
        #[cfg(feature = "local-models")]
        if model.computes_here() {
            while is_busy().await && begun.elapsed() < MAX_YIELD_HERE {}
            return;
        }
        let _ = model;
        while self.inner.supervisor.is_busy() && begun.elapsed() < MAX_YIELD {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// Whether this process computes, while its worker does not.
#[cfg(feature = "local-models")]
async fn is_busy() -> bool {
    let (begun, before) = (Instant::now(), processor_time());
    tokio::time::sleep(SAMPLE).await;
    processor_time().saturating_sub(before) > begun.elapsed() / BUSY
}

/// What all threads of this process have had of the processors.
#[cfg(feature = "local-models")]
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}
