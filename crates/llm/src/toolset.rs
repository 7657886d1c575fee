//! The tools shown to a model, as wire bytes made once.

use std::ops::Range;

use bytes::Bytes;
use serde_json::Value;

use crate::{endpoints::Protocol, openai_chat};

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

/// Tools and their wire form. Equal specs give equal bytes, so that provider prefix caches hit.
#[derive(Debug, Clone)]
pub struct ToolSet {
    protocol: Protocol,
    specs: Vec<ToolSpec>,
    bytes: Bytes,
    spans: Vec<Range<usize>>,
}

impl ToolSet {
    /// Renders the tools for a protocol, in the order given.
    #[must_use]
    pub fn new(protocol: Protocol, specs: &[ToolSpec]) -> Self {
        let mut bytes = Vec::new();
        let mut spans = Vec::with_capacity(specs.len());
        for spec in specs {
            if !bytes.is_empty() {
                bytes.push(b',');
            }
            let start = bytes.len();
            match protocol {
                Protocol::OpenAiChat => openai_chat::render::tool(&mut bytes, spec),
            }
            spans.push(start..bytes.len());
        }
        Self {
            protocol,
            specs: specs.to_vec(),
            bytes: bytes.into(),
            spans,
        }
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

    /// The protocol they are rendered for.
    #[must_use]
    pub const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Bytes of the wire form.
    #[must_use]
    pub const fn len_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// All tools, separated by commas.
    pub(crate) const fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// One tool alone.
    pub(crate) fn only(&self, name: &str) -> Option<Bytes> {
        let at = self.specs.iter().position(|spec| spec.name == name)?;
        self.spans
            .get(at)
            .map(|span| self.bytes.slice(span.clone()))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn spec(name: &str) -> ToolSpec {
        ToolSpec {
            name: name.into(),
            description: "does \"it\"".into(),
            parameters: json!({"type":"object","properties":{"a":{"type":"string"}}}),
        }
    }

    #[test]
    fn the_wire_form_is_the_protocols_and_the_same_every_time() {
        let set = ToolSet::new(Protocol::OpenAiChat, &[spec("one"), spec("two")]);
        let array: Value =
            serde_json::from_slice(&[b"[", set.bytes().as_ref(), b"]"].concat()).unwrap();
        assert_eq!(
            array[1],
            json!({"type":"function","function":{"name":"two","description":"does \"it\"",
                "parameters":{"type":"object","properties":{"a":{"type":"string"}}}}})
        );
        let again = ToolSet::new(Protocol::OpenAiChat, &[spec("one"), spec("two")]);
        assert_eq!(set.bytes(), again.bytes());
        assert_eq!(set.names().collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn one_tool_can_be_taken_out() {
        let set = ToolSet::new(Protocol::OpenAiChat, &[spec("one"), spec("two")]);
        let two: Value = serde_json::from_slice(&set.only("two").unwrap()).unwrap();
        assert_eq!(two["function"]["name"], "two");
        assert_eq!(set.only("three"), None);
    }

    #[test]
    fn parameters_that_are_no_object_become_an_empty_one() {
        let odd = ToolSpec {
            parameters: Value::Null,
            ..spec("odd")
        };
        let set = ToolSet::new(Protocol::OpenAiChat, &[odd]);
        let tool: Value = serde_json::from_slice(set.bytes()).unwrap();
        assert_eq!(
            tool["function"]["parameters"],
            json!({"type":"object","properties":{}})
        );
    }
}
