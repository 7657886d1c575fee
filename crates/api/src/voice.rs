//! The voice route of the former server, which it had given up itself: clients are told so as it told them.

use http::StatusCode;

use crate::{
    described::{Routes, routes},
    error::ApiError,
};

/// The routes of voice.
pub fn routes() -> Routes {
    routes!(talk)
}

/// There is no voice route any more: `/v1/chat/completions` streams an agent's answer.
#[utoipa::path(post, path = "/v1/voice-beta/{agent_id}/chat/completions", tag = "openai",
    operation_id = "create_voice_chat_completions", params(("agent_id" = String, Path)),
    responses((status = 410, description = "Always")))]
async fn talk() -> ApiError {
    ApiError::new(
        StatusCode::GONE,
        "voice-beta is gone: stream an agent's answer from /v1/chat/completions instead",
    )
}
