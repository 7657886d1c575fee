//! What servers send, and what becomes of it.

use mnemic_core::{messages::ContentPart, runs::Usage};
use proptest::prelude::*;

use crate::{
    Assembler, Completion, Delta, Endpoint, EndpointConfig, FinishReason, LlmError, parse_response,
    parse_stream,
};

fn endpoint() -> Endpoint {
    Endpoint::new(EndpointConfig::new("local", "http://127.0.0.1:1/v1").with_key("sk-secret"))
        .unwrap()
}

/// A stream of these events, as a server writes it.
fn sse(events: &[&str]) -> String {
    events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect()
}

fn delta(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)
}

fn stream_of(deltas: &[&str]) -> String {
    let mut events: Vec<String> = deltas.iter().map(|text| delta(text)).collect();
    events.push(r#"{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}"#.into());
    events.push("[DONE]".into());
    sse(&events.iter().map(String::as_str).collect::<Vec<_>>())
}

fn fold(deltas: &[Delta]) -> Completion {
    let mut assembler = Assembler::new();
    deltas.iter().for_each(|delta| assembler.push(delta));
    assembler.finish()
}

fn streamed(stream: &str) -> Completion {
    let (deltas, error) = parse_stream(&endpoint(), stream.as_bytes());
    assert_eq!(error, None, "{stream}");
    assert!(
        matches!(deltas.last(), Some(Delta::Finish(_))),
        "{deltas:?}"
    );
    fold(&deltas)
}

fn failed(stream: &str) -> LlmError {
    let (_, error) = parse_stream(&endpoint(), stream.as_bytes());
    error.unwrap_or_else(|| panic!("no error: {stream}"))
}

/// Ids, names and arguments; an id that we made is shown as `made`.
fn calls(completion: &Completion) -> Vec<(String, String, String)> {
    let shown = |id: &str| {
        if id.starts_with("call_") && id.len() == 37 {
            "made"
        } else {
            id
        }
        .to_owned()
    };
    let calls = completion.body.tool_calls.iter();
    calls
        .map(|call| (shown(&call.id), call.name.clone(), call.arguments.clone()))
        .collect()
}

fn expect_calls(completion: &Completion, expected: &[(&str, &str, &str)], case: &str) {
    let calls = calls(completion);
    let calls: Vec<_> = calls
        .iter()
        .map(|(id, name, arguments)| (id.as_str(), name.as_str(), arguments.as_str()))
        .collect();
    assert_eq!(calls, expected, "{case}");
    let mut ids: Vec<_> = completion
        .body
        .tool_calls
        .iter()
        .map(|call| &call.id)
        .collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), calls.len(), "ids are not unique: {case}");
}

#[test]
fn text_thoughts_and_usage_are_read_from_a_stream() {
    let stream = sse(&[
        r#"{"id":"x","model":"m-1","choices":[{"index":0,"delta":{"role":"assistant","content":null},"finish_reason":null}]}"#,
        &delta(r#"{"reasoning_content":"hm"}"#),
        &delta(r#"{"reasoning":"m"}"#),
        &delta(r#"{"content":"Gr\u00fc\u00dfe, "}"#),
        &delta(r#"{"content":"Welt"}"#),
        r#"{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}"#,
        r#"{"choices":[],"usage":{"prompt_tokens":10,"completion_tokens":4,"total_tokens":14,
            "prompt_tokens_details":{"cached_tokens":8},"completion_tokens_details":{"reasoning_tokens":2}}}"#
            .replace('\n', " ").as_str(),
        "[DONE]",
    ]);
    let completion = streamed(&stream);
    assert_eq!(
        completion.body.content,
        [
            ContentPart::reasoning("hmm"),
            ContentPart::text("Grüße, Welt"),
        ]
    );
    assert_eq!(
        completion.usage,
        Some(Usage {
            prompt_tokens: 10,
            completion_tokens: 4,
            cached_input_tokens: 8,
            cache_write_tokens: 0,
            reasoning_tokens: 2,
        })
    );
    assert_eq!(completion.finish, FinishReason::Stop);
    assert_eq!(completion.raw_model.as_deref(), Some("m-1"));
}

/// What it is, the parts that come, and the calls they are.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str, &'static str)],
);

const CALLS: [Case; 14] = [
    (
        "the protocol as it is written",
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","type":"function","function":{"name":"f","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"{\"x\":"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"b","function":{"name":"g","arguments":""}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#,
            r#"{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}"#,
        ],
        &[("a", "f", "{\"x\":1}"), ("b", "g", "{}")],
    ),
    (
        "whole calls in one event, all with index 0 (Ollama behind a proxy)",
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}},{"index":0,"id":"b","function":{"name":"f","arguments":"{}"}}]}"#,
        ],
        &[("a", "f", "{}"), ("b", "f", "{}")],
    ),
    (
        "no index and no id, the same tool twice",
        &[
            r#"{"tool_calls":[{"function":{"name":"f","arguments":"{\"x\":1}"}}]}"#,
            r#"{"tool_calls":[{"function":{"name":"f","arguments":"{\"x\":2}"}}]}"#,
        ],
        &[("made", "f", "{\"x\":1}"), ("made", "f", "{\"x\":2}")],
    ),
    (
        "keyed by id alone",
        &[
            r#"{"tool_calls":[{"id":"a","function":{"name":"f","arguments":"{\"x\""}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"name":"g","arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"id":"a","function":{"arguments":":1}"}}]}"#,
            r#"{"tool_calls":[{"id":"b","function":{"arguments":"}"}}]}"#,
        ],
        &[("a", "f", "{\"x\":1}"), ("b", "g", "{}")],
    ),
    (
        "id and name repeated with every part",
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"}"}}]}"#,
        ],
        &[("a", "f", "{}")],
    ),
    (
        "a new id with every part (old vLLM)",
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"b","function":{"arguments":"{"}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":"c","function":{"arguments":"}"}}]}"#,
        ],
        &[("a", "f", "{}")],
    ),
    (
        "arguments as an object",
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":{"x": [1]}}}]}"#,
        ],
        &[("a", "f", "{\"x\": [1]}")],
    ),
    (
        "an empty id",
        &[r#"{"tool_calls":[{"index":0,"id":"","function":{"name":"f","arguments":"{}"}}]}"#],
        &[("made", "f", "{}")],
    ),
    (
        "the same id twice",
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"index":1,"id":"a","function":{"name":"g","arguments":"{}"}}]}"#,
        ],
        &[("a", "f", "{}"), ("made", "g", "{}")],
    ),
    (
        "arguments before the name, nulls, and a missing type",
        &[
            r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":null,"arguments":"{\"x\""}}]}"#,
            r#"{"tool_calls":[{"index":0,"id":null,"function":{"name":"f","arguments":null}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"arguments":":1}"}}]}"#,
        ],
        &[("a", "f", "{\"x\":1}")],
    ),
    (
        "no arguments at all",
        &[r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f"}}]}"#],
        &[("a", "f", "{}")],
    ),
    (
        "the form before there were several",
        &[
            r#"{"function_call":{"name":"f","arguments":""}}"#,
            r#"{"function_call":{"arguments":"{}"}}"#,
        ],
        &[("made", "f", "{}")],
    ),
    (
        "another name begins another call, although the index is the same",
        &[
            r#"{"tool_calls":[{"index":0,"function":{"name":"f","arguments":"{}"}}]}"#,
            r#"{"tool_calls":[{"index":0,"function":{"name":"g","arguments":"{}"}}]}"#,
        ],
        &[("made", "f", "{}"), ("made", "g", "{}")],
    ),
    (
        "empty lists and empty parts",
        &[
            r#"{"tool_calls":[]}"#,
            r#"{"tool_calls":[null,{"index":0}]}"#,
        ],
        &[],
    ),
];

#[test]
fn tool_calls_are_told_apart_however_a_server_numbers_them() {
    for (case, deltas, expected) in CALLS {
        expect_calls(&streamed(&stream_of(deltas)), expected, case);
    }
}

#[test]
fn a_call_starts_as_soon_as_its_name_is_known() {
    let stream = stream_of(&[
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#,
        r#"{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}"#,
    ]);
    let (deltas, _) = parse_stream(&endpoint(), stream.as_bytes());
    assert_eq!(
        deltas,
        [
            Delta::ToolCallStart {
                index: 0,
                id: "a".into(),
                name: "f".into()
            },
            Delta::ToolCallArguments {
                index: 0,
                fragment: "{}".into()
            },
            Delta::Finish(FinishReason::ToolCalls),
        ]
    );
}

/// Every one of these streams says "hi".
fn read_as_hi(table: &[(&str, String)]) {
    for (case, stream) in table {
        assert_eq!(streamed(stream).body.plain_text(), "hi", "{case}");
    }
}

#[test]
fn odd_streams_are_read_all_the_same() {
    read_as_hi(&[
        ("without an end mark", sse(&[&delta(r#"{"content":"hi"}"#)])),
        (
            "without choices",
            sse(&[
                "{}",
                r#"{"choices":null}"#,
                &delta(r#"{"content":"hi"}"#),
                "[DONE]",
            ]),
        ),
        (
            "with comments and CRLF",
            format!(
                ": hi\r\n\r\ndata: {}\r\n\r\ndata: [DONE]\r\n\r\n",
                delta(r#"{"content":"hi"}"#)
            ),
        ),
        (
            "with no empty lines between events",
            format!("data: {}\ndata: [DONE]\n", delta(r#"{"content":"hi"}"#)),
        ),
        (
            "with a null error",
            sse(&[
                r#"{"error":null,"choices":[{"delta":{"content":"hi"}}]}"#,
                "[DONE]",
            ]),
        ),
    ]);
}

#[test]
fn odd_events_are_read_all_the_same() {
    read_as_hi(&[
        (
            "with whole messages",
            sse(&[r#"{"choices":[{"message":{"content":"hi"}}]}"#, "[DONE]"]),
        ),
        (
            "with content in parts",
            sse(&[
                &delta(r#"{"content":[{"type":"text","text":"h"},{"type":"text","text":"i"}]}"#),
                "[DONE]",
            ]),
        ),
        (
            "with other alternatives",
            sse(&[
                &delta(r#"{"content":"hi"}"#),
                r#"{"choices":[{"index":1,"delta":{"content":"no"}}]}"#,
                "[DONE]",
            ]),
        ),
        (
            "with something after its end",
            sse(&[&delta(r#"{"content":"hi"}"#), "[DONE]", "rubbish"]),
        ),
        (
            "with a refusal",
            sse(&[&delta(r#"{"refusal":"hi"}"#), "[DONE]"]),
        ),
        (
            "with numbers for words",
            sse(&[
                r#"{"model":7,"choices":[{"index":0.0,"delta":{"content":"hi","reasoning":{}},"finish_reason":3}],"usage":"none"}"#,
                "[DONE]",
            ]),
        ),
    ]);
}

#[test]
fn mistrals_thoughts_are_told_from_its_text() {
    let part = r#"{"content":[{"type":"thinking","thinking":[{"type":"text","text":"hm"}]},{"type":"text","text":"hi"}]}"#;
    let completion = streamed(&sse(&[&delta(part), "[DONE]"]));
    let reasoning = ContentPart::reasoning("hm");
    assert_eq!(
        completion.body.content,
        [reasoning, ContentPart::text("hi")]
    );
}

#[test]
fn a_stream_that_breaks_off_is_no_answer() {
    assert!(matches!(failed(""), LlmError::StreamIncomplete { .. }));
    assert!(matches!(
        failed(": ping\n\n"),
        LlmError::StreamIncomplete { .. }
    ));
    let torn = sse(&[&delta(
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{\"x"}}]}"#,
    )]);
    assert!(matches!(failed(&torn), LlmError::StreamIncomplete { .. }));
    let begun = sse(&[&delta(
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":""}}]}"#,
    )]);
    assert!(matches!(failed(&begun), LlmError::StreamIncomplete { .. }));
    assert!(matches!(
        failed("data: [DONE]\n\n"),
        LlmError::EmptyResponse { .. }
    ));
    assert!(matches!(
        failed("data: {\"choices\":\n\n"),
        LlmError::InvalidResponse { .. }
    ));
}

#[test]
fn only_servers_that_may_lack_an_end_mark_are_taken_at_their_word_without() {
    let whole = sse(&[&delta(
        r#"{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"{}"}}]}"#,
    )]);
    assert_eq!(calls(&streamed(&whole)).len(), 1);
    let openai = Endpoint::new(EndpointConfig::new("openai", "https://api.openai.com/v1")).unwrap();
    let text = sse(&[&delta(r#"{"content":"hi"}"#)]);
    for stream in [whole, text] {
        let (_, error) = parse_stream(&openai, stream.as_bytes());
        assert!(
            matches!(error, Some(LlmError::StreamIncomplete { .. })),
            "{error:?}"
        );
    }
}

#[test]
fn what_came_before_an_error_is_kept() {
    let stream = sse(&[
        &delta(r#"{"content":"so far"}"#),
        r#"{"error":{"message":"gone","code":502}}"#,
    ]);
    let (deltas, error) = parse_stream(&endpoint(), stream.as_bytes());
    assert_eq!(deltas, [Delta::Text("so far".into())]);
    assert!(
        matches!(error, Some(LlmError::Server { status: 502, .. })),
        "{error:?}"
    );
}

#[test]
fn errors_inside_a_stream_are_classified_like_others() {
    let types = |stream: &str| failed(stream).error_type();
    let table = [
        (
            sse(&[r#"{"error":{"message":"slow down","code":429}}"#]),
            "llm_rate_limit",
        ),
        (
            sse(&[r#"{"error":{"message":"x","code":"429"}}"#]),
            "llm_rate_limit",
        ),
        (
            sse(&[r#"{"error":{"message":"x","type":"overloaded_error"}}"#]),
            "llm_overloaded",
        ),
        (sse(&[r#"{"error":"boom"}"#]), "llm_error"),
        (
            "event: error\ndata: {\"message\":\"invalid key\",\"code\":401}\n\n".into(),
            "llm_authentication",
        ),
        ("event: error\ndata: boom\n\n".into(), "llm_error"),
        (
            "error: {\"code\":400,\"message\":\"x\",\"type\":\"exceed_context_size_error\"}\n\n"
                .into(),
            "context_window_exceeded",
        ),
        (
            sse(&[
                r#"{"error":{"message":"Reached context length of 4096 tokens: context the overflows","code":null}}"#,
            ]),
            "context_window_exceeded",
        ),
    ];
    for (stream, expected) in table {
        assert_eq!(types(&stream), expected, "{stream}");
    }
}

#[test]
fn a_whole_answer_is_read() {
    let completion = parse_response(
        &endpoint(),
        br#"{"id":"x","object":"chat.completion","model":"m","choices":[{"index":0,"message":{"role":"assistant",
            "content":"hi","reasoning_content":"hm","tool_calls":[
              {"id":"a","type":"function","function":{"name":"f","arguments":"{\"x\":\"\\n\"}"}},
              {"id":"a","type":"function","function":{"name":"f","arguments":{"y":2}}},
              {"type":"function","function":{"name":"g","arguments":null}}]},
            "finish_reason":"stop"}],
            "usage":{"prompt_tokens":3,"completion_tokens":2.0,"prompt_cache_hit_tokens":1,
              "prompt_tokens_details":null}}"#,
    )
    .unwrap();
    expect_calls(
        &completion,
        &[
            ("a", "f", "{\"x\":\"\\n\"}"),
            ("made", "f", "{\"y\":2}"),
            ("made", "g", "{}"),
        ],
        "whole",
    );
    assert_eq!(completion.body.plain_text(), "hi");
    assert_eq!(completion.finish, FinishReason::Stop);
    let usage = completion.usage.unwrap();
    assert_eq!(
        (
            usage.prompt_tokens,
            usage.completion_tokens,
            usage.cached_input_tokens
        ),
        (3, 2, 1)
    );
}

#[test]
fn what_is_no_answer_is_refused_with_a_reason() {
    let error = |bytes: &str| parse_response(&endpoint(), bytes.as_bytes()).unwrap_err();
    assert!(matches!(
        error(r#"{"choices":[]}"#),
        LlmError::EmptyResponse { .. }
    ));
    assert!(matches!(
        error(r#"{"choices":[{"finish_reason":"stop"}]}"#),
        LlmError::EmptyResponse { .. }
    ));
    assert!(matches!(
        error(r#"{"error":{"message":"m","code":"insufficient_quota"}}"#),
        LlmError::InsufficientCredits { .. }
    ));
    let page = error("<!DOCTYPE html><title>Login</title>");
    assert_eq!(page.error_type(), "llm_invalid_response");
    assert!(page.to_string().contains("<!DOCTYPE html>"), "{page}");
    assert!(error("").to_string().contains("it is empty"));
}

#[test]
fn an_empty_answer_is_an_answer() {
    let completion = parse_response(
        &endpoint(),
        br#"{"choices":[{"message":{"content":""},"finish_reason":"stop"}]}"#,
    )
    .unwrap();
    assert!(completion.is_empty());
}

proptest! {
    #[test]
    fn no_bytes_make_the_readers_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = parse_response(&endpoint(), &bytes);
        let _ = parse_stream(&endpoint(), &bytes);
    }

    #[test]
    fn a_stream_yields_unique_ids_and_known_indexes(
        parts in proptest::collection::vec(
            (proptest::option::of(0..3_i64), proptest::option::of("[ab]?"), proptest::option::of("[fg]?"),
             prop_oneof![Just("{}"), Just("{"), Just("}"), Just("")]),
            0..12,
        ),
    ) {
        let deltas: Vec<String> = parts.iter().map(|(index, id, name, arguments)| {
            serde_json::json!({"tool_calls": [
                {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
            ]}).to_string()
        }).collect();
        let stream = stream_of(&deltas.iter().map(String::as_str).collect::<Vec<_>>());
        let (deltas, error) = parse_stream(&endpoint(), stream.as_bytes());
        prop_assert_eq!(error, None);
        let mut ids = Vec::new();
        for delta in &deltas {
            match delta {
                Delta::ToolCallStart { id, .. } => {
                    prop_assert!(!ids.contains(id), "{:?}", deltas);
                    ids.push(id.clone());
                }
                Delta::ToolCallArguments { index, .. } => {
                    prop_assert!(fold(&deltas).body.tool_calls.len() > *index, "{:?}", deltas);
                }
                _ => {}
            }
        }
        let given: usize = parts.iter().map(|(.., arguments)| arguments.len()).sum();
        let told: usize = deltas.iter().map(|delta| match delta {
            Delta::ToolCallArguments { fragment, .. } => fragment.len(),
            _ => 0,
        }).sum();
        prop_assert_eq!(given, told, "arguments were lost or doubled");
    }
}
