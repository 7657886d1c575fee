//! Token counts by a real tokenizer: OpenAI's `o200k_base`, which is close enough for other models
//! to decide what fits.
//!
//! The vocabulary is read at the first count, once per process; [`load`] does it ahead of that.

mod pieces;
mod vocabulary;

use std::{collections::HashMap, sync::LazyLock};

use self::vocabulary::Vocabulary;
use crate::messages::{ContentPart, MessageBody, Role};

static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::read);

/// Bytes from which on a piece is looked up before it is counted; hardly a word is that long.
const LONG_PIECE: usize = 32;

/// Bytes of a long piece that are counted at once.
const CHUNK: usize = 1_024;

/// Tokens that a chat format adds to each message for its separators, and one more for a name:
/// "How to count tokens with tiktoken" in OpenAI's cookbook, `num_tokens_from_messages`. The role
/// counts as the text that it is.
const MESSAGE_OVERHEAD: usize = 3;

/// Tokens that a call adds to its name and arguments: `func_init` of `num_tokens_for_tools` in the same
/// guide, the nearest thing that is documented.
const CALL_OVERHEAD: usize = 7;

/// Tokens reckoned for an image, whatever its size: what the largest image takes that Anthropic does not
/// scale down (width x height / 750, about 1,600). OpenAI's tiles come to 765 for 1,024 x 1,024 pixels
/// in high detail. Too much only compacts a little early; too little would overflow the window.
const IMAGE_TOKENS: usize = 1_600;

/// Reads the tokenizer's vocabulary now, so that the first count need not wait for it.
pub fn load() {
    LazyLock::force(&VOCABULARY);
}

/// How many tokens a text takes: what the tokenizer cuts it into.
///
/// Time is about linear in the text's length, whatever the text: no megabyte that we tried takes more than 0.4 s without
/// optimisation. Pieces longer than words are counted in chunks, each distinct chunk once, which may come to
/// a few tokens more or less: to 2.5 % in the worst of the texts that we tried.
#[must_use]
pub fn count(text: &str) -> usize {
    let mut known: HashMap<&str, usize> = HashMap::new();
    let mut total = 0;
    for piece in pieces::pieces(text) {
        if piece.len() < LONG_PIECE {
            total += VOCABULARY.count(piece.as_bytes());
            continue;
        }
        let mut rest = piece;
        while !rest.is_empty() {
            let (chunk, after) = rest.split_at(rest.floor_char_boundary(CHUNK));
            total += *known
                .entry(chunk)
                .or_insert_with(|| VOCABULARY.count(chunk.as_bytes()));
            rest = after;
        }
    }
    total
}

/// How many tokens a message takes in a request. Each tool return counts as a message of its own, as
/// chat formats send it. Reasoning counts only where it is signed, because only then it is sent back.
#[must_use]
pub fn count_message(role: Role, body: &MessageBody, name: Option<&str>) -> i64 {
    let messages = body.tool_returns.len().max(1);
    let mut total = messages * (MESSAGE_OVERHEAD + count(role.as_str()));
    total += name.map_or(0, |name| count(name) + 1);
    for part in &body.content {
        total += match part {
            ContentPart::Text { text } => count(text),
            ContentPart::Image { .. } => IMAGE_TOKENS,
            ContentPart::Reasoning {
                text,
                signature: Some(_),
                origin: Some(_),
            } => count(text),
            ContentPart::Reasoning { .. } => 0,
            // Base64 of what is about as long as the thoughts.
            ContentPart::RedactedReasoning { data, .. } => data.len() / 6,
        };
    }
    for call in &body.tool_calls {
        total += CALL_OVERHEAD + count(&call.name) + count(&call.arguments);
    }
    for result in &body.tool_returns {
        total += count(&result.text) + result.images.len() * IMAGE_TOKENS;
    }
    i64::try_from(total).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::messages::{Image, ToolCall, ToolReturn, ToolStatus};

    #[test]
    fn texts_are_counted_as_the_tokenizer_cuts_them() {
        for (text, tokens) in [("", 0), ("hello world", 2), ("日本語", 2), ("\n\n\n", 1)] {
            assert_eq!(count(text), tokens, "{text:?}");
        }
    }

    #[test]
    fn a_message_counts_its_role_text_and_name() {
        let body = MessageBody::text("hello world");
        assert_eq!(count_message(Role::User, &body, None), 3 + 1 + 2);
        assert_eq!(count_message(Role::User, &body, Some("Ada")), 3 + 1 + 2 + 2);
    }

    #[test]
    fn calls_returns_and_images_are_counted_and_reasoning_is_not() {
        let call = ToolCall {
            id: "1".into(),
            name: "find".into(),
            arguments: "{}".into(),
        };
        let calling = MessageBody {
            tool_calls: vec![call],
            ..MessageBody::default()
        };
        assert_eq!(
            count_message(Role::Assistant, &calling, None),
            3 + 1 + 7 + 1 + 1
        );
        let result = ToolReturn {
            tool_call_id: "1".into(),
            name: "find".into(),
            status: ToolStatus::Success,
            text: "hello world".into(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            images: Vec::new(),
        };
        let returned = MessageBody {
            tool_returns: vec![result.clone(), result],
            ..MessageBody::default()
        };
        assert_eq!(count_message(Role::Tool, &returned, None), 2 * (3 + 1 + 2));
        let mut shown = returned.clone();
        shown.tool_returns[0].images.push(Image {
            media_type: "image/png".into(),
            data: "AAAA".repeat(1_000),
        });
        assert_eq!(
            count_message(Role::Tool, &shown, None),
            2 * (3 + 1 + 2) + 1_600
        );
        let seen = MessageBody {
            content: vec![
                ContentPart::Image {
                    media_type: "image/png".into(),
                    data: "AAAA".repeat(1_000),
                },
                ContentPart::reasoning("hello ".repeat(1_000)),
            ],
            ..MessageBody::default()
        };
        assert_eq!(count_message(Role::User, &seen, None), 3 + 1 + 1_600);
    }

    #[test]
    fn counting_in_chunks_adds_a_token_for_each_cut_at_most_where_a_sign_or_word_repeats() {
        for text in [
            "-".repeat(5_000),
            "a".repeat(5_000),
            "日本".repeat(1_000),
            "=-".repeat(3_000),
        ] {
            let exact = bpe_openai::o200k_base().count(text.as_str());
            let cuts = text.len() / CHUNK + 1;
            assert!(
                (exact..=exact + cuts).contains(&count(&text)),
                "{exact} {}",
                count(&text)
            );
        }
    }

    #[test]
    fn what_cuts_change_in_the_worst_texts_is_a_fortieth() {
        for text in ["irmingham".repeat(600), "nvarchar".repeat(600)] {
            let exact = bpe_openai::o200k_base().count(text.as_str());
            let counted = count(&text);
            assert_ne!(counted, exact, "the text shows nothing");
            assert!(counted.abs_diff(exact) <= exact / 40, "{exact} {counted}");
        }
    }

    #[test]
    fn no_megabyte_takes_much_longer_to_count_than_another() {
        load();
        let mega = |unit: &str| unit.repeat(1_000_000 / unit.len());
        for text in [
            mega("a"),
            mega("A"),
            mega("aA"),
            mega(" "),
            mega("\n"),
            mega(" \n"),
            mega("1"),
            mega("="),
            mega("-"),
            mega(&format!("{}\n", "-".repeat(80))),
            mega("ab1 "),
            mega("日"),
            mega("🙂"),
            mega("\u{301}"),
            mega("\0"),
            mega("The quick brown fox jumps over the lazy dog. "),
        ] {
            let start = Instant::now();
            let tokens = count(&text);
            let took = start.elapsed();
            println!(
                "{:?}: {tokens} tokens in {took:?}",
                text.chars().take(5).collect::<String>()
            );
            // A hundred times what it takes; a quadratic count would need minutes.
            assert!(
                took.as_secs() < 10,
                "{:?}",
                text.chars().take(10).collect::<String>()
            );
            assert!(tokens > 0 && tokens <= text.len());
        }
    }

    #[test]
    fn every_token_of_the_vocabulary_counts_as_the_tokenizer_cuts_it() {
        let tokenizer = bpe_openai::o200k_base();
        for rank in (0_u32..).take(tokenizer.bpe.num_tokens()) {
            let token = tokenizer.bpe.token_bytes(rank);
            assert_eq!(
                VOCABULARY.count(token),
                tokenizer.bpe.count(token),
                "{rank}"
            );
        }
    }

    fn exactly(text: &str) -> usize {
        bpe_openai::o200k_base().count(text)
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(2_000))]

        #[test]
        fn any_text_counts_what_the_tokenizer_says(text in "\\PC{0,60}|[a-zA-Z' .,\\n\\r\\t0-9]{0,120}|[\\s\\S]{0,40}|( |\\n|a|\u{e9}|\u{301}|\u{65e5}|/|'s|\u{a0}){0,60}") {
            proptest::prop_assume!(pieces::pieces(&text).all(|piece| piece.len() <= CHUNK));
            proptest::prop_assert_eq!(count(&text), exactly(&text));
        }
    }
}
