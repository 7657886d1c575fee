//! Model servers are recognised by what they answer, and asked for what their lists leave out.

use mnemic_llm::{Catalogue, Endpoint, EndpointConfig, Found, ModelServer, Origin};
use serde_json::{Value, json};
use url::Url;
use wiremock::{Mock, MockServer, ResponseTemplate, matchers::path};

use crate::server::{Server, client};

async fn serving(routes: &[(&str, u16, Value)]) -> MockServer {
    let server = MockServer::start().await;
    for (route, status, answer) in routes {
        Mock::given(path(*route))
            .respond_with(ResponseTemplate::new(*status).set_body_json(answer))
            .mount(&server)
            .await;
    }
    server
}

async fn found(routes: &[(&str, u16, Value)]) -> Found {
    let server = serving(routes).await;
    client().identify(&Url::parse(&server.uri()).unwrap()).await
}

fn list(owner: &str) -> Value {
    json!({"object": "list", "data": [{"id": "m", "owned_by": owner}]})
}

#[tokio::test]
async fn each_program_is_known_by_routes_of_its_own() {
    let version = json!({"version": "1.2.3"});
    for (routes, server) in [
        (
            vec![
                ("/api/version", 200, version.clone()),
                ("/api/tags", 200, json!({"models": []})),
            ],
            ModelServer::Ollama,
        ),
        (
            vec![(
                "/api/v0/models",
                200,
                json!({"object": "list", "data": [{"id": "m", "state": "not-loaded"}]}),
            )],
            ModelServer::LmStudio,
        ),
        (
            vec![(
                "/props",
                200,
                json!({"default_generation_settings": {}, "total_slots": 4}),
            )],
            ModelServer::LlamaServer,
        ),
        (
            vec![
                ("/version", 200, version.clone()),
                ("/v1/models", 200, list("vllm")),
            ],
            ModelServer::Vllm,
        ),
        (
            vec![("/v1/models", 200, list("sglang"))],
            ModelServer::Sglang,
        ),
    ] {
        assert_eq!(found(&routes).await, Found::Server(server));
    }
}

#[tokio::test]
async fn what_only_looks_like_one_is_a_stranger() {
    let version = json!({"version": "0.6.1"});
    for routes in [
        // A web interface of Ollama has the first of its routes.
        vec![("/api/version", 200, version.clone())],
        vec![("/version", 200, version.clone())],
        vec![("/v1/models", 200, list("openai"))],
        vec![("/v1/models", 200, list("vllm"))],
        vec![(
            "/api/v0/models",
            200,
            json!({"error": "Unexpected endpoint"}),
        )],
        vec![("/props", 200, json!({"theme": "dark"}))],
        vec![("/api/version", 401, version.clone())],
    ] {
        assert_eq!(found(&routes).await, Found::Stranger, "{routes:?}");
    }
}

#[tokio::test]
async fn one_that_loads_its_model_is_busy_and_nothing_is_nobody() {
    let loading = json!({"error": {"message": "Loading model", "code": 503}});
    let routes = [
        ("/props", 503, loading.clone()),
        ("/v1/models", 503, loading),
    ];
    assert_eq!(found(&routes).await, Found::Busy);
    let gone = Server::start([]).await;
    let address = Url::parse(&gone.url("/")).unwrap();
    drop(gone);
    let mut seen = client().identify(&address).await;
    // The listener closes when its task is gone.
    while seen != Found::Nobody {
        tokio::task::yield_now().await;
        seen = client().identify(&address).await;
    }
}

async fn only_model(server: &MockServer, name: &str) -> mnemic_llm::ModelInfo {
    let config = EndpointConfig::new(name, format!("{}/v1", server.uri()));
    let catalogue = Catalogue::new(client(), vec![Endpoint::new(config).unwrap()]);
    let mut models = catalogue.list().await.models;
    assert_eq!(models.len(), 1);
    models.remove(0)
}

#[tokio::test]
async fn windows_come_from_where_each_program_tells_them() {
    let settings = json!({"default_generation_settings": {"n_ctx": 4096}, "total_slots": 1, "chat_template": "plain"});
    let server = serving(&[
        ("/v1/models", 200, list("llamacpp")),
        ("/props", 200, settings),
    ])
    .await;
    let model = only_model(&server, "desk").await;
    assert_eq!(
        (model.context_window, model.abilities.tools),
        (4_096, Some(false))
    );
    assert!(model.warning.unwrap().contains("--ctx-size"));

    let rows = json!({"object": "list", "data": [{"id": "m", "state": "loaded", "type": "llm", "loaded_context_length": 4096, "max_context_length": 99_999}]});
    let server = serving(&[
        ("/v1/models", 200, list("organization_owner")),
        ("/api/v0/models", 200, rows),
    ])
    .await;
    let model = only_model(&server, "desk").await;
    assert_eq!(model.context_window, 4_096);
    assert!(model.warning.unwrap().contains("lms load"));

    let served = json!({"data": [{"id": "m", "owned_by": "vllm", "max_model_len": 2048}]});
    let model = only_model(&serving(&[("/v1/models", 200, served)]).await, "desk").await;
    assert_eq!(model.context_window, 2_048);
    assert!(model.warning.unwrap().contains("--max-model-len"));

    let model = only_model(
        &serving(&[("/v1/models", 200, list("library"))]).await,
        "desk",
    )
    .await;
    assert!(model.warning.unwrap().contains("protocol = \"ollama\""));

    // A program that does not tell loses nothing.
    let model = only_model(
        &serving(&[("/v1/models", 200, list("llamacpp"))]).await,
        "desk",
    )
    .await;
    assert_eq!((model.context_window, model.warning), (32_768, None));
}

fn found_config(server: &MockServer) -> EndpointConfig {
    ModelServer::LmStudio.config("lmstudio", &server.uri(), Origin::Found)
}

#[tokio::test]
async fn a_found_servers_loaded_model_is_the_default_where_nothing_is_configured() {
    let row = |id: &str, state: &str| json!({"id": id, "state": state, "type": "llm"});
    let ids = json!({"data": [{"id": "a"}, {"id": "text-embed"}, {"id": "b"}]});
    let rows = json!({"object": "list", "data": [row("a", "not-loaded"), row("b", "loaded")]});
    let server = serving(&[("/v1/models", 200, ids), ("/api/v0/models", 200, rows)]).await;
    let endpoint = |config| Endpoint::new(config).unwrap();
    let catalogue = Catalogue::new(client(), vec![endpoint(found_config(&server))]);
    assert_eq!(catalogue.found_model().await.as_deref(), Some("lmstudio/b"));
    let configured = EndpointConfig::new("desk", "http://127.0.0.1:1/v1");
    catalogue.replace(vec![endpoint(configured), endpoint(found_config(&server))]);
    assert_eq!(catalogue.found_model().await, None);
    catalogue.replace(Vec::new());
    assert_eq!(catalogue.found_model().await, None);
}

#[tokio::test]
async fn what_would_fail_for_want_of_a_model_waits_for_the_first_look() {
    let server = serving(&[("/v1/models", 200, list("vllm"))]).await;
    let catalogue = std::sync::Arc::new(Catalogue::new(client(), Vec::new()));
    catalogue.begin_first_look();
    let waiting = tokio::spawn({
        let catalogue = catalogue.clone();
        async move { catalogue.resolve("lmstudio/m").await }
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    catalogue.replace(vec![Endpoint::new(found_config(&server)).unwrap()]);
    catalogue.end_first_look();
    assert_eq!(waiting.await.unwrap().unwrap().model, "m");
    assert!(
        catalogue.resolve("nobody/m").await.is_err(),
        "later nothing is waited for"
    );
}
