//! Groups in files: what the form of the V1 API says of them, and what it has no place for.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::or_default;

/// A group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct GroupEntry {
    pub id: String,
    pub agent_ids: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub description: String,
    /// `manager_type`, `manager_agent_id` and what goes with them.
    #[serde(default, deserialize_with = "or_default")]
    pub manager_config: Map<String, Value>,
    #[serde(default)]
    pub project_id: Option<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub shared_block_ids: Vec<String>,
    #[serde(default)]
    pub hidden: Option<bool>,
}

/// What else belongs to a group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GroupExtras {
    /// The member that was made with the group, and is removed with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub companion: Option<String>,
    /// How far its members are with what its manager heard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub turns: Vec<GroupTurnsEntry>,
}

/// Where a group stands with the turns of an end user, or of nobody in particular.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)]
pub struct GroupTurnsEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    pub turns_counter: i64,
    pub last_processed_message_id: Option<String>,
}
