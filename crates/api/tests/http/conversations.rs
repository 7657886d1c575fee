//! Conversations.

use serde_json::json;

use crate::server::{Server, frames, types};

#[tokio::test]
async fn a_conversation_is_made_read_changed_and_deleted() {
    let (server, _model, agent) = Server::with_agent().await;
    let create = format!("/v1/conversations/?agent_id={agent}");
    let made = server.post(&create, &json!({"summary": "Talk"})).await;
    assert_eq!(made.status, 200, "{}", made.text);
    let made = made.json();
    let id = made["id"].as_str().unwrap();
    assert_eq!(
        (&made["summary"], &made["agent_id"]),
        (&json!("Talk"), &json!(agent))
    );
    // Its own system message.
    assert_eq!(made["in_context_message_ids"].as_array().unwrap().len(), 1);
    let path = format!("/v1/conversations/{id}");
    assert_eq!(server.get(&path).await.json(), made);
    let listed = server
        .get(&format!("/v1/conversations/?agent_id={agent}"))
        .await
        .json();
    assert_eq!(listed, json!([made]));
    let found = server
        .get("/v1/conversations/?summary_search=tal")
        .await
        .json();
    assert_eq!(found.as_array().unwrap().len(), 1);
    let changed = server
        .call("PATCH", &path, r#"{"summary":"New"}"#)
        .await
        .json();
    assert_eq!(changed["summary"], "New");
    let cleared = server
        .call("PATCH", &path, r#"{"summary":null}"#)
        .await
        .json();
    assert_eq!(cleared["summary"], json!(null));
    assert_eq!(server.call("DELETE", &path, "").await.status, 200);
    assert_eq!(server.get(&path).await.status, 404);
}

#[tokio::test]
async fn what_a_conversation_cannot_be_is_refused() {
    let (server, _model, agent) = Server::with_agent().await;
    for (path, body) in [
        ("/v1/conversations/".to_owned(), json!({})),
        ("/v1/conversations/?agent_id=x".to_owned(), json!({})),
        (
            format!("/v1/conversations/?agent_id={agent}"),
            json!({"model": "nohandle"}),
        ),
        (
            format!("/v1/conversations/?agent_id={agent}"),
            json!({"isolated_block_labels": 5}),
        ),
    ] {
        let answer = server.post(&path, &body).await;
        assert_eq!(answer.status, 422, "{path} {body}: {}", answer.text);
    }
    assert_eq!(
        server
            .get("/v1/conversations/default/messages")
            .await
            .status,
        400
    );
    let default = format!("/v1/conversations/default/messages?agent_id={agent}");
    assert_eq!(server.get(&default).await.status, 200);
}

#[tokio::test]
async fn threads_do_not_see_each_other_and_stream_by_default() {
    let (server, _model, agent) = Server::with_agent().await;
    let made = server
        .post(&format!("/v1/conversations/?agent_id={agent}"), &json!({}))
        .await
        .json();
    let id = made["id"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}/messages");
    let answer = server.post(&path, &json!({"input": "In the thread"})).await;
    assert_eq!(
        types(&frames(&answer.text)),
        [
            "ping",
            "assistant_message",
            "stop_reason",
            "usage_statistics"
        ]
    );
    let whole = server
        .post(&path, &json!({"input": "Whole", "streaming": false}))
        .await
        .json();
    assert_eq!(whole["messages"][0]["content"], "Echo: Whole");
    let listed = server.get(&path).await.json();
    assert_eq!(
        types(listed.as_array().unwrap()),
        [
            "assistant_message",
            "user_message",
            "assistant_message",
            "user_message",
            "system_message"
        ]
    );
    let default = server
        .get(&format!("/v1/conversations/{agent}/messages"))
        .await
        .json();
    assert_eq!(types(default.as_array().unwrap()), ["system_message"]);
    let body = json!({"input": "Default", "streaming": false, "agent_id": agent});
    let said = server
        .post("/v1/conversations/default/messages", &body)
        .await;
    assert_eq!(said.status, 200, "{}", said.text);
    let read = server.get(&format!("/v1/conversations/{id}")).await.json();
    assert_eq!(read["in_context_message_ids"].as_array().unwrap().len(), 5);
    let runs = server
        .get(&format!("/v1/runs/?conversation_id={id}"))
        .await
        .json();
    assert_eq!(runs.as_array().unwrap().len(), 2);
    assert_eq!(runs[0]["conversation_id"], id);
}

#[tokio::test]
async fn a_busy_conversation_refuses_and_can_be_followed_and_cancelled() {
    let (server, model, agent) = Server::with_agent().await;
    let made = server
        .post(&format!("/v1/conversations/?agent_id={agent}"), &json!({}))
        .await
        .json();
    let path = format!("/v1/conversations/{}", made["id"].as_str().unwrap());
    let nothing = server.post(&format!("{path}/stream"), &json!({})).await;
    assert_eq!(nothing.status, 404, "{}", nothing.text);
    let slow = json!({"messages": [{"role": "user", "content": "slow", "otid": "slow-1"}],
                      "background": true});
    let busy = async {
        let runs = loop {
            let runs = server.get("/v1/runs/active").await.json();
            if !runs.as_array().unwrap().is_empty() {
                break runs;
            }
            tokio::task::yield_now().await;
        };
        let run_id = runs[0]["id"].as_str().unwrap().to_owned();
        let refused = server
            .post(&format!("{path}/messages"), &json!({"input": "me too"}))
            .await;
        assert_eq!(refused.status, 409, "{}", refused.text);
        assert_eq!(refused.json()["run_id"], run_id.as_str());
        assert_eq!(refused.headers["x-should-retry"], "false");
        model.go.notify_one();
        for body in [
            json!({}),
            json!({"run_id": run_id}),
            json!({"otid": "slow-1"}),
        ] {
            let followed = server.post(&format!("{path}/stream"), &body).await;
            assert!(
                followed.status == 200 || body == json!({}),
                "{body}: {}",
                followed.text
            );
        }
    };
    let messages = format!("{path}/messages");
    let sent = server.post(&messages, &slow);
    let (answer, ()) = tokio::join!(sent, busy);
    let frames = frames(&answer.text);
    let said = frames
        .iter()
        .find(|frame| frame["content"] == "Echo: slow")
        .unwrap();
    assert!(said["seq_id"].is_u64(), "{said}");
    let idle = server.post(&format!("{path}/cancel"), &json!({})).await;
    assert_eq!(idle.status, 409, "{}", idle.text);
}

#[tokio::test]
async fn a_prompt_can_be_compiled_and_read() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/conversations/{agent}/recompile?dry_run=true");
    let text = server.call("POST", &path, "").await;
    assert_eq!(text.status, 200, "{}", text.text);
    assert!(text.json().as_str().unwrap().contains("Ada"));
}
