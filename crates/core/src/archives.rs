//! Archives: searchable stores of passages, which agents share.

use serde_json::{Map, Value};

use crate::{
    ids::{ArchiveId, UserId},
    time::Timestamp,
};

/// Characters that an archive's name may have.
pub const MAX_NAME_CHARS: usize = 1_000;

/// Characters that an archive's description may have.
pub const MAX_DESCRIPTION_CHARS: usize = 10_000;

/// A store of passages.
#[derive(Debug, Clone, PartialEq)]
pub struct Archive {
    /// Its id.
    pub id: ArchiveId,
    /// The end user whose it is; `None` is common.
    pub subject: Option<String>,
    /// Its name.
    pub name: String,
    /// What is in it.
    pub description: Option<String>,
    /// Its embedding model in the V1 API's words; `None` follows the server's default.
    pub embedding_config: Option<Value>,
    /// Free data.
    pub metadata: Option<Map<String, Value>>,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Archive {
    /// The handle of its embedding model, where it has one of its own.
    #[must_use]
    pub fn embedding_handle(&self) -> Option<&str> {
        self.embedding_config.as_ref()?.get("handle")?.as_str()
    }
}

/// The name of the archive that an agent gets with its first passage (V1 contract, section 6).
#[must_use]
pub fn default_name(agent_name: &str) -> String {
    format!("{agent_name}'s Archive")
}
