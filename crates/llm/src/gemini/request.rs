//! The request body. The model stands in the URL.

use serde_json::{Map, Value, json};

use super::render;
use crate::{
    adaptation::Parameter,
    body::{BodyWriter, SHARED_FROM, WireBody},
    calls::{Call, Thinking, ToolChoice},
    endpoints::Protocol,
    json,
};

/// What stands for a signature where the provider wants one and the model that made the call gave none:
/// a word of the provider's for histories that come from elsewhere.
const NO_SIGNATURE: &str = "skip_thought_signature_validator";

/// Renders a call. What stays the same from call to call comes first, so that the provider's cache hits.
pub(crate) fn render(call: &Call) -> WireBody {
    let own = call.transcript.len_bytes().min(2 * SHARED_FROM)
        + call.system.json().len().min(SHARED_FROM)
        + 1_024;
    let mut body = BodyWriter::with_capacity(own);
    body.bytes().push(b'{');
    system(call, &mut body);
    tools(call, &mut body);
    body.bytes().extend_from_slice(br#""contents":["#);
    let mut list = BodyWriter::default();
    render::write(&call.transcript, &mut list);
    body.append_without_first_byte(list);
    body.bytes().push(b']');
    let config = config(call);
    if !config.is_empty() {
        json::field(body.bytes(), "generationConfig", &config);
    }
    body.bytes().push(b'}');
    body.finish()
}

/// The same request without any signature of its history, and with the provider's word for none.
pub(crate) fn without_reasoning(request: &mut Value) {
    let contents = request.get_mut("contents").and_then(Value::as_array_mut);
    for content in contents.into_iter().flatten() {
        let parts = content.get_mut("parts").and_then(Value::as_array_mut);
        let mut is_first = true;
        for part in parts.into_iter().flatten().filter_map(Value::as_object_mut) {
            part.remove("thoughtSignature");
            if part.contains_key("functionCall") && std::mem::replace(&mut is_first, false) {
                part.insert("thoughtSignature".to_owned(), NO_SIGNATURE.into());
            }
        }
    }
}

fn system(call: &Call, body: &mut BodyWriter) {
    if call.system.json().is_empty() {
        return;
    }
    body.bytes()
        .extend_from_slice(br#""systemInstruction":{"parts":[{"text":"#);
    body.shared(call.system.json());
    body.bytes().extend_from_slice(b"}]},");
}

fn tools(call: &Call, body: &mut BodyWriter) {
    if call.tools.is_empty() {
        return;
    }
    body.bytes()
        .extend_from_slice(br#""tools":[{"functionDeclarations":["#);
    body.shared(call.tools.bytes(Protocol::Gemini));
    body.bytes().extend_from_slice(b"]}],");
    let choice = match &call.tool_choice {
        ToolChoice::Auto => return,
        ToolChoice::None => json!({"mode": "NONE"}),
        ToolChoice::Required => json!({"mode": "ANY"}),
        ToolChoice::Tool(name) => json!({"mode": "ANY", "allowedFunctionNames": [name]}),
    };
    body.bytes().extend_from_slice(br#""toolConfig":"#);
    json::write(body.bytes(), &json!({ "functionCallingConfig": choice }));
    body.bytes().push(b',');
}

fn config(call: &Call) -> Map<String, Value> {
    let mut config = Map::new();
    if let Some(temperature) = call
        .temperature
        .filter(|_| call.accepts(Parameter::Temperature))
    {
        config.insert("temperature".to_owned(), temperature.into());
    }
    if let Some(tokens) = call.max_tokens {
        config.insert("maxOutputTokens".to_owned(), tokens.into());
    }
    if let Some(thinking) = thinking(call) {
        config.insert("thinkingConfig".to_owned(), thinking);
    }
    // A form would keep the model from calling the tools that it is shown.
    if call.tools.is_empty() || call.tool_choice == ToolChoice::None {
        config.extend(form(call));
    }
    config
}

/// The form of the answer, from chat completions' `response_format`.
fn form(call: &Call) -> Map<String, Value> {
    let mut form = Map::new();
    let Some(format) = call
        .response_format
        .as_ref()
        .filter(|_| call.accepts(Parameter::ResponseFormat))
    else {
        return form;
    };
    let kind = format.get("type").and_then(Value::as_str);
    if matches!(kind, Some("json_schema" | "json_object")) {
        form.insert("responseMimeType".to_owned(), "application/json".into());
    }
    if let Some(schema) = format.pointer("/json_schema/schema") {
        form.insert("responseJsonSchema".to_owned(), schema.clone());
    }
    form
}

/// How the model shall think: models of the third generation know levels, those before them budgets.
fn thinking(call: &Call) -> Option<Value> {
    let effort = call.reasoning_effort.as_deref();
    if !call.accepts(Parameter::Thinking) || (call.thinking == Thinking::Unset && effort.is_none())
    {
        return None;
    }
    if has_levels(&call.model) {
        let level = match (call.thinking, effort) {
            (Thinking::Disabled, _) | (_, Some("none" | "minimal" | "low")) => "low",
            (Thinking::Budget(tokens), None) if tokens <= 4_096 => "low",
            _ => "high",
        };
        return Some(json!({"includeThoughts": true, "thinkingLevel": level}));
    }
    let budget = match (call.thinking, effort) {
        (Thinking::Disabled, _) | (_, Some("none")) => 0,
        (Thinking::Budget(tokens), _) => tokens,
        (_, Some("minimal" | "low")) => 1_024,
        (_, Some("medium")) => 8_192,
        (_, Some("high" | "xhigh" | "max")) => 24_576,
        // As much as it finds right.
        _ => -1,
    };
    Some(json!({"includeThoughts": budget != 0, "thinkingBudget": budget}))
}

/// Whether a model's thinking is set by a level.
fn has_levels(model: &str) -> bool {
    let version = model
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_prefix("gemini-"));
    let major = version.map(|rest| {
        rest.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    });
    major
        .and_then(|digits| digits.parse::<u32>().ok())
        .is_some_and(|major| major >= 3)
}
