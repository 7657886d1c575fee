//! The request body.

use bytes::Bytes;
use serde_json::{Value, json};

use super::render::{self, MARK, Marks};
use crate::{
    adaptation::Parameter,
    body::{BodyWriter, SHARED_FROM, WireBody},
    calls::{Call, Delivery, Thinking, ToolChoice},
    endpoints::Protocol,
    json, windows,
};

/// Tokens of an answer where neither the agent nor the model's name says how many; the protocol has
/// no default of its own.
const MAX_TOKENS: i64 = 8_192;
/// What stands for the form `json_object`, for which the protocol has no word.
const ONE_OBJECT: &str = "When you answer in words, answer with one JSON object and nothing else.";
/// The smallest budget that the provider takes.
const MIN_BUDGET: i64 = 1_024;

/// Renders a call. What stays the same from call to call comes first, so that the provider's cache
/// hits; up to four places are marked to be kept in it: the tools, the prompt, and the ends of the
/// last two user messages, the older of which was the end of the call before.
pub(crate) fn render(call: &Call, delivery: Delivery) -> WireBody {
    let own = call.transcript.len_bytes().min(2 * SHARED_FROM)
        + call.system.json().len().min(SHARED_FROM)
        + 1_024;
    let mut body = BodyWriter::with_capacity(own);
    body.bytes().extend_from_slice(br#"{"model":"#);
    json::write(body.bytes(), &call.model);
    tools(call, &mut body);
    system(call, &mut body);
    messages(call, &mut body);
    options(call, body.bytes());
    if delivery.is_streamed() {
        body.bytes().extend_from_slice(br#","stream":true"#);
    }
    body.bytes().push(b'}');
    body.finish()
}

/// The same request without any reasoning in its history.
pub(crate) fn without_reasoning(request: &mut Value) {
    let thinks = |block: &Value| {
        let kind = block.get("type").and_then(Value::as_str);
        matches!(kind, Some("thinking" | "redacted_thinking"))
    };
    for message in request
        .get_mut("messages")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        if let Some(blocks) = message.get_mut("content").and_then(Value::as_array_mut) {
            blocks.retain(|block| !thinks(block));
        }
    }
    // A turn that begins without thoughts can't go on with them.
    if let Some(fields) = request.as_object_mut() {
        fields.remove("thinking");
    }
}

fn marks(call: &Call) -> Marks {
    if call.accepts(Parameter::CacheControl) {
        Marks::With
    } else {
        Marks::Without
    }
}

fn tools(call: &Call, body: &mut BodyWriter) {
    if call.tools.is_empty() {
        return;
    }
    body.bytes().extend_from_slice(br#","tools":["#);
    let tools = call.tools.bytes(Protocol::Anthropic);
    if marks(call) == Marks::With {
        body.shared(&without_last_byte(tools));
        body.bytes().extend_from_slice(MARK);
        body.bytes().push(b'}');
    } else {
        body.shared(tools);
    }
    body.bytes().push(b']');
    let alone =
        call.parallel_tool_calls == Some(false) && call.accepts(Parameter::ParallelToolCalls);
    let mut choice = match &call.tool_choice {
        ToolChoice::None => json!({"type": "none"}),
        ToolChoice::Required if is_forced(call) => json!({"type": "any"}),
        ToolChoice::Tool(name) if is_forced(call) => json!({"type": "tool", "name": name}),
        _ if alone => json!({"type": "auto"}),
        _ => return,
    };
    if let Some(fields) = choice.as_object_mut()
        && alone
        && call.tool_choice != ToolChoice::None
    {
        fields.insert("disable_parallel_tool_use".to_owned(), true.into());
    }
    json::field(body.bytes(), "tool_choice", &choice);
}

fn without_last_byte(bytes: &Bytes) -> Bytes {
    bytes.slice(..bytes.len().saturating_sub(1))
}

/// Whether the request leaves the model no choice but to call a tool.
fn is_forced(call: &Call) -> bool {
    call.needs_tool_call() && call.accepts(Parameter::ForcedToolChoice)
}

fn system(call: &Call, body: &mut BodyWriter) {
    let wants_json = call
        .response_format
        .as_ref()
        .is_some_and(|format| format.get("type").is_some_and(|kind| kind == "json_object"));
    if call.system.json().is_empty() && !wants_json {
        return;
    }
    body.bytes().extend_from_slice(br#","system":["#);
    if !call.system.json().is_empty() {
        body.bytes().extend_from_slice(br#"{"type":"text","text":"#);
        body.shared(call.system.json());
        if marks(call) == Marks::With {
            body.bytes().extend_from_slice(MARK);
        }
        body.bytes().push(b'}');
    }
    if wants_json {
        if !call.system.json().is_empty() {
            body.bytes().push(b',');
        }
        json::write(body.bytes(), &json!({"type": "text", "text": ONE_OBJECT}));
    }
    body.bytes().push(b']');
}

fn messages(call: &Call, body: &mut BodyWriter) {
    // Every message has a comma before it; an empty field of ours can't stand before the first, so
    // the order of the fields makes the comma the one that parts them.
    body.bytes().extend_from_slice(br#","messages":["#);
    let mut list = BodyWriter::default();
    render::write(&call.transcript, &mut list, marks(call));
    body.append_without_first_byte(list);
    body.bytes().push(b']');
}

fn options(call: &Call, out: &mut Vec<u8>) {
    let known = windows::known(&call.model).and_then(|(_, answer)| answer);
    let mut max_tokens = call
        .max_tokens
        .unwrap_or_else(|| known.map_or(MAX_TOKENS, |known| known.min(MAX_TOKENS)));
    let thinking = thinking(call);
    if let Some(Setting::Budget(budget)) = thinking
        && max_tokens <= budget
    {
        max_tokens += budget;
    }
    json::field(out, "max_tokens", &max_tokens);
    let thinks = matches!(thinking, Some(Setting::Budget(_) | Setting::Adaptive));
    if let Some(thinking) = thinking {
        json::field(out, "thinking", &thinking.wire());
    }
    output_config(call, thinking, out);
    // With thinking, no temperature but the default is taken.
    if let Some(temperature) = call
        .temperature
        .filter(|_| !thinks && call.accepts(Parameter::Temperature))
    {
        json::field(out, "temperature", &temperature.clamp(0.0, 1.0));
    }
}

/// What is sent as `thinking`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Setting {
    Disabled,
    Adaptive,
    Budget(i64),
}

impl Setting {
    fn wire(self) -> Value {
        match self {
            Self::Disabled => json!({"type": "disabled"}),
            // Newer models show nothing of their thoughts unless they are asked to.
            Self::Adaptive => json!({"type": "adaptive", "display": "summarized"}),
            Self::Budget(tokens) => json!({"type": "enabled", "budget_tokens": tokens}),
        }
    }
}

/// How the model shall think. A forced call and thinking exclude each other.
fn thinking(call: &Call) -> Option<Setting> {
    if is_forced(call) || !call.accepts(Parameter::Thinking) {
        return None;
    }
    let budgets = call.accepts(Parameter::ThinkingBudget);
    let adaptive = call.accepts(Parameter::AdaptiveThinking);
    let wanted = match call.thinking {
        Thinking::Unset => return None,
        Thinking::Disabled => {
            return call
                .accepts(Parameter::ThinkingDisabled)
                .then_some(Setting::Disabled);
        }
        Thinking::Budget(_) if adaptive && (is_adaptive(&call.model) || !budgets) => {
            Setting::Adaptive
        }
        Thinking::Adaptive if adaptive && (is_adaptive(&call.model) || !budgets) => {
            Setting::Adaptive
        }
        Thinking::Budget(tokens) if budgets => Setting::Budget(tokens.max(MIN_BUDGET)),
        Thinking::Adaptive if budgets => {
            Setting::Budget(budget_of(call.reasoning_effort.as_deref()))
        }
        _ => return None,
    };
    (!call.transcript.turns.is_unthinking()).then_some(wanted)
}

/// Whether a model decides itself how much it thinks, as all do from version 4.6 on.
fn is_adaptive(model: &str) -> bool {
    let Some(name) = model
        .rsplit('/')
        .next()
        .and_then(|name| name.strip_prefix("claude-"))
    else {
        return false;
    };
    // `opus-4-6-20260201` has its version behind its name, `3-5-sonnet` before it, and a number of
    // more than two digits is a date.
    let mut numbers = name
        .split(['-', '.'])
        .filter_map(|word| word.parse::<u32>().ok())
        .filter(|number| *number < 100);
    match (numbers.next(), numbers.next().unwrap_or(0)) {
        (Some(major), minor) => (major, minor) >= (4, 6),
        (None, _) => !name.starts_with("instant") && !name.starts_with('v'),
    }
}

/// The budget that stands for an effort.
fn budget_of(effort: Option<&str>) -> i64 {
    match effort {
        Some("none" | "minimal" | "low") => 2_048,
        Some("high") => 16_384,
        Some("xhigh" | "max") => 32_768,
        _ => 8_192,
    }
}

/// Effort and form of the answer.
fn output_config(call: &Call, thinking: Option<Setting>, out: &mut Vec<u8>) {
    let mut config = serde_json::Map::new();
    let from_budget = match (call.thinking, thinking) {
        (Thinking::Budget(tokens), Some(Setting::Adaptive)) => Some(effort_of(tokens)),
        _ => None,
    };
    let effort = call.reasoning_effort.as_deref().map(|effort| match effort {
        "none" | "minimal" => "low",
        effort => effort,
    });
    if let Some(effort) = effort
        .or(from_budget)
        .filter(|_| call.accepts(Parameter::Effort))
    {
        config.insert("effort".to_owned(), effort.into());
    }
    let schema = call
        .response_format
        .as_ref()
        .filter(|format| format.get("type").and_then(Value::as_str) == Some("json_schema"))
        .and_then(|format| format.pointer("/json_schema/schema"));
    if let Some(schema) = schema.filter(|_| call.accepts(Parameter::OutputFormat)) {
        let format = json!({"type": "json_schema", "schema": schema});
        config.insert("format".to_owned(), format);
    }
    if !config.is_empty() {
        json::field(out, "output_config", &config);
    }
}

/// The effort that stands for a budget.
const fn effort_of(budget: i64) -> &'static str {
    match budget {
        ..=4_096 => "low",
        4_097..=12_288 => "medium",
        _ => "high",
    }
}
