//! The settings of compaction that are in force for an agent.

use mnemic_core::{agents::Agent, compaction::Mode};
use serde_json::{Map, Value};

use crate::{EngineError, agents};

/// Settings as compaction needs them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    /// How room is made: the first way, and what follows where it comes to nothing.
    pub ways: Vec<Way>,
    /// The model that makes summaries; `None` is the agent's own.
    pub model: Option<String>,
    /// Whether it is asked to begin by an answer that is put into its mouth.
    pub acknowledges: bool,
    /// Characters of a summary.
    pub clip_chars: usize,
    /// Sampling temperature of that model.
    pub temperature: Option<f64>,
    /// Tokens that it may answer.
    pub max_tokens: Option<i64>,
    /// How much it thinks.
    pub reasoning_effort: Option<String>,
}

/// A way to make room.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Way {
    /// How much leaves.
    pub mode: Mode,
    /// Who writes the summary.
    pub by: By,
    /// What that model is told.
    pub prompt: String,
}

/// Who writes a summary.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum By {
    /// A model that is given the conversation to read.
    Summarizer,
    /// The agent's own model, which sees the conversation anyway.
    Itself,
}

/// Characters of a summary at the least, whatever a client sets.
const MIN_CHARS: u64 = 200;

impl Settings {
    /// The settings of an agent.
    pub(crate) fn of(agent: &Agent) -> Self {
        let settings = agents::compaction_settings(agent);
        let text = |key: &str| settings.get(key).and_then(Value::as_str).map(str::to_owned);
        let name = text("mode").unwrap_or_default();
        let share = settings
            .get("sliding_window_percentage")
            .and_then(Value::as_f64);
        let own = agent.compaction_settings.as_ref();
        let own = own
            .and_then(|own| own.get("prompt"))
            .and_then(Value::as_str);
        let clip = settings.get("clip_chars").and_then(Value::as_u64);
        let clip = clip.map_or(usize::MAX, |chars| {
            usize::try_from(chars.max(MIN_CHARS)).unwrap_or(usize::MAX)
        });
        let of_model = |key: &str| settings.get("model_settings").and_then(|of| of.get(key));
        let effort = of_model("reasoning").and_then(|reasoning| reasoning.get("reasoning_effort"));
        Self {
            ways: ways(&name, share.unwrap_or_default(), own),
            model: text("model"),
            acknowledges: settings.get("prompt_acknowledgement") == Some(&Value::Bool(true)),
            clip_chars: clip,
            temperature: of_model("temperature").and_then(Value::as_f64),
            max_tokens: of_model("max_output_tokens").and_then(Value::as_i64),
            reasoning_effort: effort.and_then(Value::as_str).map(str::to_owned),
        }
    }
}

/// The ways of a mode (V1 contract, section 7): what a self mode can't do is left to the next one, and at last
/// to a summarizer. A prompt that was given holds for all of them.
fn ways(name: &str, share: f64, prompt: Option<&str>) -> Vec<Way> {
    const SELF_ALL: &str = "self_compact_all";
    const SELF_SLIDING: &str = "self_compact_sliding_window";
    let way = |name: &str| Way {
        mode: match name {
            "all" | SELF_ALL => Mode::All,
            _ => Mode::SlidingWindow { share },
        },
        by: match name {
            SELF_ALL | SELF_SLIDING => By::Itself,
            _ => By::Summarizer,
        },
        prompt: prompt
            .unwrap_or_else(|| agents::summary_prompt(name))
            .to_owned(),
    };
    match name {
        SELF_ALL => vec![way(SELF_ALL), way(SELF_SLIDING), way("all")],
        SELF_SLIDING => vec![way(SELF_SLIDING), way("all")],
        other => vec![way(other)],
    }
}

/// An agent whose settings are those of a request where it has some. Another mode brings its own prompt,
/// unless the request has one.
///
/// # Errors
/// A setting is wrong.
pub(crate) fn with_overrides(
    mut agent: Agent,
    overrides: Option<Map<String, Value>>,
) -> Result<Agent, EngineError> {
    let mut given = overrides.unwrap_or_default();
    given.retain(|_, value| !value.is_null());
    if given.is_empty() {
        return Ok(agent);
    }
    agents::check_compaction(&Value::Object(given.clone()))?;
    let in_force = agents::compaction_settings(&agent);
    let mut settings = match agent.compaction_settings.take() {
        Some(Value::Object(settings)) => settings,
        _ => Map::new(),
    };
    if given
        .get("mode")
        .is_some_and(|mode| Some(mode) != in_force.get("mode"))
    {
        settings.remove("prompt");
    }
    settings.extend(given);
    agent.compaction_settings = Some(Value::Object(settings));
    Ok(agent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_self_mode_falls_back_to_the_next_and_at_last_to_a_summarizer() {
        let shown = |name| -> Vec<(Mode, By)> {
            let ways = ways(name, 0.3, None).into_iter();
            ways.map(|way| (way.mode, way.by)).collect()
        };
        let sliding = Mode::SlidingWindow { share: 0.3 };
        assert_eq!(
            shown("self_compact_all"),
            [
                (Mode::All, By::Itself),
                (sliding, By::Itself),
                (Mode::All, By::Summarizer)
            ]
        );
        assert_eq!(
            shown("self_compact_sliding_window"),
            [(sliding, By::Itself), (Mode::All, By::Summarizer)]
        );
        assert_eq!(shown("all"), [(Mode::All, By::Summarizer)]);
        assert_eq!(shown("sliding_window"), [(sliding, By::Summarizer)]);
    }

    #[test]
    fn each_way_has_its_own_prompt_unless_one_is_given() {
        let prompts: Vec<String> = ways("self_compact_all", 0.3, None)
            .into_iter()
            .map(|way| way.prompt)
            .collect();
        assert!(prompts[0].contains("whole conversation is about to"));
        assert!(prompts[1].contains("newer messages, which you do not see now"));
        assert!(!prompts[2].contains("the server that runs you"));
        let given = ways("self_compact_all", 0.3, Some("Be short."));
        assert!(given.iter().all(|way| way.prompt == "Be short."));
    }
}
