//! Calls of built-in tools as types.

use serde_json::Value;

use super::{
    arguments::{ArgumentError, Arguments},
    find, memory_call,
    messaging_call::{self, AgentMessage},
    web_call::{self, WebSearch},
};
use crate::{
    memory::{BlockEdit, MemoryChange},
    messages::Role,
    passages::NewPassage,
    time::{Bound, Timestamp},
};

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

/// What `archival_memory_search` looks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ArchivalSearch {
    /// A question or words.
    pub query: String,
    /// Only passages with these tags.
    pub tags: Vec<String>,
    /// Whether all of the tags are needed, or any.
    pub match_all_tags: bool,
    /// Results at the most.
    pub limit: Option<i64>,
    /// Not before this time.
    pub start: Option<Timestamp>,
    /// Not after this time.
    pub end: Option<Timestamp>,
}

/// A program that `run_code` or `run_code_with_tools` runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeRun {
    /// The whole program.
    pub code: String,
    /// What it is written in: `python`, `js` or `ts`.
    pub language: &'static str,
    /// Whether it can call the agent's other tools.
    pub with_tools: bool,
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
    /// `archival_memory_search`.
    ArchivalSearch(ArchivalSearch),
    /// `archival_memory_insert`.
    ArchivalInsert(Box<NewPassage>),
    /// `memory` and `memory_apply_patch`: changes of which all or none are made.
    Memory(Vec<MemoryChange>),
    /// `run_code` and `run_code_with_tools`.
    Code(CodeRun),
    /// A message to other agents.
    Message(AgentMessage),
    /// `memory_finish_edits`.
    FinishEdits,
    /// `web_search`.
    WebSearch(Box<WebSearch>),
    /// `fetch_webpage`.
    FetchWebpage {
        /// Where the page is.
        url: String,
    },
    /// Any of the other memory tools.
    Edit {
        /// The block.
        label: String,
        /// The edit.
        edit: BlockEdit,
    },
}

fn code(given: &Arguments<'_>, name: &str) -> Result<CodeRun, ArgumentError> {
    let wanted = given.text("language")?;
    let wanted = wanted.as_deref().map_or("python", str::trim);
    let language = match wanted.to_lowercase().as_str() {
        "python" | "py" => "python",
        "js" | "javascript" => "js",
        "ts" | "typescript" => "ts",
        _ => {
            return Err(given.wrong(
                "language",
                "'python', 'js' or 'ts': no other languages run here",
            ));
        }
    };
    Ok(CodeRun {
        code: given.required("code")?,
        language,
        with_tools: name == "run_code_with_tools",
    })
}

impl BuiltinCall {
    /// Parses the arguments of a call, with days and times in UTC.
    ///
    /// # Errors
    /// As [`Self::parse_in`].
    pub fn parse(name: &str, arguments: &Value) -> Result<Self, ArgumentError> {
        Self::parse_in("UTC", name, arguments)
    }

    /// Parses the arguments of a call; days and times without an offset are meant in the agent's time
    /// zone.
    ///
    /// # Errors
    /// An argument is missing or wrong, or the tool is not a built-in.
    pub fn parse_in(zone: &str, name: &str, arguments: &Value) -> Result<Self, ArgumentError> {
        let tool = find(name).ok_or_else(|| ArgumentError::Unknown(name.to_owned()))?;
        let given = Arguments::new(tool, arguments)?;
        if let Some(message) = messaging_call::read(&given, tool.name)? {
            return Ok(Self::Message(message));
        }
        let edit = match tool.name {
            "send_message" => {
                return Ok(Self::SendMessage {
                    message: given.required("message")?,
                });
            }
            "conversation_search" => return search(&given, zone).map(Self::ConversationSearch),
            "archival_memory_search" => {
                return archival_search(&given, zone).map(Self::ArchivalSearch);
            }
            "archival_memory_insert" => return archival_insert(&given),
            "memory" => return memory_call::command(&given).map(Self::Memory),
            "memory_apply_patch" => return memory_call::patch(&given).map(Self::Memory),
            "run_code" | "run_code_with_tools" => return code(&given, tool.name).map(Self::Code),
            "memory_finish_edits" => return Ok(Self::FinishEdits),
            "web_search" => {
                let search = web_call::search(&given, zone)?;
                return Ok(Self::WebSearch(Box::new(search)));
            }
            "fetch_webpage" => {
                return web_call::url(&given).map(|url| Self::FetchWebpage { url });
            }
            "core_memory_append" => BlockEdit::Append {
                content: given.required("content")?,
            },
            "core_memory_replace" => BlockEdit::Replace {
                old: given.required("old_content")?,
                new: given.required("new_content")?,
            },
            "memory_insert" => BlockEdit::Insert {
                new: given.required("new_string")?,
                line: given.whole_number("insert_line")?.unwrap_or(-1),
            },
            "memory_replace" => BlockEdit::ReplaceUnique {
                old: given.required("old_string")?,
                new: given.required("new_string")?,
            },
            "memory_rethink" => BlockEdit::Rethink {
                value: given.required("new_memory")?,
            },
            other => return Err(ArgumentError::Unknown(other.to_owned())),
        };
        Ok(Self::Edit {
            label: given.required("label")?.trim().to_owned(),
            edit,
        })
    }
}

fn search(given: &Arguments<'_>, zone: &str) -> Result<ConversationSearch, ArgumentError> {
    let search = ConversationSearch {
        query: given.words("query")?,
        roles: given.roles("roles")?,
        limit: given.whole_number("limit")?,
        start_date: given.time("start_date", zone, Bound::Start)?,
        end_date: given.time("end_date", zone, Bound::End)?,
    };
    match (search.start_date, search.end_date) {
        (Some(start), Some(end)) if start > end => {
            Err(given.wrong("start_date", "no later than end_date"))
        }
        _ => Ok(search),
    }
}

fn archival_insert(given: &Arguments<'_>) -> Result<BuiltinCall, ArgumentError> {
    let text = given.required("content")?;
    if text.trim().is_empty() {
        return Err(given.wrong("content", "the text to keep"));
    }
    Ok(BuiltinCall::ArchivalInsert(Box::new(NewPassage {
        text,
        tags: given.texts("tags")?,
        ..NewPassage::default()
    })))
}

fn archival_search(given: &Arguments<'_>, zone: &str) -> Result<ArchivalSearch, ArgumentError> {
    let start = given.time("start_datetime", zone, Bound::Start)?;
    let end = given.time("end_datetime", zone, Bound::End)?;
    if start.zip(end).is_some_and(|(start, end)| start > end) {
        return Err(given.wrong("start_datetime", "no later than end_datetime"));
    }
    let mode = given.words("tag_match_mode")?.unwrap_or_default();
    Ok(ArchivalSearch {
        query: given.required("query")?,
        tags: given.texts("tags")?,
        match_all_tags: match mode.to_lowercase().as_str() {
            "" | "any" => false,
            "all" => true,
            _ => return Err(given.wrong("tag_match_mode", "'any' or 'all'")),
        },
        limit: given.whole_number("top_k")?,
        start,
        end,
    })
}
