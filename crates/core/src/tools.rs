//! Tools: what an agent can call, and the rules on when it may.

pub mod requirements;

use serde_json::Value;

use crate::{
    ids::{ToolId, UserId},
    time::Timestamp,
};

/// Where a tool comes from and where it runs. The names are those of the V1 API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum ToolType {
    Custom,
    LettaCore,
    LettaMemoryCore,
    LettaMultiAgentCore,
    LettaSleeptimeCore,
    LettaVoiceSleeptimeCore,
    LettaBuiltin,
    LettaFilesCore,
    ExternalMcp,
}

impl ToolType {
    const NAMES: [(Self, &'static str); 9] = [
        (Self::Custom, "custom"),
        (Self::LettaCore, "letta_core"),
        (Self::LettaMemoryCore, "letta_memory_core"),
        (Self::LettaMultiAgentCore, "letta_multi_agent_core"),
        (Self::LettaSleeptimeCore, "letta_sleeptime_core"),
        (Self::LettaVoiceSleeptimeCore, "letta_voice_sleeptime_core"),
        (Self::LettaBuiltin, "letta_builtin"),
        (Self::LettaFilesCore, "letta_files_core"),
        (Self::ExternalMcp, "external_mcp"),
    ];

    /// The name in the store and in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::NAMES
            .iter()
            .find(|(kind, _)| *kind == self)
            .map_or("custom", |(_, name)| name)
    }

    /// The type of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(kind, _)| *kind)
    }
}

/// The language of a tool's source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    /// Python.
    #[default]
    Python,
    /// TypeScript, and so JavaScript.
    TypeScript,
}

impl Language {
    /// The name in the store and in the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::TypeScript => "typescript",
        }
    }

    /// The language of a name. The V1 server showed Python tools as `json`, so that is Python too.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "python" | "json" => Some(Self::Python),
            "typescript" => Some(Self::TypeScript),
            _ => None,
        }
    }
}

impl ToolType {
    /// Whether its tools come with the server.
    #[must_use]
    pub const fn is_builtin(self) -> bool {
        !matches!(self, Self::Custom | Self::ExternalMcp)
    }
}

/// A tool as it is stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Its id.
    pub id: ToolId,
    /// The name by which models call it; unique within an organization.
    pub name: String,
    /// Where it comes from.
    pub tool_type: ToolType,
    /// What it does, for the model.
    pub description: Option<String>,
    /// `python`, `typescript` or `json`.
    pub source_type: String,
    /// Its source; built-ins have none.
    pub source_code: Option<String>,
    /// Name, description and parameters as a JSON schema.
    pub json_schema: Value,
    /// Words to find it by.
    pub tags: Vec<String>,
    /// Characters of its return that the model sees.
    pub return_char_limit: i64,
    /// Whether several calls of one turn may run at once.
    pub enable_parallel_execution: bool,
    /// Whether agents get an approval rule for it when it is attached.
    pub default_requires_approval: Option<bool>,
    /// Everything else that clients store with it.
    pub extra: Value,
    /// Who made it.
    pub created_by: Option<UserId>,
    /// Who changed it last.
    pub updated_by: Option<UserId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
