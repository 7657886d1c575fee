//! One turn in all its renderings.

use serde_json::{Value, json};

use crate::server::{Server, frames, types};

fn hello() -> Value {
    json!({"messages": [{"role": "user", "content": "Hello there"}]})
}

#[tokio::test]
async fn a_turn_is_answered_in_json() {
    let (server, _model, agent) = Server::with_agent().await;
    let answer = server
        .post(&format!("/v1/agents/{agent}/messages"), &hello())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer = answer.json();
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(types(messages), ["assistant_message"]);
    assert_eq!(messages[0]["content"], "Echo: Hello there");
    assert!(messages[0]["run_id"].as_str().unwrap().starts_with("run-"));
    assert!(
        messages[0]["step_id"]
            .as_str()
            .unwrap()
            .starts_with("step-")
    );
    assert_eq!(
        answer["stop_reason"],
        json!({"message_type": "stop_reason", "stop_reason": "end_turn"})
    );
    assert_eq!(answer["usage"]["prompt_tokens"], 100);
    assert_eq!(answer["usage"]["step_count"], 1);
}

#[tokio::test]
async fn an_agent_that_edits_its_memory_shows_call_and_return() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    let answer = server
        .post(&path, &json!({"input": "remember she sails"}))
        .await
        .json();
    let messages = answer["messages"].as_array().unwrap();
    assert_eq!(
        types(messages),
        [
            "tool_call_message",
            "tool_return_message",
            "assistant_message"
        ]
    );
    assert_eq!(messages[0]["tool_call"]["name"], "memory_insert");
    assert_eq!(messages[1]["name"], "memory_insert");
    assert_eq!(messages[1]["status"], "success", "{}", messages[1]);
    assert_eq!(answer["usage"]["step_count"], 2);
    let wanted =
        json!({"input": "remember more", "include_return_message_types": ["assistant_message"]});
    let answer = server.post(&path, &wanted).await.json();
    assert_eq!(
        types(answer["messages"].as_array().unwrap()),
        ["assistant_message"]
    );
}

#[tokio::test]
async fn a_step_stream_has_a_frame_per_message() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages/stream");
    let answer = server
        .post(&path, &json!({"input": "remember she sails"}))
        .await;
    assert_eq!(
        answer.headers["content-type"],
        "text/event-stream; charset=utf-8"
    );
    assert_eq!(answer.headers["cache-control"], "no-cache");
    assert_eq!(answer.headers["x-accel-buffering"], "no");
    assert_eq!(
        types(&frames(&answer.text)),
        [
            "ping",
            "tool_call_message",
            "tool_return_message",
            "assistant_message",
            "stop_reason",
            "usage_statistics",
        ]
    );
}

#[tokio::test]
async fn a_token_stream_has_fragments_that_add_up() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    let body = json!({
        "input": "remember she sails", "streaming": true, "stream_tokens": true,
        "include_pings": false,
    });
    let frames = frames(&server.post(&path, &body).await.text);
    let of = |kind: &str| -> Vec<&Value> {
        frames
            .iter()
            .filter(|frame| frame["message_type"] == kind)
            .collect()
    };
    let said = of("assistant_message");
    assert!(said.len() > 1);
    let text: String = said
        .iter()
        .map(|frame| frame["content"].as_str().unwrap())
        .collect();
    assert!(text.starts_with("Echo: "), "{text}");
    assert!(
        said.iter()
            .all(|frame| frame["id"] == said[0]["id"] && frame["otid"] == said[0]["otid"])
    );
    let calls = of("tool_call_message");
    assert_eq!(calls[0]["tool_calls"]["name"], "memory_insert");
    let arguments: String = calls
        .iter()
        .filter_map(|frame| frame["tool_call"]["arguments"].as_str())
        .collect();
    assert_eq!(
        serde_json::from_str::<Value>(&arguments).unwrap()["new_string"],
        "she sails"
    );
    assert_eq!(of("tool_return_message").len(), 1);
}

#[tokio::test]
async fn errors_of_the_provider_are_told_in_both_forms() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    for (status, error_type) in [(401, "llm_authentication"), (400, "llm_bad_request")] {
        let body = json!({"input": format!("error {status}")});
        let answer = server.post(&path, &body).await;
        assert_eq!(
            answer.json()["error"]["type"],
            error_type,
            "{}",
            answer.text
        );
        assert_eq!(answer.status, status, "{}", answer.text);
        let answer = server.post(&format!("{path}/stream"), &body).await;
        assert_eq!(answer.status, 200);
        assert!(
            answer.text.contains("event: error\ndata: "),
            "{}",
            answer.text
        );
        let frames = frames(&answer.text);
        assert_eq!(types(&frames), ["ping", "stop_reason", "error_message"]);
        assert_eq!(frames[2]["error_type"], error_type);
    }
    let next = server.post(&path, &hello()).await;
    assert_eq!(
        next.status, 200,
        "the agent works on after errors: {}",
        next.text
    );
}

#[tokio::test]
async fn an_async_request_answers_its_run_at_once() {
    let (server, model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages/async");
    let run = server.post(&path, &json!({"input": "slow"})).await;
    assert_eq!(run.status, 200, "{}", run.text);
    let run = run.json();
    assert!(
        ["created", "running"].contains(&run["status"].as_str().unwrap()),
        "{run}"
    );
    assert_eq!(run["background"], true);
    assert_eq!(run["metadata"]["run_type"], "send_message_async");
    assert_eq!(run["conversation_id"], json!(null));
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    model.go.notify_one();
    let followed = server
        .post(&format!("{path}/stream"), &json!({"starting_after": 0}))
        .await;
    assert!(followed.text.contains("Echo: slow"), "{}", followed.text);
    assert_eq!(server.get(&path).await.json()["status"], "completed");
}

#[tokio::test]
async fn a_run_can_be_cancelled_while_the_model_thinks() {
    let (server, _model, agent) = Server::with_agent().await;
    let idle = server
        .post(&format!("/v1/agents/{agent}/messages/cancel"), &json!({}))
        .await;
    assert_eq!(idle.status, 409, "{}", idle.text);
    let run = server
        .post(
            &format!("/v1/agents/{agent}/messages/async"),
            &json!({"input": "slow"}),
        )
        .await
        .json();
    let id = run["id"].as_str().unwrap();
    let cancelled = server
        .post(
            &format!("/v1/agents/{agent}/messages/cancel"),
            &json!({"run_ids": [id]}),
        )
        .await;
    assert_eq!(
        cancelled.json(),
        json!({id: "cancelled"}),
        "{}",
        cancelled.text
    );
    let frames = frames(
        &server
            .post(&format!("/v1/runs/{id}/stream"), &json!({}))
            .await
            .text,
    );
    assert!(
        frames
            .iter()
            .any(|frame| frame["stop_reason"] == "cancelled"),
        "{frames:?}"
    );
    let next = server
        .post(&format!("/v1/agents/{agent}/messages"), &hello())
        .await;
    assert_eq!(next.status, 200, "{}", next.text);
}

#[tokio::test]
async fn a_message_sent_again_under_its_otid_is_not_taken_in_twice() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    let body = json!({"messages": [{"role": "user", "content": "Once", "otid": "o-1"}]});
    let first = server.post(&path, &body).await.json();
    let second = server.post(&path, &body).await.json();
    assert_eq!(first["messages"][0]["id"], second["messages"][0]["id"]);
    let other = json!({"messages": [{"role": "user", "content": "Other", "otid": "o-1"}]});
    assert_eq!(server.post(&path, &other).await.status, 409);
}
