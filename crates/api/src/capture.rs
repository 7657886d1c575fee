//! Taking in turns of the past that other programs had with a model, without a model call.

use axum::extract::State;
use mnemic_core::{
    conversations::Thread,
    ids::{AgentId, MessageId},
    messages::{MessageBody, NewMessage, Role},
    time::Timestamp,
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    AppState,
    actor::Actor,
    content::{self, Content, Piece},
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Path, body_id},
    people,
    send_request::{InputRole, check_otid},
    validation::{Issue, Loc},
};

/// The routes of this file.
pub fn routes() -> Routes {
    routes!(capture)
}

/// Turns that one request may carry.
const MAX_TURNS: usize = 10_000;

/// Turns of the past: `messages`, or what a proxy saw of one model call.
#[derive(Debug, Default, Deserialize, ToSchema)]
struct CaptureBody {
    /// The turns, oldest first.
    messages: Option<Vec<Turn>>,
    /// The conversation that they belong to; the agent's default one when left out.
    conversation_id: Option<String>,
    /// The end user who spoke; the turns go into their own thread.
    #[serde(alias = "userId")]
    user_id: Option<String>,
    /// The messages of the proxied request; those after its last answer are taken in.
    #[schema(value_type = Option<Vec<serde_json::Value>>)]
    request_messages: Option<Vec<ProxiedMessage>>,
    /// The proxied answer.
    #[schema(value_type = Option<serde_json::Value>)]
    response_dict: Option<Value>,
}

/// One turn of the past.
#[derive(Debug, Deserialize, ToSchema)]
struct Turn {
    /// Who spoke.
    role: InputRole,
    /// What was said.
    content: Content,
    /// The speaker's name.
    name: Option<String>,
    /// When it was said (ISO 8601).
    #[serde(default, deserialize_with = "moment")]
    #[schema(value_type = Option<String>)]
    created_at: Option<Timestamp>,
    /// The client's own id of the turn: one that is known already is skipped.
    #[schema(max_length = 200)]
    otid: Option<String>,
}

/// The time of something that was said.
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?;
    let moment = text.map(|text| Timestamp::parse_moment(&text));
    moment.transpose().map_err(serde::de::Error::custom)
}

/// A message in a provider's form.
#[derive(Debug, Deserialize)]
struct ProxiedMessage {
    role: Option<String>,
    content: Option<Value>,
}

/// What was taken in.
#[derive(Debug, Serialize, ToSchema)]
struct Captured {
    /// The messages, in the order of the turns.
    #[schema(value_type = Vec<String>)]
    message_ids: Vec<MessageId>,
}

/// Take in turns of the past.
#[utoipa::path(post, path = "/v1/agents/{agent_id}/messages/capture", tag = "messages",
    operation_id = "capture_messages", params(("agent_id" = String, Path)),
    request_body = CaptureBody, responses((status = 200, body = Captured)))]
async fn capture(
    State(state): State<AppState>,
    Actor(scope): Actor,
    Path(agent): Path<AgentId>,
    Json(mut body): Json<CaptureBody>,
) -> Result<Json<Captured>, ApiError> {
    let scope = people::scope_of(&scope, body.user_id.take())?;
    let thread = match body.conversation_id.as_deref() {
        None | Some("default") => people::thread_of(&state, &scope, agent).await?,
        Some(id) => Thread::Id(body_id("conversation_id", id)?),
    };
    let turns = body.turns()?;
    let message_ids = state.engine.capture(&scope, agent, thread, turns).await?;
    Ok(Json(Captured { message_ids }))
}

impl CaptureBody {
    /// The turns of either form.
    fn turns(self) -> Result<Vec<NewMessage>, ApiError> {
        let proxied = self.request_messages.is_some() || self.response_dict.is_some();
        match self.messages {
            Some(_) if proxied => Err(ApiError::unprocessable(
                "give either messages, or request_messages and response_dict",
            )),
            None if !proxied => Err(ApiError::unprocessable(
                "give messages, or request_messages and response_dict",
            )),
            Some(turns) => checked(turns),
            None => Ok(of_proxy(
                self.request_messages.unwrap_or_default(),
                self.response_dict,
            )),
        }
    }
}

fn checked(turns: Vec<Turn>) -> Result<Vec<NewMessage>, ApiError> {
    if turns.is_empty() {
        return Err(ApiError::unprocessable("Messages must not be empty"));
    }
    if turns.len() > MAX_TURNS {
        return Err(ApiError::unprocessable(format!(
            "a request may carry at most {MAX_TURNS} turns; this one has {}: send them in parts",
            turns.len()
        )));
    }
    turns
        .into_iter()
        .enumerate()
        .map(|(n, turn)| message(n, turn))
        .collect()
}

fn message(n: usize, turn: Turn) -> Result<NewMessage, ApiError> {
    let wrong = |field: &str, msg: &str| {
        let mut issue = Issue::body(&["messages"], msg, Value::Null);
        issue.loc.extend([Loc::Index(n), Loc::from(field)]);
        ApiError::invalid(&[issue])
    };
    check_otid(turn.otid.as_deref()).map_err(|msg| wrong("otid", &msg))?;
    let role = Role::from(turn.role);
    let mut parts = Vec::new();
    for piece in content::pieces(turn.content, role)? {
        match piece {
            Piece::Ready(part) => parts.push(part),
            Piece::Fetch(_) => {
                let msg = "images of captured turns must be given as base64, not by URL";
                return Err(wrong("content", msg));
            }
        }
    }
    Ok(NewMessage {
        role,
        body: content::body(parts),
        name: turn.name.filter(|name| !name.is_empty()),
        otid: turn.otid,
        sender_id: None,
        created_at: turn.created_at,
    })
}

/// What is new in one proxied call. A proxy's client sends its whole history with each call: what
/// stands before the last answer was captured with the calls before.
fn of_proxy(request: Vec<ProxiedMessage>, response: Option<Value>) -> Vec<NewMessage> {
    let answered = request
        .iter()
        .rposition(|message| message.role.as_deref() == Some("assistant"));
    let first_new = answered.map_or(0, |last| last + 1);
    let asked = request
        .into_iter()
        .skip(first_new)
        .filter(|message| message.role.as_deref() == Some("user"))
        .map(|message| (Role::User, proxied_text(message.content.as_ref())));
    let answer = response.map(|response| (Role::Assistant, answer_text(&response)));
    asked
        .chain(answer)
        .filter(|(_, text)| !text.trim().is_empty())
        .map(|(role, text)| NewMessage {
            role,
            body: MessageBody::text(text),
            name: None,
            otid: None,
            sender_id: None,
            created_at: None,
        })
        .collect()
}

/// The text of a content in a provider's form: a string, or a list of parts with texts.
fn proxied_text(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

/// The text of an answer: `content` at the top, or in the first of `choices`.
fn answer_text(response: &Value) -> String {
    let content = response
        .get("content")
        .or_else(|| response.pointer("/choices/0/message/content"));
    proxied_text(content)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn turns(body: Value) -> Result<Vec<(Role, String)>, u16> {
        let body: CaptureBody = serde_json::from_value(body).map_err(|_| 0u16)?;
        let turns = body.turns().map_err(|error| error.status().as_u16())?;
        Ok(turns
            .into_iter()
            .map(|turn| (turn.role, turn.body.plain_text()))
            .collect())
    }

    #[test]
    fn turns_of_the_past_keep_their_order_time_and_otid() {
        let body: CaptureBody = serde_json::from_value(json!({"messages": [
            {"role": "user", "content": "Hi", "created_at": "2025-01-02T03:04:05Z", "otid": "a"},
            {"role": "assistant", "content": [{"type": "text", "text": "Hello"}], "name": "bot"},
        ]}))
        .unwrap();
        let turns = body.turns().unwrap();
        assert_eq!(
            turns[0].created_at,
            Some(Timestamp::parse("2025-01-02T03:04:05Z").unwrap())
        );
        assert_eq!(turns[0].otid.as_deref(), Some("a"));
        assert_eq!(
            (turns[1].role, turns[1].name.as_deref()),
            (Role::Assistant, Some("bot"))
        );
    }

    #[test]
    fn of_a_proxied_call_only_what_is_new_is_taken_in() {
        let request = json!([
            {"role": "system", "content": "s"},
            {"role": "user", "content": "old"},
            {"role": "assistant", "content": "old answer"},
            {"role": "user", "content": [{"type": "text", "text": "new"}]},
        ]);
        let wanted = vec![
            (Role::User, "new".to_owned()),
            (Role::Assistant, "answer".to_owned()),
        ];
        for response in [
            json!({"role": "assistant", "content": "answer"}),
            json!({"content": [{"type": "text", "text": "answer"}]}),
            json!({"choices": [{"message": {"content": "answer"}}]}),
        ] {
            let body = json!({
                "provider": "p", "model": "m", "request_messages": request,
                "response_dict": response,
            });
            assert_eq!(turns(body).unwrap(), wanted, "{response}");
        }
    }

    #[test]
    fn what_is_no_turn_is_refused() {
        let turn = json!({"role": "user", "content": "a"});
        let table = [
            (json!({}), 422),
            (json!({"messages": []}), 422),
            (json!({"messages": [turn], "request_messages": []}), 422),
            (json!({"messages": vec![turn.clone(); MAX_TURNS + 1]}), 422),
            (
                json!({"messages": [{"role": "user", "content": "a", "otid": ""}]}),
                422,
            ),
            (json!({"messages": [{"role": "tool", "content": "a"}]}), 0),
            (
                json!({"messages": [{"role": "user", "content": "a", "created_at": "soon"}]}),
                0,
            ),
            (
                json!({"messages": [{"role": "user", "content": "a", "created_at": "9999-12-31"}]}),
                0,
            ),
        ];
        for (body, status) in table {
            assert_eq!(turns(body).unwrap_err(), status);
        }
    }
}
