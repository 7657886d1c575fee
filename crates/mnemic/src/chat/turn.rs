//! One turn: what was said goes to the agent, and what it does is shown as it happens.

use std::pin::pin;

use reqwest::Method;
use serde_json::{Value, json};

use super::{
    Chat, Outcome,
    client::{Client, Frame},
    diff::{self, Blocks},
    error::ChatError,
    screen::{Flow, Screen, Style, clipped},
};

/// Characters of a call's arguments that are shown.
const MAX_ARGUMENTS: usize = 160;

/// Characters of a tool's return that are shown.
const MAX_RETURN: usize = 300;

/// Results of a search that are shown.
const MAX_FOUND: usize = 3;

/// Blocks that are looked at for changes.
const MAX_BLOCKS: &str = "100";

impl Chat {
    /// Says something to the agent and shows the turn.
    ///
    /// # Errors
    /// The server does not answer, refuses, or goes away; the model fails.
    pub(super) async fn talk(&mut self, text: &str) -> Result<Outcome, ChatError> {
        self.turn(json!({"role": "user", "content": text})).await
    }

    /// Lets the tools run that wait for approval, or not, and shows the turn that goes on with that.
    ///
    /// # Errors
    /// None wait; and as for [`Self::talk`].
    pub(super) async fn answer(
        &mut self,
        approve: bool,
        reason: Option<String>,
    ) -> Result<Outcome, ChatError> {
        let answer = json!({"type": "approval", "approve": approve, "reason": reason});
        self.turn(answer).await
    }

    async fn turn(&mut self, message: Value) -> Result<Outcome, ChatError> {
        let blocks = self.blocks().await?;
        let body = json!({
            "messages": [message],
            "stream_tokens": true,
            "include_pings": true,
        });
        let path = self.agent.path("/messages/stream");
        let mut shown = Shown {
            blocks,
            ..Shown::default()
        };
        let mut interrupt = pin!(tokio::signal::ctrl_c());
        let client = self.client.clone();
        let mut opening = pin!(client.stream(&path, &body));
        let mut frames = tokio::select! {
            frames = &mut opening => frames?,
            _ = &mut interrupt => {
                cancel(self.client.clone(), self.agent.path(""), None).await;
                self.screen.note(Style::Dim, "(cancelled)");
                return Ok(Outcome::Goes);
            }
        };
        loop {
            let frame = tokio::select! {
                frame = frames.next() => frame?,
                _ = &mut interrupt => {
                    if shown.cancelled {
                        return Ok(Outcome::Leave);
                    }
                    shown.cancelled = true;
                    interrupt.set(tokio::signal::ctrl_c());
                    self.screen.note(Style::Dim, "(cancelling; Ctrl-C again leaves)");
                    tokio::spawn(cancel(self.client.clone(), self.agent.path(""), shown.run.clone()));
                    continue;
                }
            };
            let Some(frame) = frame else {
                break;
            };
            self.show(&frame, &mut shown).await?;
        }
        self.screen.end_line();
        match shown.error {
            Some(error) => Err(ChatError::Model(error)),
            None => Ok(Outcome::Goes),
        }
    }

    /// The agent's blocks as they are now.
    async fn blocks(&self) -> Result<Blocks, ChatError> {
        let path = self.agent.path("/core-memory/blocks");
        let list = self.client.find(&path, &[("limit", MAX_BLOCKS)]).await?;
        Ok(diff::blocks_of(&list))
    }

    async fn show(&mut self, frame: &Frame, shown: &mut Shown) -> Result<(), ChatError> {
        let body = &frame.body;
        if shown.run.is_none() {
            shown.run = text(body.get("run_id")).map(str::to_owned);
        }
        if frame.is_error {
            shown.error = Some(error_of(body));
            return Ok(());
        }
        let screen = &mut self.screen;
        let kind = text(body.get("message_type")).unwrap_or_default();
        // What was on its way when it was cancelled.
        if shown.cancelled && kind != "stop_reason" && kind != "error_message" {
            return Ok(());
        }
        match kind {
            "assistant_message" => screen.flow(Flow::Answer, &content(body.get("content"))),
            "reasoning_message" => {
                screen.flow(
                    Flow::Reasoning,
                    text(body.get("reasoning")).unwrap_or_default(),
                );
            }
            "tool_call_message" | "approval_request_message" => {
                calls_of(body).for_each(|call| shown.call(screen, call));
            }
            "tool_return_message" => {
                for returned in returns_of(body) {
                    self.show_return(body, returned, shown).await?;
                }
            }
            "error_message" => shown.error = Some(error_of(body)),
            "stop_reason" => tell_stop(screen, text(body.get("stop_reason")).unwrap_or_default()),
            _ => {}
        }
        Ok(())
    }

    /// Shows what a tool returned; of one that edits memory, what has changed.
    async fn show_return(
        &mut self,
        message: &Value,
        returned: &Value,
        shown: &mut Shown,
    ) -> Result<(), ChatError> {
        let id = text(returned.get("tool_call_id")).unwrap_or_default();
        let call = shown.finish(id);
        let name = call
            .as_ref()
            .map(|call| call.name.as_str())
            .or_else(|| text(message.get("name")))
            .unwrap_or_default();
        let said = content(returned.get("tool_return"));
        if text(returned.get("status")) == Some("error") {
            let line = format!("  {name} failed: {}", clipped(&said, MAX_RETURN));
            self.screen.note(Style::Red, &line);
            return Ok(());
        }
        if is_memory_tool(name) {
            let blocks = self.blocks().await?;
            for (style, line) in diff::changes(&shown.blocks, &blocks) {
                self.screen.note(style, &line);
            }
            shown.blocks = blocks;
        } else if name == "send_message" {
            let arguments = call.map(|call| call.arguments).unwrap_or_default();
            let arguments: Value = serde_json::from_str(&arguments).unwrap_or_default();
            let words = text(arguments.get("message")).unwrap_or_default();
            self.screen.flow(Flow::Answer, words);
        } else {
            for line in gist(&said) {
                self.screen.note(Style::Dim, &line);
            }
        }
        Ok(())
    }
}

/// Asks the server to end the run. That it is over already is no harm.
async fn cancel(client: Client, agent: String, run: Option<String>) {
    let body = match run {
        Some(run) => json!({"run_ids": [run]}),
        None => json!({}),
    };
    let path = format!("{agent}/messages/cancel");
    client.send(Method::POST, &path, &body).await.ok();
}

/// What of a turn was shown so far.
#[derive(Default)]
struct Shown {
    run: Option<String>,
    /// The agent's memory as it was last shown.
    blocks: Blocks,
    calls: Vec<Call>,
    error: Option<String>,
    /// Whether the person has cancelled it.
    cancelled: bool,
}

/// A call of a tool, as far as it has come.
struct Call {
    id: String,
    name: String,
    arguments: String,
    /// Characters of the arguments that were written.
    written: usize,
}

impl Shown {
    /// Takes in a call, or a piece of one, and shows it.
    fn call(&mut self, screen: &mut Screen, piece: &Value) {
        let id = text(piece.get("tool_call_id")).unwrap_or_default();
        let name = text(piece.get("name")).unwrap_or_default();
        let arguments = text(piece.get("arguments")).unwrap_or_default();
        let known = self.calls.iter().any(|call| call.id == id);
        if !known {
            self.calls.push(Call {
                id: id.to_owned(),
                name: String::new(),
                arguments: String::new(),
                written: 0,
            });
        }
        let Some(call) = self.calls.iter_mut().find(|call| call.id == id) else {
            return;
        };
        if call.name.is_empty() && !name.is_empty() {
            name.clone_into(&mut call.name);
            screen.end_line();
            screen.flow(Flow::Call, &format!("· {name} "));
        }
        call.arguments.push_str(arguments);
        // What changes the memory is shown as a change, and what is said as said.
        if is_memory_tool(&call.name) || call.name == "send_message" {
            return;
        }
        let room = MAX_ARGUMENTS.saturating_sub(call.written);
        let piece: String = arguments.chars().take(room).collect();
        screen.flow(Flow::Call, &piece);
        let length = arguments.chars().count();
        if room > 0 && length > room {
            screen.flow(Flow::Call, "…");
        }
        call.written += length;
    }

    fn finish(&mut self, id: &str) -> Option<Call> {
        let at = self.calls.iter().position(|call| call.id == id)?;
        Some(self.calls.remove(at))
    }
}

/// What a tool returned, in a few lines: of a search what it says and the first it has found.
pub(super) fn gist(said: &str) -> Vec<String> {
    let parsed: Value = serde_json::from_str(said).unwrap_or_default();
    let results = parsed.get("results").and_then(Value::as_array);
    let (Some(message), Some(results)) = (text(parsed.get("message")), results) else {
        return vec![format!("  → {}", clipped(said, MAX_RETURN))];
    };
    let mut lines = vec![format!("  → {}", clipped(message, MAX_RETURN))];
    for found in results.iter().take(MAX_FOUND) {
        let who = text(found.get("role")).map(|role| format!("{role}: "));
        let what = text(found.get("content")).unwrap_or_default();
        let line = format!("{}{what}", who.unwrap_or_default());
        lines.push(format!("    {}", clipped(&line, MAX_ARGUMENTS)));
    }
    lines
}

fn is_memory_tool(name: &str) -> bool {
    name == "memory" || name.starts_with("memory_") || name.starts_with("core_memory_")
}

fn text(value: Option<&Value>) -> Option<&str> {
    value.and_then(Value::as_str)
}

/// The text of a message, given as such or in parts.
pub(super) fn content(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => parts
            .iter()
            .filter_map(|part| text(part.get("text")))
            .collect::<Vec<_>>()
            .join(""),
        _ => String::new(),
    }
}

/// The calls of a message: a list, a single object, or the older field.
pub(super) fn calls_of(body: &Value) -> impl Iterator<Item = &Value> {
    several(body.get("tool_calls"), body.get("tool_call"))
}

/// The returns of a message; of an older one, itself.
fn returns_of(body: &Value) -> impl Iterator<Item = &Value> {
    several(body.get("tool_returns"), Some(body))
}

fn several<'a>(
    list: Option<&'a Value>,
    single: Option<&'a Value>,
) -> impl Iterator<Item = &'a Value> {
    let list = list.filter(|value| !value.is_null());
    let items: Vec<&Value> = match list {
        Some(Value::Array(items)) if !items.is_empty() => items.iter().collect(),
        Some(item @ Value::Object(_)) => vec![item],
        _ => single
            .filter(|value| value.is_object())
            .into_iter()
            .collect(),
    };
    items.into_iter()
}

fn error_of(body: &Value) -> String {
    let said = |key: &str| text(body.get(key)).filter(|said| !said.is_empty());
    let message = said("message").unwrap_or("the run failed");
    match said("detail") {
        Some(detail) if detail != message => format!("{message} ({})", clipped(detail, MAX_RETURN)),
        _ => message.to_owned(),
    }
}

/// Says why a turn ended, where that is not as usual.
fn tell_stop(screen: &mut Screen, reason: &str) {
    let line = match reason {
        "end_turn" | "tool_rule" | "error" | "llm_api_error" => return,
        "cancelled" => "(cancelled)".to_owned(),
        "max_steps" => "(stopped: it has taken as many steps as one message may take)".to_owned(),
        "max_tokens_exceeded" => {
            "(cut off: the answer was longer than the model may write)".to_owned()
        }
        "requires_approval" => {
            "(tools wait for your approval: /approve, or /deny REASON)".to_owned()
        }
        other => format!("(stopped: {other})"),
    };
    screen.note(Style::Dim, &line);
}
