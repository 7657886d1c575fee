//! What clients of OpenAI's API say: the newest message of the user, and what cannot be asked for.

use serde::Deserialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    content::{Content, InputImage, InputPart},
    error::ApiError,
};

/// Characters of a user's name.
const MAX_USER: usize = 512;

/// A message, or another item of an input.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
pub struct Said {
    /// Who speaks; other items have none.
    pub role: Option<String>,
    /// A text, or a list of parts.
    #[schema(value_type = Option<serde_json::Value>)]
    pub content: Option<Value>,
    /// The speaker's name.
    pub name: Option<String>,
    /// What it is; a message when left out.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// The newest message of the user among what a client sends.
///
/// # Errors
/// There is none, what comes last is the result of a tool, or the message has something other than
/// texts and images.
pub fn newest(said: Vec<Said>, param: &'static str) -> Result<(Content, Option<String>), ApiError> {
    let is_result = |item: &Said| {
        let role = item.role.as_deref().unwrap_or_default();
        let kind = item.kind.as_deref().unwrap_or_default();
        ["tool", "function"].contains(&role) || kind.ends_with("_call_output")
    };
    if said.last().is_some_and(is_result) {
        return Err(invalid(
            param,
            "this server does not take results of tools: agents run their tools themselves",
        ));
    }
    let mut from_user = said
        .into_iter()
        .rev()
        .filter(|item| item.role.as_deref() == Some("user"));
    let newest = from_user.next().ok_or_else(|| {
        invalid(
            param,
            "there is no message with the role 'user': the newest one is what the agent is told",
        )
    })?;
    let value = newest
        .content
        .ok_or_else(|| invalid(param, "the user's message has no content"))?;
    Ok((content(value, param)?, newest.name))
}

/// The content of a message.
fn content(value: Value, param: &'static str) -> Result<Content, ApiError> {
    match value {
        Value::String(text) => Ok(Content::Text(text)),
        Value::Array(parts) if parts.is_empty() => {
            Err(invalid(param, "the user's message has no content"))
        }
        Value::Array(parts) => {
            let parts = parts.iter().map(|value| part(value, param));
            Ok(Content::Parts(parts.collect::<Result<_, _>>()?))
        }
        _ => Err(invalid(
            param,
            "the content of a message is a text or a list of parts",
        )),
    }
}

/// A part as either of the two routes writes it.
fn part(value: &Value, param: &'static str) -> Result<InputPart, ApiError> {
    let text_of = |field: &str| value.get(field).and_then(Value::as_str).map(str::to_owned);
    let kind = value.get("type").and_then(Value::as_str);
    match kind {
        Some("text" | "input_text") => {
            let text = text_of("text")
                .ok_or_else(|| invalid(param, "a part of the type 'text' needs a text"))?;
            Ok(InputPart::Text { text })
        }
        Some("image_url" | "input_image") => {
            let image = value.get("image_url");
            let url = image.and_then(|image| image.get("url").unwrap_or(image).as_str());
            let url = url.ok_or_else(|| {
                invalid(
                    param,
                    "an image needs its image_url, on the web or as a data: URL",
                )
            })?;
            let url = url.to_owned();
            Ok(InputPart::Image {
                source: InputImage::Url { url },
            })
        }
        other => Err(invalid(
            param,
            &format!(
                "parts of the type '{}' are not taken: send texts and images",
                other
                    .unwrap_or("(none)")
                    .chars()
                    .take(100)
                    .collect::<String>()
            ),
        )),
    }
}

/// Whose thread is meant: the end user that the client names.
///
/// # Errors
/// The name is too long.
pub fn user(named: [Option<String>; 2]) -> Result<Option<String>, ApiError> {
    let user = named.into_iter().flatten().find(|name| !name.is_empty());
    match user {
        Some(name) if name.chars().count() > MAX_USER => Err(invalid(
            "user",
            &format!("the name of a user has at most {MAX_USER} characters"),
        )),
        other => Ok(other),
    }
}

/// Refuses what a client relies on and this server cannot do.
///
/// # Errors
/// The first of the options that is asked for.
pub fn refuse(options: &[(bool, &'static str, &str)]) -> Result<(), ApiError> {
    let asked = options.iter().find(|(is_asked, ..)| *is_asked);
    asked.map_or(Ok(()), |(_, param, why)| {
        Err(invalid(param, why).about(param, Some("unsupported_parameter")))
    })
}

/// Whether a list has anything in it.
#[must_use]
pub fn is_some<T>(list: Option<&Vec<T>>) -> bool {
    list.is_some_and(|list| !list.is_empty())
}

/// Why client tools are refused.
pub const NO_TOOLS: &str = "agents run their own tools here, and calls of a client's tools are not passed on: \
                            attach the tools to the agent, or send the request without them";

/// Why a form of the answer is refused.
pub const NO_FORMAT: &str =
    "an agent answers in text: ask for the format in the message, or let the client parse";

/// 400 about a field.
pub fn invalid(param: &'static str, why: &str) -> ApiError {
    ApiError::bad_request(why).about(param, None)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(messages: Value) -> Result<Content, ApiError> {
        newest(serde_json::from_value(messages).unwrap(), "messages").map(|(content, _)| content)
    }

    #[test]
    fn the_newest_message_of_the_user_is_taken_and_the_rest_is_not() {
        let messages = json!([
            {"role": "system", "content": "Be terse."},
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": "1"},
            {"role": "user", "content": "two"},
            {"role": "assistant", "content": null},
        ]);
        assert_eq!(read(messages).unwrap(), Content::Text("two".to_owned()));
    }

    #[test]
    fn parts_of_both_routes_are_read() {
        let url = "https://example.org/a.png";
        let wanted = Content::Parts(vec![
            InputPart::Text {
                text: "See".to_owned(),
            },
            InputPart::Image {
                source: InputImage::Url {
                    url: url.to_owned(),
                },
            },
        ]);
        let chat = json!([{"type": "text", "text": "See"},
                          {"type": "image_url", "image_url": {"url": url, "detail": "low"}}]);
        let responses = json!([{"type": "input_text", "text": "See"},
                               {"type": "input_image", "image_url": url}]);
        for parts in [chat, responses] {
            let read = read(json!([{"role": "user", "content": parts}]));
            assert_eq!(read.unwrap(), wanted);
        }
    }

    #[test]
    fn what_an_agent_cannot_be_told_is_refused() {
        let table = [
            json!([]),
            json!([{"role": "system", "content": "Be terse."}]),
            json!([{"role": "user"}]),
            json!([{"role": "user", "content": []}]),
            json!([{"role": "user", "content": 5}]),
            json!([{"role": "user", "content": [{"type": "input_audio"}]}]),
            json!([{"role": "user", "content": [{"type": "text"}]}]),
            json!([{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]),
            json!([{"role": "user", "content": "a"}, {"type": "function_call_output", "output": "b"}]),
        ];
        for messages in table {
            let refused = read(messages.clone()).map_err(|error| error.status().as_u16());
            assert_eq!(refused, Err(400), "{messages}");
        }
    }

    #[test]
    fn a_user_is_a_short_name() {
        let name = |text: &str| Some(text.to_owned());
        assert_eq!(user([None, None]).unwrap(), None);
        assert_eq!(user([name(""), name("b")]).unwrap(), name("b"));
        assert_eq!(user([name("a"), name("b")]).unwrap(), name("a"));
        assert!(user([name(&"x".repeat(513)), None]).is_err());
    }
}
