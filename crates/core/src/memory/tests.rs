use proptest::prelude::*;

use super::*;
use crate::time::Timestamp;

pub(super) fn block(value: &str, limit: i64) -> Block {
    Block {
        value: value.to_owned(),
        limit,
        revision: 3,
        ..Block::empty("human", None, Timestamp(0))
    }
}

fn append(content: &str) -> BlockEdit {
    BlockEdit::Append {
        content: content.to_owned(),
    }
}

fn insert_at(new: &str, line: i64) -> BlockEdit {
    BlockEdit::Insert {
        new: new.to_owned(),
        line,
    }
}

fn replace_all(old: &str, new: &str) -> BlockEdit {
    BlockEdit::Replace {
        old: old.to_owned(),
        new: new.to_owned(),
    }
}

fn replace(old: &str, new: &str) -> BlockEdit {
    BlockEdit::ReplaceUnique {
        old: old.to_owned(),
        new: new.to_owned(),
    }
}

fn rethink(value: &str) -> BlockEdit {
    BlockEdit::Rethink {
        value: value.to_owned(),
    }
}

fn set(value: &str) -> BlockEdit {
    BlockEdit::Set {
        value: value.to_owned(),
    }
}

/// The text that a model reads when its edit is refused.
fn refusal(edit: &BlockEdit, block: &Block, based_on: Option<i64>) -> String {
    apply(edit, block, based_on)
        .expect_err("the edit is refused")
        .to_string()
}

#[test]
fn edits_do_what_their_names_say() {
    for (edit, before, after) in [
        (append("b"), "a", "a\nb"),
        (append("b"), "", "b"),
        (replace_all("a", "c"), "a-a", "c-c"),
        (replace_all("a", ""), "a-a", "-"),
        (replace("a", "c"), "a-b", "c-b"),
        (replace("ä\n", ""), "ä\nö", "ö"),
        (insert_at("x", -1), "a\nb", "a\nb\nx"),
        (insert_at("x", -1), "a\n", "a\nx"),
        (insert_at("x", -1), "", "x"),
        (insert_at("x", 0), "", "x"),
        (insert_at("x", 0), "a\nb", "x\na\nb"),
        (insert_at("x", 1), "a\nb", "a\nx\nb"),
        (insert_at("x\ny", 2), "a\nb", "a\nb\nx\ny"),
        (rethink("new"), "old", "new"),
        (rethink(""), "old", ""),
        (set("new"), "old", "new"),
    ] {
        assert_eq!(
            apply(&edit, &block(before, 100), Some(3)).as_deref(),
            Ok(after),
            "{edit:?}"
        );
    }
}

#[test]
fn refusals_say_what_is_wrong_and_what_to_do() {
    let notes = block("Likes tea.\nHas a cat.\nLikes tea.", 40);
    let shown: Vec<String> = [
        (replace("Likes coffee.", "x"), None),
        (replace("likes  TEA.\nhas a cat.", "x"), Some(2)),
        (replace("Likes tea.", "x"), None),
        (replace("", "x"), None),
        (replace("2→ Has a cat.", "x"), None),
        (replace("Has a cat.", "2→ Has a dog."), None),
        (insert_at("x", 7), None),
        (insert_at("x", -2), None),
        (insert_at("x", 1), Some(2)),
        (append("Lives in Bergen."), None),
    ]
    .iter()
    .map(|(edit, based_on)| refusal(edit, &notes, *based_on))
    .collect();
    insta::assert_snapshot!(shown.join("\n\n"), @r"
    the text to replace was not found in memory block 'human', so nothing was changed. It must match exactly, with all spaces and line breaks: copy it from the present text. The block now reads:
    Likes tea.
    Has a cat.
    Likes tea.

    the text to replace was not found in memory block 'human', so nothing was changed. The block was changed since you saw it. A text that differs only in spaces, line breaks or upper and lower case begins on line 1: copy it exactly as it stands. The block now reads:
    Likes tea.
    Has a cat.
    Likes tea.

    the text to replace stands more than once in memory block 'human' (on lines 1, 3), so nothing was changed. Give more of the text around the place you mean, so that it fits only there

    the text to replace in memory block 'human' is empty. Give the exact text that is to be changed; to add something new, insert or append it instead

    the text holds line numbers such as '1→ '. They belong to the display of the memory, not to its text. Send the same text without them

    the text holds line numbers such as '1→ '. They belong to the display of the memory, not to its text. Send the same text without them

    memory block 'human' has no line 7, so nothing was inserted: it has 3 lines. Give a line from 0 (before the first) to 3 (after the last), or -1 for the end

    memory block 'human' has no line -2, so nothing was inserted: it has 3 lines. Give a line from 0 (before the first) to 3 (after the last), or -1 for the end

    memory block 'human' was changed since you saw it, so your edit was not made. Make it again on the basis of the present text. The block now reads:
    Likes tea.
    Has a cat.
    Likes tea.

    memory block 'human' holds at most 40 characters; it has 32 now and would have 49 after this edit, so nothing was changed. That is 9 too many: write less, or first remove or shorten something in the block
    ");
}

#[test]
fn refusals_know_empty_overfull_and_read_only_blocks() {
    let read_only = Block {
        read_only: true,
        ..block("a", 100)
    };
    let shown = [
        refusal(&replace("a", "b"), &block("", 100), Some(2)),
        refusal(&insert_at("a", 1), &block("", 100), None),
        refusal(&append("b"), &block("123456", 5), None),
        refusal(&append("b"), &read_only, None),
    ];
    insta::assert_snapshot!(shown.join("\n\n"), @r"
    the text to replace was not found in memory block 'human', so nothing was changed. The block is empty: insert or append your text

    memory block 'human' has no line 1, so nothing was inserted: it has no line at all. Give a line from 0 (before the first) to 0 (after the last), or -1 for the end

    memory block 'human' holds at most 5 characters; it has 6 now and would have 8 after this edit, so nothing was changed. As long as a block is over its limit, every edit must make it shorter

    memory block 'human' is read-only, so nothing was changed. Do not try again; if this must be kept, write it into another block
    ");
}

#[test]
fn a_refusal_fits_into_what_a_model_is_shown_of_an_error() {
    let long = block(&"word ".repeat(10_000), 100_000);
    for text in [
        refusal(&replace("absent", "x"), &long, Some(2)),
        refusal(&replace("word", "x"), &long, None),
        refusal(&rethink("x"), &long, Some(2)),
    ] {
        assert!(text.chars().count() < 950, "{text}");
    }
    assert!(refusal(&rethink("x"), &long, Some(2)).contains("49500 more characters"));
}

#[test]
fn a_block_over_its_limit_may_shrink_but_not_grow_or_stay() {
    let over = block("1234567890", 5);
    assert_eq!(
        apply(&replace("890", ""), &over, None).as_deref(),
        Ok("1234567")
    );
    assert!(apply(&replace("0", "00"), &over, None).is_err());
    assert!(apply(&replace("0", "1"), &over, None).is_err());
    assert!(apply(&set("123456789"), &over, None).is_ok());
}

#[test]
fn limits_count_characters_and_not_bytes() {
    assert_eq!(
        apply(&set("日本語"), &block("", 3), None).as_deref(),
        Ok("日本語")
    );
    assert!(apply(&set("日本語。"), &block("", 3), None).is_err());
}

#[test]
fn what_was_not_seen_is_not_overwritten() {
    let changed = block("a\nb", 100);
    for edit in [rethink("new"), insert_at("x", 1)] {
        assert!(
            apply(&edit, &changed, Some(3)).is_ok(),
            "{edit:?} on what was seen"
        );
        let stale = refusal(&edit, &changed, Some(2));
        assert!(stale.contains("a\nb"), "{stale}");
    }
    for edit in [
        append("x"),
        insert_at("x", -1),
        insert_at("x", 0),
        replace("a", "x"),
        set("x"),
    ] {
        assert!(
            apply(&edit, &changed, Some(2)).is_ok(),
            "{edit:?} does not lose anything"
        );
    }
}

#[test]
fn only_the_api_writes_to_a_read_only_block() {
    let read_only = Block {
        read_only: true,
        ..block("a", 100)
    };
    for edit in [
        append("x"),
        insert_at("x", 0),
        replace("a", "x"),
        replace_all("a", "x"),
    ] {
        assert!(matches!(
            apply(&edit, &read_only, None),
            Err(EditError::ReadOnly { .. })
        ));
    }
    assert!(apply(&set("b"), &read_only, None).is_ok());
}

#[test]
fn line_numbers_are_refused_unless_the_block_truly_holds_them() {
    for copied in ["1→ a", "  12→ a", "b\n3→ a"] {
        assert_eq!(
            apply(&append(copied), &block("a", 100), None),
            Err(EditError::LineNumbers)
        );
    }
    for plain in ["a → b", "step 1→ 2", "→ a", "1: a"] {
        assert!(
            apply(&append(plain), &block("a", 100), None).is_ok(),
            "{plain}"
        );
    }
    let odd = block("7→ eight", 100);
    assert_eq!(
        apply(&replace("7→ eight", "8"), &odd, None).as_deref(),
        Ok("8")
    );
}

#[test]
fn tabs_become_spaces_in_the_texts_of_the_memory_tools() {
    assert_eq!(
        apply(&insert_at("a\tb", -1), &block("", 100), None).as_deref(),
        Ok("a       b")
    );
    assert_eq!(
        apply(&rethink("\ta"), &block("", 100), None).as_deref(),
        Ok("        a")
    );
    let tabbed = block("k\tv\nx", 100);
    assert_eq!(
        apply(&replace("x", "y"), &tabbed, None).as_deref(),
        Ok("k\tv\ny")
    );
    assert_eq!(
        apply(&replace("k       v", "w"), &tabbed, None).as_deref(),
        Ok("w\nx")
    );
    assert_eq!(
        apply(&set("\t"), &block("", 100), None).as_deref(),
        Ok("\t")
    );
}

#[test]
fn overlapping_occurrences_are_ambiguous() {
    let ambiguous = apply(&replace("aa", "b"), &block("aaa", 100), None);
    assert_eq!(
        ambiguous,
        Err(EditError::NotUnique {
            label: "human".to_owned(),
            lines: vec![1]
        })
    );
}

proptest! {
    #[test]
    fn no_edit_lets_a_block_grow_over_its_limit(
        before in "[a-c\n\t]{0,30}", text in "[a-cä\n\t]{0,30}", line in -2i64..5, limit in 0i64..40,
    ) {
        for edit in [
            append(&text),
            insert_at(&text, line),
            replace_all("a", &text),
            replace("b", &text),
            rethink(&text),
            set(&text),
        ] {
            if let Ok(after) = apply(&edit, &block(&before, limit), None) {
                let (was, is) = (before.chars().count(), after.chars().count());
                prop_assert!(is as i64 <= limit || is < was || after == before);
            }
        }
    }

    #[test]
    fn what_was_inserted_can_be_removed_again(before in "[a-c\n]{0,30}", line in -1i64..8) {
        if let Ok(with) = apply(&insert_at("NEW", line), &block(&before, 100), None) {
            let removals = ["NEW\n", "\nNEW", "NEW"].map(|old| {
                apply(&replace(old, ""), &block(&with, 100), None).unwrap_or_default()
            });
            prop_assert!(removals.contains(&before), "{before:?} became {with:?}");
        }
    }

    #[test]
    fn a_replacement_can_be_taken_back(before in "[a-c]{0,10}x[a-c\n]{0,10}") {
        let there = apply(&replace("x", "YZ"), &block(&before, 100), None).unwrap();
        let back = apply(&replace("YZ", "x"), &block(&there, 100), None);
        prop_assert_eq!(back, Ok(before));
    }
}
