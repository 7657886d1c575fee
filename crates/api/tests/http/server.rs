//! A server in the test's own process.

use std::sync::Arc;

use axum::{Router, body::Body};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use mnemic_api::ApiSettings;
use mnemic_core::time::Clock;
use mnemic_engine::{Engine, EngineSettings};
use mnemic_llm::{Catalogue, Client, Endpoint, EndpointConfig, RetryPolicy, Timeouts};
use mnemic_store::{Location, Secrets, Store};
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::Service as _;

use crate::model::Model;

/// The API over an empty database.
pub struct Server {
    router: Router,
    _folder: TempDir,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }
}

impl Server {
    /// A server with these settings; `model_url` is the base URL of the provider `openai`.
    pub async fn start(settings: ApiSettings, model_url: Option<&str>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let location = Location::Sqlite(folder.path().join("mnemic.db"));
        let store = Store::open(location, Secrets::new(&[7; 32])).await.unwrap();
        let client = Client::new(Timeouts::default(), RetryPolicy::default()).unwrap();
        let endpoints = model_url.map(|url| {
            let config = EndpointConfig::new("desk", url).with_key("sk-test");
            Endpoint::new(config).unwrap()
        });
        let catalogue = Arc::new(Catalogue::new(
            client.clone(),
            endpoints.into_iter().collect(),
        ));
        let engine = Engine::new(
            store,
            client,
            catalogue,
            EngineSettings::default(),
            Clock::System,
        );
        engine.start().await.unwrap();
        let scope = mnemic_core::scope::Scope::default();
        engine.ensure_builtin_tools(&scope).await.unwrap();
        let router = mnemic_api::router(engine, settings);
        Self {
            router,
            _folder: folder,
        }
    }

    pub async fn plain() -> Self {
        Self::start(ApiSettings::default(), None).await
    }

    pub async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().call(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text,
        }
    }

    pub async fn call(&self, method: &str, path: &str, body: &str) -> Answer {
        self.call_with(method, path, body, &[]).await
    }

    pub async fn call_with(
        &self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Answer {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(Body::from(body.to_owned())).unwrap())
            .await
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, "").await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.call("POST", path, &body.to_string()).await
    }

    /// A server with a played model, and an agent with a block `human`.
    pub async fn with_agent() -> (Self, Model, String) {
        let model = Model::start().await;
        let server = Self::start(ApiSettings::default(), Some(&model.url)).await;
        let block = json!({"label": "human", "value": "Ada"});
        let made = server
            .post(
                "/v1/agents/",
                &json!({"model": "desk/small", "memory_blocks": [block]}),
            )
            .await;
        assert_eq!(made.status, 200, "{}", made.text);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        (server, model, id)
    }
}

/// The JSON frames of a stream, without the `[DONE]` that must end it.
pub fn frames(text: &str) -> Vec<Value> {
    let mut frames: Vec<&str> = text.split_terminator("\n\n").collect();
    assert_eq!(frames.pop(), Some("data: [DONE]"), "{text}");
    let json = |frame: &str| {
        let data = frame.strip_prefix("event: error\n").unwrap_or(frame);
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
    };
    frames.into_iter().map(json).collect()
}

/// The `message_type` of each message or frame.
pub fn types(messages: &[Value]) -> Vec<&str> {
    messages
        .iter()
        .map(|message| message["message_type"].as_str().unwrap())
        .collect()
}
