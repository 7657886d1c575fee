//! Vectors of texts from servers.

use mnemic_llm::LlmError;
use serde_json::json;

use crate::server::{Act, KEY, Server, client, error, json as answer};

fn texts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("text {number}")).collect()
}

/// An answer to texts from a number on: `[number, 1]` each.
fn vectors(numbers: std::ops::Range<usize>) -> Act {
    let rows = numbers.enumerate().map(
        |(index, number)| json!({"object": "embedding", "index": index, "embedding": [number, 1]}),
    );
    answer(&json!({"data": rows.collect::<Vec<_>>()}).to_string())
}

#[tokio::test]
async fn texts_are_sent_in_batches_and_vectors_come_in_their_order() {
    let server = Server::start([vectors(0..64), vectors(64..100)]).await;
    let made = client()
        .embed(&server.endpoint(), "small-embed", &texts(100), None)
        .await
        .unwrap();
    assert_eq!(made.len(), 100);
    assert_eq!(made[99], [99.0, 1.0]);
    let requests = server.requests();
    assert_eq!(requests.len(), 2);
    assert!(
        requests[0]
            .head
            .starts_with("POST /v1/embeddings HTTP/1.1\r\n")
    );
    assert!(requests[0].has_header(&format!("authorization: Bearer {KEY}")));
    let body = requests[1].json();
    assert_eq!(body["model"], "small-embed");
    assert_eq!(body["encoding_format"], "float");
    assert_eq!(body["input"][35], "text 99");
    assert!(body.get("dimensions").is_none());
}

#[tokio::test]
async fn vectors_are_put_in_order_by_their_index_and_read_from_base64_too() {
    let body = r#"{"data":[{"index":1,"embedding":[2,3]},{"index":0,"embedding":"AACAPwAAAEA="}]}"#;
    let server = Server::start([answer(body)]).await;
    let made = client()
        .embed(&server.endpoint(), "m", &texts(2), Some(2))
        .await
        .unwrap();
    assert_eq!(made, [[1.0, 2.0], [2.0, 3.0]]);
    assert_eq!(server.requests()[0].json()["dimensions"], 2);
}

#[tokio::test]
async fn no_text_costs_no_request_and_an_empty_one_is_sent_as_something() {
    let server = Server::start([vectors(0..1)]).await;
    let endpoint = server.endpoint();
    assert!(
        client()
            .embed(&endpoint, "m", &[], None)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(server.requests().is_empty());
    client()
        .embed(&endpoint, "m", &[" ".to_owned()], None)
        .await
        .unwrap();
    assert_eq!(server.requests()[0].json()["input"], json!(["."]));
}

#[tokio::test]
async fn what_may_pass_is_tried_again_and_other_refusals_are_not() {
    let server = Server::start([error(503, "busy"), Act::Close, vectors(0..1)]).await;
    let made = client()
        .embed(&server.endpoint(), "m", &texts(1), None)
        .await;
    assert_eq!(made.unwrap(), [[0.0, 1.0]]);
    assert_eq!(server.requests().len(), 3);

    let server = Server::start([error(404, "no such model"), vectors(0..1)]).await;
    let made = client()
        .embed(&server.endpoint(), "m", &texts(1), None)
        .await;
    assert!(matches!(made, Err(LlmError::NotFound { .. })), "{made:?}");
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_knows_no_encoding_format_is_asked_without() {
    let server = Server::start([error(400, "unknown field encoding_format"), vectors(0..1)]).await;
    let made = client()
        .embed(&server.endpoint(), "m", &texts(1), None)
        .await;
    assert!(made.is_ok());
    assert!(server.requests()[1].json().get("encoding_format").is_none());
}

#[tokio::test]
async fn answers_that_are_not_what_was_asked_for_are_refused() {
    let table = [
        (
            r#"{"data":[{"embedding":[1]}]}"#,
            "1 embeddings came for 2 texts",
        ),
        (
            r#"{"data":[{"embedding":[1]},{"embedding":[1,2]}]}"#,
            "2 dimensions where 1",
        ),
        (
            r#"{"data":[{"embedding":[]},{"embedding":[]}]}"#,
            "no list of numbers",
        ),
        (
            r#"{"data":[{"embedding":[1e99]},{"embedding":[1]}]}"#,
            "no list of numbers",
        ),
        (
            r#"{"data":[{"embedding":["x"]},{"embedding":[1]}]}"#,
            "no list of numbers",
        ),
        (
            r#"{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}"#,
            "numbers are wrong",
        ),
        (
            r#"{"data":[{"index":0,"embedding":[1]},{"index":9,"embedding":[1]}]}"#,
            "numbers are wrong",
        ),
        (r#"{"object":"list"}"#, "no embeddings"),
        ("<html>", "no JSON"),
    ];
    for (body, says) in table {
        let server = Server::start([answer(body)]).await;
        let made = client()
            .embed(&server.endpoint(), "m", &texts(2), None)
            .await;
        let error = made.unwrap_err();
        assert!(matches!(error, LlmError::InvalidResponse { .. }), "{error}");
        assert!(error.to_string().contains(says), "{error}");
    }
    let server = Server::start([answer(
        r#"{"error":{"message":"model not found","code":404}}"#,
    )])
    .await;
    let error = client()
        .embed(&server.endpoint(), "m", &texts(1), None)
        .await
        .unwrap_err();
    assert!(error.to_string().contains("model not found"), "{error}");
}
