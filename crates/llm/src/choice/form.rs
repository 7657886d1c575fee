//! The form of the answer: what the model is told of it, and the schema that servers enforce.
//!
//! Kept short for weak models. They fill whatever they may fill, and copy whatever looks like an example,
//! so they are shown one line per tool, the arguments that a call needs, and examples that can be copied
//! without harm.

use serde_json::{Value, json};

use super::{plain::in_words, turn::TurnSoFar};
use crate::{
    calls::Call,
    forced::{allowed, any_of},
    toolset::ToolSpec,
};

/// Characters of what is searched for.
const MAX_SEARCH_CHARS: i64 = 300;

/// Above this, servers refuse a limit on characters or become slow.
const MAX_LIMITED_CHARS: i64 = 2_000;

/// Characters that a token has at least, in most languages that use letters.
const CHARS_PER_TOKEN: i64 = 3;

/// Tokens of an answer that are not its words.
const FRAME_TOKENS: i64 = 16;

/// What the model is told, at the end of its system prompt: the same in every step, so that the server has
/// read it already.
pub(super) fn instruction(call: &Call) -> String {
    let mut text = "Answer with one JSON object and nothing else.\n\
         To say something: {\"answer\": \"what you say\"}\n\
         To use a tool: {\"name\": \"the tool\", \"arguments\": {...}}; its result comes with the next \
         message.\nThe tools and their arguments:"
        .to_owned();
    for tool in call.tools.specs() {
        text.push_str(&line(tool));
    }
    if !examples(call).is_empty() {
        text.push_str(
            "\nThe first messages are examples of the form; they are not about the user.",
        );
    }
    text
}

/// What is said at the end of the last message when a tool has to be called and no schema says so.
pub(super) fn demand(call: &Call) -> String {
    let names: Vec<&str> = allowed(call).map(|tool| tool.name.as_str()).collect();
    format!("\n\nNow use a tool: {}.", names.join(" or "))
}

/// Questions and what is found for them: nothing that anybody asks an agent, and the question itself as
/// what is searched for, which every search takes.
const EXAMPLES: [(&str, &str); 2] = [
    ("Where is the ladder?", "The ladder is in the garage."),
    ("Who repairs the roof?", "Mister Olsen repairs the roof."),
];

/// Messages that show a question, the search for it, what it finds, and the answer. Weak models hardly
/// follow what they are told, but go on as a conversation went so far.
pub(super) fn examples(call: &Call) -> Vec<Value> {
    let tools = call.tools.specs().iter();
    let mut searches = tools.filter(|tool| call.tools.is_search(&tool.name));
    let Some((tool, argument)) = searches.find_map(|tool| Some((&tool.name, text_argument(tool)?)))
    else {
        return Vec::new();
    };
    let messages = EXAMPLES.into_iter().flat_map(|(question, answer)| {
        let call = json!({"name": tool, "arguments": {&argument: question}}).to_string();
        let found = json!({"message": "1 found.", "results": [{"content": answer, "timestamp": "2026-01-31"}]}).to_string();
        [
            ("user", question.to_owned()),
            ("assistant", call),
            ("user", result(tool, &found)),
            ("assistant", json!({"answer": answer}).to_string()),
        ]
    });
    messages
        .map(|(role, content)| json!({"role": role, "content": content}))
        .collect()
}

/// What a tool returned, as the user's message.
pub(super) fn result(tool: &str, text: &str) -> String {
    format!("Result of {tool}: {}", in_words(text))
}

/// A tool in a line: its name, its arguments, what it does.
fn line(tool: &ToolSpec) -> String {
    let arguments: Vec<String> = needed(&tool.parameters)
        .into_iter()
        .map(|name| match choices(property(&tool.parameters, &name)) {
            Some(choices) => format!("{name}: {}", choices.join("|")),
            None => name,
        })
        .collect();
    let does = first_sentence(&tool.description);
    format!("\n- {}({}): {does}", tool.name, arguments.join(", "))
}

/// The words that a property may be, where these are limited.
fn choices(property: Option<&Value>) -> Option<Vec<&str>> {
    let choices = property?.get("enum")?.as_array()?;
    choices.iter().map(Value::as_str).collect()
}

fn first_sentence(text: &str) -> &str {
    let paragraph = text.trim().lines().next().unwrap_or_default();
    let end = paragraph.find(". ").map_or(paragraph.len(), |at| at + 1);
    paragraph.get(..end).unwrap_or(paragraph)
}

fn property<'a>(parameters: &'a Value, name: &str) -> Option<&'a Value> {
    parameters.get("properties")?.get(name)
}

/// The arguments that a call is to have: those that are required. A tool that requires none has its first;
/// one that requires nothing but words to choose from has all, since it is that choice which says what else
/// is needed.
fn needed(parameters: &Value) -> Vec<String> {
    let all: Vec<String> = parameters
        .get("properties")
        .and_then(Value::as_object)
        .map(|properties| properties.keys().cloned().collect())
        .unwrap_or_default();
    let required = required(parameters);
    let is_choice = |name: &String| choices(property(parameters, name)).is_some();
    if required.is_empty() {
        all.into_iter().take(1).collect()
    } else if required.iter().all(is_choice) {
        all
    } else {
        required
    }
}

fn required(parameters: &Value) -> Vec<String> {
    let required = parameters.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    names.map(str::to_owned).collect()
}

/// The argument of a search that says what is looked for, when it needs nothing else.
fn text_argument(tool: &ToolSpec) -> Option<String> {
    let needed = needed(&tool.parameters);
    let [only] = needed.as_slice() else {
        return None;
    };
    let kind = property(&tool.parameters, only)?.get("type")?;
    (kind == "string").then(|| only.clone())
}

/// The schema of the answer: the tools that the turn leaves open, and words.
pub(super) fn schema(call: &Call, turn: &TurnSoFar) -> Value {
    let must_call = call.needs_tool_call();
    let mut choices: Vec<Value> = allowed(call)
        .filter(|tool| must_call || !turn.closes(&call.tools, &tool.name))
        .map(|tool| choice(call, tool))
        .collect();
    if !must_call {
        let mut words = json!({"type": "string"});
        limit(&mut words, most_chars(call));
        choices.push(json!({
            "type": "object",
            "properties": {"answer": words},
            "required": ["answer"],
            "additionalProperties": false,
        }));
    }
    any_of(choices)
}

fn choice(call: &Call, tool: &ToolSpec) -> Value {
    let is_search = call.tools.is_search(&tool.name);
    let most = most_chars(call).unwrap_or(i64::MAX).min(MAX_SEARCH_CHARS);
    json!({
        "type": "object",
        "properties": {
            "name": {"type": "string", "enum": [tool.name]},
            "arguments": arguments(&tool.parameters, is_search.then_some(most)),
        },
        "required": ["name", "arguments"],
        "additionalProperties": false,
    })
}

/// The parameters of a tool without what is not needed, and with a limit on texts. Only searches have such
/// a limit: a text that ends at a limit is not told from a whole one, and half a text must not be stored.
fn arguments(parameters: &Value, most: Option<i64>) -> Value {
    let needed = needed(parameters);
    let mut narrowed = parameters.clone();
    if let Some(properties) = narrowed
        .get_mut("properties")
        .and_then(Value::as_object_mut)
    {
        properties.retain(|name, _| needed.contains(name));
        for property in properties.values_mut() {
            limit(property, most);
        }
    }
    let required = if most.is_some() && required(parameters).is_empty() {
        // A search for nothing finds nothing.
        needed
    } else {
        required(parameters)
    };
    if let Some(fields) = narrowed.as_object_mut() {
        if !required.is_empty() {
            fields.insert("required".to_owned(), required.into());
        }
        fields
            .entry("additionalProperties")
            .or_insert(Value::Bool(false));
    }
    narrowed
}

/// Characters of words that the limit on tokens leaves room for, where that is a limit which servers take.
/// This process takes any: its calls may go on past the limit on tokens, which words must not.
fn most_chars(call: &Call) -> Option<i64> {
    let tokens = call.max_tokens?.saturating_sub(FRAME_TOKENS).max(1);
    let takes_any = call.endpoint.config().in_process.is_some();
    Some(tokens.saturating_mul(CHARS_PER_TOKEN))
        .filter(|chars| takes_any || *chars <= MAX_LIMITED_CHARS)
}

/// Limits a text that has no other limit.
fn limit(property: &mut Value, most: Option<i64>) {
    let (Some(most), Some(fields)) = (most, property.as_object_mut()) else {
        return;
    };
    let is_limited = ["enum", "const", "pattern", "format", "maxLength"]
        .iter()
        .any(|key| fields.contains_key(*key));
    if fields.get("type").is_some_and(|kind| kind == "string") && !is_limited {
        fields.insert("maxLength".to_owned(), most.into());
    }
}
