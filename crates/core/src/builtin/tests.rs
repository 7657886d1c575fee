use serde_json::json;

use super::*;
use crate::{
    memory::{BlockEdit, MemoryChange},
    messages::Role,
    time::Timestamp,
};

fn edit_of(name: &str, arguments: &Value) -> (String, BlockEdit) {
    match BuiltinCall::parse(name, arguments) {
        Ok(BuiltinCall::Edit { label, edit }) => (label, edit),
        other => panic!("not an edit: {other:?}"),
    }
}

fn search_of(zone: &str, arguments: &Value) -> ConversationSearch {
    match BuiltinCall::parse_in(zone, "conversation_search", arguments) {
        Ok(BuiltinCall::ConversationSearch(search)) => search,
        other => panic!("not a search: {other:?}"),
    }
}

fn refusal(name: &str, arguments: &Value) -> String {
    BuiltinCall::parse(name, arguments)
        .expect_err("the arguments are refused")
        .to_string()
}

#[test]
fn the_tools_have_the_kinds_flags_and_parameters_of_the_contract() {
    let shown: Vec<String> = all()
        .iter()
        .map(|tool| {
            let schema = tool.json_schema();
            let parameters = &schema["parameters"];
            let names: Vec<&String> = parameters["properties"]
                .as_object()
                .unwrap()
                .keys()
                .collect();
            format!(
                "{} {:?} parallel={} {names:?} required={}",
                tool.name,
                tool.tags(),
                tool.enable_parallel_execution,
                parameters["required"]
            )
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    send_message ["letta_core"] parallel=false ["message"] required=["message"]
    conversation_search ["letta_core"] parallel=true ["query", "roles", "limit", "start_date", "end_date"] required=[]
    archival_memory_insert ["letta_core"] parallel=false ["content", "tags"] required=["content"]
    archival_memory_search ["letta_core"] parallel=true ["query", "tags", "tag_match_mode", "top_k", "start_datetime", "end_datetime"] required=["query"]
    core_memory_append ["letta_memory_core"] parallel=false ["label", "content"] required=["label","content"]
    core_memory_replace ["letta_memory_core"] parallel=false ["label", "old_content", "new_content"] required=["label","old_content","new_content"]
    memory_insert ["letta_sleeptime_core"] parallel=false ["label", "new_string", "insert_line"] required=["label","new_string"]
    memory_replace ["letta_sleeptime_core"] parallel=false ["label", "old_string", "new_string"] required=["label","old_string","new_string"]
    memory_rethink ["letta_sleeptime_core"] parallel=false ["label", "new_memory"] required=["label","new_memory"]
    memory_finish_edits ["letta_sleeptime_core"] parallel=false [] required=[]
    memory ["letta_memory_core"] parallel=false ["command", "path", "file_text", "description", "old_string", "new_string", "insert_line", "insert_text", "old_path", "new_path"] required=["command"]
    memory_apply_patch ["letta_memory_core"] parallel=false ["label", "patch"] required=["label","patch"]
    run_code ["letta_builtin"] parallel=true ["code", "language"] required=["code"]
    run_code_with_tools ["letta_builtin"] parallel=false ["code"] required=["code"]
    web_search ["letta_builtin"] parallel=true ["query", "num_results", "category", "include_text", "include_domains", "exclude_domains", "start_published_date", "end_published_date", "user_location"] required=["query"]
    fetch_webpage ["letta_builtin"] parallel=true ["url"] required=["url"]
    send_message_to_agent_and_wait_for_reply ["letta_multi_agent_core"] parallel=false ["message", "other_agent_id"] required=["message","other_agent_id"]
    send_message_to_agent_async ["letta_multi_agent_core"] parallel=false ["message", "other_agent_id"] required=["message","other_agent_id"]
    send_message_to_agents_matching_tags ["letta_multi_agent_core"] parallel=false ["message", "match_all", "match_some"] required=["message","match_all","match_some"]
    send_message_to_all_agents_in_group ["letta_multi_agent_core"] parallel=false ["message"] required=["message"]
    choose_next_participant ["letta_multi_agent_core"] parallel=false ["next_speaker_agent_id", "message"] required=["next_speaker_agent_id"]
    "#);
}

#[test]
fn a_schema_is_what_providers_take() {
    let schema = find("conversation_search").unwrap().json_schema();
    let roles = &schema["parameters"]["properties"]["roles"];
    assert_eq!(
        *roles,
        json!({
            "type": "array",
            "items": {"type": "string", "enum": ["assistant", "user", "tool"]},
            "description": "Only messages of these speakers. Leave out for all.",
        })
    );
    assert_eq!(
        schema["parameters"]["properties"]["limit"]["type"],
        "integer"
    );
    assert_eq!(
        schema["parameters"]["properties"]["query"]["type"],
        "string"
    );
}

#[test]
fn the_default_tools_of_every_type_exist() {
    for kind in AgentType::ALL {
        assert!(
            default_tools(kind).iter().all(|name| find(name).is_some()),
            "{kind:?}"
        );
    }
}

#[test]
fn every_tool_parses_into_its_edit() {
    let text = |text: &str| text.to_owned();
    for (name, arguments, edit) in [
        (
            "core_memory_append",
            json!({"label": "b", "content": "x"}),
            BlockEdit::Append { content: text("x") },
        ),
        (
            "core_memory_replace",
            json!({"label": "b", "old_content": "x", "new_content": ""}),
            BlockEdit::Replace {
                old: text("x"),
                new: text(""),
            },
        ),
        (
            "memory_insert",
            json!({"label": "b", "new_string": "x"}),
            BlockEdit::Insert {
                new: text("x"),
                line: -1,
            },
        ),
        (
            "memory_replace",
            json!({"label": "b", "old_string": "x", "new_string": "y"}),
            BlockEdit::ReplaceUnique {
                old: text("x"),
                new: text("y"),
            },
        ),
        (
            "memory_rethink",
            json!({"label": "b", "new_memory": "x"}),
            BlockEdit::Rethink { value: text("x") },
        ),
    ] {
        assert_eq!(edit_of(name, &arguments), (text("b"), edit), "{name}");
    }
    let said = BuiltinCall::parse("send_message", &json!({"message": "Hi"}));
    assert_eq!(
        said,
        Ok(BuiltinCall::SendMessage {
            message: text("Hi")
        })
    );
}

fn changes_of(name: &str, arguments: &Value) -> Vec<MemoryChange> {
    match BuiltinCall::parse(name, arguments) {
        Ok(BuiltinCall::Memory(changes)) => changes,
        other => panic!("not changes of memory: {other:?}"),
    }
}

/// The arguments are those of one change.
fn is_change(arguments: &Value, change: MemoryChange) {
    assert_eq!(changes_of("memory", arguments), [change], "{arguments}");
}

#[test]
fn commands_for_blocks_parse_into_their_changes() {
    let text = |text: &str| text.to_owned();
    let (label, to, description) = (text("/memories/a"), text("b"), text("d"));
    for (arguments, value) in [
        (
            json!({"command": "create", "path": label, "description": "d", "file_text": "x"}),
            "x",
        ),
        (
            json!({"command": " Create ", "label": label, "description": "d"}),
            "",
        ),
    ] {
        let change = MemoryChange::Create {
            label: label.clone(),
            description: Some(text("d")),
            value: text(value),
        };
        is_change(&arguments, change);
    }
    is_change(
        &json!({"command": "delete", "path": label}),
        MemoryChange::Detach {
            label: label.clone(),
        },
    );
    let both = json!({"command": "rename", "path": label, "new_path": to, "description": "d"});
    let rename = MemoryChange::Rename {
        label: label.clone(),
        to: to.clone(),
    };
    let describe = MemoryChange::Describe {
        label: label.clone(),
        description,
    };
    assert_eq!(
        changes_of("memory", &both),
        [describe.clone(), rename.clone()]
    );
    is_change(
        &json!({"command": "rename", "old_path": label, "new_path": to}),
        rename,
    );
    is_change(
        &json!({"command": "rename", "path": label, "description": "d"}),
        describe,
    );
}

#[test]
fn commands_for_texts_parse_into_edits() {
    let replace = BlockEdit::ReplaceUnique {
        old: "x".to_owned(),
        new: "y".to_owned(),
    };
    let insert = |line| BlockEdit::Insert {
        new: "y".to_owned(),
        line,
    };
    for (arguments, edit) in [
        (
            json!({"command": "str_replace", "path": "a", "old_string": "x", "new_string": "y"}),
            replace.clone(),
        ),
        (
            json!({"command": "str_replace", "path": "a", "old_str": "x", "new_str": "y"}),
            replace,
        ),
        (
            json!({"command": "insert", "path": "a", "insert_text": "y", "insert_line": "2"}),
            insert(2),
        ),
        (
            json!({"command": "insert", "path": "a", "new_string": "y"}),
            insert(-1),
        ),
    ] {
        let label = "a".to_owned();
        is_change(&arguments, MemoryChange::Edit { label, edit });
    }
}

#[test]
fn patches_parse_into_changes_and_finishing_into_itself() {
    let patch = json!({"label": "a", "patch": "-x\n+y"});
    assert_eq!(
        changes_of("memory_apply_patch", &patch),
        crate::memory::parse_patch(Some("a"), "-x\n+y").unwrap()
    );
    let headed = json!({"patch": "*** Delete Block: a"});
    assert_eq!(
        changes_of("memory_apply_patch", &headed),
        [MemoryChange::Detach {
            label: "a".to_owned()
        }]
    );
    let done = BuiltinCall::parse("memory_finish_edits", &json!({}));
    assert_eq!(done, Ok(BuiltinCall::FinishEdits));
}

#[test]
fn refusals_of_memory_show_the_call_to_make() {
    let shown = [
        refusal("memory", &json!({})),
        refusal("memory", &json!({"command": "view", "path": "/memories"})),
        refusal(
            "memory",
            &json!({"command": "create", "path": "a", "file_text": "x"}),
        ),
        refusal(
            "memory",
            &json!({"command": "str_replace", "path": "a", "old_string": "x"}),
        ),
        refusal("memory", &json!({"command": "insert", "path": "a"})),
        refusal("memory", &json!({"command": "delete"})),
        refusal("memory", &json!({"command": "rename", "path": "a"})),
        refusal("memory_apply_patch", &json!({"label": "a"})),
        refusal("memory_apply_patch", &json!({"patch": "-a"})),
        refusal("memory_apply_patch", &json!({"label": "a", "patch": "a"})),
    ];
    insta::assert_snapshot!(shown.join("\n"), @r#"
    the argument 'command' is missing (given: nothing). Call the tool again: memory takes command (one of create, str_replace, insert, delete, rename), path (text, optional), file_text (text, optional), description (text, optional), old_string (text, optional), new_string (text, optional), insert_line (whole number, optional), insert_text (text, optional), old_path (text, optional), new_path (text, optional)
    the argument 'command' must be create, str_replace, insert, delete or rename (all blocks are shown in your prompt; there is no command to view them), but was "view". Call the tool again: memory takes command (one of create, str_replace, insert, delete, rename), path (text, optional), file_text (text, optional), description (text, optional), old_string (text, optional), new_string (text, optional), insert_line (whole number, optional), insert_text (text, optional), old_path (text, optional), new_path (text, optional)
    the argument 'description' is missing (given: command, path, file_text). Call the tool again: memory with {"command": "create", "path": "/memories/<label>", "description": "<what the block is for>", "file_text": "<its text>"}
    the argument 'new_string' is missing (given: command, path, old_string). Call the tool again: memory with {"command": "str_replace", "path": "/memories/<label>", "old_string": "<text in the block>", "new_string": "<text in its place>"}
    the argument 'insert_text' is missing (given: command, path). Call the tool again: memory with {"command": "insert", "path": "/memories/<label>", "insert_line": -1, "insert_text": "<new lines>"}
    the argument 'path' is missing (given: command). Call the tool again: memory with {"command": "delete", "path": "/memories/<label>"}
    the argument 'new_path' is missing (given: command, path). Call the tool again: memory with {"command": "rename", "old_path": "/memories/<label>", "new_path": "/memories/<new label>"}, or, to change only the description, {"command": "rename", "path": "/memories/<label>", "description": "<what the block is for>"}
    the argument 'patch' is missing (given: label). Call the tool again: memory_apply_patch takes label (text), patch (text)
    the patch does not say which block it changes: give the argument 'label', or put '*** Update Block: <label>' above the lines
    line 1 of the patch, 'a', begins with none of ' ' (stays), '-' (goes), '+' (comes) and '@@' (begins a hunk). Put one of them before it; a line that stays needs a space
    "#);
}

#[test]
fn what_can_be_understood_is_accepted() {
    let insert = |line: Value| {
        edit_of(
            "memory_insert",
            &json!({"label": " human ", "new_string": 42, "insert_line": line, "thinking": "hm"}),
        )
    };
    let at = |line| {
        (
            "human".to_owned(),
            BlockEdit::Insert {
                new: "42".to_owned(),
                line,
            },
        )
    };
    for (line, meant) in [
        (json!(2), 2),
        (json!(2.0), 2),
        (json!(" 2 "), 2),
        (json!(null), -1),
        (json!(""), -1),
    ] {
        assert_eq!(insert(line.clone()), at(meant), "{line}");
    }
    let lines = edit_of(
        "core_memory_append",
        &json!({"label": "b", "content": ["x", "y"]}),
    );
    assert_eq!(
        lines.1,
        BlockEdit::Append {
            content: "x\ny".to_owned()
        }
    );
    for roles in [
        json!(["user", "Assistant"]),
        json!("user, assistant"),
        json!("[\"user\",\"assistant\"]"),
    ] {
        assert_eq!(
            search_of("UTC", &json!({"roles": roles})).roles,
            [Role::User, Role::Assistant]
        );
    }
    let empty =
        json!({"query": " ", "roles": [], "limit": null, "start_date": "", "end_date": null});
    assert_eq!(search_of("UTC", &empty), ConversationSearch::default());
}

#[test]
fn refusals_name_the_argument_and_what_the_tool_takes() {
    let shown = [
        refusal("memory_insert", &json!({"label": "human", "content": "x"})),
        refusal("memory_replace", &json!({})),
        refusal(
            "memory_insert",
            &json!({"label": "b", "new_string": "x", "insert_line": "end"}),
        ),
        refusal(
            "memory_insert",
            &json!({"label": "b", "new_string": "x", "insert_line": 1.5}),
        ),
        refusal(
            "core_memory_append",
            &json!({"label": "b", "content": {"text": "x"}}),
        ),
        refusal("conversation_search", &json!({"roles": ["system"]})),
        refusal("conversation_search", &json!({"start_date": "yesterday"})),
        refusal(
            "conversation_search",
            &json!({"start_date": "2026-05-02", "end_date": "2026-05-01"}),
        ),
        refusal("conversation_search", &json!("boats")),
        refusal("memory_forget", &json!({})),
    ];
    insta::assert_snapshot!(shown.join("\n"), @r#"
    the argument 'new_string' is missing (given: label, content). Call the tool again: memory_insert takes label (text), new_string (text), insert_line (whole number, optional)
    the argument 'old_string' is missing (given: nothing). Call the tool again: memory_replace takes label (text), old_string (text), new_string (text)
    the argument 'insert_line' must be a whole number, but was "end". Call the tool again: memory_insert takes label (text), new_string (text), insert_line (whole number, optional)
    the argument 'insert_line' must be a whole number, but was 1.5. Call the tool again: memory_insert takes label (text), new_string (text), insert_line (whole number, optional)
    the argument 'content' must be a text, but was {"text":"x"}. Call the tool again: core_memory_append takes label (text), content (text)
    the argument 'roles' must be a list of 'assistant', 'user' or 'tool', but was ["system"]. Call the tool again: conversation_search takes query (text, optional), roles (list of 'assistant', 'user', 'tool', optional), limit (whole number, optional), start_date (text, optional), end_date (text, optional)
    the argument 'start_date' must be a day (2026-03-31) or an ISO 8601 time, but was "yesterday". Call the tool again: conversation_search takes query (text, optional), roles (list of 'assistant', 'user', 'tool', optional), limit (whole number, optional), start_date (text, optional), end_date (text, optional)
    the argument 'start_date' must be no later than end_date, but was "2026-05-02". Call the tool again: conversation_search takes query (text, optional), roles (list of 'assistant', 'user', 'tool', optional), limit (whole number, optional), start_date (text, optional), end_date (text, optional)
    the arguments must be a JSON object. Call the tool again: conversation_search takes query (text, optional), roles (list of 'assistant', 'user', 'tool', optional), limit (whole number, optional), start_date (text, optional), end_date (text, optional)
    there is no built-in tool 'memory_forget'
    "#);
}

#[test]
fn a_long_argument_does_not_make_a_long_refusal() {
    let long = json!({"label": "b", "new_string": "x", "insert_line": "9".repeat(10_000)});
    assert!(refusal("memory_insert", &long).len() < 500);
}

#[test]
fn days_and_times_are_meant_in_the_agents_time_zone() {
    let at = |text: &str| Some(Timestamp::parse(text).unwrap());
    let day = json!({"start_date": "2026-05-01", "end_date": "2026-05-01"});
    let utc = search_of("UTC", &day);
    assert_eq!(utc.start_date, at("2026-05-01T00:00:00Z"));
    assert_eq!(utc.end_date, at("2026-05-01T23:59:59.999999Z"));
    let tokyo = search_of("Asia/Tokyo", &day);
    assert_eq!(tokyo.start_date, at("2026-04-30T15:00:00Z"));
    assert_eq!(tokyo.end_date, at("2026-05-01T14:59:59.999999Z"));
    let times = json!({"start_date": "2026-05-01T14:30", "end_date": "2026-05-01T15:00:00Z"});
    let tokyo = search_of("Asia/Tokyo", &times);
    assert_eq!(tokyo.start_date, at("2026-05-01T05:30:00Z"));
    assert_eq!(tokyo.end_date, at("2026-05-01T15:00:00Z"));
}
