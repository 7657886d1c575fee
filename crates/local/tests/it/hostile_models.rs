//! Files of models that somebody made who means harm: each costs its call, and the next one works.

use std::path::Path;

use mnemic_local::llm::{AnswerError, Ending, Host, HostSettings, Piece, Usage, tokens_of};

use crate::{
    crafted::{Crafted, Value, bytes},
    language_model::request,
};

fn heard(host: &Host, path: &Path) -> Result<(Ending, Usage), AnswerError> {
    let mut pieces = host.ask(path, request(&[("user", "hi")], 3)).unwrap();
    loop {
        match pieces.blocking_recv().unwrap() {
            Piece::Text(_) => {}
            Piece::End(ending, usage) => return Ok((ending, usage)),
            Piece::Failed(error) => return Err(error),
        }
    }
}

/// What a model answers, after which a whole one still does.
fn answered(crafted: &Crafted) -> Result<(Ending, Usage), AnswerError> {
    let host = Host::new(HostSettings::default());
    let folder = tempfile::tempdir().unwrap();
    let (path, whole) = (folder.path().join("m"), folder.path().join("whole"));
    crafted.write(&path);
    Crafted::whole().write(&whole);
    let answered = heard(&host, &path);
    heard(&host, &whole).unwrap();
    answered
}

fn assert_failed(crafted: &Crafted, words: &str) {
    match answered(crafted) {
        Err(AnswerError::Failed(text)) => assert!(text.contains(words), "{text}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_vocabulary_with_endless_tokens_is_refused() {
    for (count, length) in [(1, 2_000), (1, 1_000_000), (5_000, 999)] {
        let long = (0..count).map(|at| format!("{at:08}{}", "a".repeat(length - 8)));
        let tokens = bytes().into_iter().chain(long).collect();
        let crafted = Crafted::with(tokens, 1, 32);
        assert_failed(&crafted, "tokens of its vocabulary are longer than can be");
    }
}

#[test]
fn a_vocabulary_of_nonsense_is_an_error_or_gives_nonsense() {
    let empty = vec![String::new(); 3];
    let twice = bytes().into_iter().chain(bytes()).collect();
    for tokens in [Vec::new(), empty, twice] {
        let _ = answered(&Crafted::with(tokens, 1, 32));
    }
    let all_control = Value::Numbers(vec![3; 257]);
    let _ = answered(&Crafted::whole().set("tokenizer.ggml.token_type", all_control));
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.bos_token_id"] {
        let _ = answered(&Crafted::whole().set(key, Value::Number(4_000_000_000)));
    }
}

#[test]
fn weights_that_are_no_numbers_are_named_as_damaged() {
    for weight in [|_| f32::NAN, |_| f32::INFINITY] {
        let mut crafted = Crafted::whole();
        crafted.weight = weight;
        assert_failed(&crafted, "its weights are damaged");
    }
    let nowhere = Value::Float(f32::NAN);
    let crafted = Crafted::whole().set("llama.rope.freq_base", nowhere);
    assert_failed(&crafted, "its weights are damaged");
}

#[test]
fn a_shape_that_cannot_be_is_an_error() {
    for (key, number) in [
        ("llama.block_count", 1 << 20),
        ("llama.attention.head_count", 0),
        ("llama.attention.head_count", 33),
        ("llama.context_length", 0),
        ("general.alignment", 0),
    ] {
        let answered = answered(&Crafted::whole().set(key, Value::Number(number)));
        assert!(
            matches!(answered, Err(AnswerError::Failed(_))),
            "{key}: {answered:?}"
        );
    }
}

#[test]
fn a_whole_one_answers_and_its_tokenizer_knows_every_byte() {
    let (ending, usage) = answered(&Crafted::whole()).unwrap();
    assert!(
        usage.prompt == 3 && usage.answer <= 3,
        "{ending:?} {usage:?}"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m");
    Crafted::whole().write(&path);
    let text = "añ\n🐈\u{fdd0}";
    let tokens: Vec<u32> = "añ\n🐈".bytes().map(u32::from).collect();
    assert_eq!(tokens_of(&path, text).unwrap(), tokens);
}

#[test]
fn a_tensor_that_is_named_twice_is_refused() {
    let mut crafted = Crafted::whole();
    crafted.is_doubled = true;
    assert_failed(&crafted, "twice");
}

#[test]
fn tensors_that_share_a_place_are_refused_before_they_take_memory() {
    // A file of a few megabytes that would take 14 GB.
    let mut crafted = Crafted::with(bytes(), 2_000, 1_024);
    crafted.is_one_place = true;
    assert_failed(&crafted, "its tensors lie over each other");
}

#[test]
fn a_chat_template_that_may_double_a_list_without_end_is_refused() {
    let double = "{% set ns = namespace(s=[1]) %}{% for i in range(60) %}{% set ns.s = ns.s + ns.s %}{% endfor %}";
    assert_failed(&Crafted::template(double), "may add lists without end");
}

#[test]
fn a_chat_template_that_fails_or_writes_without_end_is_told_as_such() {
    let double = "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}\
        {{ ns.s }}";
    for template in [
        double,
        "{% for a in range(100000) %}{% for b in range(100000) %}x{% endfor %}{% endfor %}",
        "{{ 'a' * 4000000000 }}",
        "{% macro m(x) %}{{ m(x) }}{% endmacro %}{{ m(1) }}",
        "{{ '%999999999s'|format('x') }}",
        "{{ ('a' * 60000).replace('a', 'b' * 600000) }}",
        "{{ raise_exception('no system messages here') }}",
        "",
    ] {
        let answered = answered(&Crafted::template(template));
        assert!(
            matches!(
                answered,
                Err(AnswerError::Refused(_) | AnswerError::TooLong { .. })
            ),
            "{template}: {answered:?}"
        );
    }
    for template in [
        "{% for %}",
        &format!("{{{{ {}1{} }}}}", "(".repeat(9_999), ")".repeat(9_999)),
    ] {
        assert_failed(&Crafted::template(template), "chat template");
    }
}
