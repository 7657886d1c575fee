//! The routes for clients of OpenAI's API.

use std::collections::HashSet;

use mnemic_api::ApiSettings;
use serde_json::{Value, json};

use crate::server::{Answer, Server, frames};

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

fn asked(agent: &str, text: &str) -> Value {
    json!({"model": agent, "messages": [{"role": "user", "content": text}]})
}

fn with(mut body: Value, more: Value) -> Value {
    let more = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(more);
    body
}

fn said(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json = answer.json();
    let message = &json["choices"][0]["message"];
    message["content"].as_str().unwrap().to_owned()
}

/// The events of a streamed response: their names, and what they say.
fn events(text: &str) -> Vec<(String, Value)> {
    let frames = text.split_terminator("\n\n");
    let read = frames.map(|frame| {
        let (name, data) = frame.split_once('\n').unwrap();
        let data = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        (name.strip_prefix("event: ").unwrap().to_owned(), data)
    });
    read.collect()
}

async fn conversations(server: &Server) -> Vec<Value> {
    let listed = server.get("/v1/conversations/").await.json();
    listed.as_array().unwrap().clone()
}

#[tokio::test]
async fn an_agent_answers_as_a_model_would() {
    let (server, _model, agent) = Server::with_agent().await;
    let answer = server.post(CHAT, &asked(&agent, "Hello there")).await;
    assert_eq!(said(&answer), "Echo: Hello there");
    let answer = answer.json();
    assert!(answer["id"].as_str().unwrap().starts_with("chatcmpl-run-"));
    assert_eq!(
        (&answer["object"], &answer["model"]),
        (&json!("chat.completion"), &json!(agent))
    );
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    assert_eq!(answer["usage"]["prompt_tokens"], 100);
}

#[tokio::test]
async fn a_stream_has_chunks_and_the_tokens_where_they_are_asked_for() {
    let (server, _model, agent) = Server::with_agent().await;
    let plain = with(asked(&agent, "Hello there"), json!({"stream": true}));
    let counted = with(
        plain.clone(),
        json!({"stream_options": {"include_usage": true}}),
    );
    for (body, counts) in [(plain, false), (counted, true)] {
        let answer = server.post(CHAT, &body).await;
        let kind = answer.headers["content-type"].to_str().unwrap();
        assert!(kind.starts_with("text/event-stream"), "{kind}");
        let mut chunks = frames(&answer.text);
        if counts {
            let last = chunks.pop().unwrap();
            assert_eq!(last["choices"], json!([]));
            assert_eq!(last["usage"]["prompt_tokens"], 100);
            assert!(chunks.iter().all(|chunk| chunk["usage"].is_null()));
        }
        assert!(
            chunks
                .iter()
                .all(|chunk| chunk.get("usage").is_some() == counts)
        );
        assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
        let words = chunks
            .iter()
            .filter_map(|c| c["choices"][0]["delta"]["content"].as_str());
        assert_eq!(words.collect::<String>(), "Echo: Hello there");
        let last = chunks.last().unwrap();
        assert_eq!(last["choices"][0]["finish_reason"], "stop");
        let ids: HashSet<&str> = chunks.iter().filter_map(|c| c["id"].as_str()).collect();
        assert_eq!(ids.len(), 1);
    }
}

#[tokio::test]
async fn the_tools_of_an_agent_run_and_are_not_shown() {
    let (server, _model, agent) = Server::with_agent().await;
    let body = asked(&agent, "remember she sails");
    let whole = server.post(CHAT, &body).await;
    assert!(said(&whole).starts_with("Echo: "), "{}", whole.text);
    assert!(!whole.text.contains("memory_insert"), "{}", whole.text);
    let streamed = server
        .post(CHAT, &with(body, json!({"stream": true})))
        .await;
    assert!(
        !streamed.text.contains("memory_insert"),
        "{}",
        streamed.text
    );
    let block = server
        .get(&format!("/v1/agents/{agent}/core-memory/blocks/human"))
        .await
        .json();
    assert!(
        block["value"].as_str().unwrap().contains("she sails"),
        "{block}"
    );
}

#[tokio::test]
async fn each_user_has_one_thread_with_an_agent() {
    let (server, _model, agent) = Server::with_agent().await;
    let ask = |user: &str, text: &str| with(asked(&agent, text), json!({"user": user}));
    let bodies = [
        ask("ann", "skua"),
        ask("ann", "two"),
        ask("ann", "three"),
        ask("bob", "gannet"),
    ];
    let answers = futures(&server, &bodies).await;
    for answer in &answers {
        said(answer);
    }
    let threads = conversations(&server).await;
    assert_eq!(threads.len(), 2, "{threads:?}");
    let contents = async |thread: &Value| {
        let path = format!(
            "/v1/conversations/{}/messages",
            thread["id"].as_str().unwrap()
        );
        server.get(&path).await.text
    };
    for thread in &threads {
        let text = contents(thread).await;
        assert_ne!(text.contains("gannet"), text.contains("skua"), "{text}");
    }
    // The agent's own thread has nothing of it.
    let path = format!("/v1/agents/{agent}/messages?conversation_id=default");
    assert!(!server.get(&path).await.text.contains("skua"));
    // A deleted thread is followed by a new one.
    let id = threads[0]["id"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}");
    assert_eq!(server.call("DELETE", &path, "").await.status, 200);
    said(&server.post(CHAT, &ask("ann", "again")).await);
    said(&server.post(CHAT, &ask("bob", "again")).await);
    assert_eq!(conversations(&server).await.len(), 2);
}

/// Sends requests at the same time.
async fn futures(server: &Server, bodies: &[Value]) -> Vec<Answer> {
    let [a, b, c, d] = bodies else {
        panic!("four are sent")
    };
    let (a, b, c, d) = tokio::join!(
        server.post(CHAT, a),
        server.post(CHAT, b),
        server.post(CHAT, c),
        server.post(CHAT, d)
    );
    vec![a, b, c, d]
}

#[tokio::test]
async fn what_one_user_said_is_not_found_in_another_users_thread() {
    let (server, _model, agent) = Server::with_agent().await;
    let ask = |user: &str, text: &str| with(asked(&agent, text), json!({"user": user}));
    said(
        &server
            .post(CHAT, &ask("ann", "my boat is called Petrel"))
            .await,
    );
    let insert = "call archival_memory_insert {\"content\": \"Ann's boat is called Petrel.\"}";
    said(&server.post(CHAT, &ask("ann", insert)).await);
    for search in [
        "call conversation_search {\"query\": \"Petrel\"}",
        "call archival_memory_search {\"query\": \"Petrel\"}",
    ] {
        let mine = said(&server.post(CHAT, &ask("ann", search)).await);
        assert!(mine.contains("called Petrel"), "{search}: {mine}");
        let others = said(&server.post(CHAT, &ask("bob", search)).await);
        assert!(!others.contains("called Petrel"), "{search}: {others}");
    }
}

#[tokio::test]
async fn a_users_thread_goes_on_by_the_other_routes() {
    let (server, _model, agent) = Server::with_agent().await;
    let ask = |text: &str| with(asked(&agent, text), json!({"user": "ann"}));
    said(&server.post(CHAT, &ask("one")).await);
    let threads = conversations(&server).await;
    let id = threads[0]["id"].as_str().unwrap();
    let path = format!("/v1/conversations/{id}");
    let recompiled = server.post(&format!("{path}/recompile"), &json!({})).await;
    assert_eq!(recompiled.status, 200, "{}", recompiled.text);
    let v1 = json!({"input": "two", "streaming": false});
    let answer = server.post(&format!("{path}/messages"), &v1).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    said(&server.post(CHAT, &ask("three")).await);
    assert_eq!(conversations(&server).await.len(), 1);
    let search = "call conversation_search {\"query\": \"two\"}";
    let found = said(&server.post(CHAT, &ask(search)).await);
    assert!(found.contains("Echo: two"), "{found}");
}

#[tokio::test]
async fn an_agent_is_named_by_its_id_or_by_a_name_of_its_own() {
    let (server, _model, agent) = Server::with_agent().await;
    let rename = |agent: String| {
        let server = &server;
        async move {
            let path = format!("/v1/agents/{agent}");
            let answer = server.call("PATCH", &path, r#"{"name":"Petrel"}"#).await;
            assert_eq!(answer.status, 200, "{}", answer.text);
        }
    };
    rename(agent.clone()).await;
    said(&server.post(CHAT, &asked("Petrel", "one")).await);
    let unknown = server.post(CHAT, &asked("Fulmar", "one")).await;
    assert_eq!(unknown.status, 404);
    let error = &unknown.json()["error"];
    assert_eq!(error["code"], "model_not_found");
    assert_eq!(error["param"], "model");
    let other = server
        .post("/v1/agents/", &json!({"model": "desk/small"}))
        .await;
    rename(other.json()["id"].as_str().unwrap().to_owned()).await;
    let ambiguous = server.post(CHAT, &asked("Petrel", "one")).await;
    assert_eq!(ambiguous.status, 400);
    assert_eq!(ambiguous.json()["error"]["code"], "model_ambiguous");
    said(&server.post(CHAT, &asked(&agent, "one")).await);
}

#[tokio::test]
async fn what_cannot_be_is_told_in_openais_words() {
    let (server, _model, agent) = Server::with_agent().await;
    let tool = json!([{"type": "function", "function": {"name": "no name"}}]);
    let chat = asked(&agent, "one");
    let table = [
        (
            CHAT,
            with(chat.clone(), json!({"tools": tool})),
            Some("tools"),
        ),
        (CHAT, with(chat.clone(), json!({"n": 2})), Some("n")),
        (
            CHAT,
            with(
                chat.clone(),
                json!({"response_format": {"type": "json_object"}}),
            ),
            Some("response_format"),
        ),
        (
            CHAT,
            with(chat, json!({"user": "x".repeat(600)})),
            Some("user"),
        ),
        (
            CHAT,
            json!({"model": agent, "messages": []}),
            Some("messages"),
        ),
        (CHAT, json!({"messages": []}), None),
        (CHAT, json!({"model": agent, "messages": "a"}), None),
        (
            RESPONSES,
            json!({"model": agent, "input": 5}),
            Some("input"),
        ),
        (
            RESPONSES,
            json!({"model": agent, "input": "a", "background": true}),
            Some("background"),
        ),
        (
            RESPONSES,
            json!({"model": agent, "input": "a", "previous_response_id": "resp_1"}),
            Some("previous_response_id"),
        ),
        (
            RESPONSES,
            json!({"model": agent, "input": "a", "conversation": "conv_1"}),
            Some("conversation"),
        ),
    ];
    for (path, body, param) in table {
        let answer = server.post(path, &body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.text);
        let error = &answer.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{body}");
        assert_eq!(error["param"], json!(param), "{body}: {error}");
        assert!(answer.headers.contains_key("x-request-id"));
    }
}

#[tokio::test]
async fn what_fails_is_told_in_openais_words() {
    let (server, _model, agent) = Server::with_agent().await;
    let failed = server.post(CHAT, &asked(&agent, "error 429")).await;
    assert_eq!(failed.status, 429);
    assert_eq!(failed.json()["error"]["type"], "rate_limit_error");
    let unknown = server.get("/openai/v1/embeddings").await;
    assert_eq!(unknown.status, 404);
    assert!(unknown.json()["error"]["message"].is_string());
}

#[tokio::test]
async fn a_stream_that_fails_ends_in_an_error_that_clients_raise() {
    let (server, _model, agent) = Server::with_agent().await;
    let body = with(asked(&agent, "error 400"), json!({"stream": true}));
    let answer = server.post(CHAT, &body).await;
    assert_eq!(answer.status, 200);
    let last = frames(&answer.text).pop().unwrap();
    assert!(last["error"]["message"].is_string(), "{last}");
    let body = json!({"model": agent, "input": "error 400", "stream": true});
    let events = events(&server.post(RESPONSES, &body).await.text);
    let (name, last) = events.last().unwrap();
    assert_eq!(name, "response.failed");
    assert_eq!(last["response"]["status"], "failed");
    assert!(last["response"]["error"]["message"].is_string());
}

#[tokio::test]
async fn the_password_is_asked_for_in_openais_words() {
    let settings = ApiSettings {
        password: Some("pw".to_owned()),
        ..ApiSettings::default()
    };
    let server = Server::start(settings, None).await;
    let refused = server.post(CHAT, &asked("a", "b")).await;
    assert_eq!(refused.status, 401);
    assert_eq!(refused.json()["error"]["code"], "invalid_api_key");
    let headers = [
        ("authorization", "Bearer pw"),
        ("user-agent", "OpenAI/Python 3"),
    ];
    let listed = server.call_with("GET", "/v1/models", "", &headers).await;
    assert_eq!(listed.json(), json!({"object": "list", "data": []}));
}

#[tokio::test]
async fn models_are_agents_to_openais_clients_and_models_to_others() {
    let (server, _model, agent) = Server::with_agent().await;
    let client = [("user-agent", "OpenAI/JS 7.57.0")];
    let by_name = server
        .call_with("GET", "/v1/models", "", &client)
        .await
        .json();
    assert_eq!(by_name["data"][0]["id"], agent.as_str());
    assert_eq!(server.get("/openai/v1/models").await.json(), by_name);
    let models = server.get("/v1/models").await.json();
    assert_eq!(models[0]["handle"], "desk/small");
    let one = server
        .get(&format!("/openai/v1/models/{agent}"))
        .await
        .json();
    assert_eq!(one, by_name["data"][0]);
    let answer = server
        .post("/openai/v1/chat/completions", &asked(&agent, "Hello"))
        .await;
    assert_eq!(said(&answer), "Echo: Hello");
}

#[tokio::test]
async fn a_response_has_the_agents_messages_and_goes_on_in_its_thread() {
    let (server, _model, agent) = Server::with_agent().await;
    let body = json!({"model": agent, "input": "one", "user": "ann"});
    let first = server.post(RESPONSES, &body).await;
    assert_eq!(first.status, 200, "{}", first.text);
    let first = first.json();
    assert_eq!(first["status"], "completed");
    assert_eq!(first["output"][0]["content"][0]["text"], "Echo: one");
    assert_eq!(first["usage"]["input_tokens"], 100);
    let next = json!({"model": agent, "previous_response_id": first["id"],
        "input": [{"role": "user", "content": [{"type": "input_text", "text": "two"}]}]});
    let second = server.post(RESPONSES, &next).await.json();
    assert_eq!(second["conversation"], first["conversation"]);
    assert_eq!(second["output"][0]["content"][0]["text"], "Echo: two");
    let named = json!({"model": agent, "input": "three", "conversation": first["conversation"]});
    let third = server.post(RESPONSES, &named).await.json();
    assert_eq!(third["conversation"], first["conversation"]);
    let other = with(named, json!({"user": "bob"}));
    assert_eq!(server.post(RESPONSES, &other).await.status, 400);
}

#[tokio::test]
async fn the_events_of_a_response_build_it_up() {
    let (server, _model, agent) = Server::with_agent().await;
    let body = json!({"model": agent, "input": "Hello there", "stream": true});
    let events = events(&server.post(RESPONSES, &body).await.text);
    let mut names: Vec<&str> = events.iter().map(|(name, _)| name.as_str()).collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "response.created",
            "response.in_progress",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.completed",
        ]
    );
    for (n, (name, event)) in events.iter().enumerate() {
        assert_eq!(
            (event["type"].as_str(), event["sequence_number"].as_u64()),
            (Some(name.as_str()), Some(n as u64))
        );
    }
    let deltas = events
        .iter()
        .filter_map(|(_, event)| event["delta"].as_str());
    assert_eq!(deltas.collect::<String>(), "Echo: Hello there");
    let response = &events.last().unwrap().1["response"];
    assert_eq!(
        response["output"][0]["content"][0]["text"],
        "Echo: Hello there"
    );
    assert_eq!(response["usage"]["input_tokens"], 100);
}

#[tokio::test]
async fn a_clients_retry_gets_the_first_answer() {
    let (server, _model, agent) = Server::with_agent().await;
    let body = asked(&agent, "once").to_string();
    let first = server.call_with("POST", CHAT, &body, &[]).await;
    let retry = [("x-stainless-retry-count", "1")];
    let again = server.call_with("POST", CHAT, &body, &retry).await;
    assert_eq!(said(&again), said(&first));
    assert_eq!(again.json()["id"], first.json()["id"]);
}
