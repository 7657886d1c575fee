//! What a prompt was compiled from: the inputs that have a revision.

/// An agent and its blocks in the order of the prompt, each with its revision. The kind of an input is
/// the prefix of its id.
///
/// The text of a signature is kept beside the compiled prompt; the prompt is true as long as its inputs
/// would give the same text now. The store builds that text inside the query that begins a turn, so that
/// a turn compares without loading anything; this type is the same form for those who have the inputs at
/// hand, or want to know what moved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptSignature {
    inputs: Vec<(String, i64)>,
}

/// A text that is no signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is not an input of a prompt: expected its id, a colon and its revision")]
pub struct InvalidSignature(String);

impl PromptSignature {
    /// A signature of the agent, first, and its blocks: ids and revisions.
    #[must_use]
    pub const fn new(inputs: Vec<(String, i64)>) -> Self {
        Self { inputs }
    }

    /// The ids and revisions.
    #[must_use]
    pub fn inputs(&self) -> &[(String, i64)] {
        &self.inputs
    }

    /// The canonical text: `agent-<id>:<revision> block-<id>:<revision> ...`. The blank after the agent
    /// stands also when there are no blocks.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut entries = self
            .inputs
            .iter()
            .map(|(id, revision)| format!("{id}:{revision}"));
        let agent = entries.next().unwrap_or_default();
        format!("{agent} {}", entries.collect::<Vec<_>>().join(" "))
    }

    /// Reads the canonical text.
    ///
    /// # Errors
    /// There is no entry, or one that is not an id with a revision.
    pub fn parse(text: &str) -> Result<Self, InvalidSignature> {
        let invalid = |text: &str| InvalidSignature(text.chars().take(100).collect());
        let entry = |entry: &str| {
            let (id, revision) = entry.rsplit_once(':')?;
            Some((id.to_owned(), revision.parse().ok()?))
        };
        let entries = text.split_whitespace();
        let inputs: Vec<(String, i64)> = entries
            .map(|part| entry(part).ok_or_else(|| invalid(part)))
            .collect::<Result<_, _>>()?;
        if inputs.is_empty() {
            Err(invalid(text))
        } else {
            Ok(Self { inputs })
        }
    }
}
