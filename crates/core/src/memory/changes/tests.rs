use super::*;
use crate::memory::{parse_patch, tests::block};

fn named_block(label: &str, value: &str) -> Block {
    Block {
        label: label.to_owned(),
        ..block(value, 60)
    }
}

fn agent() -> Vec<Block> {
    let archive = Block {
        read_only: true,
        ..named_block("rules", "Be kind.")
    };
    vec![
        named_block("human", "Likes tea.\nHas a cat."),
        named_block("notes.md", "Nothing yet."),
        archive,
    ]
}

fn planned(changes: &[MemoryChange]) -> Result<ChangePlan, ChangeError> {
    plan(changes, &agent(), &|_| None, Timestamp(7))
}

fn create(label: &str, value: &str) -> MemoryChange {
    MemoryChange::Create {
        label: label.to_owned(),
        description: Some("What grows.".to_owned()),
        value: value.to_owned(),
    }
}

fn rename(label: &str, to: &str) -> MemoryChange {
    MemoryChange::Rename {
        label: label.to_owned(),
        to: to.to_owned(),
    }
}

fn describe(label: &str, description: &str) -> MemoryChange {
    MemoryChange::Describe {
        label: label.to_owned(),
        description: description.to_owned(),
    }
}

fn detach(label: &str) -> MemoryChange {
    MemoryChange::Detach {
        label: label.to_owned(),
    }
}

fn replace(label: &str, old: &str, new: &str) -> MemoryChange {
    MemoryChange::Edit {
        label: label.to_owned(),
        edit: BlockEdit::ReplaceUnique {
            old: old.to_owned(),
            new: new.to_owned(),
        },
    }
}

/// What a plan writes, in short.
fn shown(plan: &ChangePlan) -> String {
    let writes: Vec<String> = plan
        .writes
        .iter()
        .map(|write| match write {
            BlockWrite::Insert(block) => {
                format!(
                    "insert {} {:?} {:?}",
                    block.label, block.value, block.description
                )
            }
            BlockWrite::Update(block) => {
                format!(
                    "update {} {:?} {:?}",
                    block.label, block.value, block.description
                )
            }
            BlockWrite::Detach(_) => "detach".to_owned(),
        })
        .collect();
    format!("{}\n{}", writes.join("\n"), plan.report)
}

#[test]
fn changes_are_written_in_order_and_told() {
    let all = [
        vec![create("/memories/garden", "Tomatoes.\tBeans.")],
        vec![replace("human", "tea", "coffee")],
        vec![rename("human", "person")],
        vec![describe("human", "The user.")],
        vec![detach("human")],
        vec![
            detach("human"),
            create("human", "New."),
            replace("human", "New.", "Newer."),
            rename("human", "person"),
        ],
    ];
    let all: Vec<String> = all
        .iter()
        .map(|changes| shown(&planned(changes).unwrap()))
        .collect();
    insta::assert_snapshot!(all.join("\n\n"), @r#"
    insert garden "Tomatoes.       Beans." Some("What grows.")
    Memory block 'garden' was made with 22 of 100000 characters. You see it in your memory from now on.

    update human "Likes coffee.\nHas a cat." None
    Likes coffee.
    Has a cat.

    update person "Likes tea.\nHas a cat." None
    Memory block 'human' is now called 'person'.

    update human "Likes tea.\nHas a cat." Some("The user.")
    The description of memory block 'human' is now: The user.

    detach
    Memory block 'human' was taken out of your memory.

    detach
    insert human "New." Some("What grows.")
    update human "Newer." Some("What grows.")
    update person "Newer." Some("What grows.")
    Memory block 'human' was taken out of your memory.
    Memory block 'human' was made with 4 of 100000 characters. You see it in your memory from now on.
    Memory block 'human' now reads:
    Newer.
    Memory block 'human' is now called 'person'.
    "#);
}

#[test]
fn labels_may_be_written_as_paths() {
    for (path, label) in [
        ("human", "human"),
        (" human ", "human"),
        ("/human", "human"),
        ("/memories/human", "human"),
        ("memories/human/", "human"),
        ("./memories/human.md", "human"),
        ("human.txt", "human"),
        ("/memories/notes.md", "notes.md"),
    ] {
        let plan = planned(&[describe(path, "x")]).unwrap();
        assert!(
            matches!(plan.writes.as_slice(), [BlockWrite::Update(block)] if block.label == label),
            "{path}"
        );
    }
    for (path, label) in [
        ("/memories/garden.md", "garden"),
        ("projects/boat", "projects/boat"),
        ("/memories/v1.2", "v1.2"),
    ] {
        let plan = planned(&[create(path, "")]).unwrap();
        assert!(
            matches!(plan.writes.as_slice(), [BlockWrite::Insert(block)] if block.label == label),
            "{path}"
        );
    }
}

#[test]
fn refusals_say_what_is_there_and_what_to_do() {
    let refused: Vec<String> = [
        vec![create("/memories/human.md", "x")],
        vec![create("/memories/", "x")],
        vec![create("a<b", "x")],
        vec![create("garden", "1→ Tomatoes.")],
        vec![create("garden", &"x".repeat(100_001))],
        vec![replace("garden", "a", "b")],
        vec![detach("rules")],
        vec![rename("rules", "x")],
        vec![describe("rules", "x")],
        vec![replace("rules", "kind", "cruel")],
        vec![rename("human", "notes.md")],
        vec![replace("human", "cat", &"x".repeat(60))],
        vec![detach("human"), replace("human", "a", "b")],
    ]
    .iter()
    .map(|changes| planned(changes).expect_err("it is refused").to_string())
    .collect();
    insta::assert_snapshot!(refused.join("\n\n"), @r"
    there is a memory block with the label 'human' already, so nothing was changed. To change it, replace or insert text in it (memory with the command str_replace or insert, or memory_replace, memory_insert or a patch that updates it); to make another, choose another label. The block now reads:
    Likes tea.
    Has a cat.

    a block's label must not be empty. Nothing was changed

    the block's label 'a<b' must not contain '<': use letters, digits and signs such as '_', '-' or '/'. Nothing was changed

    the text holds line numbers such as '1→ '. They belong to the display of the memory, not to its text. Send the same text without them

    memory block 'garden' holds at most 100000 characters; it has 0 now and would have 100001 after this edit, so nothing was changed. That is 1 too many: write less, or first remove or shorten something in the block

    this agent has no memory block with the label 'garden', so nothing was changed; its blocks are: human, notes.md, rules

    memory block 'rules' is read-only, so nothing was changed. Do not try again; if this must be kept, write it into another block

    memory block 'rules' is read-only, so nothing was changed. Do not try again; if this must be kept, write it into another block

    memory block 'rules' is read-only, so nothing was changed. Do not try again; if this must be kept, write it into another block

    memory block 'rules' is read-only, so nothing was changed. Do not try again; if this must be kept, write it into another block

    there is a memory block with the label 'notes.md' already, so nothing was changed. To change it, replace or insert text in it (memory with the command str_replace or insert, or memory_replace, memory_insert or a patch that updates it); to make another, choose another label. The block now reads:
    Nothing yet.

    memory block 'human' holds at most 60 characters; it has 21 now and would have 78 after this edit, so nothing was changed. That is 18 too many: write less, or first remove or shorten something in the block

    this agent has no memory block with the label 'human', so nothing was changed; its blocks are: notes.md, rules
    ");
    let none = plan(&[detach("x")], &[], &|_| None, Timestamp(7)).unwrap_err();
    assert!(
        none.to_string()
            .ends_with("its blocks are: none (make one first)")
    );
}

#[test]
fn a_line_number_that_is_older_than_the_block_is_refused_and_a_patch_is_not() {
    let seen = |label: &str| (label == "human").then_some(2);
    let insert = MemoryChange::Edit {
        label: "human.md".to_owned(),
        edit: BlockEdit::Insert {
            new: "x".to_owned(),
            line: 1,
        },
    };
    let stale = plan(&[insert], &agent(), &seen, Timestamp(7));
    assert!(matches!(
        stale,
        Err(ChangeError::Edit(EditError::Stale { .. }))
    ));
    let patch = parse_patch(Some("human"), " Likes tea.\n+Likes cake.").unwrap();
    let fits = plan(&patch, &agent(), &seen, Timestamp(7)).unwrap();
    assert_eq!(fits.report, "Likes tea.\nLikes cake.\nHas a cat.");
}

#[test]
fn the_blocks_that_changes_need_are_named_once_each() {
    let blocks = agent();
    let changes = [
        describe("human", "x"),
        rename("/memories/human", "y"),
        create("z", ""),
        detach("nobody"),
    ];
    assert_eq!(named(&changes, &blocks), [blocks[0].id]);
}
