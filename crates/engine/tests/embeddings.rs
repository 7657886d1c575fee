//! Embedding models behind the facade: in the process with the real weights, and at a provider.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, missing_docs)]
#![cfg(feature = "local-models")]

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use mnemic_engine::embedding::{EmbeddingError, EmbeddingSettings, Embeddings, LocalModels};
use mnemic_llm::{Catalogue, Client, Endpoint, EndpointConfig, RetryPolicy, Timeouts};
use mnemic_local::{ModelCache, manifest, pull};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::path};

const LOCAL: &str = "local/all-MiniLM-L6-v2";

/// The folder of the real weights, which are fetched into the user's cache at first.
fn weights() -> PathBuf {
    let root = std::env::var_os("MNEMIC_MODELS_DIR").map_or_else(
        || {
            let dirs = directories::ProjectDirs::from("", "", "mnemic").unwrap();
            dirs.cache_dir().join("models")
        },
        PathBuf::from,
    );
    let mut options = pull::PullOptions::default();
    if let Ok(hub) = std::env::var("HF_ENDPOINT") {
        options.hub = hub;
    }
    let model = manifest::find(manifest::DEFAULT).unwrap();
    pull::pull(model, &ModelCache::new(&root), &options, &mut |_| {}).unwrap();
    root
}

fn embeddings(
    default: Option<&str>,
    folder: Option<PathBuf>,
    provider: Option<&str>,
) -> Embeddings {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::new(Timeouts::default(), RetryPolicy::default()).unwrap();
    let endpoints = provider.map(|url| Endpoint::new(EndpointConfig::new("desk", url)).unwrap());
    let catalogue = Arc::new(Catalogue::new(client, endpoints.into_iter().collect()));
    let local = folder.map(|folder| LocalModels {
        folder,
        fetch: false,
        hub: None,
    });
    let settings = EmbeddingSettings {
        default_handle: default.map(str::to_owned),
        local,
    };
    Embeddings::new(catalogue, &settings)
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[tokio::test]
async fn the_model_of_the_process_is_the_default_and_makes_vectors() {
    let embeddings = embeddings(None, Some(weights()), None);
    assert_eq!(embeddings.default_handle(), Some(LOCAL));
    let model = embeddings.default_model().await.unwrap();
    assert!(model.is_ready());
    assert_eq!((model.handle(), model.dims()), (LOCAL, Some(384)));
    assert_eq!(model.model_key(), "local/all-MiniLM-L6-v2@53aa51172d14");
    let passages = ["Anna lives in Lisbon now.", "The oven is broken."].map(str::to_owned);
    let passages = model.embed_passages(passages.to_vec()).await.unwrap();
    let query = model.embed_query("Where is Anna's home?").await.unwrap();
    assert!((cosine(&query, &query) - 1.0).abs() < 1e-5);
    assert!(cosine(&query, &passages[0]) > cosine(&query, &passages[1]) + 0.2);
    assert_eq!(
        model.embed_query("Where is Anna's home?").await.unwrap(),
        query
    );
}

#[tokio::test]
async fn long_texts_are_chunked_by_the_models_own_tokens() {
    let embeddings = embeddings(None, Some(weights()), None);
    let model = embeddings.model("LOCAL/all-minilm-l6-v2").await.unwrap();
    assert_eq!(
        model.chunks("short").unwrap(),
        std::iter::once(0..5).collect::<Vec<_>>()
    );
    let text = "One sentence follows another. ".repeat(300);
    let chunks = model.chunks(&text).unwrap();
    assert!(chunks.len() > 5);
    assert_eq!(chunks.last().unwrap().end, text.len());
}

#[tokio::test]
async fn a_query_does_not_wait_for_a_long_batch_of_passages() {
    let embeddings = embeddings(None, Some(weights()), None);
    let model = embeddings.default_model().await.unwrap();
    model.embed_query("load it").await.unwrap();
    let text = "The river rose again in the night and the ferry did not leave. ".repeat(12);
    let many = vec![text; 24];
    let batch = tokio::spawn({
        let model = model.clone();
        async move { model.embed_passages(many).await }
    });
    // Once the batch was handed over.
    tokio::task::yield_now().await;
    model.embed_query("Did the ferry leave?").await.unwrap();
    assert!(!batch.is_finished(), "the query came after all passages");
    assert_eq!(batch.await.unwrap().unwrap().len(), 24);
}

#[tokio::test]
async fn a_model_whose_files_are_missing_says_how_to_get_them() {
    let empty = tempfile::tempdir().unwrap();
    let embeddings = embeddings(None, Some(empty.path().to_owned()), None);
    embeddings.prepare();
    let model = embeddings.default_model().await.unwrap();
    assert!(!model.is_ready());
    let error = model.embed_query("x").await.unwrap_err();
    assert!(matches!(error, EmbeddingError::NotReady { .. }) && error.is_passing());
    assert!(error.to_string().contains("mnemic models pull"), "{error}");
    assert!(model.chunks("x").is_err());
    assert_eq!(embeddings.in_process()[0].handle, LOCAL);
}

#[tokio::test]
async fn none_switches_all_embeddings_off() {
    let embeddings = embeddings(Some("None"), Some(weights()), None);
    assert_eq!(embeddings.default_handle(), None);
    assert!(embeddings.in_process().is_empty());
    for model in [
        embeddings.default_model().await,
        embeddings.model(LOCAL).await,
    ] {
        assert!(matches!(model, Err(EmbeddingError::Disabled)));
    }
}

#[tokio::test]
async fn a_providers_model_is_asked_over_http_and_its_vectors_are_scaled() {
    let server = MockServer::start().await;
    let answer = |request: &Request| {
        let body: Value = serde_json::from_slice(&request.body).unwrap();
        let rows = body["input"].as_array().unwrap().iter();
        let rows: Vec<Value> = rows
            .map(|text| json!({"embedding": [3.0, text.as_str().unwrap().len()]}))
            .collect();
        ResponseTemplate::new(200).set_body_json(json!({"data": rows}))
    };
    Mock::given(path("/v1/embeddings"))
        .respond_with(answer)
        .mount(&server)
        .await;
    let models = json!({"data": [{"id": "nomic-embed-text"}]});
    Mock::given(path("/v1/models"))
        .respond_with(ResponseTemplate::new(200).set_body_json(models))
        .mount(&server)
        .await;
    let url = format!("{}/v1", server.uri());
    let embeddings = embeddings(Some("desk/nomic-embed-text"), None, Some(&url));
    let model = embeddings.default_model().await.unwrap();
    assert_eq!(model.model_key(), "desk/nomic-embed-text");
    assert_eq!(model.dims(), Some(768));
    for _ in 0..2 {
        let query = model.embed_query("x").await.unwrap();
        assert!((cosine(&query, &query) - 1.0).abs() < 1e-6);
    }
    model.embed_passages(vec!["y".into()]).await.unwrap();
    let requests = server.received_requests().await.unwrap();
    let sent: Vec<Value> = requests
        .iter()
        .filter(|request| request.url.path() == "/v1/embeddings")
        .map(|request| serde_json::from_slice::<Value>(&request.body).unwrap()["input"][0].clone())
        .collect();
    assert_eq!(
        sent,
        ["search_query: x", "search_document: y"],
        "a query asked for again costs no request"
    );
    assert!(matches!(
        embeddings.model("elsewhere/m").await,
        Err(EmbeddingError::Unknown(_))
    ));
    let chunks = model.chunks(&"word ".repeat(1000)).unwrap();
    assert!(chunks.len() > 2);
}

#[tokio::test]
async fn a_caller_that_goes_away_hurts_nobody() {
    let embeddings = embeddings(None, Some(weights()), None);
    let model = embeddings.default_model().await.unwrap();
    let text = "The river rose again in the night. ".repeat(10);
    model.embed_passages(vec!["load it".into()]).await.unwrap();
    let started = Instant::now();
    model.embed_passages(vec![text.clone(); 16]).await.unwrap();
    let piece = started.elapsed();
    let gone = model.embed_passages(vec![text; 16 * 40]);
    let gone = tokio::time::timeout(Duration::from_millis(1), gone);
    assert!(gone.await.is_err());
    let started = Instant::now();
    model.embed_passages(vec!["next".into()]).await.unwrap();
    assert!(
        started.elapsed() < piece * 10,
        "what nobody waits for is computed to its end"
    );
}
