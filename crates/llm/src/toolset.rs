//! The tools shown to a model, as wire bytes made once.

use std::{ops::Range, sync::OnceLock};

use bytes::Bytes;
use serde_json::Value;

use crate::{anthropic, endpoints::Protocol, openai_chat, openai_responses};

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
    chat: OnceLock<Rendered>,
    responses: OnceLock<Rendered>,
    anthropic: OnceLock<Rendered>,
}

/// The wire form in one protocol.
#[derive(Debug, Clone, Default)]
struct Rendered {
    bytes: Bytes,
    spans: Vec<Range<usize>>,
}

impl Rendered {
    fn new(specs: &[ToolSpec], tool: impl Fn(&mut Vec<u8>, &ToolSpec)) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::with_capacity(specs.len());
        for spec in specs {
            if !bytes.is_empty() {
                bytes.push(b',');
            }
            let start = bytes.len();
            tool(&mut bytes, spec);
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

    fn rendered(&self, protocol: Protocol) -> &Rendered {
        match protocol {
            // Ollama takes tools as chat completions do.
            Protocol::OpenAiChat | Protocol::Ollama => self
                .chat
                .get_or_init(|| Rendered::new(&self.specs, openai_chat::render::tool)),
            Protocol::OpenAiResponses => self
                .responses
                .get_or_init(|| Rendered::new(&self.specs, openai_responses::render::tool)),
            Protocol::Anthropic => self
                .anthropic
                .get_or_init(|| Rendered::new(&self.specs, anthropic::render::tool)),
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
