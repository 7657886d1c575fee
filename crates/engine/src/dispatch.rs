//! Tool calls: which kind each is, and running those that need no transaction.

use mnemic_core::{
    blocks::Author,
    builtin::{BuiltinCall, ConversationSearch},
    ids::AgentId,
    memory::BlockEdit,
    messages::{ToolCall, ToolReturn, ToolStatus},
    scope::Scope,
    time::Timestamp,
};
use mnemic_store::{Store, StoreError, Tx, blocks};

use crate::{error::EngineError, recall, session::Session};

/// What is to be done for a call.
#[derive(Debug)]
pub(crate) enum Action {
    /// An edit of core memory: done inside the step's commit.
    Edit {
        label: String,
        edit: BlockEdit,
        based_on: Option<i64>,
    },
    /// A look into recall memory: reads only.
    Search(ConversationSearch),
    /// Nothing is left to do: the return is known.
    Known(ToolReturn),
    /// A tool with effects outside of the database.
    #[cfg_attr(not(feature = "failpoints"), allow(dead_code))]
    External(External),
}

/// Tools whose effects the database cannot take back.
#[derive(Debug, Clone)]
pub(crate) enum External {
    /// Appends the call's id to a file that a test names; only in builds for tests.
    #[cfg(feature = "failpoints")]
    Count { file: std::path::PathBuf },
}

/// The action for a call. Whatever is wrong with the call is told to the model as its return.
pub(crate) fn plan(session: &Session, call: &ToolCall) -> Action {
    let error = |text: String| Action::Known(failed(call, text));
    #[cfg(feature = "failpoints")]
    if let (Some(file), "external_counter") =
        (std::env::var_os("MNEMIC_COUNTER_FILE"), call.name.as_str())
    {
        return Action::External(External::Count { file: file.into() });
    }
    if !session
        .frame
        .tools
        .iter()
        .any(|tool| tool.name == call.name)
    {
        let names: Vec<&str> = session
            .frame
            .tools
            .iter()
            .map(|tool| tool.name.as_str())
            .collect();
        return error(format!(
            "there is no tool '{}'; the tools you can call are: {}",
            call.name,
            names.join(", ")
        ));
    }
    let arguments = match parse_arguments(&call.arguments) {
        Ok(arguments) => arguments,
        Err(text) => return error(text),
    };
    match BuiltinCall::parse(&call.name, &arguments) {
        Ok(builtin) => plan_builtin(session, call, builtin),
        Err(wrong) => error(wrong.to_string()),
    }
}

fn plan_builtin(session: &Session, call: &ToolCall, builtin: BuiltinCall) -> Action {
    match builtin {
        BuiltinCall::SendMessage { .. } => {
            Action::Known(succeeded(call, "The message was delivered.".to_owned()))
        }
        BuiltinCall::ConversationSearch(search) => Action::Search(search),
        BuiltinCall::Edit { label, edit } => {
            let based_on = session.frame.block_revisions.get(&label).copied();
            Action::Edit {
                label,
                edit,
                based_on,
            }
        }
    }
}

/// Arguments as JSON; an empty text is an empty object, as some models send for tools without any.
fn parse_arguments(text: &str) -> Result<serde_json::Value, String> {
    if text.trim().is_empty() {
        return Ok(serde_json::json!({}));
    }
    match serde_json::from_str::<serde_json::Value>(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("the arguments must be a JSON object with the tool's parameters".to_owned()),
        Err(error) => Err(format!(
            "the arguments are not valid JSON ({error}); send the call again with valid JSON"
        )),
    }
}

/// A return that says that a call did what it should.
pub(crate) fn succeeded(call: &ToolCall, text: String) -> ToolReturn {
    returned(call, ToolStatus::Success, text)
}

/// A return that says what went wrong.
pub(crate) fn failed(call: &ToolCall, text: String) -> ToolReturn {
    /// Characters of an error that a model sees (V1 contract, section 5).
    const MAX_ERROR_CHARS: usize = 1_000;
    let text: String = format!("Error: {text}")
        .chars()
        .take(MAX_ERROR_CHARS)
        .collect();
    returned(call, ToolStatus::Error, text)
}

fn returned(call: &ToolCall, status: ToolStatus, text: String) -> ToolReturn {
    ToolReturn {
        tool_call_id: call.id.clone(),
        name: call.name.clone(),
        status,
        text,
        stdout: Vec::new(),
        stderr: Vec::new(),
    }
}

/// Who asks for an edit.
pub(crate) struct Editor<'a> {
    pub scope: &'a Scope,
    pub agent_id: AgentId,
    pub run_id: mnemic_core::ids::RunId,
    pub now: Timestamp,
}

/// Applies an edit of core memory inside a transaction. An edit that memory refuses is a return, not
/// an error: the model reads why and can correct itself.
pub(crate) async fn edit(
    tx: &mut Tx<'_>,
    editor: &Editor<'_>,
    call: &ToolCall,
    (label, edit, based_on): (&str, &BlockEdit, Option<i64>),
) -> Result<ToolReturn, EngineError> {
    let author = Author {
        user_id: None,
        agent_id: Some(editor.agent_id),
        run_id: Some(editor.run_id),
        tool_call_id: Some(call.id.clone()),
    };
    let change = blocks::Change {
        edit,
        based_on,
        author: &author,
        now: editor.now,
    };
    match blocks::edit(tx, editor.scope, (editor.agent_id, label), &change).await {
        Ok(block) => Ok(succeeded(call, block.value)),
        Err(
            error
            @ (StoreError::Invalid(_) | StoreError::NotFound { .. } | StoreError::Conflict(_)),
        ) => Ok(failed(call, error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Searches recall memory for a call.
pub(crate) async fn search(
    store: &Store,
    scope: &Scope,
    session: &Session,
    (call, search): (&ToolCall, ConversationSearch),
    now: Timestamp,
) -> Result<ToolReturn, EngineError> {
    let zone = session.frame.agent.timezone.clone();
    let (scope, agent_id) = (scope.clone(), session.frame.agent.id);
    let found = store
        .read(move |tx| {
            Box::pin(async move {
                recall::conversation_search(tx, &scope, agent_id, &search, (&zone, now)).await
            })
        })
        .await;
    match found {
        Ok(text) => Ok(succeeded(call, text)),
        Err(EngineError::Invalid(text)) => Ok(failed(call, text)),
        Err(error) => Err(error),
    }
}

/// Runs a tool with effects outside of the database.
pub(crate) async fn run_external(external: &External, call: &ToolCall) -> ToolReturn {
    match external {
        #[cfg(feature = "failpoints")]
        External::Count { file } => {
            use std::io::Write as _;
            let line = format!("{}\n", call.id);
            let mut options = std::fs::OpenOptions::new();
            let written = options
                .create(true)
                .append(true)
                .open(file)
                .and_then(|mut file| {
                    file.write_all(line.as_bytes())
                        .and_then(|()| file.sync_all())
                });
            mnemic_store::failpoints::hit("tool.effect");
            match written {
                Ok(()) => succeeded(call, "counted".to_owned()),
                Err(error) => failed(call, error.to_string()),
            }
        }
        #[cfg(not(feature = "failpoints"))]
        #[allow(unreachable_patterns)]
        _ => failed(call, "this tool does not exist".to_owned()),
    }
}
