//! Passages: the texts of archival memory.

use serde_json::{Map, Value};

use crate::{
    ids::{ArchiveId, PassageId, UserId},
    time::Timestamp,
};

/// Characters that one passage may have: as much as a long chapter. A search shows the part that
/// matches; whole books are documents, not passages.
pub const MAX_CHARS: usize = 200_000;

/// A text of archival memory. It is written once and never changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Passage {
    /// Its place in the order of arrival; 0 before it is stored.
    pub seq: i64,
    /// Its id.
    pub id: PassageId,
    /// The archive in which it is.
    pub archive_id: ArchiveId,
    /// The end user whose own it is; `None` is common.
    pub subject: Option<String>,
    /// The text.
    pub text: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Free data.
    pub metadata: Map<String, Value>,
    /// Who wrote it.
    pub created_by: Option<UserId>,
    /// When what it says was so, as far as its writer said; else when it was written.
    pub created_at: Timestamp,
    /// When it was written.
    pub updated_at: Timestamp,
}

/// A passage as its writer gives it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NewPassage {
    /// The text.
    pub text: String,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Free data.
    pub metadata: Map<String, Value>,
    /// When it was so; `None` is now.
    pub created_at: Option<Timestamp>,
}

/// A text that no passage can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "a passage may have {MAX_CHARS} characters, this one has {chars}: split it, or upload it as a file"
)]
pub struct TooLong {
    /// How many it has.
    pub chars: usize,
}

impl NewPassage {
    /// Refuses a text that is too long.
    ///
    /// # Errors
    /// It is.
    pub fn check(&self) -> Result<(), TooLong> {
        // Bytes are never fewer than characters, and most texts are far below.
        if self.text.len() <= MAX_CHARS {
            return Ok(());
        }
        let chars = self.text.chars().count();
        if chars <= MAX_CHARS {
            Ok(())
        } else {
            Err(TooLong { chars })
        }
    }
}
