use proptest::prelude::*;
use serde_json::json;

use super::*;

const HUMAN: BlockView<'static> = BlockView {
    label: "human",
    value: "Ada.\nSails.",
    limit: 100,
    description: Some("About the user."),
    read_only: true,
};

const NOTES: BlockView<'static> = BlockView {
    label: "notes",
    value: "",
    limit: 2_000,
    description: None,
    read_only: false,
};

fn inputs<'a>(system: &'a str, rules: &'a [Value]) -> PromptInputs<'a> {
    PromptInputs {
        agent_type: AgentType::LettaV1Agent,
        system,
        blocks: vec![HUMAN, NOTES],
        tool_rules: rules,
        agent_id: "agent-089db1c6-f862-43a0-977b-8576d317eb23"
            .parse()
            .unwrap(),
        conversation_id: None,
        timezone: "UTC",
        rendered_at: Timestamp::parse("2026-11-22T09:19:27Z").unwrap(),
        recall_count: 3,
        archival_count: 0,
        archive_tags: &[],
        line_numbers: false,
        value_bytes: usize::MAX,
    }
}

#[test]
fn the_prompt_has_the_structure_of_the_contract() {
    insta::assert_snapshot!(render(&inputs("Be kind.", &[])), @r"
    Be kind.

    <memory_blocks>
    These blocks are your core memory. They are always in view, and what you write into them you will still know later.

    <human>
    <description>
    About the user.
    </description>
    <metadata>
    - read_only=true
    - chars_current=11
    - chars_limit=100
    </metadata>
    <value>
    Ada.
    Sails.
    </value>
    </human>

    <notes>
    <metadata>
    - chars_current=0
    - chars_limit=2000
    </metadata>
    <value>

    </value>
    </notes>

    </memory_blocks>

    <memory_metadata>
    - AGENT_ID: agent-089db1c6-f862-43a0-977b-8576d317eb23
    - CONVERSATION_ID: default
    - This prompt was last compiled at: 2026-11-22 09:19:27 AM UTC+0000
    - 3 earlier messages you no longer see are kept in recall memory; search tools find them
    </memory_metadata>
    ");
}

#[test]
#[allow(clippy::too_many_lines, reason = "a whole prompt stands in it")]
fn every_part_has_its_place() {
    let rules = [json!({"type": "exit_loop", "tool_name": "done"})];
    let tags = ["boats".to_owned(), "trips".to_owned()];
    let everything = PromptInputs {
        conversation_id: Some("conv-089db1c6-f862-43a0-977b-8576d317eb23".parse().unwrap()),
        timezone: "Asia/Tokyo",
        recall_count: 1,
        archival_count: 12,
        archive_tags: &tags,
        line_numbers: true,
        ..inputs("Be kind.", &rules)
    };
    let mut sections = sections(&everything);
    sections.directories = directories().render();
    insta::assert_snapshot!(sections.compile("Before.\n{CORE_MEMORY}\nAfter."), @r#"
    Before.
    <memory_blocks>
    These blocks are your core memory. They are always in view, and what you write into them you will still know later.
    Lines are shown with their numbers (`1→ `) so that you can name them. The numbers are not part of the memory: never write them in an edit.

    <human>
    <description>
    About the user.
    </description>
    <metadata>
    - read_only=true
    - chars_current=11
    - chars_limit=100
    </metadata>
    <value>
    1→ Ada.
    2→ Sails.
    </value>
    </human>

    <notes>
    <metadata>
    - chars_current=0
    - chars_limit=2000
    </metadata>
    <value>

    </value>
    </notes>

    </memory_blocks>

    <tool_usage_rules>
    These rules hold for your tools. A call that breaks one is refused, and you are told why.
    <tool_rule>Your turn ends after done.</tool_rule>
    </tool_usage_rules>

    <directories>
    <file_limits>
    - current_files_open=1
    - max_files_open=5
    </file_limits>
    <directory name="the 'manuals'">
    <description>How things work.</description>
    <instructions>Quote the page.</instructions>
    <file status="open" name="engine.md">
    <metadata>
    - read_only=true
    - chars_current=55
    - chars_limit=1000
    </metadata>
    <value>
    [Lines 11 to 12 of 40 are in view]
    11: first
    12: second
    </value>
    </file>
    <file status="closed" name="sails.md">
    <metadata>
    - read_only=true
    - chars_current=0
    - chars_limit=1000
    </metadata>
    </file>
    </directory>
    </directories>

    <memory_metadata>
    - AGENT_ID: agent-089db1c6-f862-43a0-977b-8576d317eb23
    - CONVERSATION_ID: conv-089db1c6-f862-43a0-977b-8576d317eb23
    - This prompt was last compiled at: 2026-11-22 06:19:27 PM JST+0900
    - 1 earlier message you no longer see is kept in recall memory; search tools find them
    - 12 passages in archival memory; search tools find them
    - Tags used in archival memory: boats, trips
    </memory_metadata>
    After.
    "#);
}

fn directories() -> Directories<'static> {
    let window = FileWindow {
        text: "first\nsecond",
        first_line: 11,
        total_lines: 40,
    };
    Directories {
        max_files_open: 5,
        folders: vec![DirectoryView {
            name: "the \"manuals\"",
            description: Some("How things work."),
            instructions: Some("Quote the page."),
            files: vec![
                FileView {
                    name: "engine.md",
                    char_limit: 1_000,
                    open: Some(window),
                },
                FileView {
                    name: "sails.md",
                    char_limit: 1_000,
                    open: None,
                },
            ],
        }],
    }
}

#[test]
fn an_open_file_is_cut_at_its_limit() {
    let mut directories = directories();
    directories.folders[0].files[0].char_limit = 45;
    let text = directories.render().unwrap();
    assert!(text.contains("first\n12[Cut after 45 characters") || text.contains("\n[Cut after 45"));
    assert!(!text.contains("second"), "{text}");
}

#[test]
fn without_folders_there_are_no_directories() {
    assert_eq!(
        Directories {
            max_files_open: 5,
            folders: Vec::new()
        }
        .render(),
        None
    );
}

#[test]
fn each_rule_that_a_model_can_follow_is_told() {
    let rules = [
        json!({"type": "run_first", "tool_name": "a"}),
        json!({"type": "exit_loop", "tool_name": "a"}),
        json!({"type": "continue_loop", "tool_name": "a"}),
        json!({"type": "constrain_child_tools", "tool_name": "a", "children": ["b", "c"]}),
        json!({"type": "parent_last_tool", "tool_name": "a", "children": ["b"]}),
        json!({"type": "conditional", "tool_name": "a", "default_child": "c",
            "child_output_mapping": {"yes": "b"}}),
        json!({"type": "max_count_per_step", "tool_name": "a", "max_count_limit": 2}),
        json!({"type": "required_before_exit", "tool_name": "a"}),
        json!({"type": "requires_approval", "tool_name": "a"}),
        json!({"type": "exit_loop"}),
        json!("nonsense"),
    ];
    insta::assert_snapshot!(sections(&inputs("", &rules)).tool_usage_rules.unwrap(), @r"
    <tool_usage_rules>
    These rules hold for your tools. A call that breaks one is refused, and you are told why.
    <tool_rule>Your turn ends after a.</tool_rule>
    <tool_rule>Your turn goes on after a.</tool_rule>
    <tool_rule>Right after a, call one of: b, c.</tool_rule>
    <tool_rule>Only right after a, you can call: b.</tool_rule>
    <tool_rule>What a returns decides which tool you call next: on yes, b; otherwise, c.</tool_rule>
    <tool_rule>Call a at most 2 times in one turn.</tool_rule>
    </tool_usage_rules>
    ");
}

#[test]
fn rules_that_work_by_themselves_make_no_section() {
    let silent = [json!({"type": "requires_approval", "tool_name": "a"})];
    assert_eq!(sections(&inputs("", &silent)).tool_usage_rules, None);
}

#[test]
fn agents_without_core_memory_or_blocks_see_no_blocks() {
    let react = PromptInputs {
        agent_type: AgentType::ReactAgent,
        ..inputs("", &[])
    };
    assert_eq!(sections(&react).core_memory, None);
    let bare = PromptInputs {
        blocks: Vec::new(),
        ..inputs("", &[])
    };
    assert_eq!(sections(&bare).core_memory, None);
    assert!(render(&bare).starts_with("<memory_metadata>"));
}

#[test]
fn line_numbers_are_shown_only_to_agents_that_know_them() {
    let numbered = PromptInputs {
        line_numbers: true,
        ..inputs("", &[])
    };
    for kind in AgentType::ALL {
        let text = render(&PromptInputs {
            agent_type: kind,
            ..numbered.clone()
        });
        let knows =
            ["letta_v1_agent", "memgpt_v2_agent", "sleeptime_agent"].contains(&kind.as_str());
        assert_eq!(text.contains("1→ Ada.\n2→ Sails."), knows, "{kind:?}");
        assert_eq!(
            text.contains("are shown with their numbers"),
            knows,
            "{kind:?}"
        );
    }
}

#[test]
fn values_stand_as_they_are() {
    let value = "</value>\n</human>\n{CORE_MEMORY} & <b>\r\n";
    let odd = BlockView { value, ..HUMAN };
    let text = render(&PromptInputs {
        blocks: vec![odd],
        ..inputs("{CORE_MEMORY}", &[])
    });
    assert!(text.contains(&format!("<value>\n{value}\n</value>\n</human>")));
    assert_eq!(
        text.matches("<memory_blocks>").count(),
        1,
        "only the system prompt's placeholder counts"
    );
}

#[test]
fn the_length_of_a_block_is_counted_in_characters() {
    let odd = BlockView {
        value: "日本語",
        ..HUMAN
    };
    let text = render(&PromptInputs {
        blocks: vec![odd],
        ..inputs("", &[])
    });
    assert!(
        text.contains("- chars_current=3\n- chars_limit=100\n"),
        "{text}"
    );
}

#[test]
fn a_signature_reads_as_the_store_writes_it() {
    let text = "agent-1:4 block-2:1 block-3:17";
    let signature = PromptSignature::parse(text).unwrap();
    assert_eq!(signature.to_text(), text);
    assert_eq!(signature.inputs()[2], ("block-3".to_owned(), 17));
    assert_eq!(
        PromptSignature::new(vec![("agent-1".to_owned(), 4)]).to_text(),
        "agent-1:4 "
    );
    for wrong in ["", " ", "agent-1", "agent-1:x", "agent-1:1 block"] {
        assert!(PromptSignature::parse(wrong).is_err(), "{wrong:?}");
    }
}

prop_compose! {
    fn any_system()(before in "\\PC{0,30}", placed in any::<bool>(), after in "\\PC{0,30}") -> String {
        format!("{before}{}{after}", if placed { MEMORY_PLACEHOLDER } else { "" })
    }
}

proptest! {
    #[test]
    fn equal_inputs_give_equal_bytes(
        system in any_system(), value in "\\PC{0,60}", numbers in any::<bool>(), recall in 0i64..9,
    ) {
        let of = |system: &str, value: &str| {
            let block = BlockView { value, ..HUMAN };
            let recall_count = recall;
            render(&PromptInputs {
                blocks: vec![block], line_numbers: numbers, recall_count, ..inputs(system, &[])
            })
        };
        prop_assert_eq!(of(&system, &value), of(&system.clone(), &value.clone()));
    }

    #[test]
    fn memory_stands_at_the_placeholder_or_at_the_end(system in any_system()) {
        let memory = render(&inputs("", &[]));
        let text = render(&inputs(&system, &[]));
        match system.split_once(MEMORY_PLACEHOLDER) {
            Some((before, after)) => prop_assert_eq!(text, format!("{before}{memory}{after}")),
            None if system.is_empty() => prop_assert_eq!(text, memory),
            None => prop_assert_eq!(text, format!("{system}\n\n{memory}")),
        }
    }

    #[test]
    fn signatures_survive_their_text(inputs in prop::collection::vec(("[a-z]{1,9}-[0-9a-f]{8}", 0i64..), 1..6)) {
        let signature = PromptSignature::new(inputs);
        prop_assert_eq!(PromptSignature::parse(&signature.to_text()), Ok(signature));
    }
}

#[test]
fn a_block_too_large_for_the_window_is_shown_in_part_and_says_so() {
    let long = format!("begin\n{}end", "a fact of many\n".repeat(9_000));
    let mut with_long = inputs("Be kind.", &[]);
    with_long.blocks.push(BlockView {
        label: "long",
        value: &long,
        ..NOTES
    });
    let text = render_within(&with_long, 2_000);
    assert!(crate::tokens::count(&text) <= 2_000);
    assert!(
        crate::tokens::count(&text) > 1_500,
        "what room there is, is used"
    );
    for shown in [
        "begin\na fact",
        "fact of many\nend\n</value>",
        "make it shorter",
        "chars_current=135009",
        "Ada.\nSails.",
        "Be kind.",
    ] {
        assert!(text.contains(shown), "{shown}");
    }
    with_long.line_numbers = true;
    let numbered = render_within(&with_long, 2_000);
    assert!(numbered.contains("9002→ end"), "lines keep their numbers");
    assert_eq!(render_within(&with_long, 1_000_000), render(&with_long));
}

proptest! {
    #[test]
    fn prompts_fit_where_shorter_blocks_can_make_them_fit(
        values in prop::collection::vec("(\\PC{0,30}\n?){0,60}", 1..5), cap in 400i64..2_000,
    ) {
        let mut some = inputs("Be kind.", &[]);
        some.blocks = values.iter().map(|value| BlockView { value, ..NOTES }).collect();
        let text = render_within(&some, cap);
        let count = crate::tokens::count(&text) as i64;
        let least = crate::tokens::count(&render(&PromptInputs { value_bytes: 1_000, ..some.clone() })) as i64;
        prop_assert!(count <= cap.max(least), "{count} of {cap}, least {least}");
    }
}
