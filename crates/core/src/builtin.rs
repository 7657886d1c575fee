//! The built-in tools: what models read about them, and their arguments parsed into types.

use serde_json::{Value, json};

use crate::{
    agents::AgentType, memory::BlockEdit, messages::Role, time::Timestamp, tools::ToolType,
};

/// A built-in tool.
#[derive(Debug, Clone, Copy)]
pub struct BuiltinTool {
    /// Its name.
    pub name: &'static str,
    /// Its kind in the V1 API.
    pub tool_type: ToolType,
    /// What models read about it.
    pub description: &'static str,
    /// Whether several calls of one turn may run at once.
    pub enable_parallel_execution: bool,
    parameters: fn() -> Value,
}

impl BuiltinTool {
    /// Name, description and parameters as a JSON schema.
    #[must_use]
    pub fn json_schema(&self) -> Value {
        json!({
            "name": self.name,
            "description": self.description,
            "parameters": (self.parameters)(),
        })
    }
}

fn object(properties: &[(&str, Value)], required: &[&str]) -> Value {
    let properties: serde_json::Map<String, Value> =
        properties.iter().map(|(name, schema)| ((*name).to_owned(), schema.clone())).collect();
    json!({"type": "object", "properties": properties, "required": required})
}

fn text(description: &str) -> Value {
    json!({"type": "string", "description": description})
}

fn label() -> Value {
    text("The label of the memory block to edit.")
}

static TOOLS: [BuiltinTool; 7] = [
    BuiltinTool {
        name: "send_message",
        tool_type: ToolType::LettaCore,
        description: "Say something to the person you are talking to. Only what you pass here \
                      reaches them.",
        enable_parallel_execution: false,
        parameters: || object(&[("message", text("What to say, in full."))], &["message"]),
    },
    BuiltinTool {
        name: "conversation_search",
        tool_type: ToolType::LettaCore,
        description: "Search everything that was said before, including messages that are no longer \
                      in view. Use it whenever a question may refer to an earlier conversation, \
                      before you say that you do not know. Name the words that are likely to have \
                      been used. Without a query, the newest messages in the given time are returned.",
        enable_parallel_execution: true,
        parameters: || {
            object(
                &[
                    ("query", text("Words to look for. A message matches if it has any of them.")),
                    (
                        "roles",
                        json!({
                            "type": "array",
                            "items": {"type": "string", "enum": ["assistant", "user", "tool"]},
                            "description": "Only messages of these speakers.",
                        }),
                    ),
                    (
                        "limit",
                        json!({"type": "integer", "description": "How many results at the most (5 unless given)."}),
                    ),
                    ("start_date", text("Only messages since then: YYYY-MM-DD or an ISO 8601 time.")),
                    ("end_date", text("Only messages until then: YYYY-MM-DD (that day included) or an ISO 8601 time.")),
                ],
                &[],
            )
        },
    },
    BuiltinTool {
        name: "core_memory_append",
        tool_type: ToolType::LettaCore,
        description: "Add a line to the end of a memory block. Returns the block's new value.",
        enable_parallel_execution: false,
        parameters: || {
            object(&[("label", label()), ("content", text("The line to add."))], &["label", "content"])
        },
    },
    BuiltinTool {
        name: "core_memory_replace",
        tool_type: ToolType::LettaCore,
        description: "Replace a text in a memory block wherever it stands. To delete it, give an \
                      empty new text. Returns the block's new value.",
        enable_parallel_execution: false,
        parameters: || {
            object(
                &[
                    ("label", label()),
                    ("old_content", text("The text as it stands in the block, exactly.")),
                    ("new_content", text("What to put in its place.")),
                ],
                &["label", "old_content", "new_content"],
            )
        },
    },
    BuiltinTool {
        name: "memory_insert",
        tool_type: ToolType::LettaSleeptimeCore,
        description: "Insert lines into a memory block, at its end or after a given line. Use it to \
                      note something new. Returns the block's new value.",
        enable_parallel_execution: false,
        parameters: || {
            object(
                &[
                    ("label", label()),
                    ("new_string", text("The text to insert.")),
                    (
                        "insert_line",
                        json!({
                            "type": "integer",
                            "description": "The line after which it goes: 0 is the beginning, -1 (the default) the end.",
                        }),
                    ),
                ],
                &["label", "new_string"],
            )
        },
    },
    BuiltinTool {
        name: "memory_replace",
        tool_type: ToolType::LettaSleeptimeCore,
        description: "Replace one piece of text in a memory block by another. Use it to correct or \
                      update what is noted. The old text must match exactly and stand there only \
                      once. To delete it, give an empty new text. Returns the block's new value.",
        enable_parallel_execution: false,
        parameters: || {
            object(
                &[
                    ("label", label()),
                    ("old_string", text("The text as it stands in the block, with its white space.")),
                    ("new_string", text("What to put in its place.")),
                ],
                &["label", "old_string", "new_string"],
            )
        },
    },
    BuiltinTool {
        name: "memory_rethink",
        tool_type: ToolType::LettaSleeptimeCore,
        description: "Rewrite a memory block as a whole, to bring it into order or to merge new \
                      knowledge with old. What the new text leaves out is forgotten. For small \
                      changes use the other memory tools. Returns the block's new value.",
        enable_parallel_execution: false,
        parameters: || {
            object(
                &[("label", label()), ("new_memory", text("The block's new value, complete."))],
                &["label", "new_memory"],
            )
        },
    },
];

/// All built-in tools.
#[must_use]
pub fn all() -> &'static [BuiltinTool] {
    &TOOLS
}

/// The built-in tool of that name.
#[must_use]
pub fn find(name: &str) -> Option<&'static BuiltinTool> {
    TOOLS.iter().find(|tool| tool.name == name)
}

/// The tools that a new agent of a type gets when its creator wants the base tools (V1 contract,
/// section 2.2), as far as they exist.
#[must_use]
pub fn default_tools(agent_type: AgentType) -> &'static [&'static str] {
    match agent_type {
        AgentType::LettaV1Agent | AgentType::SplitThreadAgent => {
            &["conversation_search", "memory_insert", "memory_replace"]
        }
        AgentType::MemgptV2Agent => {
            &["send_message", "conversation_search", "memory_insert", "memory_replace"]
        }
        AgentType::MemgptAgent => {
            &["send_message", "conversation_search", "core_memory_append", "core_memory_replace"]
        }
        AgentType::SleeptimeAgent => &["memory_replace", "memory_insert", "memory_rethink"],
        AgentType::VoiceConvoAgent => &["send_message"],
        AgentType::ReactAgent | AgentType::WorkflowAgent | AgentType::VoiceSleeptimeAgent => &[],
    }
}

/// What `conversation_search` looks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConversationSearch {
    /// Words to look for.
    pub query: Option<String>,
    /// Only these speakers; empty is everybody.
    pub roles: Vec<Role>,
    /// Results at the most.
    pub limit: Option<i64>,
    /// Not before this time.
    pub start_date: Option<Timestamp>,
    /// Not after this time.
    pub end_date: Option<Timestamp>,
}

/// A call of a built-in tool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuiltinCall {
    /// `send_message`.
    SendMessage {
        /// What to say.
        message: String,
    },
    /// `conversation_search`.
    ConversationSearch(ConversationSearch),
    /// Any of the memory tools.
    Edit {
        /// The block.
        label: String,
        /// The edit.
        edit: BlockEdit,
    },
}

/// What is wrong with a call's arguments, for the model that made it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ArgumentError {
    /// A required argument is missing.
    #[error("the argument '{0}' is missing; call the tool again with it")]
    Missing(&'static str),
    /// An argument has the wrong type or form.
    #[error("the argument '{name}' must be {wanted}")]
    Wrong {
        /// Its name.
        name: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// The tool is not one of ours.
    #[error("there is no built-in tool '{0}'")]
    Unknown(String),
}

/// Microseconds of a day less one: from a day's midnight to its end.
const DAY_END: i64 = 86_400 * 1_000_000 - 1;

impl BuiltinCall {
    /// Parses the arguments of a call. Models are forgiven numbers as texts and nulls for absent
    /// arguments.
    ///
    /// # Errors
    /// An argument is missing or wrong, or the tool is not a built-in.
    pub fn parse(name: &str, arguments: &Value) -> Result<Self, ArgumentError> {
        let required = |key| string(arguments, key)?.ok_or(ArgumentError::Missing(key));
        let edit = |edit| Ok(Self::Edit { label: required("label")?, edit });
        match name {
            "send_message" => Ok(Self::SendMessage { message: required("message")? }),
            "conversation_search" => search(arguments).map(Self::ConversationSearch),
            "core_memory_append" => edit(BlockEdit::Append { content: required("content")? }),
            "core_memory_replace" => edit(BlockEdit::Replace {
                old: required("old_content")?,
                new: required("new_content")?,
            }),
            "memory_insert" => edit(BlockEdit::Insert {
                new: required("new_string")?,
                line: integer(arguments, "insert_line")?.unwrap_or(-1),
            }),
            "memory_replace" => edit(BlockEdit::ReplaceUnique {
                old: required("old_string")?,
                new: required("new_string")?,
            }),
            "memory_rethink" => edit(BlockEdit::Rethink { value: required("new_memory")? }),
            other => Err(ArgumentError::Unknown(other.to_owned())),
        }
    }
}

fn search(arguments: &Value) -> Result<ConversationSearch, ArgumentError> {
    Ok(ConversationSearch {
        query: string(arguments, "query")?,
        roles: roles(arguments)?,
        limit: integer(arguments, "limit")?,
        start_date: date(arguments, "start_date")?.map(|(time, _)| time),
        end_date: date(arguments, "end_date")?
            .map(|(time, whole_day)| if whole_day { time.plus_micros(DAY_END) } else { time }),
    })
}

fn present<'a>(arguments: &'a Value, key: &str) -> Option<&'a Value> {
    arguments.get(key).filter(|value| !value.is_null())
}

fn string(arguments: &Value, key: &'static str) -> Result<Option<String>, ArgumentError> {
    match present(arguments, key) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(Value::Number(number)) => Ok(Some(number.to_string())),
        Some(Value::Bool(value)) => Ok(Some(value.to_string())),
        Some(_) => Err(ArgumentError::Wrong { name: key, wanted: "a text" }),
    }
}

fn integer(arguments: &Value, key: &'static str) -> Result<Option<i64>, ArgumentError> {
    let wrong = ArgumentError::Wrong { name: key, wanted: "a whole number" };
    let Some(value) = present(arguments, key) else { return Ok(None) };
    let whole = |number: f64| (number.fract() == 0.0).then_some(number as i64);
    let parsed = match value {
        Value::Number(number) => number.as_i64().or_else(|| number.as_f64().and_then(whole)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    parsed.map(Some).ok_or(wrong)
}

fn roles(arguments: &Value) -> Result<Vec<Role>, ArgumentError> {
    let wrong = || ArgumentError::Wrong {
        name: "roles",
        wanted: "a list of 'assistant', 'user' and 'tool'",
    };
    let named = |value: &Value| value.as_str().and_then(Role::parse).ok_or_else(wrong);
    match present(arguments, "roles") {
        None => Ok(Vec::new()),
        Some(Value::Array(names)) => names.iter().map(named).collect(),
        Some(name @ Value::String(_)) => Ok(vec![named(name)?]),
        Some(_) => Err(wrong()),
    }
}

/// A time, and whether the text named a whole day.
fn date(arguments: &Value, key: &'static str) -> Result<Option<(Timestamp, bool)>, ArgumentError> {
    let wrong = |_| ArgumentError::Wrong { name: key, wanted: "a date (YYYY-MM-DD) or an ISO 8601 time" };
    let Some(text) = string(arguments, key)?.filter(|text| !text.trim().is_empty()) else {
        return Ok(None);
    };
    let time = Timestamp::parse(&text).map_err(wrong)?;
    Ok(Some((time, text.trim().len() == "2026-01-01".len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_tool_has_a_schema_whose_required_parameters_exist() {
        for tool in all() {
            let schema = tool.json_schema();
            let parameters = &schema["parameters"];
            for name in parameters["required"].as_array().unwrap() {
                assert!(parameters["properties"][name.as_str().unwrap()].is_object(), "{}", tool.name);
            }
        }
        for kind in AgentType::ALL {
            assert!(default_tools(kind).iter().all(|name| find(name).is_some()));
        }
    }

    #[test]
    fn arguments_are_read_generously() {
        let call = BuiltinCall::parse(
            "memory_insert",
            &json!({"label": "human", "new_string": "x", "insert_line": "2"}),
        );
        let edit = BlockEdit::Insert { new: "x".to_owned(), line: 2 };
        assert_eq!(call, Ok(BuiltinCall::Edit { label: "human".to_owned(), edit }));
        let search = BuiltinCall::parse("conversation_search", &json!({"query": "a", "limit": null}));
        assert!(search.is_ok());
    }

    #[test]
    fn a_missing_argument_is_named() {
        let error = BuiltinCall::parse("memory_replace", &json!({"label": "x"})).unwrap_err();
        assert_eq!(error, ArgumentError::Missing("old_string"));
    }

    #[test]
    fn an_end_date_takes_the_whole_day_in() {
        let day = json!({"start_date": "2026-05-01", "end_date": "2026-05-01"});
        let Ok(BuiltinCall::ConversationSearch(search)) =
            BuiltinCall::parse("conversation_search", &day)
        else {
            panic!("the dates were refused");
        };
        assert!(search.end_date > search.start_date);
    }
}
