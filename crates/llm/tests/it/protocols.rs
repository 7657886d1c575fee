//! The protocols besides chat completions, over real connections.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use mnemic_core::messages::{ContentPart, MessageBody, ReasoningOrigin, Role};
use mnemic_llm::{
    Assembler, Call, Catalogue, Delta, Endpoint, EndpointConfig, LlmError, MessageView, Protocol,
    Thinking, ToolChoice, ToolSet, ToolSpec, Transcript,
};
use serde_json::{Value, json};

use crate::server::{Act, KEY, Server, client, error, json as answer};

fn endpoint(server: &Server, protocol: Protocol) -> Endpoint {
    let config = EndpointConfig {
        protocol,
        ..server.config("there")
    };
    Endpoint::new(config).unwrap()
}

fn push(transcript: &mut Transcript, role: Role, content: Vec<ContentPart>) {
    let body = MessageBody {
        content,
        ..MessageBody::default()
    };
    transcript.push(&MessageView {
        role,
        body: &body,
        name: None,
    });
}

/// A history in which the model has thought, and asks on.
fn call(server: &Server, protocol: Protocol) -> Call {
    let endpoint = Arc::new(endpoint(server, protocol));
    let mut transcript = Transcript::for_endpoint(&endpoint);
    let thoughts = ContentPart::Reasoning {
        text: "thoughts".into(),
        signature: Some("proof".into()),
        origin: Some(ReasoningOrigin {
            protocol: protocol.as_str().into(),
            provider: "there".into(),
            id: Some("rs_1".into()),
        }),
    };
    push(
        &mut transcript,
        Role::User,
        vec![ContentPart::text("hello")],
    );
    let said = vec![thoughts, ContentPart::text("hi")];
    push(&mut transcript, Role::Assistant, said);
    push(&mut transcript, Role::User, vec![ContentPart::text("and?")]);
    Call::new(endpoint, "model-1", "prompt".into(), transcript)
}

const NEW: [Protocol; 2] = [Protocol::Anthropic, Protocol::OpenAiResponses];

fn hello(protocol: Protocol) -> Act {
    answer(match protocol {
        Protocol::Anthropic => {
            r#"{"type":"message","model":"m","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":2}}"#
        }
        _ => {
            r#"{"model":"m","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"hi"}]}],"usage":{"input_tokens":1,"output_tokens":2}}"#
        }
    })
}

/// The pieces of a stream that says `hi`.
fn pieces(protocol: Protocol) -> Vec<String> {
    let events = match protocol {
        Protocol::Anthropic => vec![
            json!({"type": "message_start", "message": {"model": "m", "usage": {"input_tokens": 1}}}),
            json!({"type": "content_block_delta", "index": 0, "delta": {"text": "hi"}}),
            json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}}),
            json!({"type": "message_stop"}),
        ],
        _ => vec![
            json!({"type": "response.created", "response": {"model": "m"}}),
            json!({"type": "response.output_text.delta", "output_index": 0, "delta": "hi"}),
            json!({"type": "response.completed", "response": {"status": "completed"}}),
        ],
    };
    let write = |event: &Value| {
        let kind = event["type"].as_str().unwrap();
        format!("event: {kind}\ndata: {event}\n\n")
    };
    events.iter().map(write).collect()
}

#[tokio::test]
async fn a_call_goes_to_the_protocols_route_with_its_key() {
    for (protocol, route, key) in [
        (
            Protocol::Anthropic,
            "/v1/messages",
            format!("x-api-key: {KEY}"),
        ),
        (
            Protocol::OpenAiResponses,
            "/v1/responses",
            format!("authorization: Bearer {KEY}"),
        ),
    ] {
        let server = Server::start([hello(protocol)]).await;
        let completion = client().call(&call(&server, protocol)).await.unwrap();
        assert_eq!(completion.body, MessageBody::text("hi"));
        assert_eq!(completion.usage.unwrap().total_tokens(), 3);
        let request = &server.requests()[0];
        let line = format!("POST {route} HTTP/1.1\r\n");
        assert!(request.head.starts_with(&line), "{}", request.head);
        assert!(request.has_header(&key));
        let version = request.has_header("anthropic-version: 2023-06-01");
        assert_eq!(version, protocol == Protocol::Anthropic);
        assert!(String::from_utf8_lossy(&request.body).contains("\"proof\""));
    }
}

#[tokio::test]
async fn streams_are_read_and_torn_ones_are_errors() {
    for protocol in NEW {
        let all = pieces(protocol);
        let torn = all[..1].to_vec();
        let server = Server::start([
            Act::Stream(all.clone()),
            Act::Torn(torn.clone()),
            Act::Stream(all),
        ])
        .await;
        for tries in [1, 3] {
            let mut stream = client().stream(&call(&server, protocol)).await.unwrap();
            let mut assembler = Assembler::new();
            while let Some(delta) = stream.next().await {
                assembler.push(&delta.unwrap());
            }
            assert_eq!(
                assembler.finish().body,
                MessageBody::text("hi"),
                "{protocol:?}"
            );
            assert_eq!(
                server.requests().len(),
                tries,
                "a torn beginning is tried again"
            );
        }
    }
}

#[tokio::test]
async fn an_error_in_a_stream_is_the_providers() {
    let overloaded =
        json!({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}});
    let failed = json!({"type": "response.failed", "response": {"error": {"code": "rate_limit_exceeded", "message": "busy"}}});
    for (protocol, event, kind) in [
        (Protocol::Anthropic, overloaded, "llm_overloaded"),
        (Protocol::OpenAiResponses, failed, "llm_rate_limit"),
    ] {
        let mut all = pieces(protocol)[..2].to_vec();
        all.push(format!(
            "event: {}\ndata: {event}\n\n",
            event["type"].as_str().unwrap()
        ));
        let server = Server::start([Act::Stream(all)]).await;
        let stream = client().stream(&call(&server, protocol)).await.unwrap();
        let deltas: Vec<Result<Delta, LlmError>> = stream.collect().await;
        assert_eq!(deltas[0], Ok(Delta::Text("hi".into())));
        assert_eq!(deltas[1].as_ref().unwrap_err().error_type(), kind);
        assert_eq!(deltas.len(), 2);
    }
}

#[tokio::test]
async fn refused_reasoning_is_left_out_once_rather_than_bricking_the_agent() {
    for (protocol, refusal) in [
        (
            Protocol::Anthropic,
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
        (
            Protocol::OpenAiResponses,
            "The encrypted content gAAA could not be verified.",
        ),
        (
            Protocol::OpenAiResponses,
            "Item 'rs_1' of type 'reasoning' was provided without its required following item.",
        ),
    ] {
        let server = Server::start([error(400, refusal), hello(protocol)]).await;
        let mut call = call(&server, protocol);
        call.thinking = Thinking::Budget(2000);
        assert!(client().call(&call).await.is_ok(), "{refusal}");
        let requests = server.requests();
        let text = |at: usize| String::from_utf8_lossy(&requests[at].body).into_owned();
        assert!(
            text(0).contains("proof") && !text(1).contains("proof"),
            "{refusal}"
        );
        assert!(text(1).contains("and?") && !text(1).contains("budget_tokens"));
        let always = [
            error(400, refusal),
            error(400, refusal),
            error(400, refusal),
        ];
        let server = Server::start(always).await;
        let failure = client()
            .call(&self::call(&server, protocol))
            .await
            .unwrap_err();
        assert_eq!(failure.error_type(), "llm_bad_request");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_parameter_that_a_model_refuses_is_left_out_from_then_on() {
    let refusal = "This model does not support the effort parameter.";
    let hello = || hello(Protocol::Anthropic);
    let server = Server::start([error(400, refusal), hello(), hello()]).await;
    let mut call = call(&server, Protocol::Anthropic);
    call.reasoning_effort = Some("high".into());
    for _ in 0..2 {
        client().call(&call).await.unwrap();
    }
    let sent: Vec<bool> = server
        .requests()
        .iter()
        .map(|request| request.json()["output_config"].is_object())
        .collect();
    assert_eq!(sent, [true, false, false]);
}

#[tokio::test]
async fn a_call_that_had_to_come_and_did_not_is_asked_for_by_schema() {
    let forced = |protocol| {
        let text = r#"{\"name\":\"f\",\"arguments\":{\"x\":1}}"#;
        answer(&match protocol {
            Protocol::Anthropic => format!(
                r#"{{"content":[{{"type":"text","text":"{text}"}}],"stop_reason":"end_turn"}}"#
            ),
            _ => format!(r#"{{"output":[{{"type":"message","content":[{{"text":"{text}"}}]}}]}}"#),
        })
    };
    for protocol in NEW {
        let server = Server::start([hello(protocol), forced(protocol)]).await;
        let mut call = call(&server, protocol);
        let spec = ToolSpec {
            name: "f".into(),
            description: "does it".into(),
            parameters: json!({"type": "object"}),
        };
        call.tools = Arc::new(ToolSet::new(&[spec]));
        call.tool_choice = ToolChoice::Required;
        let completion = client().call(&call).await.unwrap();
        assert_eq!(
            completion.body.tool_calls[0].arguments, "{\"x\":1}",
            "{protocol:?}"
        );
        let again = server.requests()[1].json();
        let format = [&again["output_config"]["format"], &again["text"]["format"]];
        assert!(
            format.iter().any(|format| format["type"] == "json_schema"),
            "{again}"
        );
    }
}

#[tokio::test]
async fn anthropics_models_are_listed_with_their_limits() {
    let list = r#"{"data":[{"type":"model","id":"claude-x","max_input_tokens":300000,"max_tokens":9000},
        {"type":"model","id":"claude-opus-4-6"}],"has_more":false}"#;
    let server = Server::start([answer(list)]).await;
    let there = endpoint(&server, Protocol::Anthropic);
    let catalogue = Catalogue::new(client(), vec![there]);
    let limits: Vec<_> = catalogue
        .list()
        .await
        .models
        .into_iter()
        .map(|model| (model.handle, model.context_window, model.max_output_tokens))
        .collect();
    assert_eq!(
        limits,
        [
            ("there/claude-x".to_owned(), 300_000, Some(9_000)),
            ("there/claude-opus-4-6".to_owned(), 1_000_000, Some(128_000)),
        ]
    );
    let request = &server.requests()[0];
    assert!(
        request.head.starts_with("GET /v1/models?limit=1000 "),
        "{}",
        request.head
    );
    let known = catalogue.endpoint_of("there/claude-x").unwrap();
    assert_eq!(known.protocol(), Protocol::Anthropic);
    assert!(catalogue.endpoint_of("nowhere/x").is_none());
}

#[tokio::test]
async fn retry_after_is_kept_to() {
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow down"}}"#;
    let late = Act::Answer(429, "retry-after: 0.05\r\n", body.into());
    let server = Server::start([late, hello(Protocol::Anthropic)]).await;
    let started = std::time::Instant::now();
    client()
        .call(&call(&server, Protocol::Anthropic))
        .await
        .unwrap();
    assert!(started.elapsed() >= Duration::from_millis(50));
}
