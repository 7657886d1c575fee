use serde_json::json;

use super::*;

const TOOLS: [&str; 4] = ["a", "b", "c", "say"];

fn rules(rules: &Value) -> ToolRules {
    ToolRules::read(rules.as_array().unwrap())
}

fn ran(calls: &[(&str, &str)]) -> History {
    let mut history = History::default();
    for (tool, returned) in calls {
        history.note(tool, returned);
    }
    history
}

/// The names of the next tools, with `!` in front where one of them has to be called.
fn next(of: &Value, calls: &[(&str, &str)]) -> String {
    let next = rules(of).next(&TOOLS, &ran(calls)).unwrap();
    let names = next
        .allowed
        .unwrap_or_else(|| TOOLS.map(str::to_owned).to_vec());
    let mark = if next.is_forced { "!" } else { "" };
    format!("{mark}{}", names.join(" "))
}

#[test]
fn a_turn_begins_with_what_runs_first_and_is_free_after_it() {
    let first = json!([{"type": "run_first", "tool_name": "b", "args": {"x": 1}}]);
    assert_eq!(next(&first, &[]), "!b");
    assert_eq!(next(&first, &[("a", "")]), "a b c say");
    let given = rules(&first).next(&TOOLS, &History::default()).unwrap();
    assert_eq!(given.prefilled["b"], *json!({"x": 1}).as_object().unwrap());
    let two =
        json!([{"type": "run_first", "tool_name": "c"}, {"type": "run_first", "tool_name": "a"}]);
    assert_eq!(next(&two, &[]), "!a c");
    let absent = json!([{"type": "run_first", "tool_name": "gone"}]);
    assert_eq!(next(&absent, &[]), "a b c say");
}

#[test]
fn children_follow_their_parent_with_the_arguments_given() {
    let order = json!([{"type": "constrain_child_tools", "tool_name": "a", "children": ["b", "c"],
        "child_arg_nodes": [{"name": "c", "args": {"n": 2}}]}]);
    assert_eq!(next(&order, &[]), "a b c say");
    assert_eq!(next(&order, &[("a", "")]), "!b c");
    assert_eq!(next(&order, &[("a", ""), ("b", "")]), "a b c say");
    let after = rules(&order).next(&TOOLS, &ran(&[("a", "")])).unwrap();
    assert_eq!(after.prefilled.len(), 1);
    assert_eq!(after.prefilled["c"]["n"], 2);
}

#[test]
fn two_orders_hold_together_and_one_that_leaves_nothing_does_not() {
    let both = json!([
        {"type": "constrain_child_tools", "tool_name": "a", "children": ["b", "c"]},
        {"type": "constrain_child_tools", "tool_name": "a", "children": ["c", "say"]},
    ]);
    assert_eq!(next(&both, &[("a", "")]), "!c");
    let none = json!([{"type": "constrain_child_tools", "tool_name": "a", "children": ["gone"]}]);
    assert_eq!(next(&none, &[("a", "")]), "a b c say");
}

#[test]
fn some_tools_are_there_only_right_after_one_of_their_parents() {
    let order = json!([
        {"type": "parent_last_tool", "tool_name": "a", "children": ["c"]},
        {"type": "parent_last_tool", "tool_name": "b", "children": ["c"]},
    ]);
    assert_eq!(next(&order, &[]), "a b say");
    assert_eq!(next(&order, &[("a", "")]), "a b c say");
    assert_eq!(next(&order, &[("b", "")]), "a b c say");
    assert_eq!(next(&order, &[("b", ""), ("c", "")]), "a b say");
}

#[test]
fn what_was_returned_decides_on_the_next_tool() {
    let rule = |rest: Value| {
        let mut rule = json!({"type": "conditional", "tool_name": "a",
            "child_output_mapping": {"True": "b", "3": "c", "go on": "say"}});
        let fields = rest.as_object().unwrap().clone();
        rule.as_object_mut().unwrap().extend(fields);
        json!([rule])
    };
    let plain = rule(json!({}));
    for (returned, expected) in [
        ("true", "!b"),
        ("True", "!b"),
        ("3.0", "!c"),
        ("\"go on\"", "!say"),
        (" go on\n", "!say"),
        ("Go on", "a b c say"),
        ("30", "a b c say"),
    ] {
        assert_eq!(next(&plain, &[("a", returned)]), expected, "{returned}");
    }
    assert_eq!(
        next(&rule(json!({"default_child": "c"})), &[("a", "?")]),
        "!c"
    );
    let strict = rules(&rule(json!({"require_output_mapping": true})));
    let error = strict.next(&TOOLS, &ran(&[("a", "?")])).unwrap_err();
    assert_eq!((error.tool.as_str(), error.returned.as_str()), ("a", "?"));
    assert!(strict.next(&TOOLS, &ran(&[("a", "3")])).is_ok());
}

#[test]
fn a_limit_counts_the_calls_of_the_turn_and_may_leave_no_tool() {
    let limit = json!([{"type": "max_count_per_step", "tool_name": "a", "max_count_limit": 2}]);
    assert_eq!(next(&limit, &[("a", "")]), "a b c say");
    assert_eq!(next(&limit, &[("a", ""), ("b", ""), ("a", "")]), "b c say");
    let only = rules(&limit)
        .next(&["a"], &ran(&[("a", ""), ("a", "")]))
        .unwrap();
    assert_eq!(only.allowed, Some(Vec::new()));
    let forced = json!([
        {"type": "constrain_child_tools", "tool_name": "a", "children": ["a"]},
        {"type": "max_count_per_step", "tool_name": "a", "max_count_limit": 1},
    ]);
    assert_eq!(next(&forced, &[("a", "")]), "");
}

#[test]
fn the_end_waits_for_what_is_required() {
    let of = rules(&json!([
        {"type": "required_before_exit", "tool_name": "c"},
        {"type": "required_before_exit", "tool_name": "gone"},
        {"type": "exit_loop", "tool_name": "say"},
        {"type": "continue_loop", "tool_name": "a"},
    ]));
    assert_eq!(of.missing_before_exit(&TOOLS, &ran(&[("a", "")])), ["c"]);
    assert!(
        of.missing_before_exit(&TOOLS, &ran(&[("c", "")]))
            .is_empty()
    );
    assert!(of.end_after("say") && !of.end_after("a"));
    assert!(of.go_on_after("a") && !of.go_on_after("say"));
}

#[test]
fn only_asking_a_person_leaves_calls_together() {
    let ask = json!([{"type": "requires_approval", "tool_name": "a"}]);
    assert!(!rules(&ask).need_one_call_at_a_time());
    assert!(!ToolRules::default().need_one_call_at_a_time());
    let order = json!([{"type": "exit_loop", "tool_name": "a"}]);
    assert!(rules(&order).need_one_call_at_a_time());
}

#[test]
fn every_kind_of_rule_is_read_and_what_is_wrong_is_named() {
    for kind in KINDS {
        let rule = json!({"type": kind, "tool_name": "a", "children": ["b"], "max_count_limit": 1});
        assert!(ToolRule::read(&rule).is_ok(), "{kind}");
    }
    for (rule, word) in [
        (json!({}), "needs a tool_name"),
        (json!({"type": "odd", "tool_name": "a"}), "run_first"),
        (
            json!({"type": "exit_loop", "tool_name": ""}),
            "needs a tool_name",
        ),
        (
            json!({"type": "run_first", "tool_name": "a", "args": [1]}),
            "args",
        ),
        (
            json!({"type": "constrain_child_tools", "tool_name": "a"}),
            "children",
        ),
        (
            json!({"type": "constrain_child_tools", "tool_name": "a", "child_arg_nodes": [{}]}),
            "child_arg_nodes",
        ),
        (
            json!({"type": "parent_last_tool", "tool_name": "a", "children": [1]}),
            "children",
        ),
        (
            json!({"type": "conditional", "tool_name": "a", "child_output_mapping": {"x": 1}}),
            "child_output_mapping",
        ),
        (
            json!({"type": "max_count_per_step", "tool_name": "a"}),
            "max_count_limit",
        ),
        (
            json!({"type": "max_count_per_step", "tool_name": "a", "max_count_limit": -1}),
            "max_count_limit",
        ),
    ] {
        let error = ToolRule::read(&rule).unwrap_err().to_string();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn arguments_of_an_order_that_does_not_hold_are_not_given() {
    let both = json!([
        {"type": "constrain_child_tools", "tool_name": "a", "child_arg_nodes": [{"name": "b", "args": {"n": 1}}]},
        {"type": "constrain_child_tools", "tool_name": "a", "children": ["c"]},
    ]);
    let after = rules(&both).next(&TOOLS, &ran(&[("a", "")])).unwrap();
    assert_eq!((after.allowed, after.prefilled.len()), (None, 0));
}

#[test]
fn a_return_that_reads_as_no_number_is_a_word_as_others_are() {
    let by_output = json!([{"type": "conditional", "tool_name": "a",
        "child_output_mapping": {"nan": "b", "1.0": "c"}, "default_child": "say"}]);
    assert_eq!(next(&by_output, &[("a", "nan")]), "!b");
    assert_eq!(next(&by_output, &[("a", "1")]), "!c");
    assert_eq!(next(&by_output, &[("a", "2")]), "!say");
}
