//! What was said, as lines that another agent reads.

use crate::{
    messages::{Message, Role, ToolCall},
    tokens,
};

/// Characters of one call's arguments or return that are told.
const MAX_TOOL_CHARS: usize = 2_000;

/// What stands for the beginning of a message that is not told.
const CUT: &str = "[...] ";

/// Lines of a conversation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// The lines, oldest first.
    pub text: String,
    /// Whether older messages had to be left out.
    pub is_cut: bool,
}

/// Writes messages, given newest first, as lines of at most about `max_tokens` tokens: the newest that fit. Of one that
/// does not fit by itself, the end is told.
#[must_use]
pub fn of_messages(newest_first: &[Message], max_tokens: usize) -> Transcript {
    let mut lines: Vec<String> = Vec::new();
    let mut left = max_tokens;
    let mut is_cut = false;
    for message in newest_first {
        let said = lines_of(message);
        if said.is_empty() {
            continue;
        }
        let taken = tokens::count(&said);
        if taken > left {
            is_cut = true;
            if lines.is_empty() {
                lines.push(end_of(&said, left));
            }
            break;
        }
        left -= taken;
        lines.push(said);
    }
    lines.reverse();
    Transcript {
        text: lines.join("\n"),
        is_cut,
    }
}

/// What an agent said in a message to whoever it talks to: its text, and what it sent with `send_message`.
#[must_use]
pub fn said(message: &Message) -> String {
    let mut said = vec![message.body.plain_text()];
    said.extend(message.body.tool_calls.iter().filter_map(sent));
    said.retain(|text| !text.trim().is_empty());
    said.join("\n")
}

/// What a call of `send_message` says.
#[must_use]
pub fn sent(call: &ToolCall) -> Option<String> {
    if call.name != "send_message" {
        return None;
    }
    let arguments: serde_json::Value = serde_json::from_str(&call.arguments).ok()?;
    arguments.get("message")?.as_str().map(str::to_owned)
}

/// How a message is told to other agents.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Told {
    lines: String,
    said: String,
}

impl Told {
    /// How this message is told.
    #[must_use]
    pub fn of(message: &Message) -> Self {
        let said = said(message);
        // Of an image alone only its speaker is told.
        let is_nothing = message.role == Role::User && said.is_empty();
        Self {
            lines: if is_nothing {
                String::new()
            } else {
                lines_of(message)
            },
            said,
        }
    }
}

impl Told {
    /// The first lines under which it can stand in what others are told.
    pub fn first_lines(&self) -> impl Iterator<Item = &str> {
        let texts = [&self.lines, &self.said].into_iter();
        texts.filter_map(|text| text.lines().next())
    }
}

/// The lines of a text with which messages may begin that it tells: whole ones, and what stands behind the name of who said it.
pub fn lines_to_look_for(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|line| {
        let named = line
            .match_indices(": ")
            .filter_map(move |(at, found)| line.get(at + found.len()..));
        std::iter::once(line).chain(named)
    })
}

/// Whether the beginning of a message was left out of a transcript.
#[must_use]
pub fn is_cut(text: &str) -> bool {
    text.contains(CUT)
}

/// Whether a text tells this message, be it as part of a transcript or under the name of who said it.
#[must_use]
pub fn retells(text: &str, message: &Told) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with('\n');
    let stands = |words: &str, begins: fn(&str) -> bool| {
        !words.trim().is_empty()
            && text.match_indices(words).any(|(at, found)| {
                let (before, rest) = text.split_at(at);
                begins(before) && ends(rest.get(found.len()..).unwrap_or_default())
            })
    };
    // Of one message that was too long for all of a transcript, the end is told.
    let is_end = text
        .split_once(CUT)
        .is_some_and(|(_, end)| !end.is_empty() && message.lines.ends_with(end));
    stands(&message.lines, |before| {
        before.is_empty() || before.ends_with('\n')
    }) || stands(&message.said, |before| before.ends_with(": "))
        || is_end
}

fn lines_of(message: &Message) -> String {
    if message.body.compaction.is_some() {
        return String::new();
    }
    let mut lines = Vec::new();
    match message.role {
        Role::System => {}
        Role::User => {
            let name = message.name.as_deref().unwrap_or("user");
            lines.push(format!("{name}: {}", message.body.plain_text()));
        }
        Role::Assistant => {
            let said = said(message);
            if !said.is_empty() {
                lines.push(format!("assistant: {said}"));
            }
            let calls = message.body.tool_calls.iter();
            for call in calls.filter(|call| sent(call).is_none()) {
                let arguments = start_of(&call.arguments);
                lines.push(format!("assistant calls {}: {arguments}", call.name));
            }
        }
        Role::Tool => {
            let returns = message.body.tool_returns.iter();
            for returned in returns.filter(|returned| returned.name != "send_message") {
                lines.push(format!(
                    "{} returns: {}",
                    returned.name,
                    start_of(&returned.text)
                ));
            }
        }
    }
    lines.join("\n")
}

fn start_of(text: &str) -> String {
    match text.char_indices().nth(MAX_TOOL_CHARS) {
        Some((end, _)) => format!("{} [...]", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The end of a text, of at most about so many tokens.
fn end_of(text: &str, max_tokens: usize) -> String {
    // No text takes more tokens than it has bytes, and most take a fourth; a third leaves room for others.
    let mut wanted = max_tokens.saturating_mul(3);
    let count = text.chars().count();
    loop {
        let end: String = text.chars().skip(count.saturating_sub(wanted)).collect();
        if wanted == 0 || tokens::count(&end) <= max_tokens {
            return format!("{CUT}{end}");
        }
        wanted /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ids::{AgentId, ConversationId, MessageId},
        messages::{MessageBody, ToolReturn, ToolStatus},
        time::Timestamp,
    };

    fn message(role: Role, body: MessageBody) -> Message {
        Message {
            id: MessageId::new(),
            agent_id: AgentId::new(),
            conversation_id: ConversationId::new(),
            role,
            body,
            name: None,
            otid: None,
            sender_id: None,
            step_id: None,
            run_id: None,
            tokens: 0,
            created_at: Timestamp(0),
        }
    }

    fn call(name: &str, arguments: &str) -> ToolCall {
        ToolCall {
            id: "c".to_owned(),
            name: name.to_owned(),
            arguments: arguments.to_owned(),
        }
    }

    #[test]
    fn a_turn_is_told_with_its_calls_and_returns() {
        let asked = message(Role::User, MessageBody::text("When do we sail?"));
        let mut answer = MessageBody::text("I look it up.");
        answer.tool_calls = vec![call("search", "{\"query\":\"sail\"}")];
        let returned = ToolReturn {
            tool_call_id: "c".to_owned(),
            name: "search".to_owned(),
            status: ToolStatus::Success,
            text: "on Friday".to_owned(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            images: Vec::new(),
        };
        let returns = MessageBody {
            tool_returns: vec![returned],
            ..MessageBody::default()
        };
        let spoken = MessageBody {
            tool_calls: vec![call("send_message", "{\"message\":\"On Friday.\"}")],
            ..MessageBody::default()
        };
        let newest_first = [
            message(Role::Assistant, spoken),
            message(Role::Tool, returns),
            message(Role::Assistant, answer),
            asked,
        ];
        let told = of_messages(&newest_first, 1_000);
        assert_eq!(
            told.text,
            "user: When do we sail?\nassistant: I look it up.\n\
             assistant calls search: {\"query\":\"sail\"}\nsearch returns: on Friday\nassistant: On Friday."
        );
        assert!(!told.is_cut);
    }

    #[test]
    fn a_message_is_known_again_where_it_is_told() {
        let yes = Told::of(&message(Role::User, MessageBody::text("yes")));
        for (text, tells) in [
            ("Update the memory.\n\nuser: yes\nassistant: fine", true),
            ("Sailor: yes", true),
            ("user: yes, but later", false),
            ("user: oh yes", false),
            ("", false),
        ] {
            assert_eq!(retells(text, &yes), tells, "{text}");
        }
        assert!(!retells(
            "user: ",
            &Told::of(&message(Role::User, MessageBody::text("")))
        ));
        let long = message(
            Role::User,
            MessageBody::text("wind ".repeat(2_000) + "the end"),
        );
        let told = of_messages(std::slice::from_ref(&long), 100);
        assert!(retells(&told.text, &Told::of(&long)), "{}", told.text);
    }

    #[test]
    fn the_newest_messages_are_told_when_not_all_fit() {
        let newest_first: Vec<Message> = (0..50)
            .rev()
            .map(|n| message(Role::User, MessageBody::text(format!("fact number {n}"))))
            .collect();
        let told = of_messages(&newest_first, 40);
        assert!(told.is_cut);
        assert!(told.text.ends_with("fact number 49"), "{}", told.text);
        assert!(tokens::count(&told.text) <= 60, "{}", told.text);
    }

    #[test]
    fn the_end_of_a_message_is_told_that_does_not_fit_by_itself() {
        let long = "wind and weather ".repeat(2_000) + "the end";
        let told = of_messages(&[message(Role::User, MessageBody::text(long))], 100);
        assert!(
            told.is_cut && told.text.ends_with("the end"),
            "{}",
            told.text
        );
        assert!(tokens::count(&told.text) <= 110);
    }
}
