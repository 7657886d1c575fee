//! What clients of OpenAI's API say: the newest message of the user, results of tools, and what cannot be asked for.

use mnemic_core::validation;
use serde::Deserialize;
use serde_json::{Value, json};
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
    /// Of the result of a tool: its call, in chat completions.
    pub tool_call_id: Option<String>,
    /// Of the result of a tool: its call, in responses.
    pub call_id: Option<String>,
    /// Of the result of a tool: what it returned, in responses.
    #[schema(value_type = Option<serde_json::Value>)]
    pub output: Option<Value>,
}

/// What is new in what a client sends.
#[derive(Debug, Clone, PartialEq)]
pub struct Heard {
    /// The message of the user, with the speaker's name.
    pub message: Option<(Content, Option<String>)>,
    /// What the client's tools returned.
    pub results: Vec<ToolResult>,
}

/// What a client's tool returned.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolResult {
    /// The call.
    pub call_id: String,
    /// A text, or a list of texts and images, as the V1 API has them.
    pub value: Value,
    /// Whether it stands after all that the agent said; others are a repetition of the past, unless the agent waits
    /// for them.
    pub is_new: bool,
}

impl Heard {
    /// A text of the user.
    #[must_use]
    pub const fn text(text: String) -> Self {
        Self {
            message: Some((Content::Text(text), None)),
            results: Vec::new(),
        }
    }
}

impl Said {
    /// Whether the agent said it.
    fn is_agents(&self) -> bool {
        self.role.as_deref() == Some("assistant")
            || matches!(self.kind.as_deref(), Some("function_call" | "reasoning"))
    }

    fn is_users(&self) -> bool {
        self.role.as_deref() == Some("user")
    }

    fn is_result(&self) -> bool {
        let kind = self.kind.as_deref().unwrap_or_default();
        matches!(self.role.as_deref(), Some("tool" | "function")) || kind.ends_with("_call_output")
    }

    /// The result that this is.
    fn result(self, is_new: bool, param: &'static str) -> Result<ToolResult, ApiError> {
        let is_function = self
            .kind
            .as_deref()
            .is_none_or(|kind| kind == "function_call_output");
        let id = self
            .tool_call_id
            .or(self.call_id)
            .filter(|id| !id.is_empty());
        let (true, Some(call_id)) = (is_function, id) else {
            return Err(invalid(
                param,
                "the result of a tool needs the id of its call, as 'tool_call_id' of a message with the role 'tool' or \
                 'call_id' of a 'function_call_output'",
            ));
        };
        let value = returned(self.output.or(self.content), param)?;
        Ok(ToolResult {
            call_id,
            value,
            is_new,
        })
    }
}

/// What is new in what a client sends: results of its tools, and the newest message of the user; where results come last,
/// only a message that stands among them.
///
/// # Errors
/// There is neither, or one of them has something other than texts and images.
pub fn heard(said: Vec<Said>, param: &'static str) -> Result<Heard, ApiError> {
    let new_from = said
        .iter()
        .rposition(Said::is_agents)
        .map_or(0, |last| last + 1);
    let has_new_results = said.iter().skip(new_from).any(Said::is_result);
    let (mut results, mut newest) = (Vec::new(), None);
    for (place, item) in said.into_iter().enumerate() {
        let is_new = place >= new_from;
        if item.is_users() && (is_new || !has_new_results) {
            newest = Some(item);
        } else if item.is_result() {
            match item.result(is_new, param) {
                Ok(result) => results.push(result),
                Err(error) if is_new => return Err(error),
                Err(_) => {}
            }
        }
    }
    let Some(newest) = newest else {
        if has_new_results {
            return Ok(Heard {
                message: None,
                results,
            });
        }
        return Err(invalid(
            param,
            "there is no message with the role 'user': the newest one is what the agent is told",
        ));
    };
    let value = newest
        .content
        .ok_or_else(|| invalid(param, "the user's message has no content"))?;
    Ok(Heard {
        message: Some((content(value, param)?, newest.name)),
        results,
    })
}

/// What a tool returned, in the form of the V1 API.
fn returned(value: Option<Value>, param: &'static str) -> Result<Value, ApiError> {
    match value {
        None | Some(Value::Null) => Ok(json!("")),
        Some(Value::Array(parts)) if parts.is_empty() => Ok(json!("")),
        Some(value) => Ok(match content(value, param)? {
            Content::Text(text) => json!(text),
            Content::Parts(parts) => json!(parts),
        }),
    }
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
/// The name is empty, too long, or none that a user can have.
pub fn user(named: [Option<String>; 2]) -> Result<Option<String>, ApiError> {
    let user = named.into_iter().flatten().next();
    match user {
        Some(name) if name.chars().count() > MAX_USER => Err(invalid(
            "user",
            &format!("the name of a user has at most {MAX_USER} characters"),
        )),
        Some(name) => match validation::user_id(&name, usize::MAX) {
            Ok(()) => Ok(Some(name)),
            Err(error) => Err(invalid("user", &error.to_string())),
        },
        None => Ok(None),
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

    fn all(messages: Value) -> Result<Heard, ApiError> {
        heard(serde_json::from_value(messages).unwrap(), "messages")
    }

    fn read(messages: Value) -> Result<Content, ApiError> {
        all(messages).map(|heard| heard.message.unwrap().0)
    }

    /// Ids of results with whether they are new, and whether there is a message of the user.
    fn results(messages: Value) -> (Vec<(String, bool)>, bool) {
        let heard = all(messages).unwrap();
        let ids = heard
            .results
            .into_iter()
            .map(|result| (result.call_id, result.is_new));
        (ids.collect(), heard.message.is_some())
    }

    #[test]
    fn results_of_tools_are_new_after_what_the_agent_said() {
        let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "r"});
        let user = json!({"role": "user", "content": "a"});
        let agent = json!({"role": "assistant", "content": null, "tool_calls": []});
        let id = |id: &str, is_new| (id.to_owned(), is_new);
        assert_eq!(
            results(json!([
                user,
                agent,
                result("1"),
                agent,
                result("2"),
                result("3")
            ])),
            (vec![id("1", false), id("2", true), id("3", true)], false)
        );
        assert_eq!(
            results(json!([user, agent, result("1"), user])),
            (vec![id("1", true)], true)
        );
        assert_eq!(
            results(json!([user, agent, result("1"), agent, user])),
            (vec![id("1", false)], true)
        );
        let output =
            |id: &str| json!({"type": "function_call_output", "call_id": id, "output": "r"});
        assert_eq!(results(json!([output("1")])), (vec![id("1", true)], false));
        let call = json!({"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"});
        assert_eq!(
            results(json!([user, call, output("1")])),
            (vec![id("1", true)], false)
        );
    }

    #[test]
    fn what_tools_return_is_read_in_both_forms() {
        let url = "https://example.org/a.png";
        let parts = json!([{"type": "input_text", "text": "See"}, {"type": "input_image", "image_url": url}]);
        let table = [
            (json!("r"), json!("r")),
            (Value::Null, json!("")),
            (json!([]), json!("")),
            (
                parts,
                json!([{"type": "text", "text": "See"},
                       {"type": "image", "source": {"type": "url", "url": url}}]),
            ),
        ];
        for (given, wanted) in table {
            let messages =
                json!([{"type": "function_call_output", "call_id": "1", "output": given}]);
            assert_eq!(all(messages).unwrap().results[0].value, wanted);
        }
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
        assert!(user([name(""), name("b")]).is_err());
        assert_eq!(user([name("a"), name("b")]).unwrap(), name("a"));
        assert!(user([name(&"x".repeat(513)), None]).is_err());
    }
}
