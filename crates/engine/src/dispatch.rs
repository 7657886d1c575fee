//! Tool calls: which kind each is, and running those that need no transaction.

use std::collections::{BTreeMap, HashMap};

use futures_util::FutureExt as _;
use mnemic_core::{
    agents::Agent,
    blocks::Author,
    builtin::{
        Addressee, AgentMessage, ArchivalSearch, BuiltinCall, CodeRun, ConversationSearch,
        RETURN_CHAR_LIMIT,
    },
    ids::{AgentId, ConversationId, RunId},
    memory::{BlockEdit, MemoryChange},
    messages::{ToolCall, ToolReturn, ToolStatus},
    parts::Speech,
    passages::NewPassage,
    scope::{Caller, Scope},
    time::Timestamp,
    tools::ToolType,
};
use mnemic_llm::repair;
use mnemic_store::{StoreError, Tx, blocks};

use crate::{
    Engine, archives,
    custom::{Above, CustomCall, ToolRun, outside::not_kept},
    error::EngineError,
    messaging::Sender,
    rules,
    session::Session,
    turn::Turn,
    web::WebLook,
};

/// What `send_message` returns.
const DELIVERED: &str = "The message was delivered.";

/// What is to be done for a call.
#[derive(Debug)]
pub(crate) enum Action {
    /// An edit of core memory: done inside the step's commit.
    Edit {
        label: String,
        edit: BlockEdit,
        based_on: Option<i64>,
    },
    /// Changes of core memory, of which all or none are made: done inside the step's commit.
    Change(MemoryChanges),
    /// A look into memory: reads only.
    Search(Look),
    /// A look into the web: reads only, before everything else of the step.
    Web(WebLook),
    /// A text for archival memory: written inside the step's commit.
    Remember(Box<NewPassage>),
    /// Nothing is left to do: the return is known.
    Known(ToolReturn),
    /// A tool with effects outside of the database.
    External(External),
}

/// Changes of core memory, and the revisions of the blocks that the model saw, by label.
#[derive(Debug, Clone)]
pub(crate) struct MemoryChanges {
    pub changes: Vec<MemoryChange>,
    pub seen: HashMap<String, i64>,
}

/// A look into memory.
#[derive(Debug)]
pub(crate) enum Look {
    Recall(ConversationSearch),
    Archival(ArchivalSearch),
}

/// Tools whose effects the database cannot take back.
#[derive(Debug, Clone)]
pub(crate) enum External {
    /// A tool that somebody wrote.
    Custom(Box<CustomCall>),
    /// A program that the model wrote.
    Code(CodeRun),
    /// A message to other agents.
    Message(AgentMessage),
    /// Appends the call's id to a file that a test names; only in builds for tests.
    #[cfg(feature = "failpoints")]
    Count { file: std::path::PathBuf },
}

impl Action {
    /// Whether it may run at the same time as others of its step: what it does can't be seen by them.
    pub(crate) fn runs_beside_others(&self) -> bool {
        match self {
            Self::Search(_) => true,
            // Of those that change memory, the second would have seen what is not true any more.
            Self::External(External::Custom(custom)) => {
                custom.tool.enable_parallel_execution && !custom.sees_memory()
            }
            Self::External(External::Code(code)) => !code.with_tools,
            _ => false,
        }
    }
}

/// Calls in their order, together where they may run at the same time.
pub(crate) fn groups<'c>(
    calls: impl Iterator<Item = (&'c ToolCall, Action)>,
) -> Vec<Vec<(&'c ToolCall, Action)>> {
    let mut groups: Vec<Vec<(&ToolCall, Action)>> = Vec::new();
    let mut is_open = false;
    for (call, action) in calls {
        let beside = action.runs_beside_others();
        match groups.last_mut() {
            Some(group) if is_open && beside => group.push((call, action)),
            _ => groups.push(vec![(call, action)]),
        }
        is_open = beside;
    }
    groups
}

/// The action for a call. Whatever is wrong with the call is told to the model as its return.
pub(crate) fn plan(session: &Session, call: &ToolCall, above: &Above) -> Action {
    let error = |text: String| Action::Known(failed(call, text));
    #[cfg(feature = "failpoints")]
    if let (Some(file), "external_counter") =
        (std::env::var_os("MNEMIC_COUNTER_FILE"), call.name.as_str())
    {
        return Action::External(External::Count { file: file.into() });
    }
    let attached = session
        .frame
        .tools
        .iter()
        .find(|tool| tool.name == call.name);
    let Some(tool) = attached else {
        if let Some(said) = spoken(session, call) {
            return said;
        }
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
    };
    let arguments = match parse_arguments(&call.arguments) {
        Ok(arguments) => {
            let meant = session.frame.tool_set.meant(&call.name, arguments);
            if session.frame.heartbeats {
                rules::own_arguments(meant, &tool.json_schema)
            } else {
                meant
            }
        }
        Err(text) => return error(text),
    };
    if tool.tool_type == ToolType::Custom {
        return Action::External(External::Custom(Box::new(CustomCall {
            tool: tool.clone(),
            arguments: arguments.as_object().cloned().unwrap_or_default(),
            variables: BTreeMap::new(),
            above: above.clone(),
        })));
    }
    match BuiltinCall::parse_in(&session.frame.agent.timezone, &call.name, &arguments) {
        Ok(builtin) => plan_builtin(&session.frame.block_revisions, call, builtin),
        Err(wrong) => error(wrong.to_string()),
    }
}

/// An agent of the older loop speaks by its tool even where nobody gave it to it: its history begins with such a call.
fn spoken(session: &Session, call: &ToolCall) -> Option<Action> {
    let speaks = session.frame.heartbeats && Speech::default().said(call).is_some();
    speaks.then(|| Action::Known(succeeded(call, DELIVERED.to_owned())))
}

/// The action for a call of one of the server's own tools, by somebody who saw these revisions of the blocks.
pub(crate) fn plan_builtin(
    seen: &HashMap<String, i64>,
    call: &ToolCall,
    builtin: BuiltinCall,
) -> Action {
    match builtin {
        BuiltinCall::SendMessage { .. } => Action::Known(succeeded(call, DELIVERED.to_owned())),
        BuiltinCall::FinishEdits => Action::Known(succeeded(
            call,
            "The memory is finished for now.".to_owned(),
        )),
        BuiltinCall::Memory(changes) => Action::Change(MemoryChanges {
            changes,
            seen: seen.clone(),
        }),
        BuiltinCall::ConversationSearch(search) => Action::Search(Look::Recall(search)),
        BuiltinCall::ArchivalSearch(search) => Action::Search(Look::Archival(search)),
        BuiltinCall::Code(code) => Action::External(External::Code(code)),
        BuiltinCall::Message(message) => Action::External(External::Message(message)),
        BuiltinCall::FetchWebpage { url } => Action::Web(WebLook::Page { url }),
        BuiltinCall::WebSearch(search) => Action::Web(WebLook::Search(search)),
        BuiltinCall::ArchivalInsert(passage) => Action::Remember(passage),
        BuiltinCall::Edit { label, edit } => {
            let based_on = seen.get(&label).copied();
            Action::Edit {
                label,
                edit,
                based_on,
            }
        }
    }
}

/// Arguments as JSON. An answer's calls are mended before this; those of earlier crashes may not be.
fn parse_arguments(text: &str) -> Result<serde_json::Value, String> {
    let again = |what: String| format!("{what}; send the call again with valid JSON");
    let object = repair::arguments(text).map_err(|error| again(error.to_string()))?;
    let object = repair::long_integers_as_text(&object);
    serde_json::from_str(&object).map_err(|error| again(error.to_string()))
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
        images: Vec::new(),
    }
}

/// Who asks for an edit.
pub(crate) struct Editor<'a> {
    pub scope: &'a Scope,
    pub agent_id: AgentId,
    /// The thread, whose own blocks count before the agent's.
    pub conversation_id: Option<ConversationId>,
    /// The run in which the agent's model asks; none: a client does.
    pub run_id: Option<RunId>,
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
    let author = editor.author(call);
    let change = blocks::Change {
        edit,
        based_on,
        author: &author,
        now: editor.now,
    };
    let edited = blocks::edit(tx, editor.scope, (editor.place(), label), &change).await;
    told(call, edited.map(|block| block.value))
}

/// Makes changes of core memory inside a transaction, all or none.
pub(crate) async fn change(
    tx: &mut Tx<'_>,
    editor: &Editor<'_>,
    call: &ToolCall,
    memory: &MemoryChanges,
) -> Result<ToolReturn, EngineError> {
    let author = editor.author(call);
    let changes = blocks::Changes {
        changes: &memory.changes,
        seen: &memory.seen,
        author: &author,
        now: editor.now,
    };
    told(
        call,
        blocks::change(tx, editor.scope, editor.place(), &changes).await,
    )
}

impl Editor<'_> {
    fn place(&self) -> blocks::Place {
        blocks::Place {
            agent_id: self.agent_id,
            conversation_id: self.conversation_id,
        }
    }

    fn author(&self, call: &ToolCall) -> Author {
        if self.run_id.is_none() {
            return Author::asking(self.scope);
        }
        Author {
            user_id: None,
            agent_id: Some(self.agent_id),
            run_id: self.run_id,
            tool_call_id: Some(call.id.clone()),
        }
    }
}

/// What the model reads of a change that the store made or refused.
fn told(call: &ToolCall, made: Result<String, StoreError>) -> Result<ToolReturn, EngineError> {
    match made {
        Ok(text) => Ok(succeeded(call, text)),
        Err(
            error
            @ (StoreError::Invalid(_) | StoreError::NotFound { .. } | StoreError::Conflict(_)),
        ) => Ok(failed(call, error.to_string())),
        Err(error) => Err(error.into()),
    }
}

/// Writes a passage inside a transaction. What archival memory refuses is a return, not an error.
pub(crate) async fn remember(
    tx: &mut Tx<'_>,
    editor: &Editor<'_>,
    call: &ToolCall,
    passage: &NewPassage,
) -> Result<ToolReturn, EngineError> {
    let new = vec![passage.clone()];
    let called = editor.run_id.map(|run_id| Caller {
        agent_id: editor.agent_id,
        run_id,
        tool_call_id: call.id.clone(),
    });
    let scope = called.map_or_else(
        || editor.scope.clone(),
        |caller| editor.scope.called_by(caller),
    );
    match archives::remember(tx, &scope, editor.agent_id, new, editor.now).await {
        Ok(_) => Ok(succeeded(call, "Stored in archival memory.".to_owned())),
        Err(EngineError::Invalid(text)) => Ok(failed(call, text)),
        Err(error) => Err(error),
    }
}

/// Searches memory for a call.
pub(crate) async fn search(
    engine: &Engine,
    scope: &Scope,
    agent: &Agent,
    (call, look): (&ToolCall, Look),
) -> Result<ToolReturn, EngineError> {
    let found = match look {
        Look::Recall(search) => {
            engine
                .conversation_search(scope, agent.id, search, &agent.timezone)
                .await
        }
        Look::Archival(search) => {
            engine
                .archival_search(scope, agent.id, search, &agent.timezone)
                .await
        }
    };
    match found {
        Ok(text) => Ok(succeeded(call, text)),
        Err(EngineError::Invalid(text)) => Ok(failed(call, text)),
        Err(error) => Err(error),
    }
}

/// What a call brought whose effects are outside of the database.
#[derive(Debug)]
pub(crate) struct Outside {
    pub returned: ToolReturn,
    /// What it changed in core memory; not kept yet.
    pub changes: Option<MemoryChanges>,
}

/// Runs a tool with effects outside of the database. A cancel of the run ends it, with everything it started.
pub(crate) async fn run_external(
    turn: &Turn,
    external: External,
    call: &ToolCall,
) -> Result<Outside, EngineError> {
    let (engine, live) = (&turn.engine, &turn.live);
    let scope = live.scope.called_by(Caller {
        agent_id: live.agent_id,
        run_id: live.id,
        tool_call_id: call.id.clone(),
    });
    let (running, limit) = match external {
        External::Custom(custom) => {
            let limit = custom.tool.return_char_limit;
            let running = engine.run_custom(
                &scope,
                Some((live.agent_id, live.conversation_id).into()),
                *custom,
            );
            (running.boxed(), limit)
        }
        External::Code(code) => {
            let running = engine.run_code(&scope, live.agent_id, code, &turn.request.above);
            (running.boxed(), RETURN_CHAR_LIMIT)
        }
        External::Message(message) => return messages(turn, message, call).await,
        #[cfg(feature = "failpoints")]
        External::Count { file } => {
            return Ok(Outside {
                returned: count(&file, call),
                changes: None,
            });
        }
    };
    let run = tokio::select! {
        biased;
        () = live.cancelled.cancelled() => ToolRun::failed(&call.name, "the run was cancelled"),
        run = running => run?,
    };
    Ok(Outside {
        returned: run.returned(call, limit),
        changes: run.changes,
    })
}

/// Sends a message to other agents; a cancel of the run ends theirs, where an answer is waited for.
async fn messages(
    turn: &Turn,
    message: AgentMessage,
    call: &ToolCall,
) -> Result<Outside, EngineError> {
    let live = &turn.live;
    let sender = Sender {
        scope: &live.scope,
        agent_id: live.agent_id,
        above: &turn.request.above,
        turn: Some((live.conversation_id, &live.cancelled)),
        spoken: turn.rules.spoken(),
    };
    let is_speaker = matches!(message.to, Addressee::Next(_));
    let answered = turn.engine.message_agents(&sender, message).await?;
    if is_speaker && answered.is_ok() {
        turn.rules.note_speaker();
    }
    Ok(Outside {
        returned: match answered {
            Ok(text) => succeeded(call, text),
            Err(reason) => failed(call, reason),
        },
        changes: None,
    })
}

/// Appends the call's id to a file.
#[cfg(feature = "failpoints")]
fn count(file: &std::path::Path, call: &ToolCall) -> ToolReturn {
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

/// The return of a call that ran outside, after what it changed in core memory was made inside a transaction.
pub(crate) async fn keep(
    tx: &mut Tx<'_>,
    editor: &Editor<'_>,
    call: &ToolCall,
    outside: &Outside,
) -> Result<ToolReturn, EngineError> {
    let returned = outside.returned.clone();
    let Some(changes) = &outside.changes else {
        return Ok(returned);
    };
    let told = change(tx, editor, call, changes).await?;
    if told.status == ToolStatus::Success {
        return Ok(returned);
    }
    Ok(ToolReturn {
        stdout: returned.stdout,
        stderr: returned.stderr,
        ..failed(call, not_kept(told.text.trim_start_matches("Error: ")))
    })
}
