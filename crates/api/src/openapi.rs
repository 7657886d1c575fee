//! The API's description of itself: `/openapi.json` from the code, and pages to read it at `/docs`.

use std::sync::Arc;

use axum::{Router, response::IntoResponse, routing::get};
use bytes::Bytes;
use http::header;
use utoipa::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    AppState, agents, blocks, capture, conversation_messages, conversations, core_memory, health,
    messages, models, runs, steps, tags, tools,
};

#[derive(OpenApi)]
#[openapi(info(
    title = "Mnemic",
    description = "A self-hosted server for agents that remember. It speaks the V1 REST API, so that \
                   the clients made for that API work unchanged."
))]
struct Document;

/// All routes, each described where it is written.
pub fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(Document::openapi())
        .merge(agents::routes())
        .merge(core_memory::routes())
        .merge(blocks::routes())
        .merge(tools::routes())
        .merge(tags::routes())
        .merge(messages::routes())
        .merge(capture::routes())
        .merge(conversations::routes())
        .merge(conversation_messages::routes())
        .merge(runs::routes())
        .merge(steps::routes())
        .merge(models::routes())
        .merge(health::routes())
}

/// The description itself and the pages that show it, all from the binary.
pub fn pages(document: utoipa::openapi::OpenApi) -> Router<AppState> {
    let text = Bytes::from(serde_json::to_vec(&document).unwrap_or_default());
    let text = Arc::new(text);
    let json = move || {
        let text = Bytes::clone(&text);
        async move { ([(header::CONTENT_TYPE, "application/json")], text).into_response() }
    };
    Router::new()
        .route("/openapi.json", get(json.clone()))
        .route("/v1/openapi.json", get(json))
        .merge(SwaggerUi::new("/docs").config(Config::from("/openapi.json")))
}
