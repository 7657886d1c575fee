//! The models that agents can use.

use std::sync::Arc;

use axum::{
    extract::State,
    response::{IntoResponse as _, Response},
};
use mnemic_core::prices::Price;
use mnemic_engine::{
    Engine,
    embedding::{EmbeddingInfo, known_dims},
};
use mnemic_llm::{Endpoint, ModelInfo, ModelKind, Origin};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use crate::{
    AppState,
    actor::Actor,
    described::{Routes, routes},
    error::ApiError,
    extract::{Json, Query},
    openai::{self, Language},
};

/// The routes of this file.
pub fn routes() -> Routes {
    Routes::new()
        .merge(routes!(list))
        .merge(routes!(list_embedding))
        .merge(routes!(list_unreachable))
}

/// A model that agents can think with.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct ModelView {
    /// `provider/model`, as agents name it.
    handle: String,
    name: String,
    display_name: String,
    provider_type: String,
    provider_name: String,
    model_type: &'static str,
    model: String,
    model_endpoint_type: &'static str,
    model_endpoint: String,
    provider_category: &'static str,
    model_wrapper: Option<String>,
    context_window: i64,
    put_inner_thoughts_in_kwargs: bool,
    temperature: f64,
    max_tokens: Option<i64>,
    enable_reasoner: bool,
    reasoning_effort: Option<String>,
    max_reasoning_tokens: i64,
    effort: Option<String>,
    frequency_penalty: Option<f64>,
    compatibility_type: Option<String>,
    verbosity: Option<String>,
    tier: Option<String>,
    parallel_tool_calls: bool,
    response_format: Option<Value>,
    strict: bool,
    return_logprobs: bool,
    top_logprobs: Option<i64>,
    return_token_ids: bool,
    tool_call_parser: Option<String>,
    /// Tokens that request and answer may take together.
    max_context_window: i64,
    /// What is wrong with that number, and what to do about it; not there when nothing is.
    #[serde(skip_serializing_if = "Option::is_none")]
    warning: Option<String>,
    /// What a million tokens cost; not there where that is not known. (Mnemic's own.)
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<serde_json::Value>)]
    pricing: Option<Price>,
}

impl ModelView {
    fn of(model: &ModelInfo, pricing: Option<Price>) -> Self {
        Self {
            handle: model.handle.clone(),
            name: model.model.clone(),
            display_name: model.model.clone(),
            provider_type: provider_type(&model.endpoint),
            provider_name: model.endpoint.name().to_owned(),
            model_type: "llm",
            model: model.model.clone(),
            model_endpoint_type: model.endpoint.endpoint_type(),
            model_endpoint: model.endpoint.base_url().to_owned(),
            provider_category: category(&model.endpoint),
            model_wrapper: None,
            context_window: model.context_window,
            put_inner_thoughts_in_kwargs: false,
            temperature: 1.0,
            max_tokens: model.max_output_tokens,
            enable_reasoner: true,
            reasoning_effort: None,
            max_reasoning_tokens: 0,
            effort: None,
            frequency_penalty: None,
            compatibility_type: None,
            verbosity: None,
            tier: None,
            parallel_tool_calls: false,
            response_format: None,
            strict: false,
            return_logprobs: false,
            top_logprobs: None,
            return_token_ids: false,
            tool_call_parser: None,
            max_context_window: model.context_window,
            warning: model.warning.clone(),
            pricing,
        }
    }
}

fn price_of(model: &ModelInfo, engine: &Engine) -> Option<Price> {
    let (url, now) = (model.endpoint.base_url(), engine.now());
    engine.settings().prices.price(url, &model.model, now)
}

/// Whose the provider is: the server's, or one that was added by the API.
fn category(endpoint: &Arc<Endpoint>) -> &'static str {
    match endpoint.config().origin {
        Origin::Added => "byok",
        _ => "base",
    }
}

/// The provider's type in the contract's words. Clients validate it against a list, so an endpoint of
/// another name is what it speaks.
fn provider_type(endpoint: &Arc<Endpoint>) -> String {
    /// The contract's provider types.
    const KNOWN: [&str; 25] = [
        "anthropic",
        "azure",
        "baseten",
        "bedrock",
        "cerebras",
        "chatgpt_oauth",
        "deepseek",
        "fireworks",
        "google_ai",
        "google_vertex",
        "groq",
        "hugging-face",
        "letta",
        "lmstudio_openai",
        "minimax",
        "mistral",
        "ollama",
        "openai",
        "openrouter",
        "sglang",
        "together",
        "vllm",
        "xai",
        "zai",
        "zai_coding",
    ];
    let given = endpoint.provider_type();
    if KNOWN.contains(&given) {
        given.to_owned()
    } else {
        endpoint.endpoint_type().to_owned()
    }
}

/// A model that makes vectors of texts.
#[derive(Debug, Serialize, ToSchema)]
#[allow(missing_docs)]
struct EmbeddingModelView {
    /// `provider/model`, as agents name it.
    handle: String,
    name: String,
    display_name: String,
    provider_type: String,
    provider_name: String,
    model_type: &'static str,
    embedding_endpoint_type: &'static str,
    embedding_endpoint: Option<String>,
    embedding_model: String,
    embedding_dim: usize,
    embedding_chunk_size: i64,
    batch_size: i64,
    azure_endpoint: Option<String>,
    azure_version: Option<String>,
    azure_deployment: Option<String>,
}

impl From<&ModelInfo> for EmbeddingModelView {
    fn from(model: &ModelInfo) -> Self {
        Self {
            handle: model.handle.clone(),
            name: model.model.clone(),
            display_name: model.model.clone(),
            provider_type: provider_type(&model.endpoint),
            provider_name: model.endpoint.name().to_owned(),
            model_type: "embedding",
            embedding_endpoint_type: "openai",
            embedding_endpoint: Some(model.endpoint.base_url().to_owned()),
            embedding_model: model.model.clone(),
            embedding_dim: known_dims(&model.model).unwrap_or(USUAL_DIMS),
            embedding_chunk_size: 300,
            batch_size: 32,
            azure_endpoint: None,
            azure_version: None,
            azure_deployment: None,
        }
    }
}

impl From<EmbeddingInfo> for EmbeddingModelView {
    /// A model that runs in this process. The contract's word for what runs it is the nearest there is.
    fn from(info: EmbeddingInfo) -> Self {
        let (provider, _) = info.handle.split_once('/').unwrap_or_default();
        Self {
            provider_name: provider.to_owned(),
            handle: info.handle,
            name: info.model.clone(),
            display_name: info.model.clone(),
            provider_type: IN_PROCESS_TYPE.to_owned(),
            model_type: "embedding",
            embedding_endpoint_type: IN_PROCESS_TYPE,
            embedding_endpoint: None,
            embedding_model: info.model,
            embedding_dim: info.dims,
            embedding_chunk_size: 300,
            batch_size: 32,
            azure_endpoint: None,
            azure_version: None,
            azure_deployment: None,
        }
    }
}

/// The contract's word for models of the hub.
const IN_PROCESS_TYPE: &str = "hugging-face";

/// Numbers of a vector that are told where a model's name does not say; nothing here relies on them.
const USUAL_DIMS: usize = 1_536;

/// Which models a list shows.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default)]
#[into_params(parameter_in = Query)]
struct ModelsQuery {
    /// `base`: the server's own providers; `byok`: providers added by the API.
    provider_category: Vec<String>,
    /// Only this provider's.
    provider_name: Option<String>,
    /// Only those of providers of this type.
    provider_type: Option<String>,
}

impl ModelsQuery {
    fn wants(&self, model: &ModelInfo) -> bool {
        let category = &self.provider_category;
        let own = self::category(&model.endpoint);
        (category.is_empty() || category.iter().any(|name| name == own))
            && self
                .provider_name
                .as_ref()
                .is_none_or(|name| name == model.endpoint.name())
            && self
                .provider_type
                .as_ref()
                .is_none_or(|kind| *kind == provider_type(&model.endpoint))
    }
}

/// The models that agents can think with. A provider that does not answer is left out. (To a client of
/// OpenAI's API, known by its `User-Agent` or by `/openai` before the path, the agents are the models.)
#[utoipa::path(get, path = "/v1/models", tag = "models", operation_id = "list_models",
    params(ModelsQuery), responses((status = 200, body = Vec<ModelView>)))]
async fn list(
    State(state): State<AppState>,
    Actor(scope): Actor,
    language: Language,
    Query(query): Query<ModelsQuery>,
) -> Result<Response, ApiError> {
    if language == Language::OpenAi {
        return openai::models::list(&state, scope).await;
    }
    let listing = state.engine.models(&scope).await?;
    let wanted = listing
        .models
        .iter()
        .filter(|model| model.kind == ModelKind::Llm && query.wants(model))
        .map(|model| ModelView::of(model, price_of(model, &state.engine)));
    Ok(Json(wanted.collect::<Vec<_>>()).into_response())
}

/// The models that make vectors of texts: those of the server itself, then those of providers.
#[utoipa::path(get, path = "/v1/models/embedding", tag = "models",
    operation_id = "list_embedding_models",
    responses((status = 200, body = Vec<EmbeddingModelView>)))]
async fn list_embedding(
    State(state): State<AppState>,
    Actor(scope): Actor,
) -> Result<Json<Vec<EmbeddingModelView>>, ApiError> {
    let listing = state.engine.models(&scope).await?;
    let wanted = listing
        .models
        .iter()
        .filter(|model| model.kind == ModelKind::Embedding)
        .map(EmbeddingModelView::from);
    let own = state.engine.embeddings().in_process().into_iter();
    Ok(Json(
        own.map(EmbeddingModelView::from).chain(wanted).collect(),
    ))
}

/// A provider that is configured and does not tell its models.
#[derive(Debug, Serialize, ToSchema)]
struct UnreachableView {
    /// Its name, with which the handles of its models begin.
    provider_name: String,
    /// Why, and what to do.
    error: String,
}

/// The configured providers whose models can't be listed at the moment. (Mnemic's own: the list of models
/// leaves them out.)
#[utoipa::path(get, path = "/v1/models/unreachable", tag = "models",
    operation_id = "list_unreachable_providers",
    responses((status = 200, body = Vec<UnreachableView>)))]
async fn list_unreachable(
    State(state): State<AppState>,
    Actor(scope): Actor,
) -> Result<Json<Vec<UnreachableView>>, ApiError> {
    let listing = state.engine.models(&scope).await?;
    let configured = listing
        .unreachable
        .iter()
        .filter(|one| one.endpoint.config().origin != Origin::Found);
    let views = configured.map(|one| UnreachableView {
        provider_name: one.endpoint.name().to_owned(),
        error: one.error.to_string(),
    });
    Ok(Json(views.collect()))
}

#[cfg(test)]
mod tests {
    use mnemic_llm::EndpointConfig;
    use serde_json::json;

    use super::*;

    fn model() -> ModelInfo {
        let config = EndpointConfig::new("desk", "http://127.0.0.1:9/v1");
        ModelInfo {
            handle: "desk/small".to_owned(),
            model: "small".to_owned(),
            kind: ModelKind::Llm,
            known_kind: None,
            endpoint: Arc::new(Endpoint::new(config).unwrap()),
            context_window: 8192,
            max_output_tokens: None,
            context_limit: None,
            abilities: Default::default(),
            warning: None,
        }
    }

    #[test]
    fn a_small_window_is_warned_of() {
        let warned = ModelInfo {
            warning: Some("its window is small".to_owned()),
            ..model()
        };
        let json = serde_json::to_value(ModelView::of(&warned, None)).unwrap();
        assert_eq!(json["warning"], "its window is small");
    }

    #[test]
    fn a_model_has_the_recorded_fields() {
        let json = serde_json::to_value(ModelView::of(&model(), None)).unwrap();
        assert_eq!(json["handle"], "desk/small");
        assert_eq!(json["max_context_window"], 8192);
        assert_eq!(json["max_tokens"], json!(null));
        assert_eq!(json["provider_type"], "openai");
        assert_eq!(json.as_object().unwrap().len(), 31);
    }

    #[test]
    fn filters_pick_models() {
        let table = [
            (ModelsQuery::default(), true),
            (
                ModelsQuery {
                    provider_name: Some("desk".into()),
                    ..Default::default()
                },
                true,
            ),
            (
                ModelsQuery {
                    provider_name: Some("other".into()),
                    ..Default::default()
                },
                false,
            ),
            (
                ModelsQuery {
                    provider_category: vec!["byok".into()],
                    ..Default::default()
                },
                false,
            ),
            (
                ModelsQuery {
                    provider_category: vec!["base".into()],
                    ..Default::default()
                },
                true,
            ),
            (
                ModelsQuery {
                    provider_type: Some("anthropic".into()),
                    ..Default::default()
                },
                false,
            ),
        ];
        for (query, wanted) in table {
            assert_eq!(query.wants(&model()), wanted, "{query:?}");
        }
    }
}
