//! The forms in which models write calls.

use std::sync::Arc;

use serde::de::IgnoredAny;
use serde_json::{Map, Value};

use crate::{
    calls::{Call, ToolChoice},
    repair,
    toolset::{ToolSet, ToolSpec},
};

/// The tools that a call offers.
#[derive(Debug, Clone)]
pub(crate) struct Offered {
    tools: Arc<ToolSet>,
    only: Option<String>,
}

/// Names and arguments of calls.
pub(super) type Calls = Vec<(String, String)>;

/// Whether a text has a form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Written {
    Whole(Form),
    /// It may come to have one.
    Begun,
    No,
}

/// A form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Between two tags: Hermes and Qwen, Granite, and others that copy them.
    Tags(&'static str, &'static str),
    /// `<function=name>{...}</function>`, as Llama 3.1 and Qwen Coder write.
    Function,
    /// Behind a mark up to the end of the answer: Mistral and Llama.
    Behind(&'static str),
    /// In a code fence.
    Fence,
    /// An answer that is JSON and nothing else.
    Json,
    /// An answer that is a call in the form of Python, or a list of them.
    Python,
}

/// What the forms that may stand anywhere begin with.
pub(super) const MARKS: [(&str, Form); 7] = [
    ("<tool_call>", Form::Tags("<tool_call>", "</tool_call>")),
    (
        "<function_call>",
        Form::Tags("<function_call>", "</function_call>"),
    ),
    (
        "<|tool_call|>",
        Form::Tags("<|tool_call|>", "<|/tool_call|>"),
    ),
    ("<function=", Form::Function),
    ("[TOOL_CALLS]", Form::Behind("[TOOL_CALLS]")),
    ("<|python_tag|>", Form::Behind("<|python_tag|>")),
    ("```", Form::Fence),
];

/// What a fence may say that calls stand in it.
const INFO: [&str; 7] = [
    "",
    "json",
    "tool_call",
    "tool_calls",
    "tool_code",
    "python",
    "tool",
];

/// Keys with which an object that is a call may begin.
const KEYS: [&str; 11] = [
    "name",
    "function",
    "tool",
    "tool_name",
    "type",
    "id",
    "arguments",
    "parameters",
    "args",
    "input",
    "tool_calls",
];

impl Offered {
    /// The tools of a call that a model may make; `None` when there are none.
    pub fn by(call: &Call) -> Option<Self> {
        let only = match &call.tool_choice {
            ToolChoice::None => return None,
            ToolChoice::Tool(name) => Some(name.clone()),
            ToolChoice::Auto | ToolChoice::Required => None,
        };
        let tools = Arc::clone(&call.tools);
        (!tools.is_empty()).then_some(Self { tools, only })
    }

    fn find(&self, name: &str) -> Option<&ToolSpec> {
        let mut specs = self.tools.specs().iter();
        specs.find(|spec| spec.name == name && self.only.as_ref().is_none_or(|only| only == name))
    }

    /// The name of an offered tool.
    pub fn name(&self, name: &str) -> Option<String> {
        self.find(name).map(|spec| spec.name.clone())
    }

    /// Whether a text may be the beginning of a tool's name with a parenthesis behind it.
    fn may_begin(&self, text: &str) -> Written {
        let mut begun = Written::No;
        for name in self.tools.names() {
            match text.strip_prefix(name) {
                Some(rest) if rest.starts_with('(') => return Written::Whole(Form::Python),
                Some("") => begun = Written::Begun,
                _ if name.starts_with(text) => begun = Written::Begun,
                _ => {}
            }
        }
        begun
    }
}

impl Form {
    /// The form of an answer that begins so: those that only count at its start.
    pub fn of_start(text: &str, offered: &Offered) -> Written {
        if text.starts_with('{') {
            return Written::Whole(Self::Json);
        }
        let Some(list) = text.strip_prefix('[') else {
            return offered.may_begin(text);
        };
        if "[TOOL_CALLS]".starts_with(text) {
            return Written::Begun;
        }
        match list.trim_start() {
            "" => Written::Begun,
            inner if inner.starts_with('{') => Written::Whole(Self::Json),
            inner => offered.may_begin(inner),
        }
    }

    /// Where a text of this form ends; nothing while it may go on.
    pub fn end(self, text: &str) -> Option<usize> {
        let behind = |closer: &str| Some(text.find(closer)? + closer.len());
        match self {
            Self::Tags(_, closer) => behind(closer),
            Self::Function => behind("</function>"),
            Self::Fence => {
                let inside = text.get(3..)?;
                let from = inside.find('\n')? + 3;
                let at = text.get(from..)?.find("\n```")?;
                Some(from + at + 4)
            }
            Self::Behind(_) | Self::Json | Self::Python => None,
        }
    }

    /// Bytes that its mark takes.
    pub const fn mark_len(self) -> usize {
        match self {
            Self::Tags(mark, _) | Self::Behind(mark) => mark.len(),
            Self::Function => "<function=".len(),
            Self::Fence => 3,
            Self::Json | Self::Python => 1,
        }
    }

    /// Whether a text of this form that has no end yet can be no call any more.
    pub fn is_hopeless(self, text: &str, offered: &Offered) -> bool {
        match self {
            Self::Tags(..) | Self::Behind(_) => false,
            Self::Function => {
                let name = text.get("<function=".len()..).unwrap_or_default();
                name.split_once('>')
                    .is_some_and(|(name, _)| offered.find(name.trim()).is_none())
            }
            Self::Fence => {
                let inside = text.get(3..).unwrap_or_default();
                let Some((info, inside)) = inside.split_once('\n') else {
                    return !INFO.iter().any(|known| known.starts_with(inside.trim()));
                };
                let inside = inside.trim_start();
                !INFO.contains(&info.trim())
                    || (!inside.is_empty() && is_other_start(inside, offered))
            }
            Self::Json => is_other_start(text.trim_start(), offered),
            Self::Python => false,
        }
    }

    /// Whether a text of this form that has no end of its own is all there, as far as it shows.
    pub fn is_whole(self, text: &str) -> bool {
        let is_json = |text: &str| serde_json::from_str::<IgnoredAny>(text.trim()).is_ok();
        match self {
            Self::Tags(mark, _) => text.strip_prefix(mark).is_some_and(is_json),
            Self::Function => text.split_once('>').is_some_and(|(_, text)| is_json(text)),
            Self::Fence => text.split_once('\n').is_some_and(|(_, text)| is_json(text)),
            Self::Behind(_) => {
                let text = text.trim_end();
                text.ends_with(['}', ']', ')']) && !text.ends_with("[ARGS]")
            }
            Self::Json => is_json(text),
            // Its own parenthesis closes it.
            Self::Python => true,
        }
    }

    /// The calls of a text of this form; `None` when it is something else.
    pub fn read(self, text: &str, offered: &Offered) -> Option<Calls> {
        match self {
            Self::Tags(mark, closer) => {
                let inside = text.strip_prefix(mark)?;
                marked(inside.strip_suffix(closer).unwrap_or(inside), offered)
            }
            Self::Function => Some(vec![function(text, offered)?]),
            Self::Behind(mark) => behind(text.strip_prefix(mark)?, offered),
            Self::Fence => {
                let (_, inside) = text.split_once('\n')?;
                let inside = inside.trim_end().strip_suffix("```").unwrap_or(inside);
                json(inside, Naming::Telling, offered).or_else(|| python(inside, offered))
            }
            Self::Json => json(text, Naming::Telling, offered),
            Self::Python => python(text, offered),
        }
    }
}

/// Whether an answer or a fence that begins so holds something else than calls.
fn is_other_start(text: &str, offered: &Offered) -> bool {
    let list = text.strip_prefix('[').map(str::trim_start);
    let object = list.unwrap_or(text);
    if object.is_empty() {
        return false;
    }
    let Some(fields) = object.strip_prefix('{') else {
        return offered.may_begin(object) == Written::No;
    };
    let fields = fields.trim_start();
    if fields.is_empty() {
        return false;
    }
    let key = fields.trim_start_matches(['"', '\'']);
    let end = key.find(|c: char| !(c.is_alphanumeric() || c == '_'));
    match end {
        Some(end) => !KEYS.contains(&key.get(..end).unwrap_or_default()),
        None => !KEYS.iter().any(|known| known.starts_with(key)),
    }
}

/// Whether an object must have arguments to be a call.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Naming {
    /// Its mark says that it is one.
    Marked,
    /// Only its fields do.
    Telling,
}

/// What stands between tags: JSON, or a function of Qwen Coder's.
fn marked(text: &str, offered: &Offered) -> Option<Calls> {
    let text = text.trim();
    if text.starts_with("<function=") {
        let mut calls = Vec::new();
        for part in text.split_inclusive("</function>") {
            let part = part.trim();
            if !part.is_empty() {
                calls.push(function(part, offered)?);
            }
        }
        return Some(calls).filter(|calls| !calls.is_empty());
    }
    let text = text.strip_prefix("```json").unwrap_or(text);
    let text = text.strip_suffix("```").unwrap_or(text);
    json(text, Naming::Marked, offered)
}

/// What stands behind a mark: JSON, `name[ARGS]{...}`, `name{...}`, or calls in the form of Python.
fn behind(text: &str, offered: &Offered) -> Option<Calls> {
    if let Some(calls) = json(text, Naming::Marked, offered) {
        return Some(calls);
    }
    let mut calls = Vec::new();
    let parts = text.split("[TOOL_CALLS]");
    for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
        let Some(open) = part.find('{') else {
            return python(text, offered);
        };
        let (name, arguments) = part.split_at(open);
        let name = name.trim().trim_end_matches("[ARGS]").trim();
        // A call's id may stand between.
        let name = name.split("[CALL_ID]").next().unwrap_or(name);
        let Some(spec) = offered.find(name) else {
            return python(text, offered);
        };
        calls.push((spec.name.clone(), given(arguments)));
    }
    (!calls.is_empty()).then_some(calls)
}

/// Arguments as text: mended if that is possible, else as they are, for whoever reads them to refuse.
fn given(arguments: &str) -> String {
    let arguments = arguments.trim();
    repair::arguments(arguments).map_or_else(|_| arguments.to_owned(), |text| text.into_owned())
}

/// One or more objects or lists of them, all of which are calls of offered tools.
fn json(text: &str, naming: Naming, offered: &Offered) -> Option<Calls> {
    let mut calls = Vec::new();
    for value in repair::values(text.trim())? {
        let list = match value {
            Value::Array(list) => list,
            Value::Object(mut fields) => match fields.remove("tool_calls") {
                Some(Value::Array(list)) => list,
                _ => vec![Value::Object(fields)],
            },
            _ => return None,
        };
        for item in list {
            calls.push(object(&item, naming, offered)?);
        }
    }
    (!calls.is_empty()).then_some(calls)
}

fn object(value: &Value, naming: Naming, offered: &Offered) -> Option<(String, String)> {
    let inner = value.get("function").filter(|inner| inner.is_object());
    let fields = inner.unwrap_or(value);
    let first = |keys: &[&str]| keys.iter().find_map(|key| fields.get(*key));
    let name = ["name", "function", "tool", "tool_name"]
        .into_iter()
        .find_map(|key| fields.get(key)?.as_str())?;
    let spec = offered.find(name)?;
    let arguments = first(&["arguments", "parameters", "args", "input"]);
    let arguments = match arguments {
        Some(Value::String(text)) => given(text),
        Some(Value::Object(fields)) => Value::Object(fields.clone()).to_string(),
        Some(Value::Null) | None if naming == Naming::Marked => "{}".to_owned(),
        _ => return None,
    };
    Some((spec.name.clone(), arguments))
}

/// `<function=name>` with JSON, or with `<parameter=key>` for each argument.
fn function(text: &str, offered: &Offered) -> Option<(String, String)> {
    let (name, inside) = text.trim().strip_prefix("<function=")?.split_once('>')?;
    let spec = offered.find(name.trim())?;
    let inside = inside.split("</function>").next().unwrap_or(inside).trim();
    if !inside.starts_with("<parameter=") {
        return Some((spec.name.clone(), given(inside)));
    }
    let mut fields = Map::new();
    let parts = inside.split("<parameter=").map(str::trim_start);
    for part in parts.filter(|part| !part.is_empty()) {
        let (key, value) = part.split_once('>')?;
        let key = key.trim();
        // The tags stand on lines of their own, which are not the value's.
        let value = value.split("</parameter>").next().unwrap_or(value);
        let value = value.strip_prefix('\n').unwrap_or(value);
        let value = value.strip_suffix('\n').unwrap_or(value);
        let kind = spec.parameters.pointer(&format!("/properties/{key}/type"));
        let is_text = kind.is_none_or(|kind| kind == "string");
        let read = (!is_text).then(|| repair::value(value.trim()).ok());
        let value = read.flatten().unwrap_or_else(|| value.into());
        fields.insert(key.to_owned(), value);
    }
    Some((spec.name.clone(), Value::Object(fields).to_string()))
}

/// `name(key=value, ...)`, one or a list of them; arguments without a name are those of the schema, in its
/// order.
fn python(text: &str, offered: &Offered) -> Option<Calls> {
    let mut rest = text.trim_start();
    let list = rest.strip_prefix('[');
    rest = list.unwrap_or(rest);
    let mut calls = Vec::new();
    loop {
        let open = rest.find('(')?;
        let (name, inside) = rest.split_at(open);
        let spec = offered.find(name.trim())?;
        let (found, after) = repair::python_arguments(inside.get(1..)?)?;
        let properties = spec.parameters.get("properties").and_then(Value::as_object);
        let mut names = properties.into_iter().flat_map(Map::keys);
        let mut fields = Map::new();
        for (name, value) in found {
            let next = names.next().cloned();
            let key = if name.is_empty() { next? } else { name };
            fields.insert(key, value);
        }
        calls.push((spec.name.clone(), Value::Object(fields).to_string()));
        rest = after.trim_start();
        match rest.strip_prefix([',', ';']) {
            Some(more) => rest = more.trim_start(),
            None if list.is_some() => {
                rest = rest.strip_prefix(']').unwrap_or(rest);
                break;
            }
            None => break,
        }
    }
    // Words behind a call mean that it was spoken of rather than made.
    rest.trim().is_empty().then_some(calls)
}
