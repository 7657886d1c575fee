//! Calls that wait for the whole answer.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use mnemic_core::messages::{MessageBody, Role};
use mnemic_llm::{
    Call, Client, Endpoint, FinishReason, LlmError, MessageView, Protocol, RetryPolicy, Timeouts,
    ToolChoice, ToolSet, ToolSpec, Transcript,
};
use serde_json::json;

use crate::server::{Act, KEY, Server, client, done, error, hello, json as answer, stop, text};

#[tokio::test]
async fn a_call_sends_one_request_and_reads_its_answer() {
    let server = Server::start([hello()]).await;
    let completion = client().call(&server.call()).await.unwrap();
    assert_eq!(completion.body, MessageBody::text("hi"));
    assert_eq!(completion.finish, FinishReason::Stop);
    assert_eq!(completion.usage.unwrap().total_tokens(), 3);
    let request = &server.requests()[0];
    assert!(
        request
            .head
            .starts_with("POST /v1/chat/completions HTTP/1.1\r\n"),
        "{}",
        request.head
    );
    assert!(request.has_header(&format!("authorization: Bearer {KEY}")));
    assert!(request.has_header("content-type: application/json"));
    assert_eq!(
        request.json(),
        json!({"model": "model-1", "messages": [
            {"role": "system", "content": "prompt"}, {"role": "user", "content": "hello"}]})
    );
}

#[tokio::test]
async fn a_long_history_arrives_whole_and_its_length_is_told() {
    let server = Server::start([hello()]).await;
    let mut transcript = Transcript::new(Protocol::OpenAiChat);
    for turn in 0..400 {
        let body = MessageBody::text(format!("{turn} {}", "x".repeat(1000)));
        transcript.push(&MessageView {
            role: Role::User,
            body: &body,
            name: None,
        });
    }
    let call = Call::new(server.endpoint(), "m", "prompt".into(), transcript);
    client().call(&call).await.unwrap();
    let request = &server.requests()[0];
    assert!(request.has_header(&format!("content-length: {}", request.body.len())));
    assert!(request.body.len() > 400_000);
    let messages = &request.json()["messages"];
    assert_eq!(messages.as_array().unwrap().len(), 401);
    assert!(
        messages[400]["content"]
            .as_str()
            .unwrap()
            .starts_with("399 x")
    );
}

#[tokio::test]
async fn calls_share_one_connection() {
    let server = Server::start([hello(), error(400, "no"), hello()]).await;
    let (client, call) = (client(), server.call());
    client.call(&call).await.unwrap();
    client.call(&call).await.unwrap_err();
    client.call(&call).await.unwrap();
    let connections: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(connections, [0, 0, 0]);
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for act in [
        error(500, "x"),
        error(503, "x"),
        error(429, "x"),
        error(408, "x"),
        Act::Close,
    ] {
        let server = Server::start([act.clone(), act.clone(), hello()]).await;
        let completion = client().call(&server.call()).await;
        assert!(completion.is_ok(), "{act:?}: {completion:?}");
        assert_eq!(server.requests().len(), 3, "{act:?}");
    }
}

#[tokio::test]
async fn after_the_last_try_the_error_stands() {
    let server = Server::start([error(500, "a"), error(500, "b"), error(500, "c"), hello()]).await;
    let failed = client().call(&server.call()).await.unwrap_err();
    assert!(matches!(&failed, LlmError::Server { status: 500, message, .. } if message == "c"));
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn what_will_not_pass_is_not_tried_again() {
    for (act, expected) in [
        (error(400, "x"), "llm_bad_request"),
        (error(401, "x"), "llm_authentication"),
        (error(402, "x"), "llm_insufficient_credits"),
        (error(404, "x"), "llm_bad_request"),
        (
            error(400, "maximum context length is 5"),
            "context_window_exceeded",
        ),
        (answer("[1, 2"), "llm_invalid_response"),
        (answer("{\"choices\":[]}"), "llm_empty_response"),
        (
            Act::Answer(
                307,
                "location: http://elsewhere.example/v1\r\n",
                String::new(),
            ),
            "llm_invalid_response",
        ),
    ] {
        let server = Server::start([act.clone(), hello()]).await;
        let failed = client().call(&server.call()).await.unwrap_err();
        assert_eq!(failed.error_type(), expected, "{act:?}: {failed}");
        assert_eq!(server.requests().len(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn the_wait_that_a_provider_asks_for_is_kept() {
    let limited = |headers| Act::Answer(429, headers, "{}".into());
    let server = Server::start([limited("retry-after-ms: 150\r\n"), hello()]).await;
    let begun = Instant::now();
    client().call(&server.call()).await.unwrap();
    assert!(begun.elapsed() >= Duration::from_millis(150));

    let server = Server::start([limited("retry-after: 60\r\n"), hello()]).await;
    let failed = client().call(&server.call()).await.unwrap_err();
    assert_eq!(failed.retry_after(), Some(Duration::from_secs(60)));
    assert_eq!(server.requests().len(), 1, "nobody waits a minute");
}

#[tokio::test]
async fn an_answer_that_takes_too_long_is_given_up() {
    let server = Server::start([Act::Hang, hello()]).await;
    let timeouts = Timeouts {
        answer: Duration::from_millis(100),
        ..Timeouts::default()
    };
    let client = Client::new(timeouts, RetryPolicy::default()).unwrap();
    let failed = client.call(&server.call()).await.unwrap_err();
    assert_eq!(failed.error_type(), "llm_timeout");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let server = Server::start([]).await;
    let call = server.call();
    drop(server);
    let failed = loop {
        // The listener closes when its task is gone.
        match client().call(&call).await.unwrap_err() {
            LlmError::Server { status: 599, .. } => tokio::task::yield_now().await,
            failed => break failed,
        }
    };
    assert!(matches!(failed, LlmError::Connection { .. }), "{failed:?}");
    assert!(
        failed.to_string().contains(call.endpoint.base_url()),
        "{failed}"
    );
}

#[tokio::test]
async fn no_error_shows_the_key() {
    for act in [
        error(401, &format!("Incorrect API key provided: {KEY}.")),
        error(400, &format!("header was Bearer {KEY}")),
        Act::Answer(500, "", format!("<html>{KEY}</html>")),
        answer(&format!("{{\"error\":{{\"message\":\"{KEY}\"}}}}")),
    ] {
        let server = Server::start([act.clone(), act.clone(), act.clone()]).await;
        let failed = client().call(&server.call()).await.unwrap_err();
        let shown = format!("{failed} {failed:?}");
        assert!(!shown.contains(KEY), "{shown}");
        assert!(shown.contains("***"), "{shown}");
    }
    let server = Server::start([]).await;
    assert!(!format!("{:?}", server.call()).contains(KEY));
}

#[tokio::test]
async fn a_server_that_always_streams_is_understood() {
    let server = Server::start([Act::Stream(vec![text("h"), text("i"), stop(), done()])]).await;
    let completion = client().call(&server.call()).await.unwrap();
    assert_eq!(completion.body, MessageBody::text("hi"));
}

#[tokio::test]
async fn a_refused_parameter_is_left_out_from_then_on() {
    let server = Server::start([
        error(
            400,
            "Unsupported value: 'temperature' does not support 0.1 with this model.",
        ),
        error(
            400,
            "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.",
        ),
        hello(),
        hello(),
    ])
    .await;
    let mut call = server.call();
    call.temperature = Some(0.1);
    call.max_tokens = Some(9);
    let client = client();
    client.call(&call).await.unwrap();
    client.call(&call).await.unwrap();
    let bodies: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.json())
        .collect();
    assert_eq!(bodies.len(), 4);
    assert_eq!(bodies[0]["temperature"], 0.1);
    assert_eq!(bodies[1].get("temperature"), None);
    assert_eq!(bodies[2]["max_completion_tokens"], 9);
    assert_eq!(bodies[3], bodies[2]);
}

#[tokio::test]
async fn a_parameter_that_is_refused_for_ever_ends_the_call() {
    let refusal = || error(400, "temperature is not supported");
    let server = Server::start([refusal(), refusal(), hello()]).await;
    let mut call = server.call();
    call.temperature = Some(0.1);
    client().call(&call).await.unwrap_err();
    assert_eq!(server.requests().len(), 2);
}

fn with_tools(mut call: Call, choice: ToolChoice) -> Call {
    let spec = |name: &str| ToolSpec {
        name: name.into(),
        description: format!("does {name}"),
        parameters: json!({"type": "object", "properties": {"x": {"type": "integer"}}}),
    };
    call.tools = Arc::new(ToolSet::new(&[spec("f"), spec("g")]));
    call.tool_choice = choice;
    call
}

#[tokio::test]
async fn a_required_call_that_did_not_come_is_asked_for_by_schema() {
    let forced = r#"{"choices":[{"message":{"content":"{\"name\":\"g\",\"arguments\":{\"x\":1}}"}}],"usage":{"prompt_tokens":1,"completion_tokens":1}}"#;
    let server = Server::start([hello(), answer(forced)]).await;
    let call = with_tools(server.call(), ToolChoice::Required);
    let completion = client().call(&call).await.unwrap();
    assert_eq!(completion.body.plain_text(), "hi");
    let made = &completion.body.tool_calls[0];
    assert_eq!(
        (made.name.as_str(), made.arguments.as_str()),
        ("g", "{\"x\":1}")
    );
    assert_eq!(
        completion.usage.unwrap().total_tokens(),
        5,
        "both requests count"
    );
    let bodies: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.json())
        .collect();
    assert_eq!(bodies[0]["tool_choice"], "required");
    assert_eq!(bodies[1].get("tools"), None);
    let schema = &bodies[1]["response_format"]["json_schema"]["schema"];
    assert_eq!(
        schema["anyOf"][1]["properties"]["name"]["enum"],
        json!(["g"])
    );
    let last = bodies[1]["messages"].as_array().unwrap().last().unwrap();
    assert!(last["content"].as_str().unwrap().contains("does f"));
}

#[tokio::test]
async fn an_answer_stays_when_even_the_schema_brings_no_call() {
    let wrong = r#"{"choices":[{"message":{"content":"{\"name\":\"f\",\"arguments\":{}}"}}]}"#;
    for second in [answer(wrong), hello(), error(400, "no schemas here")] {
        let server = Server::start([hello(), second]).await;
        let call = with_tools(server.call(), ToolChoice::Tool("g".into()));
        let completion = client().call(&call).await.unwrap();
        assert_eq!(completion.body, MessageBody::text("hi"));
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test]
async fn one_clients_endpoints_do_not_mix() {
    let (one, two) = (
        Server::start([hello()]).await,
        Server::start([error(400, "two")]).await,
    );
    let client = client();
    let (first, second) = (one.call(), two.call());
    let (first, second) = tokio::join!(client.call(&first), client.call(&second));
    assert!(first.is_ok() && second.is_err());
    let bad = Endpoint::new(mnemic_llm::EndpointConfig::new("x", "nowhere"));
    assert!(bad.is_err());
}
