//! The messages with which an agent begins, wrapped as the V1 API does (V1 contract, section 2.2).
//! This is the only place where that happens: later messages are kept verbatim.

use mnemic_core::{
    agents::{Agent, AgentType},
    ids::{ConversationId, MessageId},
    messages::{
        ContentPart, Message, MessageBody, NewMessage, Role, ToolCall, ToolReturn, ToolStatus,
    },
    time::Timestamp,
    tokens,
    tools::Tool,
};
use serde_json::json;
use uuid::Uuid;

/// What an agent of the older types has said before anybody spoke to it.
const GREETING: &str = "Hello! I am here, and I will remember what we talk about. How can I help?";

/// The tool by which agents of the older types speak.
const SPEAK: &str = "send_message";

/// The first messages of a new agent: its creator's, or those of its type.
pub(super) fn messages(
    (agent, tools): (&Agent, &[Tool]),
    conversation_id: ConversationId,
    given: Option<&[NewMessage]>,
    now: Timestamp,
) -> Vec<Message> {
    let time = now.to_human(&agent.timezone);
    // An agent that has no tool to speak with would learn from such a call to make calls that fail.
    let by_tool = greets(agent.agent_type) || tools.iter().any(|tool| tool.name == SPEAK);
    let first = match given {
        Some(given) => given
            .iter()
            .flat_map(|new| wrapped(new, by_tool, &time))
            .collect(),
        None if greets(agent.agent_type) => boot(&time),
        None => Vec::new(),
    };
    let stored = |new: NewMessage| Message {
        id: MessageId::new(),
        agent_id: agent.id,
        conversation_id,
        role: new.role,
        tokens: tokens::count_message(new.role, &new.body, new.name.as_deref()),
        body: new.body,
        name: new.name,
        otid: new.otid,
        sender_id: new.sender_id,
        step_id: None,
        run_id: None,
        created_at: new.created_at.unwrap_or(now),
    };
    first.into_iter().map(stored).collect()
}

/// The types whose history begins with a greeting.
const fn greets(agent_type: AgentType) -> bool {
    matches!(
        agent_type,
        AgentType::MemgptAgent
            | AgentType::MemgptV2Agent
            | AgentType::ReactAgent
            | AgentType::WorkflowAgent
            | AgentType::VoiceConvoAgent
    )
}

fn message(role: Role, body: MessageBody) -> NewMessage {
    NewMessage {
        role,
        body,
        name: None,
        otid: None,
        sender_id: None,
        created_at: None,
    }
}

fn boot(time: &str) -> Vec<NewMessage> {
    let login = json!({"type": "login", "last_login": "Never (first login)", "time": time});
    let mut first = spoken(GREETING.to_owned());
    first.push(message(Role::User, MessageBody::text(login.to_string())));
    first
}

fn wrapped(new: &NewMessage, by_tool: bool, time: &str) -> Vec<NewMessage> {
    let kind = match new.role {
        Role::Assistant if by_tool => return spoken(new.body.plain_text()),
        Role::Assistant | Role::Tool => return vec![new.clone()],
        Role::User => "user_message",
        Role::System => "system_alert",
    };
    let text = json!({"type": kind, "message": new.body.plain_text(), "time": time}).to_string();
    let mut content = vec![ContentPart::text(text)];
    let is_text = |part: &&ContentPart| matches!(part, ContentPart::Text { .. });
    content.extend(
        new.body
            .content
            .iter()
            .filter(|part| !is_text(part))
            .cloned(),
    );
    let body = MessageBody {
        content,
        ..MessageBody::default()
    };
    vec![NewMessage {
        body,
        ..new.clone()
    }]
}

/// Something said by a call of the tool, with the tool's return.
fn spoken(text: String) -> Vec<NewMessage> {
    let id = format!("call_{}", Uuid::new_v4().simple());
    let call = ToolCall {
        id: id.clone(),
        name: SPEAK.to_owned(),
        arguments: json!({ "message": text }).to_string(),
    };
    let result = ToolReturn {
        tool_call_id: id,
        name: SPEAK.to_owned(),
        status: ToolStatus::Success,
        text: "The message was delivered.".to_owned(),
        stdout: Vec::new(),
        stderr: Vec::new(),
        images: Vec::new(),
    };
    vec![
        message(
            Role::Assistant,
            MessageBody {
                tool_calls: vec![call],
                ..MessageBody::default()
            },
        ),
        message(
            Role::Tool,
            MessageBody {
                tool_returns: vec![result],
                ..MessageBody::default()
            },
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_users_and_systems_say_is_wrapped() {
        let said = message(Role::User, MessageBody::text("Hi"));
        let wrapped_up = wrapped(&said, false, "noon");
        let text: serde_json::Value =
            serde_json::from_str(&wrapped_up[0].body.plain_text()).unwrap();
        assert_eq!(
            text,
            json!({"type": "user_message", "message": "Hi", "time": "noon"})
        );
        let alert = wrapped(
            &message(Role::System, MessageBody::text("x")),
            false,
            "noon",
        );
        assert!(alert[0].body.plain_text().contains("system_alert"));
    }

    #[test]
    fn agents_that_speak_by_a_tool_begin_with_a_call_and_its_return() {
        let said = message(Role::Assistant, MessageBody::text("Hello"));
        let by_tool = wrapped(&said, true, "noon");
        let call = &by_tool[0].body.tool_calls[0];
        assert_eq!(call.arguments, r#"{"message":"Hello"}"#);
        assert_eq!(by_tool[1].body.tool_returns[0].tool_call_id, call.id);
        assert_eq!(wrapped(&said, false, "noon"), [said]);
    }

    #[test]
    fn the_older_types_begin_with_a_greeting_and_a_login() {
        let roles: Vec<Role> = boot("noon").iter().map(|new| new.role).collect();
        assert_eq!(roles, [Role::Assistant, Role::Tool, Role::User]);
    }
}
