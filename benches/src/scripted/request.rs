//! Reading a request: only its end matters, so that a long history costs next to nothing.

use serde::Deserialize;
use serde_json::Value;

use super::gemini;

/// A wire protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// OpenAI's chat completions.
    Chat,
    /// Anthropic's messages.
    Messages,
    /// OpenAI's responses.
    Responses,
    /// Ollama's own.
    Ollama,
    /// Gemini's.
    Gemini,
}

/// What the scripted model needs to know of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The text of the last user message.
    pub text: String,
    /// The contents of the tool messages after it, one list per step.
    pub returns: Vec<String>,
    /// How many steps with calls came after it.
    pub steps: usize,
    pub stream: bool,
    pub include_usage: bool,
    pub bytes: usize,
    /// Whether the answer is to be words or a call in JSON.
    pub by_choice: bool,
}

/// A message in the form of chat completions.
#[derive(Deserialize)]
pub(super) struct Message {
    pub role: String,
    #[serde(default)]
    pub content: Value,
    #[serde(default)]
    pub tool_calls: Value,
}

/// Where the last user message begins in a compact body, as Mnemic writes it. Inside of a JSON text
/// these quotes would be escaped, so they can only be the real thing.
fn last_user(body: &[u8]) -> Option<usize> {
    const MARK: &[u8] = b"{\"role\":\"user\"";
    body.windows(MARK.len()).rposition(|window| window == MARK)
}

/// Reads a request body of chat completions.
pub(super) fn read(body: &[u8]) -> Asked {
    let messages = tail(body).unwrap_or_else(|| whole(body));
    asked(&messages, body)
}

/// Reads a request body of one of the other protocols: brought into the form of chat completions.
pub(super) fn read_as(protocol: Protocol, body: &[u8]) -> Asked {
    let body_value: Value = serde_json::from_slice(body).unwrap_or_default();
    let messages = match protocol {
        Protocol::Chat | Protocol::Ollama => return read(body),
        Protocol::Messages => body_value.get("messages").map(from_messages),
        Protocol::Responses => body_value.get("input").map(from_items),
        Protocol::Gemini => body_value.get("contents").map(gemini::from_contents),
    };
    asked(&messages.unwrap_or_default(), body)
}

/// Anthropic's messages: results of calls are blocks of the user's, calls blocks of the assistant's.
fn from_messages(messages: &Value) -> Vec<Message> {
    let mut found = Vec::new();
    for message in messages.as_array().into_iter().flatten() {
        let role = message
            .get("role")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let content = message.get("content").cloned().unwrap_or_default();
        let blocks = content.as_array().cloned().unwrap_or_default();
        let is = |kind: &str| {
            let kind = kind.to_owned();
            move |block: &&Value| block.get("type").and_then(Value::as_str) == Some(kind.as_str())
        };
        let results: Vec<Message> = blocks
            .iter()
            .filter(is("tool_result"))
            .map(|block| Message {
                role: "tool".to_owned(),
                content: block.get("content").cloned().unwrap_or_default(),
                tool_calls: Value::Null,
            })
            .collect();
        if !results.is_empty() {
            found.extend(results);
            continue;
        }
        let calls = blocks.iter().any(|block| is("tool_use")(&block));
        found.push(Message {
            role: role.to_owned(),
            content,
            tool_calls: if calls {
                Value::Array(Vec::new())
            } else {
                Value::Null
            },
        });
    }
    found
}

/// The items of responses: calls that follow each other are one step.
fn from_items(items: &Value) -> Vec<Message> {
    let mut found: Vec<Message> = Vec::new();
    for item in items.as_array().into_iter().flatten() {
        let field = |name: &str| item.get(name).cloned().unwrap_or_default();
        let (role, content, tool_calls) = match item.get("type").and_then(Value::as_str) {
            Some("function_call") => {
                let follows = found.last().is_some_and(|last| last.tool_calls.is_array());
                if follows {
                    continue;
                }
                ("assistant", Value::Null, Value::Array(Vec::new()))
            }
            Some("function_call_output") => ("tool", field("output"), Value::Null),
            Some("reasoning") => continue,
            _ => {
                let role = item.get("role").and_then(Value::as_str);
                (role.unwrap_or_default(), field("content"), Value::Null)
            }
        };
        found.push(Message {
            role: role.to_owned(),
            content,
            tool_calls,
        });
    }
    found
}

fn asked(messages: &[Message], body: &[u8]) -> Asked {
    let mut asked = Asked {
        bytes: body.len(),
        ..Asked::default()
    };
    for message in messages {
        match message.role.as_str() {
            "user" => {
                asked.text = text(&message.content);
                asked.returns.clear();
                asked.steps = 0;
            }
            "tool" => asked.returns.push(text(&message.content)),
            "assistant" if message.tool_calls.is_array() => asked.steps += 1,
            _ => {}
        }
    }
    // Flags stand before or after the messages; the words cannot stand unescaped in a text.
    asked.stream = contains(body, b"\"stream\":true") || contains(body, b"\"stream\": true");
    asked.by_choice = holds(body, b"\"required\":[\"answer\"]");
    if asked.by_choice && asked.text.starts_with("Result of ") {
        let result = asked.text.split("\n\nNow answer").next();
        asked.returns.extend(result.map(str::to_owned));
        asked.steps = 1;
    }
    asked.include_usage =
        contains(body, b"\"include_usage\":true") || contains(body, b"\"include_usage\": true");
    asked
}

fn contains(body: &[u8], word: &[u8]) -> bool {
    let head = body.get(..body.len().min(2_048)).unwrap_or(body);
    let tail = body.get(body.len().saturating_sub(2_048)..).unwrap_or(body);
    holds(head, word) || holds(tail, word)
}

pub(super) fn holds(part: &[u8], word: &[u8]) -> bool {
    part.windows(word.len()).any(|window| window == word)
}

/// The last user's message before this one that says what to mend.
pub(super) fn mendable(protocol: Protocol, body: &[u8]) -> Option<String> {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let messages = match protocol {
        Protocol::Chat | Protocol::Ollama => whole(body),
        Protocol::Messages => value.get("messages").map(from_messages)?,
        Protocol::Responses => value.get("input").map(from_items)?,
        Protocol::Gemini => value.get("contents").map(gemini::from_contents)?,
    };
    let mut texts = messages.iter().map(|message| text(&message.content));
    texts.rfind(|text| text.contains("[[mend "))
}

/// Whether a body asks a model without tools to use some.
pub(super) fn is_beyond_it(body: &[u8]) -> bool {
    model_is(body, "scripted-toolless") && holds(body, b"\"tools\":[")
}

/// Whether a body is for that model.
pub(super) fn model_is(body: &[u8], name: &str) -> bool {
    let name = format!("\"model\":\"{name}\"");
    let head = body.get(..body.len().min(256)).unwrap_or(body);
    holds(head, name.as_bytes())
}

/// The messages from the last user message on.
fn tail(body: &[u8]) -> Option<Vec<Message>> {
    let from = body.get(last_user(body)?..)?;
    let mut messages = Vec::new();
    let mut rest = from;
    loop {
        let mut stream = serde_json::Deserializer::from_slice(rest).into_iter::<Message>();
        messages.push(stream.next()?.ok()?);
        rest = rest.get(stream.byte_offset()..)?;
        if rest.starts_with(b"]") {
            return Some(messages);
        }
        rest = rest.strip_prefix(b",")?;
    }
}

/// The messages of any body.
fn whole(body: &[u8]) -> Vec<Message> {
    #[derive(Deserialize)]
    struct Body {
        messages: Vec<Message>,
    }
    serde_json::from_slice::<Body>(body)
        .map(|body| body.messages)
        .unwrap_or_default()
}

/// Whether the directives stand in the system prompt, as they do for a summarizer, whose user messages
/// are made of other messages.
pub(super) fn is_directed_by_system(body: &[u8]) -> bool {
    const MARK: &[u8] = b"[[by-system]]";
    // The system prompt comes first.
    let head = body.get(..body.len().min(4_096)).unwrap_or(body);
    head.windows(MARK.len()).any(|window| window == MARK) && system(body).contains("[[by-system]]")
}

/// The system prompt of a body.
pub(super) fn system(body: &[u8]) -> String {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    if let Some(prompt) = value.get("system").or_else(|| value.get("instructions")) {
        return text(prompt);
    }
    if let Some(parts) = value.pointer("/systemInstruction/parts") {
        return text(parts);
    }
    let messages = whole(body);
    let first = messages.iter().find(|message| message.role == "system");
    first
        .map(|message| text(&message.content))
        .unwrap_or_default()
}

/// Whether a body offers a tool, as such or as a form of the answer.
pub(super) fn offers(body: &[u8], name: &str) -> bool {
    let written = [
        format!("\"name\":\"{name}\""),
        format!("\"name\": \"{name}\""),
        format!("\"enum\":[\"{name}\"]"),
    ];
    written.iter().any(|word| holds(body, word.as_bytes()))
}

/// Whether an answer has to be a call, and this tool may be called.
pub(super) fn has_to_call(body: &[u8], name: &str) -> bool {
    let ways = [
        "\"tool_choice\":\"required\"",
        "\"tool_choice\":{\"type\":\"any\"",
        "\"mode\":\"ANY\"",
    ];
    // In a history a call of it has no description.
    let described = format!("\"name\":\"{name}\",\"description\"");
    holds(body, described.as_bytes()) && ways.iter().any(|way| holds(body, way.as_bytes()))
}

fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<&str> = parts
                .iter()
                .filter_map(|part| part.get("text").and_then(Value::as_str))
                .collect();
            texts.join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_reading_find_the_same() {
        let compact = br#"{"model":"m","messages":[{"role":"system","content":"s"},{"role":"user","content":"old"},{"role":"user","content":"do"},{"role":"assistant","content":null,"tool_calls":[]},{"role":"tool","content":"r"}],"stream":true}"#;
        let asked = read(compact);
        assert_eq!(
            (asked.text.as_str(), asked.returns.len(), asked.steps),
            ("do", 1, 1)
        );
        assert!(asked.stream);
        assert_eq!(tail(compact).map(|messages| messages.len()), Some(3));
        let value: Value = serde_json::from_slice(compact).unwrap();
        let pretty = serde_json::to_vec_pretty(&value).unwrap();
        assert_eq!(
            Asked {
                bytes: 0,
                ..read(&pretty)
            },
            Asked { bytes: 0, ..asked }
        );
    }
}
