//! What is told after something was forgotten.

use mnemic_core::{ids::BlockId, time::Timestamp};
use mnemic_engine::forgetting::{KeptCopy, Receipt};
use mnemic_store::forgetting::{Forgotten, parts::Found};
use serde::Serialize;
use utoipa::ToSchema;

/// What was forgotten, and what is left of it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Receipt)]
pub struct ReceiptView {
    /// The user who was forgotten, or of whom something was.
    #[serde(skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    /// How many rows went, by kind.
    removed: Removed,
    /// Blocks that are everybody's and lost the lines that this user's turns had added to them.
    #[schema(value_type = Vec<String>)]
    common_blocks: Vec<BlockId>,
    /// Whether nothing of it is in the database's files any more.
    erased: bool,
    /// What is left in the database's files and why; null where nothing is.
    left: Option<String>,
    /// Copies of the database that were made before migrations, and still hold it.
    copies: Vec<Copy>,
}

/// How many rows went, by kind.
#[derive(Debug, Serialize, ToSchema)]
struct Removed {
    conversations: u64,
    messages: u64,
    runs: u64,
    steps: u64,
    events: u64,
    traces: u64,
    blocks: u64,
    versions: u64,
    passages: u64,
    vectors: u64,
    jobs: u64,
    batches: u64,
    tokens: u64,
    archives: u64,
    identities: u64,
}

/// A copy of the database.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DatabaseCopy)]
struct Copy {
    /// Its file, in the folder `backups` of the data folder.
    name: String,
    /// When it was made.
    #[schema(value_type = String)]
    made_at: Timestamp,
    /// When it is deleted.
    #[schema(value_type = String)]
    expires_at: Timestamp,
}

impl ReceiptView {
    /// The view of what would be forgotten.
    pub fn would(user_id: Option<String>, found: &Found) -> Self {
        Self {
            user_id,
            common_blocks: Vec::new(),
            removed: Removed::would(found),
            erased: false,
            left: None,
            copies: Vec::new(),
        }
    }

    /// The view of a receipt, of one user or of what is nobody's.
    pub fn of(user_id: Option<String>, receipt: Receipt) -> Self {
        Self {
            user_id,
            common_blocks: receipt.gone.common_blocks.clone(),
            removed: Removed::of(&receipt.gone),
            erased: receipt.is_erased,
            left: receipt.left,
            copies: receipt.copies.into_iter().map(Copy::of).collect(),
        }
    }
}

impl Removed {
    /// What would go.
    fn would(found: &Found) -> Self {
        let count = |length: usize| u64::try_from(length).unwrap_or(u64::MAX);
        let versions = found.blocks.iter().map(|block| block.versions.len()).sum();
        Self::of(&Forgotten {
            messages: count(found.messages.len()),
            passages: count(found.passages.len()),
            versions: count(versions),
            ..Forgotten::default()
        })
    }

    fn of(gone: &Forgotten) -> Self {
        Self {
            conversations: gone.conversations,
            messages: gone.messages,
            runs: gone.runs,
            steps: gone.steps,
            events: gone.events,
            traces: gone.traces,
            blocks: gone.blocks,
            versions: gone.versions,
            passages: gone.passages,
            vectors: gone.vectors,
            jobs: gone.jobs,
            batches: gone.batches,
            tokens: gone.tokens,
            archives: gone.archives,
            identities: gone.identities,
        }
    }
}

impl Copy {
    fn of(copy: KeptCopy) -> Self {
        Self {
            name: copy.name,
            made_at: copy.made_at,
            expires_at: copy.expires_at,
        }
    }
}
