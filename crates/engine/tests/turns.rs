//! Turns from acceptance to the last event, on a temporary store and a scripted model.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    missing_docs
)]

use std::{sync::Arc, time::Duration};

use mnemic_core::{
    conversations::Thread,
    ids::AgentId,
    messages::{MessageBody, NewMessage, Role},
    parts::Part,
    runs::{RunStatus, StopReason},
    scope::Scope,
    time::Clock,
};
use mnemic_engine::{
    Engine, EngineError, EngineSettings, Event, Granularity, RunHandle, SendRequest, WhenBusy,
    agents::{CreateAgent, NewBlock},
};
use mnemic_llm::{Catalogue, Client, Endpoint, EndpointConfig, RetryPolicy, Timeouts};
use mnemic_store::{Location, Secrets, Store, StoreError, blocks, context, runs};
use serde_json::{Value, json};
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::path_regex};

struct House {
    engine: Engine,
    model: MockServer,
    scope: Scope,
    agent: AgentId,
    _folder: tempfile::TempDir,
}

/// An answer of the model: text, or a call of a tool.
fn answer(message: Value) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "id": "x",
        "model": "scripted",
        "choices": [{"index": 0, "finish_reason": "stop", "message": message}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
    }))
}

fn says(text: &str) -> ResponseTemplate {
    answer(json!({"role": "assistant", "content": text}))
}

fn calls(name: &str, arguments: &Value) -> ResponseTemplate {
    let call = json!({"id": "call_1", "type": "function",
        "function": {"name": name, "arguments": arguments.to_string()}});
    answer(json!({"role": "assistant", "content": null, "tool_calls": [call]}))
}

/// A model that answers "remember" with an edit of memory, and everything else with text.
fn scripted(request: &Request) -> ResponseTemplate {
    let body: Value = serde_json::from_slice(&request.body).unwrap();
    let last = body["messages"].as_array().unwrap().last().unwrap().clone();
    let text = last["content"].as_str().unwrap_or_default().to_owned();
    match (last["role"].as_str().unwrap(), text.as_str()) {
        ("tool", _) => says("Noted."),
        (_, text) if text.contains("remember") => calls(
            "memory_insert",
            &json!({"label": "human", "new_string": text}),
        ),
        (_, text) if text.contains("slowly") => says("done").set_delay(Duration::from_secs(20)),
        (_, text) if text.contains("fail") => ResponseTemplate::new(401)
            .set_body_json(json!({"error": {"message": "bad key", "code": "invalid_api_key"}})),
        _ => says("Hello."),
    }
}

async fn house() -> House {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let model = MockServer::start().await;
    Mock::given(path_regex("/chat/completions$"))
        .respond_with(scripted)
        .mount(&model)
        .await;
    let folder = tempfile::tempdir().unwrap();
    let location = Location::Sqlite(folder.path().join("mnemic.db"));
    let store = Store::open(location, Secrets::new(b"test")).await.unwrap();
    let scope = Scope::default();
    let (for_tools, now) = (scope.clone(), mnemic_core::time::Timestamp::now());
    store
        .write(move |tx| {
            Box::pin(async move { mnemic_store::tools::ensure_builtins(tx, &for_tools, now).await })
        })
        .await
        .map_err(|error: StoreError| error)
        .unwrap();
    let client = Client::new(Timeouts::default(), RetryPolicy::default()).unwrap();
    let config = EndpointConfig::new("openai", format!("{}/v1", model.uri())).with_key("sk-none");
    let catalogue = Catalogue::new(client.clone(), vec![Endpoint::new(config).unwrap()]);
    let settings = EngineSettings::default();
    let engine = Engine::new(store, client, Arc::new(catalogue), settings, Clock::System);
    engine.start().await.unwrap();
    let request = CreateAgent {
        model: Some("openai-proxy/scripted".to_owned()),
        memory_blocks: vec![NewBlock {
            label: "human".to_owned(),
            value: "Ada.".to_owned(),
            ..NewBlock::default()
        }],
        include_base_tools: true,
        ..CreateAgent::default()
    };
    let agent = engine.create_agent(&scope, request).await.unwrap();
    House {
        engine,
        model,
        scope,
        agent,
        _folder: folder,
    }
}

fn request(text: &str) -> SendRequest {
    SendRequest {
        messages: vec![NewMessage {
            role: Role::User,
            body: MessageBody::text(text),
            name: None,
            otid: None,
            sender_id: None,
            created_at: None,
        }],
        max_steps: 50,
        granularity: Granularity::Steps,
        request_config: json!({}),
        metadata: json!({"run_type": "send_message"}),
        body_hash: text.to_owned(),
        ..SendRequest::default()
    }
}

impl House {
    async fn send(&self, request: SendRequest) -> Result<RunHandle, EngineError> {
        self.engine
            .send(
                &self.scope,
                self.agent,
                Thread::Default,
                request,
                WhenBusy::Queue,
            )
            .await
    }

    async fn say(&self, text: &str) -> Vec<Event> {
        events(self.send(request(text)).await.unwrap()).await
    }

    /// Texts of the messages that the provider got last.
    async fn last_prompt(&self) -> Vec<Value> {
        let requests = self.model.received_requests().await.unwrap();
        let mut chats = requests
            .iter()
            .filter(|request| request.url.path().ends_with("completions"));
        let body: Value = serde_json::from_slice(&chats.next_back().unwrap().body).unwrap();
        body["messages"].as_array().unwrap().clone()
    }
}

async fn events(mut handle: RunHandle) -> Vec<Event> {
    let mut events = Vec::new();
    while let Some((_, event)) = handle.next().await {
        events.push(event.as_ref().clone());
    }
    events
}

fn stop(events: &[Event]) -> StopReason {
    let stopped = events.iter().find_map(|event| match event {
        Event::Stopped { reason } => Some(*reason),
        _ => None,
    });
    stopped.expect("the run stopped")
}

fn texts(events: &[Event]) -> Vec<String> {
    let text = |event: &Event| match event {
        Event::Message(part) => match &part.part {
            Part::Assistant { text } => Some(text.clone()),
            _ => None,
        },
        _ => None,
    };
    events.iter().filter_map(text).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_answers_and_keeps_what_was_said() {
    let house = house().await;
    let first = house.say("Good morning").await;
    assert_eq!(texts(&first), ["Hello."]);
    assert_eq!(stop(&first), StopReason::EndTurn);
    assert_eq!(first.last(), Some(&Event::Done));
    house.say("And again").await;
    let said: Vec<Value> = house
        .last_prompt()
        .await
        .iter()
        .skip(1)
        .map(|message| message["content"].clone())
        .collect();
    assert_eq!(said, ["Good morning", "Hello.", "And again"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_of_memory_is_in_the_next_request() {
    let house = house().await;
    let events = house.say("remember that she sails").await;
    assert_eq!(texts(&events), ["Noted."]);
    let prompt = house.last_prompt().await;
    let system = prompt[0]["content"].as_str().unwrap();
    assert!(
        system.contains("remember that she sails"),
        "the second step sees the edit"
    );
    let (scope, agent) = (house.scope.clone(), house.agent);
    let history = house.engine.store().read(move |tx| {
        Box::pin(async move {
            let block = blocks::by_label(tx, &scope, agent, "human").await?;
            blocks::history(tx, &scope, block.unwrap().id, (None, 10)).await
        })
    });
    let history = history.await.map_err(|error: StoreError| error).unwrap();
    assert_eq!(history[0].author.agent_id, Some(house.agent));
    assert_eq!(history[0].author.tool_call_id.as_deref(), Some("call_1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_messages_at_once_run_one_after_the_other() {
    let house = house().await;
    let (one, two) = tokio::join!(house.say("one"), house.say("two"));
    assert_eq!(
        (stop(&one), stop(&two)),
        (StopReason::EndTurn, StopReason::EndTurn)
    );
    let (scope, agent) = (house.scope.clone(), house.agent);
    let ids = house.engine.store().read(move |tx| {
        Box::pin(async move { context::default_message_ids(tx, &scope, &[agent]).await })
    });
    let ids = ids.await.map_err(|error: StoreError| error).unwrap();
    assert_eq!(ids[&agent].len(), 5, "prompt, two questions, two answers");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_call_leaves_the_context_as_it_was() {
    let house = house().await;
    let events = house.say("fail now").await;
    assert_eq!(stop(&events), StopReason::LlmApiError);
    assert!(events.iter().any(|event| matches!(event,
        Event::Failed { error } if error.error_type == "llm_authentication")));
    house.say("Good morning").await;
    assert_eq!(
        house.last_prompt().await.len(),
        2,
        "prompt and the new message"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_run_ends_at_once_and_the_next_message_works() {
    let house = house().await;
    let handle = house.send(request("slowly")).await.unwrap();
    let run = handle.run_id;
    let cancelled = house
        .engine
        .cancel_agent(&house.scope, house.agent, None)
        .await
        .unwrap();
    assert_eq!(cancelled, [run]);
    let within = Duration::from_secs(5);
    let events = tokio::time::timeout(within, events(handle))
        .await
        .expect("it ends at once");
    assert_eq!(stop(&events), StopReason::Cancelled);
    assert_eq!(stop(&house.say("Good morning").await), StopReason::EndTurn);
    let scope = house.scope.clone();
    let stored = house
        .engine
        .store()
        .read(move |tx| Box::pin(async move { runs::get(tx, &scope, run).await }))
        .await
        .map_err(|error: StoreError| error)
        .unwrap();
    assert_eq!(stored.status, RunStatus::Cancelled);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_otid_is_the_same_run() {
    let house = house().await;
    let with_otid = |text: &str| {
        let mut request = request(text);
        request.messages[0].otid = Some("mine".to_owned());
        request
    };
    let first = house.send(with_otid("Good morning")).await.unwrap();
    let run = first.run_id;
    let told = events(first).await;
    let second = house.send(with_otid("Good morning")).await.unwrap();
    assert!(second.attached);
    assert_eq!(second.run_id, run);
    assert_eq!(texts(&events(second).await), texts(&told));
    let other = house.send(with_otid("Something else")).await;
    assert!(matches!(
        other,
        Err(EngineError::Store(StoreError::Conflict(_)))
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_background_run_is_replayed_from_any_event() {
    let house = house().await;
    let mut background = request("remember the stream");
    background.background = true;
    let handle = house.send(background).await.unwrap();
    let run = handle.run_id;
    let all = events(handle).await;
    assert!(all.len() > 4);
    for after in [0, 2] {
        let replay = house.engine.attach(&house.scope, run, after).await.unwrap();
        let skipped = usize::try_from(after).unwrap();
        assert_eq!(events(replay).await, all[skipped..], "after {after}");
    }
}
