//! `<tool_usage_rules>`: what the model has to know of the rules on its tools.

use std::fmt::Write as _;

use serde_json::Value;

/// One line per rule that the model can act on; the others work without its knowledge, so that an agent
/// with none but those has no such section.
pub(super) fn render(rules: &[Value]) -> Option<String> {
    let lines: Vec<String> = rules.iter().filter_map(line).collect();
    if lines.is_empty() {
        return None;
    }
    let mut text = String::from(
        "<tool_usage_rules>\nThese rules hold for your tools. A call that breaks one is refused, and you \
         are told why.\n",
    );
    for line in lines {
        let _ = writeln!(text, "<tool_rule>{line}</tool_rule>");
    }
    text.push_str("</tool_usage_rules>");
    Some(text)
}

fn line(rule: &Value) -> Option<String> {
    let field = |key: &str| rule.get(key).and_then(Value::as_str);
    let children = || {
        let named = rule
            .get("children")
            .and_then(Value::as_array)
            .map(Vec::as_slice);
        let names: Vec<&str> = named
            .unwrap_or_default()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        names.join(", ")
    };
    let tool = field("tool_name")?;
    Some(match field("type")? {
        "exit_loop" => format!("Your turn ends after {tool}."),
        "continue_loop" => format!("Your turn goes on after {tool}."),
        "constrain_child_tools" => format!("Right after {tool}, call one of: {}.", children()),
        "parent_last_tool" => format!("Only right after {tool}, you can call: {}.", children()),
        "conditional" => conditional(tool, rule),
        "max_count_per_step" => {
            let limit = rule.get("max_count_limit").and_then(Value::as_i64)?;
            format!("Call {tool} at most {limit} times in one turn.")
        }
        _ => return None,
    })
}

fn conditional(tool: &str, rule: &Value) -> String {
    let mut text = format!("What {tool} returns decides which tool you call next:");
    for (output, next) in rule
        .get("child_output_mapping")
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
    {
        let _ = write!(text, " on {output}, {};", next.as_str().unwrap_or("none"));
    }
    match rule.get("default_child").and_then(Value::as_str) {
        Some(next) => format!("{text} otherwise, {next}."),
        None => format!("{text} otherwise, any."),
    }
}
