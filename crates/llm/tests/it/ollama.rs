//! Ollama's own protocol, over real connections.

use std::sync::Arc;

use futures_util::StreamExt;
use mnemic_core::messages::{MessageBody, Role};
use mnemic_llm::{
    Assembler, Call, Catalogue, Client, Delta, Endpoint, EndpointConfig, LlmError, MessageView,
    ModelKind, Protocol, ToolChoice, ToolSet, ToolSpec, Transcript,
};
use serde_json::{Value, json};
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{body_partial_json, method, path},
};

use crate::server::client;

fn config(server: &MockServer) -> EndpointConfig {
    EndpointConfig {
        protocol: Protocol::Ollama,
        ..EndpointConfig::new("ollama", format!("{}/v1", server.uri()))
    }
}

fn call(server: &MockServer) -> Call {
    let endpoint = Arc::new(Endpoint::new(config(server)).unwrap());
    let mut transcript = Transcript::for_endpoint(&endpoint);
    let body = MessageBody::text("hello");
    transcript.push(&MessageView {
        role: Role::User,
        body: &body,
        name: None,
    });
    Call::new(endpoint, "qwen3", "prompt".into(), transcript)
}

fn with_tool(mut call: Call) -> Call {
    let spec = ToolSpec {
        name: "f".into(),
        description: "does it".into(),
        parameters: json!({"type": "object"}),
    };
    call.tools = Arc::new(ToolSet::new(&[spec]));
    call
}

fn says(text: &str) -> Value {
    json!({"model": "qwen3", "message": {"role": "assistant", "content": text}, "done": true,
        "done_reason": "stop", "prompt_eval_count": 5, "eval_count": 2})
}

async fn chat(server: &MockServer, answer: ResponseTemplate) {
    Mock::given(method("POST"))
        .and(path("/api/chat"))
        .respond_with(answer)
        .mount(server)
        .await;
}

fn ndjson(lines: &[Value]) -> ResponseTemplate {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    ResponseTemplate::new(200).set_body_raw(text, "application/x-ndjson")
}

async fn bodies(server: &MockServer) -> Vec<Value> {
    let requests = server.received_requests().await.unwrap();
    let body = |request: &Request| serde_json::from_slice(&request.body).unwrap_or_default();
    requests.iter().map(body).collect()
}

#[tokio::test]
async fn a_whole_answer_and_a_stream_say_the_same() {
    let server = MockServer::start().await;
    chat(
        &server,
        ResponseTemplate::new(200).set_body_json(says("hi")),
    )
    .await;
    let whole = client().call(&call(&server)).await.unwrap();
    server.reset().await;
    let said = |text: &str| json!({"model": "qwen3", "message": {"content": text}, "done": false});
    chat(&server, ndjson(&[said("h"), said("i"), says("")])).await;
    let mut stream = client().stream(&call(&server)).await.unwrap();
    let mut assembler = Assembler::new();
    while let Some(delta) = stream.next().await {
        assembler.push(&delta.unwrap());
    }
    assert_eq!(assembler.finish(), whole);
    assert_eq!(whole.body, MessageBody::text("hi"));
    assert_eq!(whole.usage.unwrap().total_tokens(), 7);
    assert_eq!(bodies(&server).await[0]["options"]["num_ctx"], 16_384);
}

#[tokio::test]
async fn an_error_in_a_stream_is_the_providers_and_what_came_before_is_shown() {
    let server = MockServer::start().await;
    let said = json!({"message": {"content": "h"}, "done": false});
    chat(
        &server,
        ndjson(&[
            said,
            json!({"error": "llama runner process has terminated"}),
        ]),
    )
    .await;
    let stream = client().stream(&call(&server)).await.unwrap();
    let deltas: Vec<Result<Delta, LlmError>> = stream.collect().await;
    assert_eq!(deltas[0], Ok(Delta::Text("h".into())));
    let error = deltas[1].as_ref().unwrap_err();
    assert!(error.to_string().contains("llama runner"), "{error}");
}

#[tokio::test]
async fn a_prompt_that_is_too_long_is_refused_as_such() {
    let server = MockServer::start().await;
    let refusal = json!({"error": "the input length exceeds the context length"});
    chat(&server, ResponseTemplate::new(400).set_body_json(refusal)).await;
    let error = client().call(&call(&server)).await.unwrap_err();
    assert_eq!(error.error_type(), "context_window_exceeded");
}

#[tokio::test]
async fn a_model_that_refuses_tools_gets_them_as_a_form_from_then_on() {
    let server = MockServer::start().await;
    let refusal =
        json!({"error": "registry.ollama.ai/library/qwen3:latest does not support tools"});
    Mock::given(path("/api/chat"))
        .and(body_partial_json(json!({"tools": [{"type": "function"}]})))
        .respond_with(ResponseTemplate::new(400).set_body_json(refusal))
        .mount(&server)
        .await;
    chat(
        &server,
        ResponseTemplate::new(200)
            .set_body_json(says("{\"name\": \"f\", \"arguments\": {\"x\": 1}}")),
    )
    .await;
    let call = with_tool(call(&server));
    for _ in 0..2 {
        let completion = client().call(&call).await.unwrap();
        assert_eq!(completion.body.tool_calls[0].name, "f");
        assert!(completion.body.content.is_empty());
    }
    let bodies = bodies(&server).await;
    assert_eq!(bodies.len(), 3, "the refusal is learned from");
    assert!(bodies[1]["format"]["anyOf"].is_array() && bodies[1].get("tools").is_none());
    assert_eq!(
        bodies[1]["think"], false,
        "thoughts would be held to the form too"
    );
}

#[tokio::test]
async fn a_call_that_had_to_come_is_forced_by_a_format() {
    let server = MockServer::start().await;
    Mock::given(path("/api/chat"))
        .and(|request: &Request| String::from_utf8_lossy(&request.body).contains("\"format\""))
        .respond_with(
            ResponseTemplate::new(200).set_body_json(says("{\"name\":\"f\",\"arguments\":{}}")),
        )
        .mount(&server)
        .await;
    chat(
        &server,
        ResponseTemplate::new(200).set_body_json(says("no")),
    )
    .await;
    let mut call = with_tool(call(&server));
    call.tool_choice = ToolChoice::Required;
    let completion = client().call(&call).await.unwrap();
    assert_eq!(completion.body.tool_calls[0].name, "f");
    assert_eq!(completion.usage.unwrap().total_tokens(), 14, "both count");
}

async fn tags(server: &MockServer, digest: &str) {
    let model =
        |name: &str| json!({"name": name, "model": name, "digest": format!("{digest}-{name}")});
    let list = json!({"models": [model("qwen3:8b"), model("gemma"), model("nomic-embed-text")]});
    Mock::given(path("/api/tags"))
        .respond_with(ResponseTemplate::new(200).set_body_json(list))
        .mount(server)
        .await;
}

async fn show(server: &MockServer, name: &str, answer: Value) {
    Mock::given(path("/api/show"))
        .and(body_partial_json(json!({ "model": name })))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(server)
        .await;
}

#[tokio::test]
async fn models_are_listed_with_what_is_shown_of_them() {
    let server = MockServer::start().await;
    tags(&server, "a").await;
    let shown = |length: i64, can: &[&str]| json!({"model_info": {"x.context_length": length}, "capabilities": can});
    show(
        &server,
        "qwen3:8b",
        shown(40_960, &["completion", "tools", "thinking"]),
    )
    .await;
    show(&server, "gemma", shown(4_096, &["completion", "vision"])).await;
    show(&server, "nomic-embed-text", shown(2_048, &["embedding"])).await;
    let catalogue = Catalogue::new(client(), vec![Endpoint::new(config(&server)).unwrap()]);
    let models = catalogue.list().await.models;
    let told: Vec<_> = models
        .iter()
        .map(|model| (model.handle.as_str(), model.kind, model.context_window))
        .collect();
    assert_eq!(
        told,
        [
            ("ollama/qwen3:8b", ModelKind::Llm, 16_384),
            ("ollama/gemma", ModelKind::Llm, 4_096),
            ("ollama/nomic-embed-text", ModelKind::Embedding, 2_048),
        ]
    );
    assert_eq!(models[0].abilities.tools, Some(true));
    assert_eq!(models[1].abilities.tools, Some(false));
    assert!(models[1].warning.as_ref().unwrap().contains("4096 tokens"));
    assert_eq!(models[0].warning, None);
    let resolved = catalogue.resolve("ollama/qwen3:8b").await.unwrap();
    assert_eq!(resolved.context_limit, Some(40_960));
}

#[tokio::test]
async fn a_model_that_is_not_shown_is_listed_by_its_name() {
    let server = MockServer::start().await;
    tags(&server, "a").await;
    let catalogue = Catalogue::new(client(), vec![Endpoint::new(config(&server)).unwrap()]);
    let listing = catalogue.list().await;
    assert_eq!(listing.models.len(), 3);
    assert!(listing.unreachable.is_empty());
    assert_eq!(listing.models[0].context_window, 16_384);
    assert_eq!(listing.models[2].kind, ModelKind::Embedding, "by its name");
}

#[tokio::test]
async fn what_a_model_can_not_do_is_known_before_the_first_call() {
    let server = MockServer::start().await;
    tags(&server, "a").await;
    show(&server, "gemma", json!({"capabilities": ["completion"]})).await;
    chat(
        &server,
        ResponseTemplate::new(200).set_body_json(says("{\"answer\": \"Hi.\"}")),
    )
    .await;
    let catalogue = Catalogue::new(client(), vec![Endpoint::new(config(&server)).unwrap()]);
    let resolved = catalogue.resolve("ollama/gemma").await.unwrap();
    let call = with_tool(Call {
        endpoint: resolved.endpoint,
        model: resolved.model,
        ..call(&server)
    });
    let completion = client().call(&call).await.unwrap();
    assert_eq!(completion.body, MessageBody::text("Hi."));
    let asked = bodies(&server).await;
    assert!(asked.iter().all(|body| body.get("tools").is_none()));
}

#[tokio::test]
async fn vectors_come_by_the_route_of_openai() {
    let server = MockServer::start().await;
    let answer = json!({"data": [{"index": 0, "embedding": [0.5, 0.25]}]});
    Mock::given(path("/v1/embeddings"))
        .respond_with(ResponseTemplate::new(200).set_body_json(answer))
        .mount(&server)
        .await;
    let endpoint = Endpoint::new(config(&server)).unwrap();
    let client: Client = client();
    let vectors = client
        .embed(&endpoint, "nomic", &["a".to_owned()], None)
        .await;
    assert_eq!(vectors.unwrap(), [[0.5, 0.25]]);
}
