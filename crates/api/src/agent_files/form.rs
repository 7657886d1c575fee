//! The form by which a file is imported.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Multipart, Request, multipart::MultipartError};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use mnemic_engine::agent_files::ImportOptions;
use serde_json::{Value, json};
use url::Url;
use utoipa::ToSchema;

use crate::{
    AppState,
    error::ApiError,
    validation::{Issue, Loc},
};

/// The older way to name the embedding model.
const EMBEDDING_HEADER: &str = "x-override-embedding-model";

/// Parts that one form may have.
const MAX_PARTS: usize = 64;

/// The form, for the API's description.
#[derive(ToSchema)]
#[allow(dead_code)]
pub(super) struct ImportBody {
    /// The agent file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// A name for the file's first agent.
    name: Option<String>,
    /// Add `_copy` to the names that agents have in the file.
    #[schema(default = true)]
    append_copy_suffix: Option<bool>,
    /// The model of the agents, in place of those of the file.
    model: Option<String>,
    /// The embedding model of the agents, in place of those of the file.
    embedding: Option<String>,
    /// Values of secrets, as a JSON object.
    secrets: Option<String>,
    /// Leave out what was said.
    #[schema(default = false)]
    strip_messages: Option<bool>,
    /// Change tools that are here already to those of the file.
    #[schema(default = true)]
    override_existing_tools: Option<bool>,
    /// Take over what the file says was granted to tools, and let its agents have tools that something was granted to.
    #[schema(default = false)]
    allow_grants: Option<bool>,
    /// The project of the agents.
    project_id: Option<String>,
    /// The older name of `name`.
    override_name: Option<String>,
    /// The older name of `model`.
    override_model_handle: Option<String>,
    /// The older name of `embedding`.
    override_embedding_handle: Option<String>,
    /// The older name of `secrets`.
    env_vars_json: Option<String>,
}

/// A form that was sent.
#[derive(Debug, Default)]
pub(super) struct ImportForm {
    file: Option<Bytes>,
    fields: BTreeMap<String, String>,
}

impl FromRequest<AppState> for ImportForm {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &AppState) -> Result<Self, ApiError> {
        Self::read(request, state).await.map_err(ApiError::closing)
    }
}

impl ImportForm {
    async fn read(request: Request, state: &AppState) -> Result<Self, ApiError> {
        check_origin(request.headers(), &state.settings.cors_origins)?;
        let limit = state.settings.body_limit_bytes;
        let read = Multipart::from_request(request, state).await;
        let mut parts = read.map_err(|_| {
            ApiError::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "send the agent file as the part `file` of a form, with Content-Type: multipart/form-data",
            )
        })?;
        let mut form = Self::default();
        let mut number = 0;
        while let Some(part) = parts
            .next_field()
            .await
            .map_err(|error| broken(&error, limit))?
        {
            number += 1;
            if number > MAX_PARTS {
                let text = format!("a form has at most {MAX_PARTS} parts");
                return Err(ApiError::unprocessable(text));
            }
            let name = part.name().unwrap_or_default().to_owned();
            let content = part.bytes().await.map_err(|error| broken(&error, limit))?;
            if name == "file" {
                form.file = Some(content);
                continue;
            }
            let text = String::from_utf8(content.to_vec())
                .map_err(|_| wrong(&name, "Input should be a valid string", Value::Null))?;
            form.fields.insert(name, text);
        }
        Ok(form)
    }
}

fn broken(error: &MultipartError, limit: usize) -> ApiError {
    if error.status() == StatusCode::PAYLOAD_TOO_LARGE {
        return ApiError::too_large(limit);
    }
    ApiError::bad_request(format!("the form can't be read: {}", error.body_text()))
}

/// A form may be sent by any web page that a person looks at, without the browser asking first. None but the server's
/// own and those that may call the API anyway must make agents that way.
fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let own = host.is_some_and(|host| is_of(origin, host));
    if own || allowed.iter().any(|one| one == "*" || one == origin) {
        return Ok(());
    }
    Err(ApiError::new(
        StatusCode::FORBIDDEN,
        format!(
            "pages of {origin} may not import agents: add it to the setting cors_origins if they may"
        ),
    ))
}

/// Whether an origin is that of a host, whose port may be left out where it is the scheme's own.
fn is_of(origin: &str, host: &str) -> bool {
    let Ok(origin) = Url::parse(origin) else {
        return false;
    };
    let Ok(own) = Url::parse(&format!("{}://{host}", origin.scheme())) else {
        return false;
    };
    origin.has_host() && (origin.host(), origin.port()) == (own.host(), own.port())
}

impl ImportForm {
    /// The file and what the form says about it.
    pub(super) fn options(
        mut self,
        headers: &HeaderMap,
    ) -> Result<(Bytes, ImportOptions), ApiError> {
        let Some(file) = self.file.take() else {
            return Err(ApiError::invalid(&[Issue {
                kind: "missing",
                loc: vec![Loc::from("body"), Loc::from("file")],
                msg: "Field required".to_owned(),
                input: Value::Null,
            }]));
        };
        let of_header = headers.get(EMBEDDING_HEADER);
        let of_header = of_header
            .and_then(|value| value.to_str().ok())
            .map(str::to_owned);
        let embedding = self.text(&["embedding", "override_embedding_handle"]);
        let options = ImportOptions {
            name: self.text(&["name", "override_name"]),
            append_copy_suffix: self.flag("append_copy_suffix")?.unwrap_or(true),
            model: self.text(&["model", "override_model_handle"]),
            embedding: embedding.or(of_header),
            secrets: self.secrets()?,
            strip_messages: self.flag("strip_messages")?.unwrap_or(false),
            keep_existing_tools: !self.flag("override_existing_tools")?.unwrap_or(true),
            allow_grants: self.flag("allow_grants")?.unwrap_or(false),
            project_id: self.text(&["project_id"]),
            is_from_tool: false,
        };
        Ok((file, options))
    }

    /// The first of these fields that says something.
    fn text(&self, names: &[&str]) -> Option<String> {
        let given = names.iter().filter_map(|name| self.fields.get(*name));
        given.into_iter().find(|text| !text.is_empty()).cloned()
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, ApiError> {
        let Some(text) = self.text(&[name]) else {
            return Ok(None);
        };
        match text.to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" | "on" => Ok(Some(true)),
            "false" | "0" | "no" | "off" => Ok(Some(false)),
            _ => Err(wrong(name, "Input should be a valid boolean", json!(text))),
        }
    }

    fn secrets(&self) -> Result<BTreeMap<String, String>, ApiError> {
        let Some(text) = self.text(&["secrets", "env_vars_json"]) else {
            return Ok(BTreeMap::new());
        };
        // Its values are secret: they are not told again.
        serde_json::from_str::<Option<_>>(&text)
            .map(Option::unwrap_or_default)
            .map_err(|_| {
                wrong(
                    "secrets",
                    "Input should be a JSON object of texts",
                    Value::Null,
                )
            })
    }
}

fn wrong(name: &str, msg: &str, input: Value) -> ApiError {
    ApiError::invalid(&[Issue::body(&[name], msg, input)])
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn pages_of_other_hosts_are_refused_and_programs_are_not() {
        let allowed = vec!["http://localhost:3000".to_owned()];
        let table = [
            (None, true),
            (Some("http://127.0.0.1:8283"), true),
            (Some("http://localhost:3000"), true),
            (Some("http://127.0.0.1:9999"), false),
            (Some("http://127.0.0.1"), false),
            (Some("https://evil.example"), false),
            (Some("http://127.0.0.1:8283.evil.example"), false),
            (Some("null"), false),
            (Some(""), false),
        ];
        for (origin, lets) in table {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8283"));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(check_origin(&headers, &allowed).is_ok(), lets, "{origin:?}");
        }
        assert!(is_of("https://agents.example", "agents.example"));
        assert!(is_of("https://agents.example", "agents.example:443"));
        assert!(!is_of("https://agents.example", "agents.example:8443"));
    }

    #[test]
    fn newer_names_of_fields_win_and_flags_have_the_forms_of_the_api() {
        let fields = [
            ("name", "new"),
            ("override_name", "old"),
            ("env_vars_json", r#"{"KEY": "value"}"#),
            ("strip_messages", "True"),
            ("model", ""),
        ];
        let form = ImportForm {
            file: Some(Bytes::new()),
            fields: fields
                .map(|(name, text)| (name.to_owned(), text.to_owned()))
                .into(),
        };
        let (_, options) = form.options(&HeaderMap::new()).unwrap();
        let wanted = ImportOptions {
            name: Some("new".to_owned()),
            append_copy_suffix: true,
            secrets: [("KEY".to_owned(), "value".to_owned())].into(),
            strip_messages: true,
            ..ImportOptions::default()
        };
        assert_eq!(options, wanted);
    }
}
