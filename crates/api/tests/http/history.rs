//! Lists of messages.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::server::{Server, types};

/// All pages of a list, as the SDKs read them: `after` the last item, until a page is empty.
async fn walk(server: &Server, path: &str, query: &str) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    loop {
        let after = found
            .last()
            .map(|item| format!("&after={}", item["id"].as_str().unwrap()));
        let page = server
            .get(&format!("{path}?{query}{}", after.unwrap_or_default()))
            .await;
        assert_eq!(page.status, 200, "{}", page.text);
        let page = page.json();
        let page = page.as_array().unwrap();
        if page.is_empty() {
            return found;
        }
        found.extend(page.iter().cloned());
        assert!(found.len() < 1000, "the list does not end");
    }
}

fn keys(messages: &[Value]) -> Vec<(String, String)> {
    let key = |message: &Value| (message["id"].to_string(), message["otid"].to_string());
    messages.iter().map(key).collect()
}

#[tokio::test]
async fn iteration_sees_every_message_once_in_both_orders() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    for n in 0..4 {
        let body = json!({"input": format!("remember fact {n}")});
        assert_eq!(server.post(&path, &body).await.status, 200);
    }
    let whole = server
        .get(&format!("{path}?order=asc&limit=1000"))
        .await
        .json();
    let whole = whole.as_array().unwrap();
    assert_eq!(
        whole.len(),
        1 + 4 * 4,
        "the prompt, and question, call, return, answer per turn"
    );
    assert_eq!(whole[0]["message_type"], "system_message");
    for limit in [1, 3, 100] {
        let up = walk(&server, &path, &format!("order=asc&limit={limit}")).await;
        assert_eq!(keys(&up), keys(whole), "limit {limit}");
        let mut down = walk(&server, &path, &format!("limit={limit}")).await;
        down.reverse();
        assert_eq!(keys(&down), keys(whole), "limit {limit}, newest first");
    }
    let unique: HashSet<_> = keys(whole).into_iter().collect();
    assert_eq!(unique.len(), whole.len());
}

#[tokio::test]
async fn a_page_of_some_kinds_is_short_only_at_the_end() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    for n in 0..5 {
        server
            .post(&path, &json!({"input": format!("remember fact {n}")}))
            .await;
    }
    let query = "include_return_message_types=assistant_message\
                 &include_return_message_types=user_message&limit=3";
    let found = walk(&server, &path, query).await;
    assert_eq!(found.len(), 10);
    let first = server.get(&format!("{path}?{query}")).await.json();
    assert_eq!(first.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_page_before_a_message_leads_up_to_it() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    for text in ["one", "two", "three"] {
        server.post(&path, &json!({"input": text})).await;
    }
    let all = server.get(&path).await.json();
    let all = all.as_array().unwrap();
    let cursor = all[3]["id"].as_str().unwrap();
    let before = server
        .get(&format!("{path}?before={cursor}&limit=2"))
        .await
        .json();
    assert_eq!(keys(before.as_array().unwrap()), keys(&all[1..3]));
    let kinds = "include_return_message_types=user_message";
    let before = server
        .get(&format!("{path}?before={cursor}&limit=1&{kinds}"))
        .await
        .json();
    assert_eq!(types(before.as_array().unwrap()), ["user_message"]);
}

#[tokio::test]
async fn cursors_and_limits_at_their_edges() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages");
    assert_eq!(
        server.get(&format!("{path}?limit=0")).await.json(),
        json!([])
    );
    let unknown = "message-00000000-0000-4000-8000-0000000000ff";
    assert_eq!(
        server.get(&format!("{path}?after={unknown}")).await.status,
        404
    );
    assert_eq!(server.get(&format!("{path}?limit=-1")).await.status, 422);
    let wrong = server
        .get(&format!("{path}?include_return_message_types=odd"))
        .await;
    assert_eq!(wrong.status, 422, "{}", wrong.text);
}

#[tokio::test]
async fn a_message_is_read_with_all_its_parts_and_never_changed() {
    let (server, _model, agent) = Server::with_agent().await;
    let answer = server
        .post(
            &format!("/v1/agents/{agent}/messages"),
            &json!({"input": "Hi"}),
        )
        .await
        .json();
    let id = answer["messages"][0]["id"].as_str().unwrap();
    let read = server.get(&format!("/v1/messages/{id}")).await.json();
    assert_eq!(read, answer["messages"]);
    let path = format!("/v1/agents/{agent}/messages/{id}");
    assert_eq!(server.call("PATCH", &path, "{}").await.status, 405);
}

#[tokio::test]
async fn captured_turns_are_history_and_known_ones_are_skipped() {
    let (server, _model, agent) = Server::with_agent().await;
    let path = format!("/v1/agents/{agent}/messages/capture");
    let turns = json!({"messages": [
        {"role": "user", "content": "Where is Rome?", "otid": "t1", "created_at": "2025-01-01T00:00:00Z"},
        {"role": "assistant", "content": "In Italy.", "otid": "t2"},
    ]});
    let captured = server.post(&path, &turns).await;
    assert_eq!(captured.status, 200, "{}", captured.text);
    let first = captured.json();
    assert_eq!(first["message_ids"].as_array().unwrap().len(), 2);
    server.post(&path, &turns).await;
    let all = server
        .get(&format!("/v1/agents/{agent}/messages?order=asc"))
        .await
        .json();
    let said: Vec<&str> = all.as_array().unwrap()[1..]
        .iter()
        .map(|message| message["content"].as_str().unwrap())
        .collect();
    assert_eq!(said, ["Where is Rome?", "In Italy."]);
    assert_eq!(all[1]["date"], "2025-01-01T00:00:00+00:00");
}
