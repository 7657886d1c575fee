//! What the values of an agent's fields may be. A wrong one is refused when it is set: later it would
//! fail every turn, or be ignored.

use mnemic_core::{runs::StopReason, time::is_time_zone, tool_rules::ToolRule};
use serde_json::{Map, Value};

use super::{AgentPatch, CreateAgent};
use crate::EngineError;

/// Temperatures that providers take.
const TEMPERATURES: std::ops::RangeInclusive<f64> = 0.0..=2.0;

/// Modes of compaction (V1 contract, section 7).
const COMPACTION_MODES: [&str; 4] = [
    "all",
    "sliding_window",
    "self_compact_all",
    "self_compact_sliding_window",
];

/// The only models that may begin with one of several tools (V1 contract, section 3.8).
const CHOOSING_FIRST: [&str; 2] = ["gpt-4o", "gpt-4o-mini"];

/// Checks the fields that describe an agent's model and how it is used.
///
/// # Errors
/// Says which value is wrong and what it may be.
pub(super) fn of_new(request: &CreateAgent) -> Result<(), EngineError> {
    zone(request.timezone.as_deref().unwrap_or("UTC"))?;
    rules(request.tool_rules.as_deref().unwrap_or_default())?;
    files(
        request.max_files_open,
        request.per_file_view_window_char_limit,
    )?;
    if let Some(settings) = &request.model_settings {
        model_settings(settings)?;
    }
    if let Some(format) = &request.response_format {
        response_format(format)?;
    }
    if let Some(settings) = &request.compaction_settings {
        compaction(settings)?;
    }
    at_least_one("max_tokens", request.max_tokens)?;
    at_least_one("embedding_chunk_size", request.embedding_chunk_size)?;
    secrets(&request.secrets)
}

/// Checks the same fields of a PATCH.
///
/// # Errors
/// Says which value is wrong and what it may be.
pub(super) fn of_patch(patch: &AgentPatch) -> Result<(), EngineError> {
    at_least_one("context_window_limit", patch.context_window_limit)?;
    zone(patch.timezone.as_deref().unwrap_or("UTC"))?;
    rules(patch.tool_rules.as_deref().unwrap_or_default())?;
    files(patch.max_files_open, patch.per_file_view_window_char_limit)?;
    if let Some(settings) = &patch.model_settings {
        model_settings(settings)?;
    }
    if let Some(Some(format)) = &patch.response_format {
        response_format(format)?;
    }
    if let Some(Some(settings)) = &patch.compaction_settings {
        compaction(settings)?;
    }
    at_least_one("max_tokens", patch.max_tokens.flatten())?;
    if let Some(Some(name)) = &patch.last_stop_reason
        && StopReason::parse(name).is_none()
    {
        return refused(format!("last_stop_reason: '{name}' is no stop reason"));
    }
    secrets(patch.secrets.as_deref().unwrap_or_default())
}

fn refused<T>(text: String) -> Result<T, EngineError> {
    Err(EngineError::Invalid(text))
}

fn at_least_one(name: &str, value: Option<i64>) -> Result<(), EngineError> {
    value.map_or(Ok(()), |value| positive(name, value).map(drop))
}

fn secrets(secrets: &[(String, String)]) -> Result<(), EngineError> {
    if secrets.iter().any(|(key, _)| key.is_empty()) {
        return refused("a secret needs a name: it is an environment variable of tools".to_owned());
    }
    Ok(())
}

/// A field that is absent or null is no field.
fn given<'a>(fields: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    fields.get(name).filter(|value| !value.is_null())
}

fn model_settings(settings: &Map<String, Value>) -> Result<(), EngineError> {
    if let Some(value) = given(settings, "temperature")
        && !value.as_f64().is_some_and(|t| TEMPERATURES.contains(&t))
    {
        return refused(format!(
            "model_settings.temperature must be a number between 0 and 2, not {value}"
        ));
    }
    if let Some(value) = given(settings, "max_output_tokens")
        && value.as_i64().is_none_or(|tokens| tokens < 1)
    {
        return refused(format!(
            "model_settings.max_output_tokens must be a whole number greater than 0, not {value}"
        ));
    }
    if let Some(value) = given(settings, "parallel_tool_calls")
        && !value.is_boolean()
    {
        return refused(format!(
            "model_settings.parallel_tool_calls must be true or false, not {value}"
        ));
    }
    given(settings, "response_format").map_or(Ok(()), response_format)
}

fn response_format(format: &Value) -> Result<(), EngineError> {
    let schema = format.get("json_schema");
    match format.get("type").and_then(Value::as_str) {
        Some("text" | "json_object") => Ok(()),
        Some("json_schema") if schema.is_some_and(Value::is_object) => Ok(()),
        Some("json_schema") => refused("response_format needs an object json_schema".to_owned()),
        _ => refused(format!(
            "response_format.type must be text, json_object or json_schema; this is {format}"
        )),
    }
}

/// Checks settings of compaction.
///
/// # Errors
/// Says what is wrong.
pub(crate) fn compaction(settings: &Value) -> Result<(), EngineError> {
    let Value::Object(fields) = settings else {
        return refused("compaction_settings must be an object".to_owned());
    };
    if let Some(mode) = given(fields, "mode")
        && !mode
            .as_str()
            .is_some_and(|mode| COMPACTION_MODES.contains(&mode))
    {
        return refused(format!(
            "compaction_settings.mode must be one of {}, not {mode}",
            COMPACTION_MODES.join(", ")
        ));
    }
    if let Some(share) = given(fields, "sliding_window_percentage")
        && !share
            .as_f64()
            .is_some_and(|share| (0.0..=1.0).contains(&share))
    {
        return refused(format!(
            "compaction_settings.sliding_window_percentage must be a number between 0 and 1, not {share}"
        ));
    }
    if let Some(chars) = given(fields, "clip_chars")
        && chars.as_u64().is_none()
    {
        return refused(format!(
            "compaction_settings.clip_chars must be a number of characters, not {chars}"
        ));
    }
    for key in ["model", "prompt"] {
        if let Some(text) = given(fields, key)
            && !text.is_string()
        {
            return refused(format!(
                "compaction_settings.{key} must be a text, not {text}"
            ));
        }
    }
    Ok(())
}

/// Refuses several rules for the first call where the model cannot be left the choice.
///
/// # Errors
/// Says which models can.
pub(super) fn first_rules(rules: &[Value], model: &str) -> Result<(), EngineError> {
    let is_first = |rule: &&Value| rule.get("type").and_then(Value::as_str) == Some("run_first");
    if rules.iter().filter(is_first).count() > 1 && !CHOOSING_FIRST.contains(&model) {
        return refused(format!(
            "several run_first rules work with {} only, not with {model}: keep one of them",
            CHOOSING_FIRST.join(" and ")
        ));
    }
    Ok(())
}

pub(super) fn positive(name: &str, value: i64) -> Result<i64, EngineError> {
    if value > 0 {
        return Ok(value);
    }
    Err(EngineError::Invalid(format!(
        "{name} must be greater than 0, not {value}"
    )))
}

pub(super) fn zone(zone: &str) -> Result<(), EngineError> {
    if is_time_zone(zone) {
        return Ok(());
    }
    Err(EngineError::Invalid(format!(
        "'{zone}' is no time zone; use a name of the IANA database such as Europe/Zurich"
    )))
}

/// Files that an agent may have open (V1 contract, section 2.1).
const MAX_FILES_OPEN: i64 = 1_000;

pub(super) fn files(open: Option<i64>, chars: Option<i64>) -> Result<(), EngineError> {
    if let Some(open) = open.filter(|open| !(1..=MAX_FILES_OPEN).contains(open)) {
        return Err(EngineError::Invalid(format!(
            "max_files_open must be between 1 and {MAX_FILES_OPEN}, not {open}"
        )));
    }
    chars.map_or(Ok(()), |chars| {
        positive("per_file_view_window_char_limit", chars).map(drop)
    })
}

pub(super) fn rules(rules: &[Value]) -> Result<(), EngineError> {
    for rule in rules {
        ToolRule::read(rule).map_err(|error| EngineError::Invalid(error.to_string()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn wrong(request: CreateAgent, word: &str) {
        let error = of_new(&request).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }

    fn settings(value: &Value) -> CreateAgent {
        CreateAgent {
            model_settings: value.as_object().cloned(),
            ..CreateAgent::default()
        }
    }

    #[test]
    fn settings_that_every_request_would_fail_with_are_refused() {
        for (value, word) in [
            (json!({"temperature": 9}), "between 0 and 2"),
            (json!({"temperature": "hot"}), "between 0 and 2"),
            (json!({"max_output_tokens": 0}), "max_output_tokens"),
            (json!({"max_output_tokens": 1.5}), "max_output_tokens"),
            (json!({"parallel_tool_calls": "maybe"}), "true or false"),
            (json!({"response_format": {"type": "odd"}}), "json_object"),
        ] {
            wrong(settings(&value), word);
        }
        for value in [
            json!({}),
            json!({"temperature": null, "max_output_tokens": null, "response_format": null}),
            json!({"temperature": 2, "max_output_tokens": 1, "provider_type": "openai"}),
        ] {
            of_new(&settings(&value)).unwrap();
        }
    }

    #[test]
    fn formats_compaction_and_secrets_are_checked() {
        let with_format = |format: Value| CreateAgent {
            response_format: Some(format),
            ..CreateAgent::default()
        };
        wrong(with_format(json!({"type": "json_schema"})), "json_schema");
        wrong(with_format(json!("text")), "response_format");
        of_new(&with_format(
            json!({"type": "json_schema", "json_schema": {}}),
        ))
        .unwrap();
        let compacting = |settings: Value| CreateAgent {
            compaction_settings: Some(settings),
            ..CreateAgent::default()
        };
        wrong(compacting(json!({"mode": "odd"})), "sliding_window");
        wrong(
            compacting(json!({"sliding_window_percentage": 7})),
            "between 0 and 1",
        );
        of_new(&compacting(json!({"mode": "all", "model": "a/b"}))).unwrap();
        let nameless = CreateAgent {
            secrets: vec![(String::new(), "x".to_owned())],
            ..CreateAgent::default()
        };
        wrong(nameless, "name");
        let speechless = CreateAgent {
            max_tokens: Some(0),
            ..CreateAgent::default()
        };
        wrong(speechless, "max_tokens");
    }

    #[test]
    fn several_first_tools_need_a_model_that_can_choose() {
        let rules = ["a", "b"].map(|name| json!({"type": "run_first", "tool_name": name}));
        first_rules(&rules, "gpt-4o").unwrap();
        first_rules(rules.get(..1).unwrap(), "other").unwrap();
        let error = first_rules(&rules, "other").unwrap_err().to_string();
        assert!(error.contains("gpt-4o-mini"), "{error}");
    }
}
