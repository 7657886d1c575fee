//! What an agent gets when its creator does not say (V1 contract, sections 2.1 and 2.2). Pure.

use mnemic_core::{
    agents::{Agent, AgentType, LlmConfig},
    tools::{Tool, ToolType},
};
use mnemic_llm::{Origin, ResolvedModel};
use serde_json::{Map, Value, json};

use crate::embedding::{EmbeddingInfo, known_dims};

/// Numbers of a vector that are told where a model's name does not say, which nothing relies on: a vector
/// tells its own length.
const USUAL_DIMS: usize = 1_536;

/// Where a summary is clipped when compaction settings do not say.
const CLIP_CHARS: i64 = 50_000;

/// Share of the context that a sliding window lets go first.
const SLIDING_WINDOW_SHARE: f64 = 0.3;

/// What a model is told that summarizes the older part of a conversation, when compaction settings do
/// not say.
const SUMMARY_PROMPT: &str = include_str!("summary_prompt.md");

/// The same for a whole conversation.
const SUMMARY_PROMPT_ALL: &str = include_str!("summary_prompt_all.md");

/// What an agent is told that makes the summary itself.
const SUMMARY_PROMPT_SELF: &str = include_str!("summary_prompt_self.md");

/// The same for a whole conversation.
const SUMMARY_PROMPT_SELF_ALL: &str = include_str!("summary_prompt_self_all.md");

/// Models that follow rules of the older loop by themselves; rules only make them worse.
const MODELS_WITHOUT_BASE_RULES: [&str; 4] = [
    "gpt-5",
    "gemini-2.5-pro",
    "claude-4-sonnet",
    "claude-3-5-sonnet",
];

/// Files and characters that an agent may have open, by its context window.
pub(super) const fn file_windows(context_window: i64) -> (i64, i64) {
    match context_window {
        ..=8_000 => (3, 5_000),
        8_001..=32_000 => (5, 15_000),
        32_001..=128_000 => (10, 25_000),
        128_001..=200_000 => (10, 40_000),
        _ => (15, 40_000),
    }
}

/// The configuration that a resolved model gives an agent.
pub(super) fn config_of(resolved: &ResolvedModel, max_context_window: i64) -> LlmConfig {
    let window = resolved.context_window.min(max_context_window);
    let is_added = resolved.endpoint.config().origin == Origin::Added;
    // What nothing is said of is the server's own.
    let category = is_added.then(|| ("provider_category".to_owned(), "byok".into()));
    LlmConfig {
        model: resolved.model.clone(),
        handle: Some(resolved.handle.clone()),
        model_endpoint_type: resolved.endpoint.endpoint_type().to_owned(),
        model_endpoint: Some(resolved.endpoint.base_url().to_owned()),
        provider_name: Some(resolved.endpoint.name().to_owned()),
        context_window: window,
        // At most a quarter of the window, so that there is room for what is answered.
        max_tokens: resolved
            .max_output_tokens
            .map(|tokens| tokens.min(window / 4)),
        extra: category.into_iter().collect(),
        ..LlmConfig::default()
    }
}

/// The V1 API's description of an embedding model.
pub(super) fn embedding_config_of(resolved: &ResolvedModel, chunk_size: Option<i64>) -> Value {
    json!({
        "embedding_endpoint_type": "openai",
        "embedding_endpoint": resolved.endpoint.base_url(),
        "embedding_model": resolved.model,
        "embedding_dim": known_dims(&resolved.model).unwrap_or(USUAL_DIMS),
        "embedding_chunk_size": chunk_size.unwrap_or(300),
        "handle": resolved.handle,
        "batch_size": 32,
        "azure_endpoint": null,
        "azure_version": null,
        "azure_deployment": null,
    })
}

/// The V1 API's description of an embedding model in this process. Its word for what runs the model is the
/// nearest of those that clients know.
pub(super) fn local_embedding_config(info: &EmbeddingInfo, chunk_size: Option<i64>) -> Value {
    json!({
        "embedding_endpoint_type": "hugging-face",
        "embedding_endpoint": null,
        "embedding_model": info.model,
        "embedding_dim": info.dims,
        "embedding_chunk_size": chunk_size.unwrap_or(300),
        "handle": info.handle,
        "batch_size": 32,
        "azure_endpoint": null,
        "azure_version": null,
        "azure_deployment": null,
    })
}

/// The settings of compaction in force: the client's over the defaults.
#[must_use]
pub fn compaction_settings(agent: &Agent) -> Value {
    let mut settings = Map::new();
    let mut set = |key: &str, value: Value| settings.insert(key.to_owned(), value);
    set("model", json!(summarizer(&agent.llm_config)));
    set("model_settings", Value::Null);
    set("prompt", Value::Null);
    set("prompt_acknowledgement", json!(false));
    set("clip_chars", json!(CLIP_CHARS));
    set("mode", json!("sliding_window"));
    set("sliding_window_percentage", json!(SLIDING_WINDOW_SHARE));
    if let Some(Value::Object(given)) = &agent.compaction_settings {
        let given = given.iter().filter(|(_, value)| !value.is_null());
        settings.extend(given.map(|(key, value)| (key.clone(), value.clone())));
    }
    if settings.get("prompt").is_none_or(Value::is_null) {
        let mode = settings.get("mode").and_then(Value::as_str);
        let prompt = summary_prompt(mode.unwrap_or_default());
        settings.insert("prompt".to_owned(), json!(prompt));
    }
    Value::Object(settings)
}

/// What a mode of compaction tells its model, when compaction settings do not say.
pub(crate) fn summary_prompt(mode: &str) -> &'static str {
    let prompt = match mode {
        "all" => SUMMARY_PROMPT_ALL,
        "self_compact_all" => SUMMARY_PROMPT_SELF_ALL,
        "self_compact_sliding_window" => SUMMARY_PROMPT_SELF,
        _ => SUMMARY_PROMPT,
    };
    prompt.trim_end()
}

/// The model that makes summaries: a small one where the provider is known to have one, or else the
/// agent's own, which exists for certain.
fn summarizer(config: &LlmConfig) -> Option<String> {
    let provider = config
        .handle
        .as_deref()
        .and_then(|handle| handle.split_once('/'));
    match provider.map(|(provider, _)| provider) {
        Some("openai") => Some("openai/gpt-5-mini".to_owned()),
        Some("anthropic") => Some("anthropic/claude-haiku-4-5".to_owned()),
        Some("google_ai") => Some("google_ai/gemini-2.5-flash".to_owned()),
        _ => config.handle.clone(),
    }
}

/// The rules of a new agent: its creator's, and those of the base tools among its tools where the
/// older loop needs them. A tool for which the creator made a rule gets no other.
pub(super) fn tool_rules(
    agent_type: AgentType,
    given: Option<&[Value]>,
    wanted: Option<bool>,
    (config, tools): (&LlmConfig, &[Tool]),
) -> Vec<Value> {
    let mut rules: Vec<Value> = given.unwrap_or_default().iter().map(complete).collect();
    let by_model = MODELS_WITHOUT_BASE_RULES
        .iter()
        .any(|name| config.model.contains(name))
        && !config.model.contains("mini");
    let by_type = agent_type == AgentType::LettaV1Agent && rules.is_empty();
    if !wanted.unwrap_or(!by_model && !by_type) {
        return rules;
    }
    for tool in tools.iter().filter(|tool| is_base(tool)) {
        let known =
            |rule: &Value| rule.get("tool_name").and_then(Value::as_str) == Some(&tool.name);
        if !rules.iter().any(known) {
            let ends = matches!(tool.name.as_str(), "send_message" | "memory_finish_edits");
            let kind = if ends { "exit_loop" } else { "continue_loop" };
            rules.push(rule(kind, &tool.name));
        }
    }
    rules
}

fn is_base(tool: &Tool) -> bool {
    matches!(
        tool.tool_type,
        ToolType::LettaCore | ToolType::LettaMemoryCore | ToolType::LettaSleeptimeCore
    )
}

/// A rule without further fields.
pub(crate) fn rule(kind: &str, tool: &str) -> Value {
    json!({"tool_name": tool, "type": kind, "prompt_template": null})
}

/// A rule with the field that all rules show.
pub(super) fn complete(rule: &Value) -> Value {
    let mut rule = rule.clone();
    if let Value::Object(fields) = &mut rule {
        fields.entry("prompt_template").or_insert(Value::Null);
    }
    rule
}

/// What `model_settings` of the V1 API say about calls, with other fields kept as they came.
pub(crate) fn apply_settings(config: &mut LlmConfig, settings: &Map<String, Value>) {
    let number = |key: &str| settings.get(key).and_then(Value::as_f64);
    config.temperature = number("temperature").or(config.temperature);
    let max_tokens = settings.get("max_output_tokens").and_then(Value::as_i64);
    config.max_tokens = max_tokens.or(config.max_tokens);
    let parallel = settings.get("parallel_tool_calls").and_then(Value::as_bool);
    config.parallel_tool_calls = parallel.or(config.parallel_tool_calls);
    let reasoning = settings
        .get("reasoning")
        .and_then(|value| value.get("reasoning_effort"));
    if let Some(effort) = reasoning.and_then(Value::as_str) {
        config.reasoning_effort = Some(effort.to_owned());
    }
    if let Some(thinking) = settings.get("thinking").filter(|value| value.is_object()) {
        let off = thinking.get("type").and_then(Value::as_str) == Some("disabled");
        let budget = thinking.get("budget_tokens").filter(|_| !off).cloned();
        let mut set = |key: &str, value: Value| _ = config.extra.insert(key.to_owned(), value);
        set("enable_reasoner", Value::Bool(!off));
        set("max_reasoning_tokens", budget.unwrap_or_else(|| 0.into()));
    }
    for key in ["strict", "response_format", "effort", "verbosity"] {
        if let Some(value) = settings.get(key) {
            config.extra.insert(key.to_owned(), value.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use mnemic_core::{ids::ToolId, time::Timestamp};

    use super::*;

    fn tool(name: &str, tool_type: ToolType) -> Tool {
        Tool {
            id: ToolId::new(),
            name: name.to_owned(),
            tool_type,
            description: None,
            source_type: "python".to_owned(),
            source_code: None,
            json_schema: json!({}),
            tags: Vec::new(),
            return_char_limit: 1,
            enable_parallel_execution: false,
            default_requires_approval: None,
            extra: json!({}),
            created_by: None,
            updated_by: None,
            created_at: Timestamp(0),
            updated_at: Timestamp(0),
        }
    }

    fn kinds(rules: &[Value]) -> Vec<(&str, &str)> {
        rules
            .iter()
            .map(|rule| {
                (
                    rule["tool_name"].as_str().unwrap(),
                    rule["type"].as_str().unwrap(),
                )
            })
            .collect()
    }

    #[test]
    fn base_tools_get_rules_where_the_older_loop_needs_them() {
        let config = LlmConfig {
            model: "gpt-4o-mini".to_owned(),
            ..LlmConfig::default()
        };
        let tools = [
            tool("send_message", ToolType::LettaCore),
            tool("memory_insert", ToolType::LettaSleeptimeCore),
            tool("mine", ToolType::Custom),
        ];
        let rules = |kind, given, wanted, model: &str| {
            let config = LlmConfig {
                model: model.to_owned(),
                ..config.clone()
            };
            tool_rules(kind, given, wanted, (&config, &tools))
        };
        let both = [
            ("send_message", "exit_loop"),
            ("memory_insert", "continue_loop"),
        ];
        let plain = rules(AgentType::MemgptV2Agent, None, None, "gpt-4o-mini");
        assert_eq!(kinds(&plain), both);
        assert!(rules(AgentType::LettaV1Agent, None, None, "gpt-4o-mini").is_empty());
        assert!(rules(AgentType::MemgptV2Agent, None, None, "gpt-5").is_empty());
        assert_eq!(
            rules(AgentType::MemgptV2Agent, None, None, "gpt-5-mini").len(),
            2
        );
        assert!(rules(AgentType::MemgptV2Agent, None, Some(false), "gpt-4o-mini").is_empty());
        let own = [json!({"type": "exit_loop", "tool_name": "memory_insert"})];
        let mixed = rules(AgentType::LettaV1Agent, Some(&own), None, "gpt-4o-mini");
        assert_eq!(
            kinds(&mixed),
            [
                ("memory_insert", "exit_loop"),
                ("send_message", "exit_loop")
            ]
        );
        assert_eq!(mixed[0]["prompt_template"], Value::Null);
    }

    #[test]
    fn settings_move_into_the_configuration_and_what_is_left_out_stays() {
        let mut config = LlmConfig {
            temperature: Some(1.0),
            max_tokens: Some(16_384),
            ..LlmConfig::default()
        };
        let settings = json!({
            "provider_type": "openai", "temperature": 0.2, "reasoning": {"reasoning_effort": "low"},
        });
        apply_settings(&mut config, settings.as_object().unwrap());
        assert_eq!(config.temperature, Some(0.2));
        assert_eq!(config.max_tokens, Some(16_384));
        assert_eq!(config.reasoning_effort.as_deref(), Some("low"));
    }

    #[test]
    fn open_files_follow_the_context_window() {
        assert_eq!(file_windows(8_000), (3, 5_000));
        assert_eq!(file_windows(16_000), (5, 15_000));
        assert_eq!(file_windows(128_000), (10, 25_000));
        assert_eq!(file_windows(1_000_000), (15, 40_000));
    }
}
