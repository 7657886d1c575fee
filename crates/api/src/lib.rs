//! The V1 REST API over the engine.
//!
//! Architecture invariant: only this crate knows HTTP. A handler reads a request into a type that
//! cannot be wrong, calls the engine or reads from the store, and renders what came back. It holds no
//! state of its own and decides nothing about agents.

pub mod access;
pub mod actor;
mod admin;
mod agent_files;
mod agents;
mod answer;
mod api_keys;
mod archival_memory;
mod archives;
mod auth;
mod batches;
mod blocks;
pub mod callbacks;
mod capture;
mod compaction;
mod content;
mod context_window;
mod conversation_messages;
mod conversations;
mod core_memory;
mod described;
mod embeddings;
pub mod error;
pub mod extract;
mod forgetting;
mod forks;
mod generate;
mod groups;
mod health;
mod history;
mod identities;
mod jobs;
pub mod letta_messages;
mod limits;
mod memory;
mod message_search;
mod messages;
mod metrics;
mod middleware;
mod models;
mod openai;
mod openapi;
pub mod page;
mod patch;
mod paths;
mod people;
mod plain;
mod providers;
mod receipts;
mod runs;
mod sandbox_configs;
mod send_request;
mod sse;
mod steps;
mod tags;
mod tools;
mod turns;
mod usage;
mod user_tokens;
pub mod validation;
mod visitors;
mod voice;

use std::sync::Arc;

use axum::{
    Router,
    extract::{DefaultBodyLimit, Request},
};
use http::{HeaderName, StatusCode, header};
use mnemic_engine::Engine;
use mnemic_llm::UrlGuard;
use tower_http::{
    catch_panic::CatchPanicLayer,
    cors::{AllowHeaders, AllowMethods, AllowOrigin, CorsLayer},
};

use crate::{access::Door, error::ApiError, paths::OneForm};

/// How the API behaves.
#[derive(Debug, Clone)]
pub struct ApiSettings {
    /// The password that every request must carry; `None` lets everybody in.
    pub password: Option<String>,
    /// Refuse requests that do not name their user.
    pub no_default_actor: bool,
    /// Bytes that a request's body may have.
    pub body_limit_bytes: usize,
    /// Web pages of these origins may call the API; `*` stands for all.
    pub cors_origins: Vec<String>,
    /// The version that `/v1/health` tells.
    pub version: String,
    /// Whether images may be fetched from addresses of private networks, and callbacks posted to them.
    pub allow_private_urls: bool,
}

impl Default for ApiSettings {
    fn default() -> Self {
        let local = [
            "http://localhost:3000",
            "http://localhost:8283",
            "http://127.0.0.1:8283",
        ];
        Self {
            password: None,
            no_default_actor: false,
            body_limit_bytes: 32 * 1024 * 1024,
            cors_origins: local.map(str::to_owned).to_vec(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            allow_private_urls: false,
        }
    }
}

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState {
    /// The engine.
    pub engine: Engine,
    /// How the API behaves.
    pub settings: Arc<ApiSettings>,
    /// Guards what requests make the server fetch, or post to.
    pub outside: UrlGuard,
    /// What is remembered of who came.
    pub door: Arc<Door>,
}

/// The whole API.
pub fn router(engine: Engine, settings: ApiSettings) -> Router {
    let cors = cors(&settings.cors_origins);
    let limit = settings.body_limit_bytes;
    let outside = UrlGuard::new(settings.allow_private_urls);
    let state = AppState {
        engine: engine.clone(),
        settings: Arc::new(settings),
        outside,
        door: Arc::default(),
    };
    let (routes, descriptions) = openapi::routes().split();
    let inner = routes
        .merge(openapi::pages(descriptions))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(CatchPanicLayer::custom(middleware::panicked))
        .layer(DefaultBodyLimit::max(limit))
        .layer(axum::middleware::from_fn_with_state(
            state.clone(),
            middleware::around,
        ))
        .layer(axum::middleware::from_fn(openai::errors::reshape))
        .layer(cors)
        .with_state(state);
    let router = Router::new().fallback_service(OneForm::new(inner));
    engine.set_doors(Arc::new(visitors::ApiDoors::new(router.clone())));
    router
}

async fn not_found(request: Request) -> ApiError {
    middleware::unread(ApiError::not_found("Not Found"), request).await
}

async fn method_not_allowed(request: Request) -> ApiError {
    let refused = ApiError::new(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed");
    middleware::unread(refused, request).await
}

/// Which web pages may call the API: as the recorded answers, with credentials and any header.
fn cors(origins: &[String]) -> CorsLayer {
    let allowed = if origins.iter().any(|origin| origin == "*") {
        AllowOrigin::mirror_request()
    } else {
        AllowOrigin::list(origins.iter().filter_map(|origin| origin.parse().ok()))
    };
    CorsLayer::new()
        .allow_origin(allowed)
        .allow_credentials(true)
        .allow_methods(AllowMethods::mirror_request())
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers([HeaderName::from_static("x-request-id"), header::RETRY_AFTER])
}
