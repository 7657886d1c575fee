//! What the provider sends, and what becomes of it.

use mnemic_core::{
    messages::{ContentPart, ReasoningOrigin},
    runs::Usage,
};
use proptest::prelude::*;

use crate::{
    Assembler, Completion, Delta, Endpoint, EndpointConfig, FinishReason, LlmError, Protocol,
    parse_response, parse_stream,
};

fn endpoint() -> Endpoint {
    let config = EndpointConfig {
        protocol: Protocol::Anthropic,
        ..EndpointConfig::new("anthropic", "http://127.0.0.1:1").with_key("sk-secret")
    };
    Endpoint::new(config).unwrap()
}

/// A stream of these events, as the provider writes it.
fn sse(events: &[&str]) -> String {
    let name = |event: &str| {
        let value: serde_json::Value = serde_json::from_str(event).unwrap_or_default();
        value["type"].as_str().unwrap_or("message").to_owned()
    };
    events
        .iter()
        .map(|event| format!("event: {}\ndata: {event}\n\n", name(event)))
        .collect()
}

fn fold(deltas: &[Delta]) -> Completion {
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    assembler.finish()
}

fn streamed(events: &[&str]) -> Completion {
    let (deltas, error) = parse_stream(&endpoint(), sse(events).as_bytes());
    assert_eq!(error, None, "{events:?}");
    fold(&deltas)
}

fn failed(events: &[&str]) -> LlmError {
    let (_, error) = parse_stream(&endpoint(), sse(events).as_bytes());
    error.unwrap_or_else(|| panic!("no error: {events:?}"))
}

fn origin() -> Option<ReasoningOrigin> {
    Some(ReasoningOrigin {
        protocol: "anthropic".into(),
        provider: "anthropic".into(),
        id: None,
    })
}

const START: &str = r#"{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","content":[],"model":"claude-x","stop_reason":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":100,"cache_read_input_tokens":1000,"output_tokens":1}}}"#;
const TEXT: &str =
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#;
const STOP: &str = r#"{"type":"content_block_stop","index":0}"#;
const END: &str = r#"{"type":"message_stop"}"#;

fn reason(reason: &str) -> String {
    format!(
        r#"{{"type":"message_delta","delta":{{"stop_reason":"{reason}"}},"usage":{{"output_tokens":25}}}}"#
    )
}

/// Thoughts, sealed thoughts, text and two calls.
const BLOCKS: [&str; 20] = [
    START,
    r#"{"type":"ping"}"#,
    r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"h"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"m"}}"#,
    r#"{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"Eq=="}}"#,
    STOP,
    r#"{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"sealed"}}"#,
    r#"{"type":"content_block_stop","index":1}"#,
    r#"{"type":"content_block_start","index":2,"content_block":{"type":"text","text":""}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"Gr\u00fc"}}"#,
    r#"{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"ße"}}"#,
    r#"{"type":"content_block_stop","index":2}"#,
    r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"x\":"}}"#,
    r#"{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"1}"}}"#,
    r#"{"type":"content_block_stop","index":3}"#,
    r#"{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_2","name":"g","input":{}}}"#,
    r#"{"type":"content_block_stop","index":4}"#,
];

#[test]
fn a_stream_of_thoughts_text_and_calls_is_read() {
    let reason = reason("tool_use");
    let completion = streamed(&[&BLOCKS[..], &[&reason, END]].concat());
    assert_eq!(
        completion.body.content,
        [
            ContentPart::Reasoning {
                text: "hm".into(),
                signature: Some("Eq==".into()),
                origin: origin(),
            },
            ContentPart::RedactedReasoning {
                data: "sealed".into(),
                origin: origin(),
            },
            ContentPart::text("Grüße"),
        ]
    );
    let calls: Vec<_> = completion
        .body
        .tool_calls
        .iter()
        .map(|call| {
            (
                call.id.as_str(),
                call.name.as_str(),
                call.arguments.as_str(),
            )
        })
        .collect();
    assert_eq!(
        calls,
        [("toolu_1", "f", "{\"x\":1}"), ("toolu_2", "g", "{}")]
    );
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    assert_eq!(completion.raw_model.as_deref(), Some("claude-x"));
    assert_eq!(
        completion.usage,
        Some(Usage {
            prompt_tokens: 1110,
            completion_tokens: 25,
            cached_input_tokens: 1000,
            cache_write_tokens: 100,
            reasoning_tokens: 0,
        })
    );
}

#[test]
fn a_whole_answer_means_the_same_as_its_stream() {
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[
        {"type":"thinking","thinking":"hm","signature":"Eq=="},
        {"type":"redacted_thinking","data":"sealed"},
        {"type":"text","text":"hello"},
        {"type":"tool_use","id":"t","name":"f","input":{"x":[1]}}],
        "stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2,
        "output_tokens_details":{"thinking_tokens":1}}}"#;
    let completion = parse_response(&endpoint(), answer.as_bytes()).unwrap();
    assert_eq!(completion.body.content.len(), 3);
    assert_eq!(completion.body.plain_text(), "hello");
    assert_eq!(completion.body.tool_calls[0].arguments, r#"{"x":[1]}"#);
    assert_eq!(completion.usage.unwrap().reasoning_tokens, 1);
    assert_eq!(completion.finish, FinishReason::ToolCalls);
    assert_eq!(fold(&completion.clone().into_deltas()), completion);
    let empty = r#"{"type":"message","content":[],"stop_reason":"end_turn"}"#;
    let empty = parse_response(&endpoint(), empty.as_bytes()).unwrap();
    assert!(empty.is_empty());
    for odd in ["{}", "[]", "<html>", r#"{"choices":[]}"#] {
        assert!(
            parse_response(&endpoint(), odd.as_bytes()).is_err(),
            "{odd}"
        );
    }
}

#[test]
fn every_reason_to_stop_has_its_meaning() {
    for (word, expected) in [
        ("end_turn", FinishReason::Stop),
        ("stop_sequence", FinishReason::Stop),
        ("pause_turn", FinishReason::Stop),
        ("max_tokens", FinishReason::Length),
        ("model_context_window_exceeded", FinishReason::Length),
        ("tool_use", FinishReason::ToolCalls),
        ("refusal", FinishReason::ContentFilter),
        ("something_new", FinishReason::Unknown),
    ] {
        assert_eq!(
            streamed(&[START, TEXT, STOP, &reason(word), END]).finish,
            expected,
            "{word}"
        );
    }
}

#[test]
fn thoughts_that_are_left_out_keep_their_signature() {
    let completion = streamed(&[
        START,
        r#"{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":"Eq=="}}"#,
        STOP,
        &reason("end_turn"),
        END,
    ]);
    let kept = ContentPart::Reasoning {
        text: String::new(),
        signature: Some("Eq==".into()),
        origin: origin(),
    };
    assert_eq!(completion.body.content, [kept]);
}

#[test]
fn compatible_servers_may_leave_out_beginnings_and_ends() {
    let completion = streamed(&[
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}"#,
        r#"{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"hi"}}"#,
        r#"{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"t","name":"f","input":{"x":1}}}"#,
        r#"{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"t","name":"f","input":null}}"#,
        r#"{"type":"something_new","index":3}"#,
        r#"{"type":"message_delta","delta":{"stop_reason":"tool_use"}}"#,
    ]);
    assert_eq!(completion.body.plain_text(), "hi");
    assert!(matches!(
        &completion.body.content[0],
        ContentPart::Reasoning {
            signature: None,
            ..
        }
    ));
    assert_eq!(completion.body.tool_calls[0].arguments, "{\"x\":1}");
    assert_eq!(completion.body.tool_calls[1].arguments, "{}");
    assert_ne!(
        completion.body.tool_calls[0].id,
        completion.body.tool_calls[1].id
    );
}

#[test]
fn a_torn_stream_and_an_error_in_it_are_errors() {
    let half =
        r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"ha"}}"#;
    assert!(matches!(
        failed(&[START]),
        LlmError::StreamIncomplete { .. }
    ));
    let torn = r#"{"type":"content_block_start","index":1,"content_block":{"type":"tool_use","id":"t","name":"f"}}"#;
    let piece = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"{\"x"}}"#;
    let rest = r#"{"type":"content_block_delta","index":1,"delta":{"type":"input_json_delta","partial_json":"\":1}"}}"#;
    for events in [
        &[START, TEXT, half][..],
        &[START, TEXT, half, STOP],
        &[START, torn],
        &[START, torn, piece],
        &[START, torn, piece, rest],
    ] {
        let error = failed(events);
        assert!(
            matches!(error, LlmError::StreamIncomplete { .. }),
            "{events:?}: {error:?}"
        );
    }
    for (kind, expected) in [
        ("overloaded_error", "llm_overloaded"),
        ("rate_limit_error", "llm_rate_limit"),
        ("authentication_error", "llm_authentication"),
        ("permission_error", "llm_authentication"),
        ("billing_error", "llm_insufficient_credits"),
        ("invalid_request_error", "llm_bad_request"),
        ("not_found_error", "llm_bad_request"),
        ("request_too_large", "context_window_exceeded"),
        ("api_error", "llm_error"),
    ] {
        let error = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"no"}}}}"#);
        assert_eq!(
            failed(&[START, half, &error]).error_type(),
            expected,
            "{kind}"
        );
        let whole = parse_response(&endpoint(), error.as_bytes()).unwrap_err();
        assert_eq!(whole.error_type(), expected, "{kind}");
    }
}

proptest! {
    #[test]
    fn no_events_make_it_panic_and_each_stream_ends_once(
        picks in proptest::collection::vec(0..14_usize, 0..16),
        noise in "[ -~]{0,30}",
    ) {
        let noise = serde_json::json!({"type": "content_block_delta", "index": 9, "delta": {"partial_json": noise}});
        let (end, noise) = (reason("end_turn"), noise.to_string());
        let events = [
            START, TEXT, STOP, END, &end, &noise, "{}", "null", "[1]", "\"x\"",
            r#"{"type":"content_block_start","index":9,"content_block":{"type":"tool_use","id":7,"name":null}}"#,
            r#"{"type":"content_block_delta","index":"x","delta":{"text":[1],"thinking":"t"}}"#,
            r#"{"type":"content_block_start","index":1e300,"content_block":{"type":"redacted_thinking","data":"d"}}"#,
            r#"{"type":"message_delta","delta":{},"usage":{"input_tokens":-3,"output_tokens":1e99}}"#,
        ];
        let chosen: Vec<&str> = picks.iter().map(|pick| events[*pick]).collect();
        let (deltas, error) = parse_stream(&endpoint(), sse(&chosen).as_bytes());
        let finishes = deltas.iter().filter(|delta| matches!(delta, Delta::Finish(_))).count();
        prop_assert_eq!(finishes, usize::from(error.is_none()));
    }
}
