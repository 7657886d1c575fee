//! Tool calls of models and servers that do not make them when they must: the call is made again as
//! an answer in a JSON schema, which servers enforce while the model writes.

use std::sync::Arc;

use mnemic_core::messages::{MessageBody, Role, ToolCall};
use serde_json::{Value, json};

use crate::{
    calls::{Call, Thinking, ToolChoice},
    completion::Completion,
    endpoints::Protocol,
    toolset::{ToolSet, ToolSpec},
    transcript::MessageView,
};

/// The same call with the choice of a tool as the form of its answer.
pub(crate) fn by_schema(call: &Call) -> Call {
    let tools: Vec<&ToolSpec> = allowed(call).collect();
    let mut again = call.clone();
    again.transcript.push(&MessageView {
        role: Role::User,
        body: &MessageBody::text(instruction(&tools)),
        name: None,
    });
    let protocol = call.endpoint.protocol();
    if matches!(protocol, Protocol::Anthropic | Protocol::Gemini) {
        // A history with tool calls needs the tools beside it.
        again.tool_choice = ToolChoice::None;
    } else {
        again.tools = Arc::new(ToolSet::default());
        again.tool_choice = ToolChoice::Auto;
    }
    if call.endpoint.protocol() == Protocol::Ollama {
        // It would hold the thoughts to the schema as well.
        again.thinking = Thinking::Disabled;
    }
    again.response_format = Some(json!({
        "type": "json_schema",
        "json_schema": {"name": "tool_call", "schema": schema(&tools)},
    }));
    again
}

/// The tool call that such an answer stands for; nothing when it names no tool of the call.
pub(crate) fn read(completion: &Completion, call: &Call) -> Option<ToolCall> {
    let text = completion.body.plain_text();
    let (start, end) = (text.find('{')?, text.rfind('}')?);
    let answer: Value = serde_json::from_str(text.get(start..=end)?).ok()?;
    let name = answer.get("name")?.as_str()?;
    allowed(call).find(|spec| spec.name == name)?;
    let arguments = match answer.get("arguments") {
        Some(arguments @ Value::Object(_)) => arguments.to_string(),
        Some(Value::String(text)) => text.clone(),
        _ => "{}".to_owned(),
    };
    let id = crate::lenient::unique_id(None, |_| false);
    Some(ToolCall {
        id,
        name: name.to_owned(),
        arguments,
    })
}

/// The tools that a call may make.
pub(crate) fn allowed(call: &Call) -> impl Iterator<Item = &ToolSpec> {
    call.tools
        .specs()
        .iter()
        .filter(|spec| match &call.tool_choice {
            ToolChoice::Tool(name) => spec.name == *name,
            _ => true,
        })
}

fn schema(tools: &[&ToolSpec]) -> Value {
    any_of(tools.iter().map(|tool| choice(tool)).collect())
}

/// The schema of a tool's call.
pub(crate) fn choice(tool: &ToolSpec) -> Value {
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": [tool.name]},
            "arguments": tool.parameters,
        },
        "required": ["name", "arguments"],
        "additionalProperties": false,
    })
}

/// The schema of one of these.
pub(crate) fn any_of(choices: Vec<Value>) -> Value {
    match <[Value; 1]>::try_from(choices) {
        Ok([only]) => only,
        Err(choices) => json!({ "anyOf": choices }),
    }
}

fn instruction(tools: &[&ToolSpec]) -> String {
    format!(
        "A tool has to be called now. Answer with one JSON object and nothing else, of the form \
         {{\"name\": <tool>, \"arguments\": {{...}}}}. The tools and the schemas of their arguments:{}",
        described(tools)
    )
}

/// Tools in words, one to a line.
pub(crate) fn described(tools: &[&ToolSpec]) -> String {
    let mut text = String::new();
    for tool in tools {
        text.push_str(&format!(
            "\n- {}: {}\n  {}",
            tool.name, tool.description, tool.parameters
        ));
    }
    text
}
