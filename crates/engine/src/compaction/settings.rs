//! The settings of compaction that are in force for an agent.

use mnemic_core::{agents::Agent, compaction::Mode};
use serde_json::{Map, Value};

use crate::{EngineError, agents};

/// Settings as compaction needs them.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub mode: Mode,
    /// The model that makes summaries; `None` is the agent's own.
    pub model: Option<String>,
    /// What that model is told.
    pub prompt: String,
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
        let mode = match name.trim_start_matches("self_compact_") {
            "all" => Mode::All,
            _ => Mode::SlidingWindow {
                share: share.unwrap_or_default(),
            },
        };
        let clip = settings.get("clip_chars").and_then(Value::as_u64);
        let clip = clip.map_or(usize::MAX, |chars| {
            usize::try_from(chars.max(MIN_CHARS)).unwrap_or(usize::MAX)
        });
        let of_model = |key: &str| settings.get("model_settings").and_then(|of| of.get(key));
        let effort = of_model("reasoning").and_then(|reasoning| reasoning.get("reasoning_effort"));
        Self {
            mode,
            // These modes have the agent's own model summarize.
            model: text("model").filter(|_| !name.starts_with("self_")),
            prompt: text("prompt").unwrap_or_default(),
            acknowledges: settings.get("prompt_acknowledgement") == Some(&Value::Bool(true)),
            clip_chars: clip,
            temperature: of_model("temperature").and_then(Value::as_f64),
            max_tokens: of_model("max_output_tokens").and_then(Value::as_i64),
            reasoning_effort: effort.and_then(Value::as_str).map(str::to_owned),
        }
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
