//! The objects of OpenAI's responses API.

use mnemic_core::{
    ids::{ConversationId, RunId},
    messages::ToolCall,
    runs::{StopReason, Usage},
};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;
use uuid::Uuid;

use super::errors::OpenAiError;

/// A response.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[allow(missing_docs)]
pub struct ResponseView {
    pub id: String,
    object: &'static str,
    created_at: i64,
    pub status: &'static str,
    background: bool,
    #[schema(value_type = Option<serde_json::Value>)]
    pub error: Option<Value>,
    #[schema(value_type = Option<serde_json::Value>)]
    pub incomplete_details: Option<Value>,
    instructions: Option<String>,
    max_output_tokens: Option<i64>,
    model: String,
    #[schema(value_type = Vec<serde_json::Value>)]
    pub output: Vec<Value>,
    parallel_tool_calls: bool,
    previous_response_id: Option<String>,
    /// The thread; its id can be given with the next request.
    #[schema(value_type = serde_json::Value)]
    conversation: Value,
    #[schema(value_type = serde_json::Value)]
    text: Value,
    temperature: Option<f64>,
    #[schema(value_type = serde_json::Value)]
    tool_choice: Value,
    #[schema(value_type = Vec<serde_json::Value>)]
    tools: Vec<Value>,
    top_p: Option<f64>,
    truncation: &'static str,
    #[schema(value_type = Option<serde_json::Value>)]
    pub usage: Option<Value>,
    user: Option<String>,
    #[schema(value_type = serde_json::Value)]
    metadata: Value,
}

/// What a response is made of besides what the agent says.
#[derive(Debug)]
pub struct Frame {
    /// The run.
    pub run_id: RunId,
    /// Its thread.
    pub conversation_id: ConversationId,
    /// When it was accepted, in seconds since 1970.
    pub created_at: i64,
    /// The agent as the client named it.
    pub model: String,
    /// The response that this one follows, as the client named it.
    pub previous: Option<String>,
    /// The end user.
    pub user: Option<String>,
    /// The client's tools as it gave them.
    pub tools: Vec<Value>,
    /// What it says has to be called.
    pub tool_choice: Option<Value>,
}

/// What stands before the UUID of a run in a response's id.
const PREFIX: &str = "resp_";

/// The id of the response that a run is.
#[must_use]
pub fn response_id(run: RunId) -> String {
    format!("{PREFIX}{}", run.uuid())
}

/// The run that a response is.
#[must_use]
pub fn run_of(response_id: &str) -> Option<RunId> {
    let uuid = response_id.strip_prefix(PREFIX)?;
    format!("{}-{uuid}", RunId::PREFIX).parse().ok()
}

impl ResponseView {
    /// A response that is being made.
    #[must_use]
    pub fn begun(frame: Frame) -> Self {
        Self {
            id: response_id(frame.run_id),
            object: "response",
            created_at: frame.created_at,
            status: "in_progress",
            background: false,
            error: None,
            incomplete_details: None,
            instructions: None,
            max_output_tokens: None,
            model: frame.model,
            output: Vec::new(),
            parallel_tool_calls: true,
            previous_response_id: frame.previous,
            conversation: json!({ "id": frame.conversation_id }),
            text: json!({ "format": { "type": "text" } }),
            temperature: None,
            tool_choice: frame.tool_choice.unwrap_or_else(|| json!("auto")),
            tools: frame.tools,
            top_p: None,
            truncation: "disabled",
            usage: None,
            user: frame.user,
            metadata: json!({}),
        }
    }

    /// The end of the run.
    pub fn end(&mut self, reason: StopReason, usage: Usage) {
        match reason {
            StopReason::MaxSteps | StopReason::MaxTokensExceeded => {
                self.status = "incomplete";
                self.incomplete_details = Some(json!({ "reason": "max_output_tokens" }));
            }
            StopReason::Cancelled => self.status = "cancelled",
            _ => self.status = "completed",
        }
        self.usage = Some(json!({
            "input_tokens": usage.prompt_tokens,
            "input_tokens_details": { "cached_tokens": usage.cached_input_tokens },
            "output_tokens": usage.completion_tokens,
            "output_tokens_details": { "reasoning_tokens": usage.reasoning_tokens },
            "total_tokens": usage.total_tokens(),
        }));
    }

    /// The end of a run that failed.
    pub fn fail(&mut self, error: &OpenAiError) {
        let code = match error.kind {
            "rate_limit_error" => "rate_limit_exceeded",
            "invalid_request_error" => "invalid_prompt",
            _ => "server_error",
        };
        self.status = "failed";
        self.error = Some(json!({ "code": code, "message": error.message }));
    }
}

/// A call of a client's tool in a response's output.
#[derive(Debug, Clone)]
#[allow(missing_docs)]
pub struct CallItem {
    pub id: String,
    pub call_id: String,
    pub name: String,
    pub arguments: String,
}

impl CallItem {
    /// A call that begins.
    #[must_use]
    pub fn begun(call_id: &str, name: &str) -> Self {
        Self {
            id: format!("fc_{}", Uuid::new_v4().simple()),
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            arguments: String::new(),
        }
    }

    /// A whole call.
    #[must_use]
    pub fn whole(call: &ToolCall) -> Self {
        Self {
            arguments: call.arguments.clone(),
            ..Self::begun(&call.id, &call.name)
        }
    }

    /// The item.
    #[must_use]
    pub fn view(&self, status: &str) -> Value {
        json!({
            "id": self.id,
            "type": "function_call",
            "status": status,
            "call_id": self.call_id,
            "name": self.name,
            "arguments": self.arguments,
        })
    }
}

/// A new id of a message in a response.
#[must_use]
pub fn item_id() -> String {
    format!("msg_{}", Uuid::new_v4().simple())
}

/// A message of the agent in a response's output.
#[must_use]
pub fn message(id: &str, status: &str, text: Option<&str>) -> Value {
    let content: Vec<Value> = text.into_iter().map(part).collect();
    json!({
        "id": id,
        "type": "message",
        "status": status,
        "role": "assistant",
        "content": content,
    })
}

/// The only part of a message.
#[must_use]
pub fn part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_responses_id_names_its_run() {
        let run = RunId::new();
        assert_eq!(run_of(&response_id(run)), Some(run));
        assert_eq!(run_of("resp_1"), None);
        assert_eq!(run_of(&run.to_string()), None);
    }
}
