//! Runs and steps, when they are over.

use serde_json::json;

use crate::{
    model::Model,
    server::{Server, frames, types},
};

/// A server with a run of two steps, and its id.
async fn a_run() -> (Server, Model, String) {
    let (server, model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    let sent = server
        .post(&path, &json!({"input": "remember she sails"}))
        .await;
    let id = sent.json()["messages"][0]["run_id"]
        .as_str()
        .unwrap()
        .to_owned();
    (server, model, id)
}

#[tokio::test]
async fn a_run_can_be_read() {
    let (server, _model, id) = a_run().await;
    let run = server.get(&format!("/v1/runs/{id}")).await.json();
    assert_eq!(
        (&run["status"], &run["stop_reason"]),
        (&json!("completed"), &json!("end_turn"))
    );
    assert_eq!(run["metadata"], json!({"run_type": "send_message"}));
    assert_eq!(
        run["request_config"]["assistant_message_tool_name"],
        "send_message"
    );
    let messages = server.get(&format!("/v1/runs/{id}/messages")).await.json();
    assert_eq!(
        types(messages.as_array().unwrap()),
        [
            "user_message",
            "tool_call_message",
            "tool_return_message",
            "assistant_message"
        ]
    );
    let usage = server.get(&format!("/v1/runs/{id}/usage")).await.json();
    assert_eq!(
        (&usage["prompt_tokens"], &usage["total_tokens"]),
        (&json!(200), &json!(220))
    );
    let metrics = server.get(&format!("/v1/runs/{id}/metrics")).await.json();
    assert_eq!(metrics["num_steps"], 2);
}

#[tokio::test]
async fn the_steps_of_a_run_can_be_read_and_judged() {
    let (server, _model, id) = a_run().await;
    let steps = server
        .get(&format!("/v1/runs/{id}/steps?order=asc"))
        .await
        .json();
    assert_eq!(steps.as_array().unwrap().len(), 2);
    assert_eq!(
        (&steps[0]["model_handle"], &steps[0]["status"]),
        (&json!("desk/small"), &json!("success"))
    );
    let step = format!("/v1/steps/{}", steps[0]["id"].as_str().unwrap());
    assert_eq!(server.get(&step).await.json(), steps[0]);
    assert_eq!(
        server.get(&format!("{step}/metrics")).await.json()["run_id"],
        id
    );
    assert_eq!(
        server.get(&format!("{step}/trace")).await.json(),
        json!(null)
    );
    let judged = server
        .call(
            "PATCH",
            &format!("{step}/feedback"),
            r#"{"feedback":"positive"}"#,
        )
        .await;
    assert_eq!(judged.json()["feedback"], "positive", "{}", judged.text);
    let liked = server.get("/v1/steps/?feedback=positive").await.json();
    assert_eq!(liked.as_array().unwrap().len(), 1);
    assert_eq!(
        server
            .call(
                "PATCH",
                &format!("{step}/feedback"),
                r#"{"feedback":"meh"}"#
            )
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn runs_are_listed_by_their_filters() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    server.post(&path, &json!({"input": "one"})).await;
    server.post(&path, &json!({"input": "error 401"})).await;
    for (query, count) in [
        ("", 2),
        ("statuses=completed", 1),
        ("statuses=completed&statuses=failed", 2),
        ("stop_reason=end_turn", 1),
        ("active=true", 0),
        ("background=true", 0),
        ("limit=1", 1),
    ] {
        let runs = server
            .get(&format!("/v1/runs/?agent_id={agent}&{query}"))
            .await
            .json();
        assert_eq!(runs.as_array().unwrap().len(), count, "{query}");
    }
    for query in ["statuses=odd", "stop_reason=odd", "agent_id=odd"] {
        assert_eq!(
            server.get(&format!("/v1/runs/?{query}")).await.status,
            422,
            "{query}"
        );
    }
}

#[tokio::test]
async fn a_background_stream_can_be_resumed_from_any_number() {
    let (server, _model, agent) = Server::with_agent().await;
    let body = json!({"input": "one two three", "stream_tokens": true, "background": true});
    let live = frames(
        &server
            .post(&format!("/v1/agents/{agent}/messages/stream"), &body)
            .await
            .text,
    );
    let run_id = live[0]["run_id"].as_str().unwrap();
    let seqs: Vec<u64> = live
        .iter()
        .filter_map(|frame| frame["seq_id"].as_u64())
        .collect();
    assert!(seqs.len() > 2 && seqs.is_sorted(), "{seqs:?}");
    let path = format!("/v1/runs/{run_id}/stream");
    let again = frames(
        &server
            .post(&path, &json!({"include_pings": false}))
            .await
            .text,
    );
    assert_eq!(again, live[1..]);
    let later = json!({"starting_after": seqs[1], "include_pings": false});
    let later = frames(&server.post(&path, &later).await.text);
    assert_eq!(later, live[3..]);
    assert_eq!(
        server
            .post(&path, &json!({"starting_after": -1}))
            .await
            .status,
        422
    );
}

#[tokio::test]
async fn a_run_that_is_over_can_be_forgotten_and_its_messages_stay() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    let sent = server.post(&path, &json!({"input": "Hi"})).await.json();
    let run = format!(
        "/v1/runs/{}",
        sent["messages"][0]["run_id"].as_str().unwrap()
    );
    assert_eq!(server.call("DELETE", &run, "").await.status, 200);
    assert_eq!(server.get(&run).await.status, 404);
    assert_eq!(server.get(&path).await.json().as_array().unwrap().len(), 3);
}
