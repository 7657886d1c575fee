use serde_json::{Value, json};

use super::{Addressee, AgentMessage};
use crate::{builtin::BuiltinCall, ids::AgentId};

fn parsed(name: &str, arguments: &Value) -> Result<BuiltinCall, String> {
    BuiltinCall::parse(name, arguments).map_err(|error| error.to_string())
}

#[test]
fn messages_name_whom_they_are_for() {
    let id = AgentId::new();
    let text = || "What is new?".to_owned();
    let asked = json!({"message": "What is new?", "other_agent_id": format!(" {id} ")});
    let tagged = json!({"message": "What is new?", "match_all": ["a"], "match_some": []});
    let table = [
        (
            "send_message_to_agent_and_wait_for_reply",
            &asked,
            Addressee::Asked(id),
        ),
        ("send_message_to_agent_async", &asked, Addressee::Told(id)),
        (
            "send_message_to_agents_matching_tags",
            &tagged,
            Addressee::Tagged {
                all: vec!["a".to_owned()],
                some: Vec::new(),
            },
        ),
        (
            "send_message_to_all_agents_in_group",
            &asked,
            Addressee::Members,
        ),
    ];
    for (name, arguments, to) in table {
        let text = text();
        let expected = BuiltinCall::Message(AgentMessage { text, to });
        assert_eq!(parsed(name, arguments), Ok(expected), "{name}");
    }
    let chosen = parsed(
        "choose_next_participant",
        &json!({"next_speaker_agent_id": id}),
    );
    let next = AgentMessage {
        text: String::new(),
        to: Addressee::Next(id),
    };
    assert_eq!(chosen, Ok(BuiltinCall::Message(next)));
}

#[test]
fn messages_to_nobody_are_refused_with_what_to_do() {
    let tags = "send_message_to_agents_matching_tags";
    let nobody = json!({"message": "m", "match_all": [], "match_some": []});
    assert!(parsed(tags, &nobody).unwrap_err().contains("match_all"));
    let wrong = json!({"message": "m", "other_agent_id": "bob"});
    let refused = parsed("send_message_to_agent_async", &wrong).unwrap_err();
    assert!(refused.contains("an agent's id"), "{refused}");
}

#[test]
fn messages_that_say_nothing_are_refused_but_for_whom_the_others_have_told_something() {
    let id = AgentId::new();
    for name in super::MULTI_AGENT_TOOLS {
        let empty = json!({"message": " ", "other_agent_id": id, "match_all": ["a"]});
        let refused = parsed(name, &empty).unwrap_err();
        assert!(refused.contains("what you want to say"), "{refused}");
    }
    let next = json!({"message": "", "next_speaker_agent_id": id});
    assert!(parsed("choose_next_participant", &next).is_ok());
}
