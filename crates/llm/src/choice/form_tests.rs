//! What models without tools are shown, and what they may answer, as a turn goes on.

use mnemic_core::messages::{MessageBody, Role, ToolCall, ToolReturn, ToolStatus};
use serde_json::json;

use super::{
    tests::{call, push, sent},
    *,
};
use crate::ToolSpec;

const FOUND: &str = r#"{"message":"1 found.","results":[{"id":"p-1","content":"In Bergen."}]}"#;

/// A call with a search, a tool that requires nothing, one that does several things, and a plain one.
fn offering() -> Call {
    let spec = |name: &str, description: &str, parameters: Value| ToolSpec {
        name: name.into(),
        description: description.into(),
        parameters,
    };
    let text = json!({"type": "string", "description": "For example \"sailing\"."});
    let search = spec(
        "find",
        "Find what was said. For example:\n  {\"query\": \"Where is Ada's boat?\"}",
        json!({"type": "object", "required": ["query"],
            "properties": {"query": text, "tags": {"type": "array"}, "since": text}}),
    );
    let lenient = spec(
        "recall",
        "Look back",
        json!({"type": "object", "properties": {"words": text, "limit": {"type": "integer"}}}),
    );
    let many = spec(
        "edit",
        "Edit a file.",
        json!({"type": "object", "required": ["command"], "properties": {
            "command": {"type": "string", "enum": ["create", "delete"]}, "path": text}}),
    );
    let plain = spec(
        "note",
        "Note a text.",
        json!({"type": "object", "required": ["text"], "properties": {"text": text}}),
    );
    let mut call = call(Protocol::OpenAiChat);
    let tools = ToolSet::new(&[search, lenient, many, plain]);
    call.tools = Arc::new(tools.searching(["find", "recall"]));
    call
}

fn asked(question: &str) -> Call {
    let mut call = offering();
    push(&mut call, Role::User, MessageBody::text(question));
    call
}

/// The model calls a tool, which returns.
fn step(call: &mut Call, (name, arguments): (&str, Value), result: &str) {
    let id = format!("call_{}", call.transcript.len_messages());
    let calling = MessageBody {
        tool_calls: vec![ToolCall {
            id: id.clone(),
            name: name.into(),
            arguments: arguments.to_string(),
        }],
        ..MessageBody::default()
    };
    push(call, Role::Assistant, calling);
    let returned = ToolReturn {
        tool_call_id: id,
        name: name.into(),
        status: ToolStatus::Success,
        text: result.into(),
        stdout: Vec::new(),
        stderr: Vec::new(),
        images: Vec::new(),
    };
    let returned = MessageBody {
        tool_returns: vec![returned],
        ..MessageBody::default()
    };
    push(call, Role::Tool, returned);
}

fn schema(call: &Call) -> Value {
    sent(call)["response_format"]["json_schema"]["schema"].clone()
}

/// The names of the tools that may be called now, and `answer` where words may be said.
fn open(call: &Call) -> Vec<String> {
    let schema = schema(call);
    let choices = match schema["anyOf"].as_array() {
        Some(choices) => choices.clone(),
        None => vec![schema],
    };
    let name = |choice: &Value| {
        let tool = choice.pointer("/properties/name/enum/0");
        let words = choice.pointer("/properties/answer").map(|_| "answer");
        tool.and_then(Value::as_str).or(words).unwrap().to_owned()
    };
    choices.iter().map(name).collect()
}

fn prompt(call: &Call) -> String {
    sent(call)["messages"][0]["content"]
        .as_str()
        .unwrap()
        .to_owned()
}

fn last(call: &Call) -> String {
    let request = sent(call);
    let message = request["messages"].as_array().unwrap().last().unwrap();
    message["content"].as_str().unwrap().to_owned()
}

#[test]
fn a_tool_is_told_in_one_line_without_the_examples_of_its_description() {
    let prompt = prompt(&asked("hello"));
    for line in [
        "\n- find(query): Find what was said.\n",
        "\n- recall(words): Look back\n",
        "\n- edit(command: create|delete, path): Edit a file.\n",
        "\n- note(text): Note a text.\n",
    ] {
        assert!(prompt.contains(line), "{prompt}");
    }
    let request = sent(&asked("hello"));
    let messages = request["messages"].to_string();
    assert!(
        !messages.contains("boat") && !messages.contains("sailing"),
        "{messages}"
    );
}

#[test]
fn a_call_has_the_arguments_that_it_needs_and_no_others() {
    let schema = schema(&asked("hello"));
    let arguments = |at: usize| schema["anyOf"][at]["properties"]["arguments"].clone();
    let names = |at: usize| -> Vec<String> {
        let properties = arguments(at)["properties"].as_object().unwrap().clone();
        properties.keys().cloned().collect()
    };
    assert_eq!(names(0), ["query"]);
    assert_eq!(names(1), ["words"], "the first of one that requires none");
    assert_eq!(
        arguments(1)["required"],
        json!(["words"]),
        "a search looks for something"
    );
    assert_eq!(
        names(2),
        ["command", "path"],
        "what the command says is needed"
    );
    assert_eq!(arguments(2)["required"], json!(["command"]));
    assert_eq!(arguments(0)["additionalProperties"], json!(false));
}

#[test]
fn what_is_searched_for_and_said_ends_before_the_tokens_do() {
    let limits = |call: &Call| {
        let schema = schema(call);
        let of = |path: &str| schema.pointer(path).and_then(Value::as_i64);
        let arguments = "properties/arguments/properties";
        [
            of(&format!("/anyOf/0/{arguments}/query/maxLength")),
            of(&format!("/anyOf/3/{arguments}/text/maxLength")),
            of("/anyOf/4/properties/answer/maxLength"),
        ]
    };
    let mut call = asked("hello");
    assert_eq!(limits(&call), [Some(300), None, None]);
    call.max_tokens = Some(4_000);
    assert_eq!(limits(&call), [Some(300), None, None]);
    call.max_tokens = Some(76);
    // A note that is cut is seen to be cut, and asked for again; it must not be stored as if it were whole.
    assert_eq!(limits(&call), [Some(180), None, Some(180)]);
}

#[test]
fn a_model_that_goes_on_and_on_is_stopped_at_half_of_its_window() {
    let mut call = asked("hello");
    assert_eq!(sent(&call).get("max_tokens"), None);
    call.context_window = Some(4_096);
    assert_eq!(sent(&call)["max_tokens"], json!(2_048));
    call.max_tokens = Some(128);
    assert_eq!(sent(&call)["max_tokens"], json!(128));
}

#[test]
fn after_a_search_its_result_is_told_in_plain_words_with_the_question() {
    let mut call = asked("Where is the boat?");
    step(&mut call, ("find", json!({"query": "boat"})), FOUND);
    assert_eq!(
        last(&call),
        "Result of find: 1 found.\n- In Bergen.\n\nNow answer: Where is the boat?"
    );
    assert_eq!(open(&call), ["recall", "edit", "note", "answer"]);
    step(&mut call, ("recall", json!({"words": "boat"})), FOUND);
    assert_eq!(open(&call), ["edit", "note", "answer"]);
}

#[test]
fn a_search_is_offered_again_when_something_else_happened() {
    let find = ("find", json!({"query": "boat"}));
    let mut call = asked("Where is the boat?");
    step(&mut call, find.clone(), "Error: the index is being built");
    assert!(open(&call).contains(&"find".to_owned()), "it failed");
    step(&mut call, find.clone(), FOUND);
    assert!(!open(&call).contains(&"find".to_owned()));
    let mut noted = call.clone();
    step(&mut noted, ("note", json!({"text": "Bergen"})), "done");
    assert!(
        open(&noted).contains(&"find".to_owned()),
        "a tool did something"
    );
    push(&mut call, Role::Assistant, MessageBody::text("In Bergen."));
    push(&mut call, Role::User, MessageBody::text("And the key?"));
    assert!(open(&call).contains(&"find".to_owned()), "another turn");
}

#[test]
fn a_call_that_is_repeated_is_not_offered_a_third_time() {
    let mut call = asked("note it");
    step(&mut call, ("note", json!({"text": "a"})), "done");
    step(&mut call, ("note", json!({"text": "b"})), "done");
    assert_eq!(open(&call), ["find", "recall", "edit", "note", "answer"]);
    step(&mut call, ("note", json!({"text": "a"})), "done");
    assert_eq!(open(&call), ["find", "recall", "edit", "answer"]);
}

#[test]
fn a_tool_that_must_be_called_is_offered_whatever_was_called() {
    let mut call = asked("Where is the boat?");
    step(&mut call, ("find", json!({"query": "boat"})), FOUND);
    call.tool_choice = ToolChoice::Tool("find".into());
    assert_eq!(open(&call), ["find"]);
    call.tool_choice = ToolChoice::Required;
    assert_eq!(open(&call), ["find", "recall", "edit", "note"]);
}

#[test]
fn a_demand_is_made_in_words_where_no_schema_is_taken() {
    let mut call = asked("Where is the boat?");
    call.tool_choice = ToolChoice::Tool("find".into());
    assert_eq!(last(&call), "Where is the boat?");
    assert!(call.endpoint.learn("m", "response_format is not supported"));
    assert_eq!(last(&call), "Where is the boat?\n\nNow use a tool: find.");
    assert_eq!(sent(&call).get("response_format"), None);
}

#[test]
fn what_a_server_has_read_in_one_step_it_need_not_read_in_the_next() {
    let mut call = asked("Where is the boat?");
    call.tool_choice = ToolChoice::Tool("find".into());
    let first = sent(&call);
    step(&mut call, ("find", json!({"query": "boat"})), FOUND);
    call.tool_choice = ToolChoice::Auto;
    let second = sent(&call);
    let before = first["messages"].as_array().unwrap();
    let after = second["messages"].as_array().unwrap();
    assert_eq!(after[..before.len()], before[..]);
}

#[test]
fn examples_of_a_search_come_first_and_are_called_so() {
    let call = asked("Where is the boat?");
    let request = sent(&call);
    let messages = request["messages"].as_array().unwrap();
    let roles: Vec<&str> = messages
        .iter()
        .map(|m| m["role"].as_str().unwrap())
        .collect();
    let (system, rest) = roles.split_first().unwrap();
    assert_eq!(*system, "system");
    assert!(rest.chunks(2).all(|pair| pair[0] == "user"), "{roles:?}");
    let shown: Value = serde_json::from_str(messages[2]["content"].as_str().unwrap()).unwrap();
    assert_eq!(shown["name"], "find");
    assert_eq!(shown["arguments"]["query"], messages[1]["content"]);
    assert!(prompt(&call).contains("The first messages are examples"));
    // Without a search there is nothing to show.
    let mut call = super::tests::call(Protocol::OpenAiChat);
    push(&mut call, Role::User, MessageBody::text("hello"));
    assert_eq!(sent(&call)["messages"].as_array().unwrap().len(), 2);
    assert!(!prompt(&call).contains("examples"));
}

#[test]
fn after_three_failures_in_a_turn_the_model_answers() {
    let mut call = asked("note it");
    for (at, command) in ["create", "delete", "create"].into_iter().enumerate() {
        assert_eq!(open(&call).len(), 5, "after {at} failures");
        let edit = ("edit", json!({"command": command, "path": at}));
        step(&mut call, edit, "Error: there is no such path");
    }
    assert_eq!(open(&call), ["answer"]);
    push(&mut call, Role::User, MessageBody::text("try again"));
    assert_eq!(open(&call).len(), 5, "a new turn begins");
}
