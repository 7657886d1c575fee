//! The API's description of itself: `/openapi.json` from the code, and pages to read it at `/docs`.

use std::sync::Arc;

use axum::{Router, response::Redirect, routing::get};
use bytes::Bytes;
use http::header;
use mnemic_core::ids;
use serde::Serialize;
use tokio::sync::OnceCell;
use utoipa::{
    OpenApi, ToSchema,
    openapi::{
        Content, ObjectBuilder, Ref, RefOr, ResponseBuilder, Type,
        path::{Operation, ParameterIn, PathItem},
    },
};
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    AppState, admin, agent_files, agents, api_keys, archival_memory, archives, auth, batches,
    blocks, capture, compaction, context_window, conversation_messages, conversations, core_memory,
    described::{self, Describe, Routes},
    embeddings,
    error::ApiError,
    forgetting, forks, generate, groups, health, identities, jobs, limits, memory, message_search,
    messages, metrics, models, openai, people, providers, runs, sandbox_configs, steps, tags,
    tools, usage, user_tokens, voice,
};

/// What is wrong with a request, or with the server.
#[derive(Serialize, ToSchema)]
struct ErrorBody {
    /// One sentence, the list of what is wrong with the request, or an object with a code.
    detail: Option<serde_json::Value>,
    /// The error of a model's provider: its type, message and detail.
    error: Option<serde_json::Value>,
    /// The run that a conversation is busy with.
    run_id: Option<String>,
}

#[derive(OpenApi)]
#[openapi(
    components(schemas(ErrorBody)),
    info(
        title = "Mnemic",
        description = "A self-hosted server for agents that remember. It speaks the V1 REST API, so that \
                   the clients made for that API work unchanged."
    )
)]
struct Document;

/// All routes, each described where it is written.
pub fn routes() -> Routes {
    Routes::new()
        .merge(agents::routes())
        .merge(agent_files::routes())
        .merge(core_memory::routes())
        .merge(blocks::routes())
        .merge(archives::routes())
        .merge(archival_memory::routes())
        .merge(tools::routes())
        .merge(sandbox_configs::routes())
        .merge(tags::routes())
        .merge(identities::routes())
        .merge(groups::routes())
        .merge(messages::routes())
        .merge(message_search::routes())
        .merge(capture::routes())
        .merge(compaction::routes())
        .merge(context_window::routes())
        .merge(generate::routes())
        .merge(conversations::routes())
        .merge(conversation_messages::routes())
        .merge(forks::routes())
        .merge(runs::routes())
        .merge(batches::routes())
        .merge(memory::routes())
        .merge(forgetting::routes())
        .merge(people::routes())
        .merge(jobs::routes())
        .merge(admin::routes())
        .merge(api_keys::routes())
        .merge(user_tokens::routes())
        .merge(voice::routes())
        .merge(limits::routes())
        .merge(usage::routes())
        .merge(steps::routes())
        .merge(models::routes())
        .merge(embeddings::routes())
        .merge(openai::routes())
        .merge(providers::routes())
        .merge(auth::routes())
        .merge(health::routes())
        .merge(metrics::routes())
}

/// The whole description.
pub fn document(descriptions: &[Describe]) -> utoipa::openapi::OpenApi {
    let mut document = described::describe(Document::openapi(), descriptions);
    complete(&mut document);
    document
}

/// Adds what holds for every operation: the form of errors, and the form of ids.
fn complete(document: &mut utoipa::openapi::OpenApi) {
    let items = document.paths.paths.values_mut();
    for operation in items.flat_map(operations) {
        let schema = Ref::from_schema_name("ErrorBody");
        let errors = ResponseBuilder::new()
            .description("What is wrong")
            .content("application/json", Content::new(Some(schema)))
            .build();
        let responses = &mut operation.responses.responses;
        for response in responses.values_mut() {
            if let RefOr::T(response) = response
                && response.description.is_empty()
            {
                response.description = "The answer".to_owned();
            }
        }
        responses.insert("default".to_owned(), RefOr::T(errors));
        for parameter in operation.parameters.iter_mut().flatten() {
            let RefOr::T(parameter) = parameter else {
                continue;
            };
            let prefix = prefix_of(&parameter.name);
            if let (ParameterIn::Path, Some(prefix)) = (&parameter.parameter_in, prefix) {
                let schema = ObjectBuilder::new().schema_type(Type::String);
                let schema = schema.pattern(Some(id_pattern(prefix))).build();
                parameter.schema = Some(schema.into());
            }
        }
    }
}

fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.put,
        &mut item.post,
        &mut item.delete,
        &mut item.patch,
    ]
    .into_iter()
    .flatten()
}

/// The prefix of the ids that a path parameter holds. (Conversations have other names as well.)
fn prefix_of(parameter: &str) -> Option<&'static str> {
    let prefix = match parameter {
        "agent_id" => ids::AgentId::PREFIX,
        "block_id" => ids::BlockId::PREFIX,
        "group_id" => ids::GroupId::PREFIX,
        "batch_id" => ids::JobId::PREFIX,
        "identity_id" => ids::IdentityId::PREFIX,
        "message_id" => ids::MessageId::PREFIX,
        "run_id" => ids::RunId::PREFIX,
        "sandbox_config_id" => ids::SandboxConfigId::PREFIX,
        "env_var_id" => ids::SandboxVariableId::PREFIX,
        "step_id" => ids::StepId::PREFIX,
        "tool_id" => ids::ToolId::PREFIX,
        _ => return None,
    };
    Some(prefix)
}

/// The form of an id: its prefix and a lower-case UUID of version 4.
fn id_pattern(prefix: &str) -> String {
    format!(
        "^{prefix}-[0-9a-f]{{8}}-[0-9a-f]{{4}}-4[0-9a-f]{{3}}-[89ab][0-9a-f]{{3}}-[0-9a-f]{{12}}$"
    )
}

/// The description itself and the pages that show it, all from the binary. It is put together when it is first
/// read.
pub fn pages(descriptions: Vec<Describe>) -> Router<AppState> {
    let text = Arc::new(OnceCell::new());
    let descriptions: Arc<[Describe]> = descriptions.into();
    let json = move || {
        let (text, descriptions) = (Arc::clone(&text), Arc::clone(&descriptions));
        async move {
            let text = text.get_or_try_init(|| written(descriptions)).await?;
            let kind = [(header::CONTENT_TYPE, "application/json")];
            Ok::<_, ApiError>((kind, Bytes::clone(text)))
        }
    };
    Router::new()
        // Whoever opens the server's address in a browser finds something to read.
        .route("/", get(async || Redirect::temporary("/docs/")))
        .route("/openapi.json", get(json.clone()))
        .route("/v1/openapi.json", get(json))
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
}

/// The description as JSON, which takes some 30 ms of processor time.
async fn written(descriptions: Arc<[Describe]>) -> Result<Bytes, ApiError> {
    let work = tokio::task::spawn_blocking(move || serde_json::to_vec(&document(&descriptions)));
    match work.await {
        Ok(Ok(text)) => Ok(Bytes::from(text)),
        Ok(Err(error)) => Err(ApiError::internal(error.to_string())),
        Err(error) => Err(ApiError::internal(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_name_in_the_description_means_one_shape() {
        let (_, descriptions) = routes().split();
        let mut known = BTreeMap::new();
        for (name, schema) in descriptions.iter().flat_map(|describe| describe().0) {
            let schema = serde_json::to_value(&schema).unwrap();
            let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
            assert_eq!(
                *first, schema,
                "{name} names two types: give one #[schema(as = ...)]"
            );
        }
        assert!(known.len() > 100);
    }
}
