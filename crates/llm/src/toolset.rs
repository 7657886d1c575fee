//! The tools shown to a model, as wire bytes made once.

use std::{ops::Range, sync::OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::{anthropic, endpoints::Protocol, gemini, openai_chat, openai_responses, strict_schema};

/// A tool as the model sees it.
#[derive(Debug, Clone, PartialEq)]
pub struct ToolSpec {
    /// Its name: letters, digits, `_` and `-`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// The JSON schema of its arguments, an object.
    pub parameters: Value,
}

/// Tools and their wire form, made once for each protocol in which they are sent. Equal specs give
/// equal bytes, so that provider prefix caches hit.
#[derive(Debug, Clone, Default)]
pub struct ToolSet {
    specs: Vec<ToolSpec>,
    searches: Vec<String>,
    /// The strict schemas of the tools that have one and are sent so, by their place.
    strict: Vec<Option<Value>>,
    chat: OnceLock<Rendered>,
    responses: OnceLock<Rendered>,
    anthropic: OnceLock<Rendered>,
    ollama: OnceLock<Rendered>,
    gemini: OnceLock<Rendered>,
}

/// How a tool's arguments are described on the wire.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Parameters<'a> {
    /// As they are.
    Plain(&'a Value),
    /// So that the provider holds the model to them.
    Strict(&'a Value),
}

/// The wire form in one protocol.
#[derive(Debug, Clone, Default)]
struct Rendered {
    bytes: Bytes,
    spans: Vec<Range<usize>>,
}

impl Rendered {
    fn new<'a>(
        tools: impl Iterator<Item = (&'a ToolSpec, Parameters<'a>)>,
        tool: impl Fn(&mut Vec<u8>, &ToolSpec, Parameters<'_>),
    ) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::new();
        for (spec, parameters) in tools {
            if !bytes.is_empty() {
                bytes.push(b',');
            }
            let start = bytes.len();
            tool(&mut bytes, spec, parameters);
            spans.push(start..bytes.len());
        }
        Self {
            bytes: bytes.into(),
            spans,
        }
    }
}

impl ToolSet {
    /// Keeps the tools, in the order given.
    #[must_use]
    pub fn new(specs: &[ToolSpec]) -> Self {
        Self {
            specs: specs.to_vec(),
            ..Self::default()
        }
    }

    /// Marks tools of these names as searches: they change nothing, and say the same when they are asked the
    /// same again.
    #[must_use]
    pub fn searching<'a>(mut self, names: impl IntoIterator<Item = &'a str>) -> Self {
        self.searches = names.into_iter().map(str::to_owned).collect();
        self
    }

    /// Sends the tools for which that is asked with strict schemas, to providers that know such. A tool whose
    /// arguments have no strict form is sent as it is.
    #[must_use]
    pub fn strict(mut self, is_asked: impl Fn(&ToolSpec) -> bool) -> Self {
        let strict = |spec: &ToolSpec| strict_schema::strict(&spec.parameters);
        self.strict = self
            .specs
            .iter()
            .map(|spec| is_asked(spec).then(|| strict(spec)).flatten())
            .collect();
        self
    }

    /// A call's arguments as they are meant: with a strict schema a model must write null for what it
    /// leaves out, and others do so on their own.
    #[must_use]
    pub fn meant(&self, name: &str, arguments: Value) -> Value {
        match self.specs.iter().find(|spec| spec.name == name) {
            Some(spec) => strict_schema::without_nulls(&spec.parameters, arguments),
            None => arguments,
        }
    }

    /// Whether the tool of a name is a search.
    #[must_use]
    pub fn is_search(&self, name: &str) -> bool {
        self.searches.iter().any(|search| search == name)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.specs.is_empty()
    }

    /// Their names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.specs.iter().map(|spec| spec.name.as_str())
    }

    /// The tools themselves, in order.
    #[must_use]
    pub fn specs(&self) -> &[ToolSpec] {
        &self.specs
    }

    /// The tools, with strict schemas where they are to be sent so.
    fn strictly(&self) -> impl Iterator<Item = (&ToolSpec, Parameters<'_>)> {
        self.specs.iter().enumerate().map(|(at, spec)| {
            let strict = self.strict.get(at).and_then(Option::as_ref);
            let plain = Parameters::Plain(&spec.parameters);
            (spec, strict.map_or(plain, Parameters::Strict))
        })
    }

    fn plainly(&self) -> impl Iterator<Item = (&ToolSpec, Parameters<'_>)> {
        self.specs
            .iter()
            .map(|spec| (spec, Parameters::Plain(&spec.parameters)))
    }

    fn rendered(&self, protocol: Protocol) -> &Rendered {
        let chat = openai_chat::render::tool;
        match protocol {
            Protocol::OpenAiChat => self
                .chat
                .get_or_init(|| Rendered::new(self.strictly(), chat)),
            // Ollama takes tools as chat completions do, but knows no strict ones.
            Protocol::Ollama => self
                .ollama
                .get_or_init(|| Rendered::new(self.plainly(), chat)),
            Protocol::OpenAiResponses => self
                .responses
                .get_or_init(|| Rendered::new(self.strictly(), openai_responses::render::tool)),
            Protocol::Anthropic => self.anthropic.get_or_init(|| {
                Rendered::new(self.plainly(), |out, spec, _| {
                    anthropic::render::tool(out, spec)
                })
            }),
            Protocol::Gemini => self.gemini.get_or_init(|| {
                Rendered::new(self.plainly(), |out, spec, _| {
                    gemini::render::tool(out, spec)
                })
            }),
        }
    }

    /// All tools in a protocol's form, separated by commas.
    pub(crate) fn bytes(&self, protocol: Protocol) -> &Bytes {
        &self.rendered(protocol).bytes
    }

    /// One tool alone.
    pub(crate) fn only(&self, protocol: Protocol, name: &str) -> Option<Bytes> {
        let at = self.specs.iter().position(|spec| spec.name == name)?;
        let rendered = self.rendered(protocol);
        let span = rendered.spans.get(at)?;
        Some(rendered.bytes.slice(span.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CHAT: Protocol = Protocol::OpenAiChat;

    fn spec(name: &str) -> ToolSpec {
        ToolSpec {
            name: name.into(),
            description: "does \"it\"".into(),
            parameters: json!({"type":"object","properties":{"a":{"type":"string"}}}),
        }
    }

    #[test]
    fn the_wire_form_is_the_protocols_and_the_same_every_time() {
        let set = ToolSet::new(&[spec("one"), spec("two")]);
        let array: Value =
            serde_json::from_slice(&[b"[", set.bytes(CHAT).as_ref(), b"]"].concat()).unwrap();
        assert_eq!(
            array[1],
            json!({"type":"function","function":{"name":"two","description":"does \"it\"",
                "parameters":{"type":"object","properties":{"a":{"type":"string"}}}}})
        );
        let again = ToolSet::new(&[spec("one"), spec("two")]);
        assert_eq!(set.bytes(CHAT), again.bytes(CHAT));
        assert_eq!(set.names().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn strict_schemas_are_sent_where_they_are_asked_for_and_possible() {
        let free = ToolSpec {
            parameters: json!({"type": "object", "properties": {"a": {"type": "object"}}}),
            ..spec("free")
        };
        let set =
            ToolSet::new(&[spec("one"), free, spec("other")]).strict(|spec| spec.name != "other");
        let sent = |protocol, name| -> Value {
            serde_json::from_slice(&set.only(protocol, name).unwrap()).unwrap()
        };
        let strict = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}}, "required": ["a"],
            "additionalProperties": false});
        let chat = &sent(CHAT, "one")["function"];
        assert_eq!(
            (&chat["strict"], &chat["parameters"]),
            (&json!(true), &strict)
        );
        let responses = sent(Protocol::OpenAiResponses, "one");
        assert_eq!(
            (&responses["strict"], &responses["parameters"]),
            (&json!(true), &strict)
        );
        for name in ["free", "other"] {
            assert_eq!(sent(CHAT, name)["function"].get("strict"), None, "{name}");
            assert_eq!(
                sent(Protocol::OpenAiResponses, name)["strict"],
                json!(false),
                "{name}"
            );
        }
        for protocol in [Protocol::Ollama, Protocol::Anthropic] {
            let text = sent(protocol, "one").to_string();
            assert!(!text.contains("strict") && !text.contains("null"), "{text}");
        }
        assert_eq!(set.meant("one", json!({"a": null})), json!({}));
        assert_eq!(set.meant("unknown", json!({"a": null})), json!({"a": null}));
    }

    #[test]
    fn one_tool_can_be_taken_out() {
        let set = ToolSet::new(&[spec("one"), spec("two")]);
        let two: Value = serde_json::from_slice(&set.only(CHAT, "two").unwrap()).unwrap();
        assert_eq!(two["function"]["name"], "two");
        assert_eq!(set.only(CHAT, "three"), None);
    }

    #[test]
    fn parameters_that_are_no_object_become_an_empty_one() {
        let odd = ToolSpec {
            parameters: Value::Null,
            ..spec("odd")
        };
        let set = ToolSet::new(&[odd]);
        let tool: Value = serde_json::from_slice(set.bytes(CHAT)).unwrap();
        assert_eq!(
            tool["function"]["parameters"],
            json!({"type":"object","properties":{}})
        );
    }
}
