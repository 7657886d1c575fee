//! What is accepted and what is refused, by tables.

use mnemic_core::messages::ToolStatus;
use serde_json::{Value, json};

use http::{HeaderMap, Method, Uri};

use super::*;
use crate::extract::parse_json;

fn fingerprint() -> Fingerprint {
    Fingerprint {
        body_hash: "h".to_owned(),
        is_retry: false,
    }
}

fn check(body: &Value, form: AnswerForm) -> Result<Checked, ApiError> {
    parse_json::<SendBody>(body.to_string().as_bytes())?.check(form, fingerprint())
}

fn said(checked: &Checked) -> Vec<(Role, Vec<Piece>)> {
    checked
        .drafts
        .iter()
        .map(|draft| (draft.message.role, draft.pieces.clone()))
        .collect()
}

fn text(text: &str) -> Vec<Piece> {
    vec![Piece::Ready(ContentPart::text(text))]
}

#[test]
fn an_input_is_one_user_message() {
    let checked = check(&json!({"input": "Hi"}), AnswerForm::Json).unwrap();
    assert_eq!(said(&checked), [(Role::User, text("Hi"))]);
    assert_eq!(checked.request.max_steps, 50);
    assert!(!checked.request.background);
    assert!(checked.stream.include_pings);
}

#[test]
fn messages_keep_role_order_name_and_otid() {
    let body = json!({"messages": [
        {"role": "system", "content": "Be brief"},
        {"type": "message", "role": "user", "content": [{"type": "text", "text": "Hi"}],
         "name": "Ada", "otid": "o1", "sender_id": "identity-1", "group_id": null},
    ], "unknown": true});
    let checked = check(&body, AnswerForm::Json).unwrap();
    assert_eq!(
        said(&checked),
        [(Role::System, text("Be brief")), (Role::User, text("Hi"))]
    );
    let second = &checked.drafts[1].message;
    assert_eq!(
        (
            second.name.as_deref(),
            second.otid.as_deref(),
            second.sender_id.as_deref()
        ),
        (Some("Ada"), Some("o1"), Some("identity-1"))
    );
}

#[test]
fn options_reach_the_engine() {
    let body = json!({
        "input": "Hi", "max_steps": 3, "stream_tokens": true, "background": true,
        "include_pings": false, "include_return_message_types": ["assistant_message"],
        "override_model": "openai/x", "system": "S",
    });
    let checked = check(&body, AnswerForm::Stream).unwrap();
    let request = &checked.request;
    assert_eq!(
        (request.max_steps, request.granularity),
        (3, Granularity::Tokens)
    );
    assert!(request.background);
    assert_eq!(request.override_model.as_deref(), Some("openai/x"));
    assert_eq!(request.override_system.as_deref(), Some("S"));
    assert_eq!(
        request.metadata,
        json!({"run_type": "send_message_streaming"})
    );
    assert_eq!(
        request.request_config,
        json!({
            "use_assistant_message": true, "assistant_message_tool_name": "send_message",
            "assistant_message_tool_kwarg": "message",
            "include_return_message_types": ["assistant_message"],
        })
    );
    assert!(!checked.stream.include_pings);
    assert_eq!(
        checked.stream.wanted,
        Some(vec![MessageType::AssistantMessage])
    );
}

/// Checks that each body is refused with the status, and an error that has the words.
fn refused(table: &[(Value, u16, &str)]) {
    for (body, status, words) in table {
        let error = check(body, AnswerForm::Json).unwrap_err();
        assert_eq!(error.status().as_u16(), *status, "{body}");
        assert!(
            error.body()["detail"].to_string().contains(words),
            "{body}: {:?}",
            error.body()
        );
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_status_of_the_contract() {
    let message = json!({"role": "user", "content": "a"});
    let table = [
        (json!({}), 422, "Must specify either"),
        (json!({"message": "hi"}), 422, "Must specify either"),
        (
            json!({"input": "a", "messages": [message]}),
            422,
            "Cannot specify both",
        ),
        (json!({"messages": []}), 422, "Messages must not be empty"),
        (json!({"messages": [{"content": "a"}]}), 422, "'role'"),
        (json!({"messages": [{"role": "user"}]}), 422, "'content'"),
        (
            json!({"messages": [{"role": "wizard", "content": "x"}]}),
            422,
            "unknown variant",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x", "type": "odd"}]}),
            422,
            "'type'",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x", "otid": ""}]}),
            422,
            "otid",
        ),
        (
            json!({"messages": [{"role": "user", "content": "x", "otid": "o"},
                                {"role": "user", "content": "y", "otid": "o"}]}),
            422,
            "each needs its own",
        ),
    ];
    refused(&table);
}

#[test]
fn answers_that_say_nothing_and_settings_out_of_range_are_refused() {
    let table = [
        (
            json!({"messages": [{"type": "approval", "approvals": []}]}),
            422,
            "approvals",
        ),
        (
            json!({"messages": [{"approval_request_id": "message-1"}]}),
            422,
            "approvals",
        ),
        (
            json!({"messages": [{"type": "tool_return", "tool_returns": []}]}),
            422,
            "approvals",
        ),
        (
            json!({"messages": [{"type": "approval", "approvals": [{"tool_call_id": "c", "approve": 3}]}]}),
            422,
            "boolean",
        ),
        (json!({"input": "a", "max_steps": 0}), 422, "max_steps"),
        (json!({"input": "a", "max_steps": 1001}), 422, "max_steps"),
        (json!({"input": "a", "max_steps": "many"}), 422, "max_steps"),
        (
            json!({"input": "a", "stream_tokens": true}),
            422,
            "streaming=true",
        ),
        (
            json!({"input": "a", "background": true}),
            422,
            "streaming=true",
        ),
        (
            json!({"input": "a", "client_tools": [{"name": "a b"}]}),
            422,
            "client tool",
        ),
        (
            json!({"input": "a", "include_return_message_types": ["odd"]}),
            422,
            "unknown variant",
        ),
    ];
    refused(&table);
}

#[test]
fn answers_are_read_in_all_their_forms() {
    let approval = |tool_call_id: &str, approve, reason: Option<&str>| CallAnswer::Approval {
        tool_call_id: tool_call_id.to_owned(),
        approve,
        reason: reason.map(str::to_owned),
    };
    let tool = |text: &str, status| CallAnswer::Tool {
        tool_call_id: "c".to_owned(),
        status,
        text: text.to_owned(),
        images: Vec::new(),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    let parts = json!([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]);
    let table = [
        (
            json!({"type": "approval", "approvals": [{"type": "approval", "tool_call_id": "c", "approve": true}]}),
            approval("c", true, None),
        ),
        (
            json!({"approvals": [{"tool_call_id": "c", "approve": false, "reason": "no"}]}),
            approval("c", false, Some("no")),
        ),
        (
            json!({"approve": false, "approval_request_id": "message-1", "reason": "no"}),
            CallAnswer::All {
                request_id: Some("message-1".to_owned()),
                approve: false,
                reason: Some("no".to_owned()),
            },
        ),
        (
            json!({"type": "approval", "approvals": [{"type": "tool", "tool_call_id": "c", "tool_return": parts, "status": "error"}]}),
            tool("a\nb", ToolStatus::Error),
        ),
        (
            json!({"type": "tool_return", "tool_returns": [{"tool_call_id": "c", "tool_return": "a"}]}),
            tool("a", ToolStatus::Success),
        ),
    ];
    for (message, answer) in table {
        let checked = check(&json!({"messages": [message]}), AnswerForm::Json).unwrap();
        let read = &checked.drafts[0].message;
        assert_eq!(read.body.answers, [answer], "{message}");
        assert_eq!(read.role, Role::Tool);
    }
}

#[test]
fn empty_lists_of_later_features_are_harmless() {
    let body = json!({"input": "a", "client_tools": [], "client_skills": [], "approvals": null});
    assert!(check(&body, AnswerForm::Json).is_ok());
}

#[test]
fn requests_are_told_apart_by_method_path_and_body() {
    let print = |path: &'static str, body: &str, retries: Option<&'static str>| {
        let mut headers = HeaderMap::new();
        if let Some(retries) = retries {
            headers.insert("x-stainless-retry-count", retries.parse().unwrap());
        }
        Fingerprint::of(
            &Method::POST,
            &Uri::from_static(path),
            &headers,
            body.as_bytes(),
        )
    };
    let first = print("/v1/a", "{}", None);
    assert_eq!(first.body_hash.len(), 64);
    assert_eq!(first.body_hash, print("/v1/a", "{}", Some("1")).body_hash);
    assert_ne!(first.body_hash, print("/v1/b", "{}", None).body_hash);
    assert_ne!(first.body_hash, print("/v1/a", "{ }", None).body_hash);
    assert!(!first.is_retry && !print("/v1/a", "{}", Some("0")).is_retry);
    assert!(print("/v1/a", "{}", Some("2")).is_retry);
}
