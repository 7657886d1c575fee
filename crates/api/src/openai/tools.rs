//! Tools that a client of OpenAI's API runs itself: they become client tools of the turn, beside the agent's own.

use mnemic_engine::{AskedChoice, ClientTool};
use serde_json::Value;

use super::input::invalid;
use crate::{
    error::ApiError,
    send_request::{self, ClientToolBody},
};

/// What a request says of its client's tools.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientSide {
    /// The tools.
    pub tools: Vec<ClientTool>,
    /// What has to be called.
    pub choice: Option<AskedChoice>,
}

impl ClientSide {
    /// Reads the fields `tools` and `tool_choice` of either route: where chat completions have an object `function`,
    /// responses have its fields beside the type.
    ///
    /// # Errors
    /// A tool is not a function that models can call, or the choice is none of them.
    pub fn read(tools: Option<Vec<Value>>, choice: Option<&Value>) -> Result<Self, ApiError> {
        let tools = tools.unwrap_or_default();
        let read = tools.into_iter().map(function);
        let given = read.collect::<Result<Vec<_>, _>>()?;
        let tools = send_request::client_tools(given);
        let tools = tools.map_err(|issue| invalid("tools", &issue.msg))?;
        let side = Self {
            tools,
            choice: None,
        };
        side.chosen(choice)
    }

    /// The names of the tools.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        self.tools.iter().map(|tool| tool.name.clone()).collect()
    }

    fn chosen(mut self, choice: Option<&Value>) -> Result<Self, ApiError> {
        let Some(choice) = choice.filter(|choice| !choice.is_null()) else {
            return Ok(self);
        };
        if let Some(word) = choice.as_str() {
            match word {
                "auto" => {}
                "none" => self.tools.clear(),
                "required" => self.choice = Some(AskedChoice::Any),
                _ => return Err(unknown_choice()),
            }
            return Ok(self);
        }
        let kind = choice.get("type").and_then(Value::as_str);
        let name = choice
            .get("function")
            .unwrap_or(choice)
            .get("name")
            .and_then(Value::as_str);
        let (Some("function"), Some(name)) = (kind, name) else {
            return Err(unknown_choice());
        };
        if !self.tools.iter().any(|tool| tool.name == name) {
            return Err(invalid(
                "tool_choice",
                &format!(
                    "tool_choice names '{}', which is none of the tools",
                    short(name)
                ),
            ));
        }
        self.choice = Some(AskedChoice::Tool(name.to_owned()));
        Ok(self)
    }
}

fn unknown_choice() -> ApiError {
    invalid(
        "tool_choice",
        "tool_choice is 'none', 'auto', 'required' or a function of the tools",
    )
}

fn short(text: &str) -> String {
    text.chars().take(100).collect()
}

/// A tool of either route.
fn function(tool: Value) -> Result<ClientToolBody, ApiError> {
    let kind = tool.get("type").and_then(Value::as_str).unwrap_or("(none)");
    if kind != "function" {
        let why = format!(
            "tools of the type '{}' are not run here: give functions, or attach the tool to the agent",
            short(kind)
        );
        return Err(invalid("tools", &why));
    }
    let fields = tool.get("function").unwrap_or(&tool);
    let text = |field: &str| fields.get(field).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").ok_or_else(|| invalid("tools", "a function needs a name"))?;
    let parameters = fields.get("parameters").filter(|value| !value.is_null());
    Ok(ClientToolBody {
        name,
        description: text("description"),
        parameters: parameters.cloned(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(tool: Value, choice: Value) -> Result<ClientSide, ApiError> {
        ClientSide::read(Some(vec![tool]), Some(&choice))
    }

    #[test]
    fn tools_of_both_routes_are_read_alike() {
        let fields = json!({"name": "pick", "description": "Picks.", "parameters": {"type": "object"}, "strict": true});
        let chat = json!({"type": "function", "function": fields});
        let mut responses = fields;
        responses["type"] = json!("function");
        let wanted = read(
            chat,
            json!({"type": "function", "function": {"name": "pick"}}),
        )
        .unwrap();
        assert_eq!(wanted.choice, Some(AskedChoice::Tool("pick".to_owned())));
        assert_eq!(wanted.tools[0].parameters, json!({"type": "object"}));
        assert_eq!(
            read(responses, json!({"type": "function", "name": "pick"})).unwrap(),
            wanted
        );
    }

    #[test]
    fn choices_are_read() {
        let tool = json!({"type": "function", "name": "pick"});
        let choice = |choice| read(tool.clone(), choice);
        assert_eq!(choice(json!("auto")).unwrap().choice, None);
        assert_eq!(choice(Value::Null).unwrap().tools.len(), 1);
        assert_eq!(choice(json!("none")).unwrap().tools, []);
        assert_eq!(
            choice(json!("required")).unwrap().choice,
            Some(AskedChoice::Any)
        );
        for wrong in [
            json!("x"),
            json!(5),
            json!({"type": "function", "name": "other"}),
            json!({"type": "custom"}),
        ] {
            assert_eq!(
                choice(wrong.clone()).unwrap_err().status().as_u16(),
                400,
                "{wrong}"
            );
        }
    }

    #[test]
    fn tools_that_no_model_can_call_are_refused() {
        let table = [
            json!(5),
            json!({"type": "web_search"}),
            json!({"type": "function"}),
            json!({"type": "function", "name": "a b"}),
            json!({"type": "function", "name": "a", "parameters": []}),
        ];
        for tool in table {
            let refused = read(tool.clone(), Value::Null).unwrap_err();
            assert_eq!(refused.status().as_u16(), 400, "{tool}");
        }
    }
}
