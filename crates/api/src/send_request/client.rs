//! What a request says of its client: tools that it runs, skills that it has, and answers to calls that wait for it.

use std::collections::HashSet;

use mnemic_core::messages::{CallAnswer, ToolStatus};
use mnemic_engine::{ClientSkill, ClientTool};
use serde::Deserialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use crate::{content::Piece, error::ApiError, validation::Issue};

/// Tools of one request.
const MAX_TOOLS: usize = 256;
/// Images of one return, each of which takes much of a model's context.
const MAX_IMAGES: usize = 8;
/// Characters of a tool's name, as providers take them.
const MAX_NAME: usize = 64;

/// A tool that the client runs.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ClientToolBody {
    /// Its name.
    pub name: String,
    /// What it does.
    pub description: Option<String>,
    /// JSON schema of its arguments, an object.
    #[schema(value_type = Option<serde_json::Value>)]
    pub parameters: Option<Value>,
}

/// Instructions that the client keeps.
#[derive(Debug, Deserialize, ToSchema)]
pub struct ClientSkillBody {
    /// Its name.
    name: String,
    /// When it is of use.
    #[serde(default)]
    description: String,
    /// Where the client has it.
    #[serde(default)]
    location: String,
}

/// An answer to a call: whether it may run, or what the client's tool returned.
#[derive(Debug, Default, Clone, Deserialize, ToSchema)]
pub struct AnswerBody {
    /// `approval`, or `tool`.
    #[serde(rename = "type")]
    kind: Option<String>,
    /// The call.
    tool_call_id: String,
    /// Of an approval: whether it may run.
    approve: Option<bool>,
    /// Of an approval: why not.
    reason: Option<String>,
    /// Of a tool: what it returned, a text, or a list of texts and images.
    #[schema(value_type = Option<serde_json::Value>)]
    tool_return: Option<Value>,
    /// Of a tool: `success` or `error`.
    status: Option<String>,
    /// Of a tool: lines that it printed.
    stdout: Option<Vec<String>>,
    /// Of a tool: lines that it printed as errors.
    stderr: Option<Vec<String>>,
}

/// The tools of a request.
///
/// # Errors
/// A name is not one that models can call, or there twice; arguments are no object.
pub(crate) fn tools(given: Vec<ClientToolBody>) -> Result<Vec<ClientTool>, Box<Issue>> {
    let wrong = |msg: String, input: Value| Box::new(Issue::body(&["client_tools"], msg, input));
    if given.len() > MAX_TOOLS {
        let msg = format!("a request may have at most {MAX_TOOLS} client tools");
        return Err(wrong(msg, json!(given.len())));
    }
    let mut names = HashSet::new();
    let mut tools = Vec::with_capacity(given.len());
    for tool in given {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let is_name =
            !tool.name.is_empty() && tool.name.len() <= MAX_NAME && tool.name.chars().all(is_plain);
        if !is_name || !names.insert(tool.name.clone()) {
            let msg = format!(
                "a client tool's name has 1 to {MAX_NAME} ASCII letters, digits, '_' and '-', and is there once"
            );
            return Err(wrong(msg, json!(tool.name)));
        }
        let parameters = tool
            .parameters
            .unwrap_or_else(|| json!({"type": "object", "properties": {}}));
        if !parameters.is_object() {
            let msg = format!("the parameters of '{}' must be a JSON schema", tool.name);
            return Err(wrong(msg, parameters));
        }
        tools.push(ClientTool {
            name: tool.name,
            description: tool.description.unwrap_or_default(),
            parameters,
        });
    }
    Ok(tools)
}

/// The skills of a request.
pub(super) fn skills(given: Vec<ClientSkillBody>) -> Vec<ClientSkill> {
    let skills = given.into_iter().map(|skill| ClientSkill {
        name: skill.name,
        description: skill.description,
        location: skill.location,
    });
    skills.collect()
}

impl AnswerBody {
    /// What a client's tool returned.
    pub(crate) fn result(tool_call_id: String, tool_return: Value) -> Self {
        Self {
            kind: Some("tool".to_owned()),
            tool_call_id,
            tool_return: Some(tool_return),
            ..Self::default()
        }
    }

    /// A call that may not run.
    pub(crate) fn denial(tool_call_id: String, reason: &str) -> Self {
        Self {
            kind: Some("approval".to_owned()),
            tool_call_id,
            approve: Some(false),
            reason: Some(reason.to_owned()),
            ..Self::default()
        }
    }

    /// The answer, and its images in their order, of which some may still have to be fetched.
    ///
    /// # Errors
    /// It says neither whether the call may run nor what came of it, or its images are none.
    pub(super) fn checked(self) -> Result<(CallAnswer, Vec<Piece>), ApiError> {
        let is_tool = match self.kind.as_deref() {
            Some("tool") => true,
            Some("approval") => false,
            None => self.approve.is_none(),
            Some(other) => {
                return Err(wrong(
                    "type",
                    "Input should be 'approval' or 'tool'",
                    json!(other),
                ));
            }
        };
        if self.tool_call_id.is_empty() {
            return Err(wrong("tool_call_id", "it must name a call", json!("")));
        }
        if !is_tool {
            let approve = self
                .approve
                .ok_or_else(|| wrong("approve", "Field required", Value::Null))?;
            let answer = CallAnswer::Approval {
                tool_call_id: self.tool_call_id,
                approve,
                reason: self.reason,
            };
            return Ok((answer, Vec::new()));
        }
        let returned = self
            .tool_return
            .ok_or_else(|| wrong("tool_return", "Field required", Value::Null))?;
        let (text, images) = content(returned)?;
        let status = match self.status.as_deref() {
            None | Some("success") => ToolStatus::Success,
            Some("error") => ToolStatus::Error,
            Some(other) => {
                return Err(wrong(
                    "status",
                    "Input should be 'success' or 'error'",
                    json!(other),
                ));
            }
        };
        let answer = CallAnswer::Tool {
            tool_call_id: self.tool_call_id,
            status,
            text,
            images: Vec::new(),
            stdout: self.stdout.unwrap_or_default(),
            stderr: self.stderr.unwrap_or_default(),
        };
        Ok((answer, images))
    }
}

/// The texts of a return, a line each, and its images.
fn content(returned: Value) -> Result<(String, Vec<Piece>), ApiError> {
    let parts = match returned {
        Value::String(text) => return Ok((text, Vec::new())),
        Value::Array(parts) => parts,
        other => {
            let msg = "Input should be a text or a list of texts and images";
            return Err(wrong("tool_return", msg, other));
        }
    };
    let (mut texts, mut images) = (Vec::new(), Vec::new());
    for part in parts {
        let field = |name: &str| part.get(name).and_then(Value::as_str);
        let source = |name: &str| part.get("source")?.get(name)?.as_str();
        let image = match (source("data"), source("url")) {
            (Some(data), _) => Some(Source::Data(data)),
            (None, url) => url.map(Source::Url),
        };
        match (field("type"), field("text"), image) {
            (Some("text"), Some(text), _) => texts.push(text.to_owned()),
            (Some("image"), _, Some(_)) if images.len() >= MAX_IMAGES => {
                let msg = "a return may have at most 8 images";
                return Err(wrong("tool_return", msg, Value::Null));
            }
            (Some("image"), _, Some(source)) => {
                images.push(source.piece()?);
                texts.push(format!("[image {}]", images.len()));
            }
            _ => {
                let msg = "a part is {\"type\": \"text\", \"text\"} or {\"type\": \"image\", \"source\": {\"type\": \"base64\", \
                           \"data\"}}, where the source may be {\"type\": \"url\", \"url\"} as well";
                return Err(wrong("tool_return", msg, part));
            }
        }
    }
    Ok((texts.join("\n"), images))
}

/// Where an image of a return is.
enum Source<'s> {
    Data(&'s str),
    Url(&'s str),
}

impl Source<'_> {
    fn piece(&self) -> Result<Piece, ApiError> {
        let url = match self {
            Self::Data(data) => format!("data:;base64,{data}"),
            Self::Url(url) => (*url).to_owned(),
        };
        if !url.starts_with("data:") {
            return Ok(Piece::Fetch(url));
        }
        match mnemic_llm::image_from_data_url(&url) {
            Ok(image) => Ok(Piece::Ready(image)),
            Err(error) => Err(ApiError::bad_request(format!("INVALID_ARGUMENT: {error}"))),
        }
    }
}

fn wrong(field: &str, msg: &str, input: Value) -> ApiError {
    ApiError::invalid(&[Issue::body(&["messages", "approvals", field], msg, input)])
}
