//! Answers that have a given form, from any model: as the arguments of a tool that must be called, which
//! every protocol with tools can force, or as the form of the text for models without tools.

mod check;

use std::sync::Arc;

use mnemic_core::{
    messages::{MessageBody, Role},
    runs::Usage,
};
use serde_json::{Map, Value, json};

use crate::{
    calls::{Call, Thinking, ToolChoice},
    choice,
    client::Client,
    completion::Completion,
    endpoints::Protocol,
    errors::LlmError,
    repair,
    toolset::{ToolSet, ToolSpec},
    transcript::MessageView,
};

/// The tool whose arguments are the answer.
const ANSWER: &str = "answer";

/// How often a model is asked that does not keep to the form.
const TRIES: usize = 2;

/// Where the definitions stand that a schema refers to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// The form of an answer.
#[derive(Debug, Clone)]
struct Form {
    /// An object's schema: tools take nothing else.
    schema: Value,
    /// Whether the answer is the object's only field.
    is_wrapped: bool,
}

impl Form {
    fn of(schema: &Value) -> Self {
        let is_object = schema.get("type").is_some_and(|kind| kind == "object");
        if is_object {
            return Self {
                schema: schema.clone(),
                is_wrapped: false,
            };
        }
        let mut inner = schema.clone();
        let mut outer = Map::new();
        // References are from the root.
        for key in DEFINITIONS {
            if let Some(definitions) = inner.as_object_mut().and_then(|fields| fields.remove(key)) {
                outer.insert(key.to_owned(), definitions);
            }
        }
        outer.insert("type".to_owned(), "object".into());
        outer.insert("properties".to_owned(), json!({ ANSWER: inner }));
        outer.insert("required".to_owned(), json!([ANSWER]));
        Self {
            schema: Value::Object(outer),
            is_wrapped: true,
        }
    }

    fn tool(&self) -> ToolSet {
        let spec = ToolSpec {
            name: ANSWER.to_owned(),
            description: "Takes your answer, in the form that was asked for.".to_owned(),
            parameters: self.schema.clone(),
        };
        ToolSet::new(&[spec]).strict(|_| true)
    }

    /// The answer in a completion; an error's words when there is none.
    fn read(&self, call: &Call, completion: &Completion) -> Result<Value, String> {
        let calls = &completion.body.tool_calls;
        let given = calls.iter().find(|call| call.name == ANSWER);
        let value = match given {
            Some(given) => {
                let text =
                    repair::arguments(&given.arguments).map_err(|error| error.to_string())?;
                let value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
                call.tools.meant(ANSWER, value)
            }
            None => in_text(completion.body.plain_text().trim())?,
        };
        let Some(fields) = value.as_object() else {
            return Err("it is no JSON object".to_owned());
        };
        check::check(&self.schema, &value)?;
        Ok(match self.is_wrapped {
            true => fields.get(ANSWER).cloned().unwrap_or_default(),
            false => value,
        })
    }

    /// What a model without tools is told.
    fn instruction(&self) -> String {
        format!(
            "Answer with one JSON object of this schema, and nothing else:\n{}",
            self.schema
        )
    }
}

impl Client {
    /// Makes a call without tools whose answer is a JSON value of a schema, whatever its model can do. What it took is told
    /// with a failure as well.
    ///
    /// # Errors
    /// The call fails, or the model does not keep to the form when it is asked for a second time.
    pub async fn structured(
        &self,
        call: &Call,
        schema: &Value,
    ) -> (Result<Value, LlmError>, Option<Usage>) {
        let form = Form::of(schema);
        let call = in_form(call, &form);
        let mut usage: Option<Usage> = None;
        let mut told = call.clone();
        let mut reason = String::new();
        for _ in 0..TRIES {
            let completion = match self.call(&told).await {
                Ok(completion) => completion,
                Err(error) => return (Err(error), usage),
            };
            if let Some(more) = &completion.usage {
                usage.get_or_insert_default().add(more);
            }
            reason = match form.read(&call, &completion) {
                Ok(value) => return (Ok(value), usage),
                Err(reason) => reason,
            };
            tracing::info!(model = call.model, reason, "an answer is not in its form");
            told = call.clone();
            say(
                &mut told,
                format!(
                    "Your last answer was of no use: {reason}. {}",
                    form.instruction()
                ),
            );
        }
        let error = LlmError::InvalidResponse {
            provider: call.endpoint.name().to_owned(),
            message: format!("the model does not answer in the form of response_schema: {reason}"),
        };
        (Err(error), usage)
    }
}

/// The call with its form.
fn in_form(call: &Call, form: &Form) -> Call {
    let mut forced = call.clone();
    forced.response_format = None;
    forced.tools = Arc::new(form.tool());
    forced.tool_choice = ToolChoice::Tool(ANSWER.to_owned());
    forced.parallel_tool_calls = None;
    if !choice::applies(&forced) {
        return forced;
    }
    let mut plain = call.clone();
    plain.system = call.system.with(&format!("\n\n{}", form.instruction()));
    plain.response_format = Some(json!({
        "type": "json_schema",
        "json_schema": {"name": ANSWER, "schema": form.schema},
    }));
    if call.endpoint.protocol() == Protocol::Ollama {
        // It would hold the thoughts to the schema as well.
        plain.thinking = Thinking::Disabled;
    }
    plain
}

/// The JSON in a text, around which models like to put words.
fn in_text(text: &str) -> Result<Value, String> {
    let inside = || text.get(text.find('{')?..=text.rfind('}')?);
    match repair::value(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => inside()
            .and_then(|inside| repair::value(inside).ok())
            .ok_or_else(|| error.to_string()),
    }
}

fn say(call: &mut Call, text: String) {
    call.transcript.push(&MessageView {
        role: Role::User,
        body: &MessageBody::text(text),
        name: None,
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Endpoint, EndpointConfig, SystemPrompt, Transcript};
    use mnemic_core::messages::ToolCall;

    fn call() -> Call {
        let endpoint = Endpoint::new(EndpointConfig::new("desk", "http://127.0.0.1:9/v1")).unwrap();
        let transcript = Transcript::for_endpoint(&endpoint);
        Call::new(Arc::new(endpoint), "m", SystemPrompt::new(""), transcript)
    }

    fn answered(text: &str, arguments: Option<&str>) -> Completion {
        let call = |arguments: &str| ToolCall {
            id: "1".into(),
            name: ANSWER.into(),
            arguments: arguments.into(),
        };
        let mut body = MessageBody::text(text.to_owned());
        body.tool_calls = arguments.map(call).into_iter().collect();
        Completion {
            body,
            ..Completion::default()
        }
    }

    #[test]
    fn a_schema_that_is_no_object_is_put_into_one_and_taken_out_again() {
        let schema = json!({"type": "array", "items": {"$ref": "#/$defs/n"}, "$defs": {"n": {"type": "integer"}}});
        let form = Form::of(&schema);
        assert_eq!(form.schema["$defs"]["n"]["type"], "integer");
        assert_eq!(form.schema["properties"]["answer"]["type"], "array");
        let call = in_form(&call(), &form);
        let read = |arguments| form.read(&call, &answered("", Some(arguments)));
        assert_eq!(read(r#"{"answer": [1, 2]}"#), Ok(json!([1, 2])));
        assert!(read("{}").unwrap_err().contains("lacks answer"));
    }

    #[test]
    fn an_answer_is_read_from_the_call_or_from_the_text_and_mended() {
        let form = Form::of(
            &json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}),
        );
        let call = in_form(&call(), &form);
        let read = |text, arguments| form.read(&call, &answered(text, arguments));
        assert_eq!(read("", Some("{'n': 1,}")), Ok(json!({"n": 1})));
        assert_eq!(read("```json\n{\"n\": 2}\n```", None), Ok(json!({"n": 2})));
        assert_eq!(
            read("Here it is: {\"n\": 3} Anything else?", None),
            Ok(json!({"n": 3}))
        );
        assert!(read("No.", None).is_err());
        assert!(read("{}", None).unwrap_err().contains("lacks n"));
    }
}
