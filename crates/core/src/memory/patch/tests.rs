use proptest::prelude::*;

use super::*;
use crate::memory::tests::block;

fn hunks_of(patch: &str) -> Vec<Hunk> {
    match parse_patch(Some("human"), patch)
        .expect("the patch can be read")
        .as_slice()
    {
        [
            MemoryChange::Edit {
                edit: BlockEdit::Patch { hunks },
                ..
            },
        ] => hunks.clone(),
        other => panic!("not one patch of a block: {other:?}"),
    }
}

fn patched(value: &str, patch: &str) -> Result<String, String> {
    apply(&hunks_of(patch), &block(value, 1_000), false).map_err(|error| error.to_string())
}

fn unreadable(patch: &str) -> String {
    parse_patch(Some("human"), patch)
        .expect_err("the patch cannot be read")
        .to_string()
}

const NOTES: &str = "Likes tea.\nHas a cat.\n\nLives in Bergen.";

#[test]
fn hunks_change_what_they_name_and_leave_the_rest() {
    for (before, patch, after) in [
        (
            NOTES,
            "@@\n-Likes tea.\n+Likes coffee.",
            "Likes coffee.\nHas a cat.\n\nLives in Bergen.",
        ),
        ("a\nb", " a\n+x\n b", "a\nx\nb"),
        ("a\nb", "-a\n-b\n+c", "c"),
        ("a\nb", "-a\n-b", ""),
        ("a\nb\n", " b\n+c\n", "a\nb\nc\n"),
        ("", "+a\n+b", "a\nb"),
        ("a", "+b", "a\nb"),
        ("a\n", "@@ -9,0 +9 @@\n+b", "a\nb\n"),
        ("a\n\nb", " a\n\n-b\n+c\n", "a\n\nc"),
        (
            "a\nb\nc\nd",
            "@@ -3 +3 @@\n-d\n+D\n@@ -1 +1 @@\n-a\n+A",
            "A\nb\nc\nD",
        ),
        ("a\nb\nc", "@@\n a\n-b\n+B\n c\n@@\n b\n-c\n+C", "a\nB\nC"),
        (
            "- x\n- y",
            "--- human\n+++ human\n@@ -1,2 +1,2 @@\n - x\n-- y\n+- z",
            "- x\n- z",
        ),
        ("-- x\ny", "--- x\n y", "y"),
        ("a\tb", "-a       b\n+c", "c"),
        ("a\r\nb\r", " a\n-b\n+c", "a\r\nc"),
        (
            "a",
            "```diff\n-a\n+b\n\\ No newline at end of file\n```",
            "b",
        ),
        ("a", "*** Begin Patch\n@@\n-a\n+b\n*** End Patch", "b"),
        ("a", "\n\n-a\n+b\n\n", "b"),
    ] {
        assert_eq!(patched(before, patch).as_deref(), Ok(after), "{patch}");
    }
}

#[test]
fn hunks_that_do_not_fit_say_where_and_what_is_there() {
    let twice = "Likes tea.\nHas a cat.\nLikes tea.";
    let shown: Vec<String> = [
        (NOTES, "-Likes coffee.\n+x"),
        (NOTES, "-Owns a boat.\n+x"),
        (NOTES, "-Likes tea.\n Lives in Bergen."),
        (twice, "-Likes tea.\n+x"),
        (NOTES, "-1→ Likes tea.\n+x"),
        (NOTES, "-Likes tea.\n+1→ Likes coffee."),
        (NOTES, "@@\n-Likes tea.\n@@\n-Likes tea.\n+x"),
        ("", "-Likes tea.\n+x"),
    ]
    .into_iter()
    .map(|(value, patch)| patched(value, patch).expect_err("it does not fit"))
    .collect();
    insta::assert_snapshot!(shown.join("\n\n"), @r"
    hunk 1 does not fit memory block 'human', so nothing was changed: it wants 'Likes coffee.' where line 1 of the block reads 'Likes tea.'. Lines that stay (beginning with a space) and lines that go (beginning with '-') must stand in the block one after the other, exactly so: make the patch anew from the present text. The block now reads:
    Likes tea.
    Has a cat.

    Lives in Bergen.

    hunk 1 does not fit memory block 'human', so nothing was changed: no line of the block reads 'Owns a boat.'. Lines that stay (beginning with a space) and lines that go (beginning with '-') must stand in the block one after the other, exactly so: make the patch anew from the present text. The block now reads:
    Likes tea.
    Has a cat.

    Lives in Bergen.

    hunk 1 does not fit memory block 'human', so nothing was changed: it wants 'Lives in Bergen.' where line 2 of the block reads 'Has a cat.'. Lines that stay (beginning with a space) and lines that go (beginning with '-') must stand in the block one after the other, exactly so: make the patch anew from the present text. The block now reads:
    Likes tea.
    Has a cat.

    Lives in Bergen.

    hunk 1 fits memory block 'human' in more than one place (on lines 1, 3), so nothing was changed. Give more of the lines around the place you mean, so that it fits only there

    the text holds line numbers such as '1→ '. They belong to the display of the memory, not to its text. Send the same text without them

    the text holds line numbers such as '1→ '. They belong to the display of the memory, not to its text. Send the same text without them

    hunk 2 removes line 1 of memory block 'human', which an earlier hunk of the patch removes already, so nothing was changed. Join the two hunks into one

    hunk 1 does not fit memory block 'human', so nothing was changed: no line of the block reads 'Likes tea.'. Lines that stay (beginning with a space) and lines that go (beginning with '-') must stand in the block one after the other, exactly so: make the patch anew from the present text.
    ");
}

#[test]
fn patches_for_several_blocks_are_read_in_order() {
    let patch = "*** Begin Patch\n*** Add Block: garden\n+Tomatoes.\n+\n+Beans.\n\n*** Update Block: human\n\
                 @@\n-a\n+b\n*** Move to: person\n*** Delete Block: old\n*** Update File: /memories/p.md\n\
                 *** Move to: q\n*** End Patch\n";
    let changes = parse_patch(None, patch).unwrap();
    let text = |text: &str| text.to_owned();
    assert_eq!(
        changes,
        [
            MemoryChange::Create {
                label: text("garden"),
                description: None,
                value: text("Tomatoes.\n\nBeans."),
            },
            MemoryChange::Edit {
                label: text("human"),
                edit: BlockEdit::Patch {
                    hunks: hunks_of("-a\n+b")
                },
            },
            MemoryChange::Rename {
                label: text("human"),
                to: text("person")
            },
            MemoryChange::Detach { label: text("old") },
            MemoryChange::Rename {
                label: text("/memories/p.md"),
                to: text("q")
            },
        ]
    );
    let moved_first = "*** Update Block: human\n*** Move to: person\n-a\n+b";
    assert_eq!(parse_patch(None, moved_first).unwrap(), changes[1..3]);
    let unsigned = parse_patch(None, "*** Add Block: x\nplain\ntext").unwrap();
    assert!(
        matches!(&unsigned[..], [MemoryChange::Create { value, .. }] if value == "plain\ntext")
    );
}

#[test]
fn patches_that_cannot_be_read_say_which_line_is_wrong() {
    let long = "+x\n".repeat(MAX_LINES + 1);
    let mut shown: Vec<String> = [
        "",
        "\n\n",
        " a\n b",
        "@@\n-a\n@@\n b",
        "Likes tea.\n-a",
        "*** Change Block: human\n-a",
        "*** Update Block:\n-a",
        "*** Update Block: human",
        "*** Delete Block: human\n-a",
        "*** Move to: x",
        "-a\n*** Update Block: human\n-b",
        "*** Add Block: x\n+a\nb",
        &long,
    ]
    .map(unreadable)
    .to_vec();
    shown.push(parse_patch(Some(" "), "-a").unwrap_err().to_string());
    insta::assert_snapshot!(shown.join("\n\n"), @r"
    the patch changes nothing: it has no line beginning with '-' or '+'. Put ' ' before a line that stays, '-' before a line that goes and '+' before a line that comes

    the patch changes nothing: it has no line beginning with '-' or '+'. Put ' ' before a line that stays, '-' before a line that goes and '+' before a line that comes

    hunk 1 of the patch changes nothing: it has no line beginning with '-' or '+'. Put ' ' before a line that stays, '-' before a line that goes and '+' before a line that comes

    hunk 2 of the patch changes nothing: it has no line beginning with '-' or '+'. Put ' ' before a line that stays, '-' before a line that goes and '+' before a line that comes

    line 1 of the patch, 'Likes tea.', begins with none of ' ' (stays), '-' (goes), '+' (comes) and '@@' (begins a hunk). Put one of them before it; a line that stays needs a space

    line 1 of the patch, '*** Change Block: human', is not a header that can stand there. The headers are '*** Add Block: <label>', '*** Delete Block: <label>', '*** Update Block: <label>' and, right after the last, '*** Move to: <new label>'

    line 1 of the patch, '*** Update Block:', is not a header that can stand there. The headers are '*** Add Block: <label>', '*** Delete Block: <label>', '*** Update Block: <label>' and, right after the last, '*** Move to: <new label>'

    '*** Update Block: human' has nothing under it: add the lines of a diff, or '*** Move to: <new label>' to rename the block

    line 2 of the patch, '-a', belongs to no block: lines stand under '*** Add Block: <label>' or '*** Update Block: <label>'

    line 1 of the patch, '*** Move to: x', is not a header that can stand there. The headers are '*** Add Block: <label>', '*** Delete Block: <label>', '*** Update Block: <label>' and, right after the last, '*** Move to: <new label>'

    line 1 of the patch, '-a', belongs to no block: lines stand under '*** Add Block: <label>' or '*** Update Block: <label>'

    line 3 of the patch, 'b', begins with none of ' ' (stays), '-' (goes), '+' (comes) and '@@' (begins a hunk). Put one of them before it; a line that stays needs a space

    the patch has 2001 lines, and may have 2000: send it in several calls

    the patch does not say which block it changes: give the argument 'label', or put '*** Update Block: <label>' above the lines
    ");
}

/// A line of an edit: kept, removed, or added.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Kept,
    Removed,
    Added,
}

/// Lines and what becomes of them.
fn edits() -> impl Strategy<Value = Vec<(Fate, String)>> {
    let fate = prop_oneof![Just(Fate::Kept), Just(Fate::Removed), Just(Fate::Added)];
    proptest::collection::vec((fate, "[-+ @*ab\u{e9}]{0,4}"), 1..20)
        .prop_filter("something changes", |lines| {
            lines.iter().any(|(fate, _)| !matches!(fate, Fate::Kept))
        })
}

/// The text before, the diff, the text after.
fn written(edits: &[(Fate, String)]) -> (String, String, String) {
    let (mut old, mut new, mut diff) = (Vec::new(), Vec::new(), String::from("@@ -1 +1 @@\n"));
    for (fate, line) in edits {
        let line = line.as_str();
        let sign = match fate {
            Fate::Kept => {
                old.push(line);
                new.push(line);
                ' '
            }
            Fate::Removed => {
                old.push(line);
                '-'
            }
            Fate::Added => {
                new.push(line);
                '+'
            }
        };
        diff.push_str(&format!("{sign}{line}\n"));
    }
    (old.join("\n"), diff, new.join("\n"))
}

proptest! {
    #[test]
    fn a_diff_over_the_whole_text_gives_the_new_text(edits in edits()) {
        let (old, diff, new) = written(&edits);
        let lines = edits.iter().filter(|(fate, _)| !matches!(fate, Fate::Added)).count();
        // An empty text cannot be told from one empty line.
        prop_assume!(!old.is_empty() || lines == 0);
        prop_assert_eq!(patched(&old, &diff), Ok(new), "{}", diff);
    }

    #[test]
    fn diffs_in_several_hunks_give_the_new_text_or_say_that_they_fit_twice(
        edits in edits(), context in 0_usize..3,
    ) {
        // Each line has its number, so that with a line of context every hunk fits in one place.
        let numbered: Vec<(Fate, String)> = edits
            .iter()
            .enumerate()
            .map(|(number, (fate, line))| (*fate, format!("{line}{number}")))
            .collect();
        let (old, _, new) = written(&numbered);
        let changes = |at: usize| {
            let from = at.saturating_sub(context);
            numbered.iter().skip(from).take(at - from + context + 1)
                .any(|(fate, _)| !matches!(fate, Fate::Kept))
        };
        let mut diff = String::new();
        let mut hunk = Vec::new();
        for (at, line) in numbered.iter().enumerate() {
            if changes(at) {
                hunk.push(line.clone());
            } else if !hunk.is_empty() {
                diff.push_str(&written(&std::mem::take(&mut hunk)).1);
            }
        }
        diff.push_str(&written(&hunk).1);
        let placed = hunks_of(&diff).iter().all(|hunk| {
            hunk.lines.iter().any(|line| !matches!(line, HunkLine::Added(_)))
        });
        if placed {
            prop_assert_eq!(patched(&old, &diff), Ok(new), "{}", diff);
        }
    }

    #[test]
    fn no_text_makes_reading_or_applying_fail_otherwise(patch in "[-+ @*a-c:\n\u{e9}\r\t]{0,60}", value in "[a-c \n\t-]{0,30}") {
        if let Ok(changes) = parse_patch(Some("human"), &patch) {
            for change in changes {
                if let MemoryChange::Edit { edit, .. } = change {
                    drop(crate::memory::apply(&edit, &block(&value, 50), None));
                }
            }
        }
    }
}
