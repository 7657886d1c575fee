use std::{collections::VecDeque, sync::Arc};

use mnemic_core::messages::{
    ContentPart, Image, MessageBody, ReasoningOrigin, Role, ToolCall, ToolReturn, ToolStatus,
};
use serde_json::{Value, json};

use super::{decoder::Decoder, request};
use crate::{
    Call, Delta, Endpoint, EndpointConfig, FinishReason, LlmError, MessageView, Protocol,
    SystemPrompt, Thinking, ToolChoice, ToolSet, ToolSpec, Transcript, parse_response,
};

fn endpoint() -> Arc<Endpoint> {
    let config = EndpointConfig {
        protocol: Protocol::Gemini,
        ..EndpointConfig::new("google_ai", "https://h/v1beta").with_key("k-1234")
    };
    Arc::new(Endpoint::new(config).unwrap())
}

fn rendered(messages: &[(Role, MessageBody)], change: impl FnOnce(&mut Call)) -> Value {
    let endpoint = endpoint();
    let mut transcript = Transcript::for_endpoint(&endpoint);
    for (role, body) in messages {
        transcript.push(&MessageView {
            role: *role,
            body,
            name: None,
        });
    }
    let mut call = Call::new(
        endpoint,
        "gemini-2.5-flash",
        SystemPrompt::new("Be kind."),
        transcript,
    );
    change(&mut call);
    serde_json::from_slice(&request::render(&call).to_vec()).unwrap()
}

fn tool_call(id: &str, name: &str) -> ToolCall {
    ToolCall {
        id: id.to_owned(),
        name: name.to_owned(),
        arguments: r#"{"a":1}"#.to_owned(),
    }
}

fn returned(id: &str, name: &str, text: &str) -> (Role, MessageBody) {
    let result = ToolReturn {
        tool_call_id: id.to_owned(),
        name: name.to_owned(),
        status: ToolStatus::Success,
        text: text.to_owned(),
        stdout: Vec::new(),
        stderr: Vec::new(),
        images: Vec::new(),
    };
    let body = MessageBody {
        tool_returns: vec![result],
        ..MessageBody::default()
    };
    (Role::Tool, body)
}

fn signed(text: &str, signature: &str, provider: &str) -> ContentPart {
    ContentPart::Reasoning {
        text: text.to_owned(),
        signature: Some(signature.to_owned()),
        origin: Some(ReasoningOrigin {
            protocol: "gemini".to_owned(),
            provider: provider.to_owned(),
            id: None,
        }),
    }
}

fn user(text: &str) -> (Role, MessageBody) {
    (Role::User, MessageBody::text(text))
}

#[test]
fn a_history_has_two_speakers_and_all_results_after_their_calls() {
    let calls = MessageBody {
        content: vec![
            signed("hm", "sig", "google_ai"),
            ContentPart::text("I look."),
        ],
        tool_calls: vec![tool_call("c1", "search"), tool_call("c2", "search")],
        ..MessageBody::default()
    };
    let request = rendered(
        &[
            user("Hello"),
            (Role::Assistant, calls),
            returned("c2", "search", "two"),
            returned("c1", "search", "one"),
            (Role::Assistant, MessageBody::text("Done.")),
        ],
        |_| {},
    );
    let response = |id: &str, text: &str| json!({"functionResponse": {"id": id, "name": "search", "response": {"result": text}}});
    let call = |id: &str| json!({"id": id, "name": "search", "args": {"a": 1}});
    assert_eq!(
        request,
        json!({
            "systemInstruction": {"parts": [{"text": "Be kind."}]},
            "contents": [
                {"role": "user", "parts": [{"text": "Hello"}]},
                {"role": "model", "parts": [
                    {"text": "I look."},
                    {"functionCall": call("c1"), "thoughtSignature": "sig"},
                    {"functionCall": call("c2")},
                ]},
                {"role": "user", "parts": [response("c2", "two"), response("c1", "one")]},
                {"role": "model", "parts": [{"text": "Done."}]},
                {"role": "user", "parts": [{"text": "(Go on.)"}]},
            ],
        })
    );
}

#[test]
fn a_history_that_lacks_something_is_made_one_that_can_be_sent() {
    let calls = MessageBody {
        tool_calls: vec![tool_call("c1", "search")],
        ..MessageBody::default()
    };
    let request = rendered(&[(Role::Assistant, calls), user(" ")], |_| {});
    let contents = request["contents"].as_array().unwrap();
    let roles: Vec<&str> = contents
        .iter()
        .filter_map(|one| one["role"].as_str())
        .collect();
    assert_eq!(roles, ["user", "model", "user", "user"]);
    let result = &contents[2]["parts"][0]["functionResponse"];
    assert_eq!(
        (&result["id"], &result["name"]),
        (&json!("c1"), &json!("search"))
    );
    assert_eq!(contents[3]["parts"][0]["text"], "(This message is empty.)");
}

#[test]
fn only_its_own_signatures_go_back_and_none_when_they_are_refused() {
    let says = |provider: &str| {
        let body = MessageBody {
            content: vec![signed("hm", "sig", provider)],
            tool_calls: vec![tool_call("c1", "search")],
            ..MessageBody::default()
        };
        [
            user("Hello"),
            (Role::Assistant, body),
            returned("c1", "search", "one"),
        ]
    };
    let signature = |request: &Value| {
        request["contents"][1]["parts"][0]
            .get("thoughtSignature")
            .cloned()
    };
    let mut own = rendered(&says("google_ai"), |_| {});
    assert_eq!(signature(&own), Some(json!("sig")));
    let others = rendered(&says("elsewhere"), |_| {});
    assert_eq!(signature(&others), None);
    request::without_reasoning(&mut own);
    assert_eq!(
        signature(&own),
        Some(json!("skip_thought_signature_validator"))
    );
}

#[test]
fn images_are_sent_inline() {
    let image = MessageBody {
        content: vec![
            ContentPart::text("See"),
            ContentPart::Image {
                media_type: "image/png".to_owned(),
                data: "AAAA".to_owned(),
            },
        ],
        ..MessageBody::default()
    };
    let request = rendered(&[(Role::User, image)], |_| {});
    assert_eq!(
        request["contents"][0]["parts"][1],
        json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
    );
}

#[test]
fn images_of_returns_stand_after_their_return() {
    let calls = MessageBody {
        tool_calls: vec![tool_call("c1", "look")],
        ..MessageBody::default()
    };
    let (role, mut body) = returned("c1", "look", "seen");
    body.tool_returns[0].images.push(Image {
        media_type: "image/png".to_owned(),
        data: "AAAA".to_owned(),
    });
    let request = rendered(
        &[user("Hello"), (Role::Assistant, calls), (role, body)],
        |_| {},
    );
    let parts = &request["contents"][2]["parts"];
    assert_eq!(parts[0]["functionResponse"]["id"], "c1");
    assert_eq!(
        parts[1],
        json!({"inlineData": {"mimeType": "image/png", "data": "AAAA"}})
    );
}

#[test]
fn tools_and_options_are_in_the_protocols_words() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}});
    let spec = |name: &str, parameters: &Value| ToolSpec {
        name: name.to_owned(),
        description: "Looks.".to_owned(),
        parameters: parameters.clone(),
    };
    let nothing = json!({"type": "object", "properties": {}});
    let request = rendered(&[user("Hello")], |call| {
        call.tools = Arc::new(ToolSet::new(&[
            spec("search", &schema),
            spec("now", &nothing),
        ]));
        call.tool_choice = ToolChoice::Tool("search".to_owned());
        call.temperature = Some(0.5);
        call.max_tokens = Some(100);
        call.thinking = Thinking::Budget(2_000);
    });
    assert_eq!(
        request["tools"],
        json!([{"functionDeclarations": [
            {"name": "search", "description": "Looks.", "parametersJsonSchema": schema},
            {"name": "now", "description": "Looks."},
        ]}])
    );
    assert_eq!(
        request["toolConfig"],
        json!({"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["search"]}})
    );
    assert_eq!(
        request["generationConfig"],
        json!({"temperature": 0.5, "maxOutputTokens": 100,
               "thinkingConfig": {"includeThoughts": true, "thinkingBudget": 2_000}})
    );
}

#[test]
fn thinking_is_a_budget_or_a_level_by_the_models_generation() {
    let config = |model: &str, thinking: Thinking, effort: Option<&str>| {
        let request = rendered(&[user("Hello")], |call| {
            call.model = model.to_owned();
            call.thinking = thinking;
            call.reasoning_effort = effort.map(str::to_owned);
        });
        request["generationConfig"]["thinkingConfig"].clone()
    };
    let (old, new) = ("gemini-2.5-pro", "gemini-3-pro-preview");
    for (model, thinking, effort, wanted) in [
        (old, Thinking::Unset, None, Value::Null),
        (
            old,
            Thinking::Disabled,
            None,
            json!({"includeThoughts": false, "thinkingBudget": 0}),
        ),
        (
            old,
            Thinking::Adaptive,
            None,
            json!({"includeThoughts": true, "thinkingBudget": -1}),
        ),
        (
            old,
            Thinking::Unset,
            Some("low"),
            json!({"includeThoughts": true, "thinkingBudget": 1_024}),
        ),
        (
            new,
            Thinking::Unset,
            Some("low"),
            json!({"includeThoughts": true, "thinkingLevel": "low"}),
        ),
        (
            new,
            Thinking::Budget(9_000),
            None,
            json!({"includeThoughts": true, "thinkingLevel": "high"}),
        ),
        (
            new,
            Thinking::Disabled,
            None,
            json!({"includeThoughts": true, "thinkingLevel": "low"}),
        ),
    ] {
        assert_eq!(
            config(model, thinking, effort),
            wanted,
            "{model} {thinking:?} {effort:?}"
        );
    }
}

#[test]
fn an_answer_is_to_have_the_form_that_was_asked_for() {
    let schema = json!({"type": "object"});
    let request = rendered(&[user("Hello")], |call| {
        call.response_format =
            Some(json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}));
    });
    assert_eq!(
        request["generationConfig"],
        json!({"responseMimeType": "application/json", "responseJsonSchema": schema})
    );
}

/// A stream as the provider sends it, with a call after thoughts.
const PIECES: [&str; 4] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"I wonder","thought":true}],"role":"model"},"index":0}],"modelVersion":"gemini-2.5-flash"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"Let me"}],"role":"model"},"index":0}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"search","args":{"q":"x"}},"thoughtSignature":"sig"}],"role":"model"},"index":0}]}"#,
    r#"{"candidates":[{"content":{"parts":[{"functionCall":{"name":"search","args":null}}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":100,"candidatesTokenCount":20,"thoughtsTokenCount":5,"cachedContentTokenCount":64,"totalTokenCount":125}}"#,
];

fn decoded(pieces: &[&str]) -> Result<Vec<Delta>, LlmError> {
    let endpoint = endpoint();
    let mut decoder = Decoder::default();
    let mut out = VecDeque::new();
    for piece in pieces {
        decoder.event(&endpoint, piece.as_bytes(), &mut out)?;
    }
    decoder.end(&endpoint, &mut out)?;
    Ok(out.into())
}

#[test]
fn a_stream_brings_thoughts_text_calls_and_usage() {
    let mut assembler = crate::Assembler::new();
    for delta in decoded(&PIECES).unwrap() {
        assembler.push(&delta);
    }
    let completion = assembler.finish();
    let content = &completion.body.content;
    assert_eq!(content[0], signed("I wonder", "sig", "google_ai"));
    assert_eq!(content[1], ContentPart::text("Let me"));
    let calls = &completion.body.tool_calls;
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (&*calls[0].arguments, &*calls[1].arguments),
        (r#"{"q":"x"}"#, "{}")
    );
    assert_ne!(calls[0].id, calls[1].id);
    let usage = completion.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (100, 25));
    assert_eq!((usage.cached_input_tokens, usage.reasoning_tokens), (64, 5));
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    assert_eq!(completion.raw_model.as_deref(), Some("gemini-2.5-flash"));
}

#[test]
fn ends_are_told_apart() {
    let end = |reason: &str| {
        let piece = format!(
            r#"{{"candidates":[{{"content":{{"parts":[{{"text":"a"}}]}},"finishReason":"{reason}"}}]}}"#
        );
        match decoded(&[&piece]).unwrap().pop() {
            Some(Delta::Finish(finish)) => finish,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end("STOP"), FinishReason::Stop);
    assert_eq!(end("MAX_TOKENS"), FinishReason::Length);
    assert_eq!(end("SAFETY"), FinishReason::ContentFilter);
    assert_eq!(end("SOMETHING_NEW"), FinishReason::Unknown);
    let blocked = decoded(&[r#"{"promptFeedback":{"blockReason":"SAFETY"}}"#]).unwrap();
    assert_eq!(blocked, [Delta::Finish(FinishReason::ContentFilter)]);
}

#[test]
fn what_is_no_answer_is_an_error() {
    assert!(matches!(
        decoded(&[PIECES[1]]),
        Err(LlmError::StreamIncomplete { .. })
    ));
    let silent = r#"{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL"}]}"#;
    assert!(matches!(
        decoded(&[silent]),
        Err(LlmError::EmptyResponse { .. })
    ));
    let failed =
        r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#;
    assert!(matches!(
        decoded(&[failed]),
        Err(LlmError::Overloaded { .. })
    ));
    assert!(matches!(
        decoded(&["<html>"]),
        Err(LlmError::InvalidResponse { .. })
    ));
}

#[test]
fn a_whole_answer_is_read_as_a_stream_is() {
    let endpoint = endpoint();
    let completion = parse_response(&endpoint, PIECES[3].as_bytes()).unwrap();
    assert_eq!(completion.body.tool_calls.len(), 1);
    assert!(parse_response(&endpoint, b"{}").is_err());
}

#[test]
fn refusals_are_told_apart() {
    let endpoint = endpoint();
    let refusal = |status: u16, body: &str| {
        crate::refusals::from_answer(&endpoint, status, body.as_bytes(), None)
    };
    let overflow = r#"{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}"#;
    assert!(matches!(
        refusal(400, overflow),
        LlmError::ContextWindowExceeded {
            limit: Some(1_048_576),
            ..
        }
    ));
    let key = r#"{"error":{"code":400,"message":"API key not valid. Please pass a valid API key.","status":"INVALID_ARGUMENT"}}"#;
    assert!(matches!(refusal(400, key), LlmError::Authentication { .. }));
    let quota = r#"{"error":{"code":429,"message":"Resource has been exhausted","status":"RESOURCE_EXHAUSTED"}}"#;
    assert!(matches!(refusal(429, quota), LlmError::RateLimit { .. }));
}

#[test]
fn its_list_tells_windows_and_what_models_are_for() {
    let list = br#"{"models":[
        {"name":"models/gemini-2.5-pro","inputTokenLimit":1048576,"outputTokenLimit":65536,"supportedGenerationMethods":["generateContent","countTokens"]},
        {"name":"models/gemini-embedding-001","inputTokenLimit":2048,"supportedGenerationMethods":["embedContent"]},
        {"name":"models/imagen-4","supportedGenerationMethods":["predict"]}]}"#;
    let listed = super::models::parse_list(list).unwrap();
    let found: Vec<_> = listed
        .iter()
        .map(|model| (model.id.as_str(), model.context_window, model.kind))
        .collect();
    assert_eq!(
        found,
        [
            (
                "gemini-2.5-pro",
                Some(1_048_576),
                Some(crate::ModelKind::Llm)
            ),
            (
                "gemini-embedding-001",
                Some(2_048),
                Some(crate::ModelKind::Embedding)
            ),
        ]
    );
}

#[test]
fn the_model_stands_in_the_url_and_the_key_in_a_header() {
    let endpoint = endpoint();
    let url = |streamed| endpoint.call_url("gemini-2.5-pro", streamed).to_string();
    assert_eq!(
        url(false),
        "https://h/v1beta/models/gemini-2.5-pro:generateContent"
    );
    assert_eq!(
        url(true),
        "https://h/v1beta/models/gemini-2.5-pro:streamGenerateContent?alt=sse"
    );
    assert_eq!(endpoint.headers()["x-goog-api-key"], "k-1234");
}
