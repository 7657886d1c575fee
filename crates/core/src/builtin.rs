//! The built-in tools: what models read about them, and their arguments parsed into types.
//!
//! Tools that the V1 contract names and that do not exist yet are not listed: a model must not be
//! offered what cannot be done.

mod archival_specs;
mod arguments;
mod call;
mod code_specs;
mod memory_call;
mod memory_specs;
mod messaging_call;
mod messaging_specs;
mod specs;
mod web_call;
mod web_specs;

use serde_json::{Map, Value, json};

use crate::{agents::AgentType, tools::ToolType};

pub use arguments::ArgumentError;
pub use call::{ArchivalSearch, BuiltinCall, CodeRun, ConversationSearch};
pub use messaging_call::{Addressee, AgentMessage, MULTI_AGENT_TOOLS};
use specs::TOOLS;
pub use web_call::{DEFAULT_RESULTS, MAX_RESULTS, WebSearch};

/// Characters of a return that the model sees, for every built-in tool (V1 contract, section 5).
pub const RETURN_CHAR_LIMIT: i64 = 50_000;

/// A built-in tool.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinTool {
    /// Its name.
    pub name: &'static str,
    /// Its kind in the V1 API; the kind's name is also its one tag.
    pub tool_type: ToolType,
    /// What models read about it.
    pub description: &'static str,
    /// Whether several calls of one turn may run at once.
    pub enable_parallel_execution: bool,
    parameters: &'static [Parameter],
}

/// A parameter of a built-in tool.
#[derive(Debug, Clone, Copy)]
struct Parameter {
    name: &'static str,
    kind: ParameterKind,
    required: bool,
    description: &'static str,
}

/// What a parameter takes.
#[derive(Debug, Clone, Copy)]
enum ParameterKind {
    Text,
    WholeNumber,
    Truth,
    Roles,
    Texts,
    OneOf(&'static [&'static str]),
}

impl BuiltinTool {
    /// Name, description and parameters as a JSON schema, with the parameters in the contract's order.
    #[must_use]
    pub fn json_schema(&self) -> Value {
        let properties: Map<String, Value> = self
            .parameters
            .iter()
            .map(|parameter| (parameter.name.to_owned(), parameter.schema()))
            .collect();
        let required: Vec<&str> = self
            .parameters
            .iter()
            .filter(|parameter| parameter.required)
            .map(|parameter| parameter.name)
            .collect();
        json!({
            "name": self.name,
            "description": self.description,
            "parameters": {"type": "object", "properties": properties, "required": required},
        })
    }

    /// Words to find it by: the name of its kind.
    #[must_use]
    pub fn tags(&self) -> Vec<String> {
        vec![self.tool_type.as_str().to_owned()]
    }

    /// Its parameters in a few words, for a model that left one out.
    fn usage(&self) -> String {
        let parameters: Vec<String> = self
            .parameters
            .iter()
            .map(|parameter| {
                let optional = if parameter.required { "" } else { ", optional" };
                format!(
                    "{} ({}{optional})",
                    parameter.name,
                    parameter.kind.in_words()
                )
            })
            .collect();
        format!("{} takes {}", self.name, parameters.join(", "))
    }
}

impl Parameter {
    fn schema(&self) -> Value {
        let mut schema = match self.kind {
            ParameterKind::Text => json!({"type": "string"}),
            ParameterKind::WholeNumber => json!({"type": "integer"}),
            ParameterKind::Truth => json!({"type": "boolean"}),
            ParameterKind::Roles => json!({
                "type": "array",
                "items": {"type": "string", "enum": ["assistant", "user", "tool"]},
            }),
            ParameterKind::Texts => json!({"type": "array", "items": {"type": "string"}}),
            ParameterKind::OneOf(names) => json!({"type": "string", "enum": names}),
        };
        if let Some(fields) = schema.as_object_mut() {
            fields.insert("description".to_owned(), self.description.into());
        }
        schema
    }
}

impl ParameterKind {
    fn in_words(self) -> String {
        match self {
            Self::Text => "text".to_owned(),
            Self::WholeNumber => "whole number".to_owned(),
            Self::Truth => "true or false".to_owned(),
            Self::Roles => "list of 'assistant', 'user', 'tool'".to_owned(),
            Self::Texts => "list of texts".to_owned(),
            Self::OneOf(names) => format!("one of {}", names.join(", ")),
        }
    }
}

/// The tools that only look something up in the agent's memory.
pub const SEARCHES: [&str; 2] = ["conversation_search", "archival_memory_search"];

/// All built-in tools.
#[must_use]
pub fn all() -> &'static [BuiltinTool] {
    TOOLS
}

/// The built-in tool of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static BuiltinTool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The tools that a new agent of a type gets when its creator wants the base tools (V1 contract,
/// section 2.2), as far as they exist: the voice agents' own memory tools do not yet. The tools of
/// archival memory, which the V1 server no longer gave, are among them: this server is for memory.
#[must_use]
pub const fn default_tools(agent_type: AgentType) -> &'static [&'static str] {
    match agent_type {
        AgentType::LettaV1Agent | AgentType::SplitThreadAgent => &[
            "conversation_search",
            "archival_memory_insert",
            "archival_memory_search",
            "memory_insert",
            "memory_replace",
        ],
        AgentType::MemgptV2Agent => &[
            "send_message",
            "conversation_search",
            "archival_memory_insert",
            "archival_memory_search",
            "memory_insert",
            "memory_replace",
        ],
        AgentType::MemgptAgent => &[
            "send_message",
            "conversation_search",
            "archival_memory_insert",
            "archival_memory_search",
            "core_memory_append",
            "core_memory_replace",
            "memory",
            "memory_apply_patch",
        ],
        AgentType::SleeptimeAgent => &[
            "memory_replace",
            "memory_insert",
            "memory_rethink",
            "memory_finish_edits",
        ],
        AgentType::VoiceConvoAgent => &["send_message"],
        AgentType::ReactAgent | AgentType::WorkflowAgent | AgentType::VoiceSleeptimeAgent => &[],
    }
}

#[cfg(test)]
mod tests;
