//! Calls whose answers are read while they are made.

use std::{sync::Arc, time::Duration};

use futures_util::StreamExt;
use mnemic_llm::{
    Assembler, Call, Client, Completion, Delta, FinishReason, LlmError, RetryPolicy, Timeouts,
    ToolChoice, ToolSet, ToolSpec,
};
use serde_json::json;

use crate::server::{Act, Server, client, done, error, event, hello, json as answer, stop, text};

/// All deltas, and the error that ended them.
async fn read(client: &Client, call: &Call) -> Result<(Vec<Delta>, Option<LlmError>), LlmError> {
    let mut stream = client.stream(call).await?;
    let mut deltas = Vec::new();
    while let Some(delta) = stream.next().await {
        match delta {
            Ok(delta) => deltas.push(delta),
            Err(error) => {
                assert!(stream.next().await.is_none(), "something followed an error");
                return Ok((deltas, Some(error)));
            }
        }
    }
    Ok((deltas, None))
}

async fn completion(call: &Call) -> Completion {
    let (deltas, error) = read(&client(), call).await.unwrap();
    assert_eq!(error, None);
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    assembler.finish()
}

fn hi() -> Act {
    Act::Stream(vec![text("h"), text("i"), stop(), done()])
}

#[tokio::test]
async fn deltas_come_in_order_and_finish_comes_last() {
    let usage = event(r#"{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2}}"#);
    let server = Server::start([Act::Stream(vec![
        text("h"),
        text("i"),
        stop(),
        usage,
        done(),
    ])])
    .await;
    let (deltas, error) = read(&client(), &server.call()).await.unwrap();
    assert_eq!(error, None);
    assert_eq!(
        deltas[..2],
        [Delta::Text("h".into()), Delta::Text("i".into())]
    );
    assert!(matches!(deltas[2], Delta::Usage(usage) if usage.prompt_tokens == 5));
    assert_eq!(deltas[3..], [Delta::Finish(FinishReason::Stop)]);
    let body = server.requests()[0].json();
    assert_eq!(
        (&body["stream"], &body["stream_options"]),
        (&json!(true), &json!({"include_usage": true}))
    );
}

#[tokio::test]
async fn the_first_delta_is_there_before_the_last_is_made() {
    let server = Server::start([Act::Open(vec![text("first")])]).await;
    let mut stream = client().stream(&server.call()).await.unwrap();
    assert_eq!(stream.next().await, Some(Ok(Delta::Text("first".into()))));
}

#[tokio::test]
async fn streams_share_one_connection() {
    let server = Server::start([hi(), hi(), hi()]).await;
    let (client, call) = (client(), server.call());
    for _ in 0..3 {
        let (deltas, _) = read(&client, &call).await.unwrap();
        assert_eq!(deltas.len(), 3);
    }
    let connections = server
        .requests()
        .iter()
        .map(|request| request.connection)
        .max();
    // The end of a stream may still be on its way when the next call begins.
    assert!(connections <= Some(1), "{connections:?}");
}

#[tokio::test]
async fn events_may_be_torn_anywhere() {
    let whole = [text("Grüße "), text("記憶"), stop(), done()].concat();
    let pieces: Vec<String> = whole.chars().map(String::from).collect();
    let server = Server::start([Act::Stream(pieces)]).await;
    assert_eq!(
        completion(&server.call()).await.body.plain_text(),
        "Grüße 記憶"
    );
}

#[tokio::test]
async fn a_failure_before_the_first_delta_is_tried_again() {
    let overloaded = event(r#"{"error":{"message":"busy","code":503}}"#);
    for act in [
        error(500, "x"),
        Act::Close,
        Act::Hang,
        Act::Torn(vec![": keep-alive\n\n".into()]),
        Act::Open(vec![": keep-alive\n\n".into()]),
        Act::Stream(vec![]),
        Act::Stream(vec![overloaded]),
    ] {
        let server = Server::start([act.clone(), hi()]).await;
        assert_eq!(
            completion(&server.call()).await.body.plain_text(),
            "hi",
            "{act:?}"
        );
        assert_eq!(server.requests().len(), 2, "{act:?}");
    }
}

#[tokio::test]
async fn a_failure_after_the_first_delta_is_not() {
    let gone = event(r#"{"error":{"message":"gone","code":502}}"#);
    for (act, expected) in [
        (Act::Torn(vec![text("h")]), "stream_incomplete"),
        (Act::Open(vec![text("h")]), "llm_timeout"),
        (Act::Stream(vec![text("h"), gone]), "llm_error"),
        (
            Act::Stream(vec![text("h"), event("{odd")]),
            "llm_invalid_response",
        ),
    ] {
        let server = Server::start([act.clone(), hi()]).await;
        let (deltas, error) = read(&client(), &server.call()).await.unwrap();
        assert_eq!(deltas, [Delta::Text("h".into())], "{act:?}");
        assert_eq!(error.unwrap().error_type(), expected, "{act:?}");
        assert_eq!(server.requests().len(), 1, "{act:?}");
    }
}

#[tokio::test]
async fn a_server_that_never_answers_is_given_up_after_the_last_try() {
    let server = Server::start([Act::Hang, Act::Hang, Act::Hang]).await;
    let failed = read(&client(), &server.call()).await.unwrap_err();
    assert_eq!(failed.error_type(), "llm_timeout");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_finished_answer_needs_no_end_mark() {
    for act in [
        Act::Open(vec![text("hi"), stop()]),
        Act::Torn(vec![text("hi"), stop()]),
        Act::Stream(vec![text("hi"), stop()]),
        Act::Stream(vec![text("hi")]),
        Act::Open(vec![text("hi"), done()]),
    ] {
        let server = Server::start([act.clone()]).await;
        assert_eq!(
            completion(&server.call()).await.body.plain_text(),
            "hi",
            "{act:?}"
        );
    }
}

#[tokio::test]
async fn a_stream_as_a_whole_has_a_limit_too() {
    let timeouts = Timeouts {
        answer: Duration::from_millis(100),
        ..Timeouts::default()
    };
    let client = Client::new(timeouts, RetryPolicy::default()).unwrap();
    let server = Server::start([Act::Open(vec![text("h")])]).await;
    let (_, error) = read(&client, &server.call()).await.unwrap();
    assert_eq!(error.unwrap().error_type(), "llm_timeout");
}

#[tokio::test]
async fn a_server_that_never_streams_is_understood() {
    let server = Server::start([hello()]).await;
    let completion = completion(&server.call()).await;
    assert_eq!(completion.body.plain_text(), "hi");
    assert_eq!(completion.usage.unwrap().total_tokens(), 3);
}

#[tokio::test]
async fn a_refusal_of_stream_options_is_remembered() {
    let server = Server::start([
        error(400, "Unrecognized request argument: stream_options"),
        hi(),
        hi(),
    ])
    .await;
    let (client, call) = (client(), server.call());
    read(&client, &call).await.unwrap();
    read(&client, &call).await.unwrap();
    let bodies: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.json())
        .collect();
    assert_eq!(bodies.len(), 3);
    assert!(bodies[0].get("stream_options").is_some());
    assert!(bodies[1].get("stream_options").is_none() && bodies[2].get("stream_options").is_none());
}

#[tokio::test]
async fn a_page_in_place_of_a_stream_is_called_by_its_name() {
    let page = Act::Answer(
        200,
        "content-type: text/html\r\n",
        "<html>Sign in</html>".into(),
    );
    let server = Server::start([page]).await;
    let failed = read(&client(), &server.call()).await.unwrap_err();
    assert_eq!(failed.error_type(), "llm_invalid_response");
    assert!(failed.to_string().contains("<html>Sign in"), "{failed}");
}

#[tokio::test]
async fn dropping_a_stream_closes_its_connection() {
    let server = Server::start([Act::Open(vec![text("h")]), hi()]).await;
    let (client, call) = (client(), server.call());
    let mut stream = client.stream(&call).await.unwrap();
    stream.next().await.unwrap().unwrap();
    drop(stream);
    read(&client, &call).await.unwrap();
    server.saw(2).await;
    let connections: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.connection)
        .collect();
    assert_eq!(connections, [0, 1]);
}

#[tokio::test]
async fn a_required_call_is_forced_before_the_stream_ends() {
    let forced = r#"{"choices":[{"message":{"content":"{\"name\":\"f\",\"arguments\":{}}"}}]}"#;
    let server = Server::start([hi(), answer(forced)]).await;
    let mut call = server.call();
    let spec = ToolSpec {
        name: "f".into(),
        description: "d".into(),
        parameters: json!({"type": "object"}),
    };
    call.tools = Arc::new(ToolSet::new(&[spec]));
    call.tool_choice = ToolChoice::Required;
    let (deltas, error) = read(&client(), &call).await.unwrap();
    assert_eq!(error, None);
    assert_eq!(deltas[0], Delta::Text("h".into()));
    assert!(matches!(&deltas[2], Delta::ToolCallStart { index: 0, name, .. } if name == "f"));
    assert!(matches!(deltas.last(), Some(Delta::Finish(_))));
    assert_eq!(
        deltas
            .iter()
            .filter(|delta| matches!(delta, Delta::Finish(_)))
            .count(),
        1
    );
}
