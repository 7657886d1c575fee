//! What clients see of an answer while it is being made: fragments of the messages that its history will show.

use mnemic_core::{
    inner_thoughts::THINKING,
    member::MemberReader,
    messages::ToolCall,
    parts::{HiddenReasoning, Part, Speech},
};
use mnemic_llm::Delta;

/// The index of calls that wait: apart from the others, which have the same one in a history whether some wait or not.
const REQUESTS: usize = 127;

/// How an answer is to be read.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reading {
    /// Whether the model thinks in the arguments of its calls, and what it says beside them is thought.
    pub thinks_in_arguments: bool,
    /// The tool by which the agent speaks.
    pub speech: Option<Speech>,
    /// Whether only the first call counts.
    pub one_call: bool,
    /// Tools whose calls somebody outside has to answer.
    pub for_others: Vec<String>,
    /// Tools that get arguments from a rule: shown when these are in.
    pub prefilled: Vec<String>,
}

/// Which parts of a message were shown, so that each keeps its index.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    reading: Reading,
    order: Vec<Kind>,
    /// Parts that are complete: those up to the last reasoning that ended.
    ended: usize,
    calls: Vec<ShownCall>,
    /// Text of which it is not known yet whether it is said or thought.
    held_text: String,
}

#[derive(Debug)]
struct ShownCall {
    /// The provider's index.
    index: usize,
    id: String,
    name: String,
    way: Way,
    thoughts: Option<MemberReader>,
    /// Arguments that were not shown yet.
    held: String,
    /// Whether something of it was shown.
    is_shown: bool,
}

/// How a call is shown.
#[derive(Debug)]
enum Way {
    /// As a call.
    Call,
    /// As a request to answer it.
    Request,
    /// As what its argument says.
    Speech(Box<MemberReader>),
    /// When it is complete.
    AtOnce,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Reasoning,
    Hidden,
    Text,
    Calls,
    /// What the call of this place says.
    Speech(usize),
}

type Indexed = (usize, Part);

impl Shown {
    pub(crate) fn new(reading: Reading) -> Self {
        Self {
            reading,
            ..Self::default()
        }
    }

    fn index(&mut self, kind: Kind) -> usize {
        let ended = match kind {
            Kind::Calls | Kind::Speech(_) => 0,
            _ => self.ended,
        };
        let open = self.order.iter().skip(ended);
        if let Some(index) = open.into_iter().position(|known| *known == kind) {
            return ended + index;
        }
        self.order.push(kind);
        self.order.len() - 1
    }

    /// What a piece of the answer adds.
    pub(crate) fn parts(&mut self, delta: &Delta) -> Vec<Indexed> {
        match delta {
            Delta::Text(text) if !text.is_empty() => self.text(text).into_iter().collect(),
            Delta::Reasoning(text) if !text.is_empty() => vec![self.reasoning(text, false)],
            Delta::ReasoningEnd { signature, .. } => {
                self.end_reasoning(signature.as_ref()).into_iter().collect()
            }
            Delta::RedactedReasoning { data, .. } => {
                vec![self.hidden(HiddenReasoning::Redacted, Some(data.clone()))]
            }
            Delta::ToolCallStart { index, id, name } => self.start(*index, id, name),
            Delta::ToolCallArguments { index, fragment } if !fragment.is_empty() => {
                self.arguments(*index, fragment)
            }
            _ => Vec::new(),
        }
    }

    fn text(&mut self, text: &str) -> Option<Indexed> {
        if self.reading.thinks_in_arguments {
            self.held_text.push_str(text);
            return None;
        }
        let text = text.to_owned();
        Some((self.index(Kind::Text), Part::Assistant { text }))
    }

    fn reasoning(&mut self, text: &str, is_argument: bool) -> Indexed {
        let part = Part::Reasoning {
            text: text.to_owned(),
            signature: None,
            is_argument,
        };
        (self.index(Kind::Reasoning), part)
    }

    /// Reasoning ends: what is shown of it is its signature, or that there was some.
    fn end_reasoning(&mut self, signature: Option<&String>) -> Option<Indexed> {
        let mut open = self.order.iter().skip(self.ended);
        if let Some(index) = open.position(|known| *known == Kind::Reasoning) {
            self.ended += index + 1;
            let signature = Some(signature?.clone());
            let part = Part::Reasoning {
                text: String::new(),
                signature,
                is_argument: false,
            };
            return Some((self.ended - 1, part));
        }
        signature?;
        Some(self.hidden(HiddenReasoning::Omitted, None))
    }

    fn hidden(&mut self, state: HiddenReasoning, data: Option<String>) -> Indexed {
        self.order.push(Kind::Hidden);
        self.ended = self.order.len();
        (self.ended - 1, Part::HiddenReasoning { state, data })
    }

    fn start(&mut self, index: usize, id: &str, name: &str) -> Vec<Indexed> {
        if self.reading.one_call && !self.calls.is_empty() {
            return Vec::new();
        }
        let mut parts = Vec::new();
        if !self.held_text.is_empty() {
            let thought = std::mem::take(&mut self.held_text);
            parts.push(self.reasoning(&thought, true));
        }
        let is_in = |names: &[String]| names.iter().any(|known| known == name);
        let way = match &self.reading.speech {
            _ if is_in(&self.reading.for_others) => Way::Request,
            _ if is_in(&self.reading.prefilled) => Way::AtOnce,
            Some(speech) if speech.tool == name => {
                Way::Speech(Box::new(MemberReader::new(&speech.argument)))
            }
            _ => Way::Call,
        };
        let thinks = self.reading.thinks_in_arguments;
        let mut call = ShownCall {
            index,
            id: id.to_owned(),
            name: name.to_owned(),
            way,
            thoughts: thinks.then(|| MemberReader::new(THINKING)),
            held: String::new(),
            is_shown: false,
        };
        // Thoughts are shown before the call in which they stand.
        if !thinks {
            parts.extend(self.begun(&mut call));
        }
        self.calls.push(call);
        parts
    }

    /// The beginning of a call that is shown as it comes.
    fn begun(&mut self, call: &mut ShownCall) -> Option<Indexed> {
        if call.is_shown || !matches!(call.way, Way::Call | Way::Request) {
            return None;
        }
        call.is_shown = true;
        let (name, arguments) = (call.name.clone(), String::new());
        Some(self.fragment(call, name, arguments))
    }

    fn fragment(&mut self, call: &ShownCall, name: String, arguments: String) -> Indexed {
        let calls = vec![ToolCall {
            id: call.id.clone(),
            name,
            arguments,
        }];
        match call.way {
            Way::Request => (REQUESTS, Part::ApprovalRequest { calls }),
            _ => (self.index(Kind::Calls), Part::ToolCalls { calls }),
        }
    }

    fn arguments(&mut self, index: usize, fragment: &str) -> Vec<Indexed> {
        let mut known = self.calls.iter().rev();
        let Some(place) = known.position(|call| call.index == index) else {
            return Vec::new();
        };
        let place = self.calls.len() - 1 - place;
        let mut call = self.calls.remove(place);
        let mut parts = Vec::new();
        let own = match &mut call.thoughts {
            Some(reader) => {
                let taken = reader.push(fragment);
                if !taken.text.is_empty() {
                    parts.push(self.reasoning(&taken.text, true));
                }
                taken.rest
            }
            None => fragment.to_owned(),
        };
        parts.extend(self.own_arguments(&mut call, place, &own));
        self.calls.insert(place, call);
        parts
    }

    /// More of a call's arguments, without the thoughts in it.
    fn own_arguments(&mut self, call: &mut ShownCall, place: usize, own: &str) -> Vec<Indexed> {
        match &mut call.way {
            Way::AtOnce => Vec::new(),
            Way::Speech(reader) => {
                let text = reader.push(own).text;
                if text.is_empty() {
                    return Vec::new();
                }
                call.is_shown = true;
                let index = self.index(Kind::Speech(place));
                vec![(index, Part::Assistant { text })]
            }
            Way::Call | Way::Request => {
                call.held.push_str(own);
                // Nothing but the bracket may stand before the thoughts.
                if call
                    .held
                    .trim_start()
                    .trim_start_matches('{')
                    .trim()
                    .is_empty()
                    && call.thoughts.is_some()
                {
                    return Vec::new();
                }
                let arguments = std::mem::take(&mut call.held);
                let begun = self.begun(call);
                let more =
                    (!arguments.is_empty()).then(|| self.fragment(call, String::new(), arguments));
                begun.into_iter().chain(more).collect()
            }
        }
    }

    /// What was not shown yet of the answer as it is kept.
    pub(crate) fn rest(&mut self, calls: &[ToolCall]) -> Vec<Indexed> {
        let mut parts = Vec::new();
        if !self.held_text.is_empty() {
            let text = std::mem::take(&mut self.held_text);
            parts.push((self.index(Kind::Text), Part::Assistant { text }));
        }
        let mut shown = std::mem::take(&mut self.calls);
        for call in &mut shown {
            let Some(kept) = calls.iter().find(|kept| kept.id == call.id) else {
                continue;
            };
            if call.is_shown {
                if !call.held.is_empty() {
                    let arguments = std::mem::take(&mut call.held);
                    parts.push(self.fragment(call, String::new(), arguments));
                }
                continue;
            }
            call.is_shown = true;
            parts.push(self.fragment(call, call.name.clone(), kept.arguments.clone()));
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(name: &str) -> Delta {
        Delta::ToolCallStart {
            index: 0,
            id: "1".into(),
            name: name.into(),
        }
    }

    fn arguments(fragment: &str) -> Delta {
        Delta::ToolCallArguments {
            index: 0,
            fragment: fragment.into(),
        }
    }

    /// Each part in a word: what it is, its index and text.
    fn words(parts: Vec<Indexed>) -> Vec<String> {
        let word = |(index, part): Indexed| match part {
            Part::Reasoning { text, .. } => format!("think{index} {text}"),
            Part::Assistant { text } => format!("say{index} {text}"),
            Part::ToolCalls { calls } => {
                format!("call{index} {}{}", calls[0].name, calls[0].arguments)
            }
            Part::ApprovalRequest { calls } => {
                format!("ask {}{}", calls[0].name, calls[0].arguments)
            }
            other => format!("{other:?}"),
        };
        parts.into_iter().map(word).collect()
    }

    fn shown(reading: Reading, deltas: &[Delta]) -> Vec<String> {
        let mut shown = Shown::new(reading);
        deltas
            .iter()
            .flat_map(|delta| words(shown.parts(delta)))
            .collect()
    }

    fn older() -> Reading {
        Reading {
            thinks_in_arguments: true,
            speech: Some(Speech::default()),
            ..Reading::default()
        }
    }

    #[test]
    fn thoughts_come_before_the_call_in_which_they_stand() {
        let deltas = [
            start("note"),
            arguments("{\"thin"),
            arguments("king\":\"Let me"),
            arguments(" see\", \"a\""),
            arguments(": 1}"),
        ];
        assert_eq!(
            shown(older(), &deltas),
            [
                "think0 Let me",
                "think0  see",
                "call1 note",
                "call1 { \"a\"",
                "call1 : 1}"
            ]
        );
    }

    #[test]
    fn what_is_said_by_a_tool_comes_as_text() {
        let deltas = [
            start("send_message"),
            arguments("{\"thinking\":\"hm\",\"mess"),
            arguments("age\":\"Hel"),
            arguments("lo\",\"request_heartbeat\":false}"),
        ];
        assert_eq!(
            shown(older(), &deltas),
            ["think0 hm", "say1 Hel", "say1 lo"]
        );
        let plain = Reading {
            speech: Some(Speech::default()),
            ..Reading::default()
        };
        let deltas = [start("send_message"), arguments("{\"message\":\"Hi\"}")];
        assert_eq!(shown(plain, &deltas), ["say0 Hi"]);
        assert_eq!(
            shown(Reading::default(), &deltas),
            ["call0 send_message", "call0 {\"message\":\"Hi\"}"]
        );
    }

    #[test]
    fn text_beside_a_call_is_thought_and_alone_it_is_said() {
        let text = Delta::Text("Hm.".into());
        assert_eq!(
            shown(older(), &[text.clone(), start("note")]),
            ["think0 Hm."]
        );
        let mut alone = Shown::new(older());
        assert_eq!(words(alone.parts(&text)), [""; 0]);
        assert_eq!(words(alone.rest(&[])), ["say0 Hm."]);
    }

    #[test]
    fn calls_that_were_held_back_are_shown_as_they_are_kept() {
        let kept = ToolCall {
            id: "1".into(),
            name: "note".into(),
            arguments: "{\"a\":2}".into(),
        };
        let reading = Reading {
            prefilled: vec!["note".into()],
            ..Reading::default()
        };
        let mut held = Shown::new(reading);
        assert!(held.parts(&start("note")).is_empty());
        assert!(held.parts(&arguments("{\"a\":1}")).is_empty());
        assert_eq!(words(held.rest(&[kept])), ["call0 note{\"a\":2}"]);
        let mut silent = Shown::new(older());
        silent.parts(&start("send_message"));
        silent.parts(&arguments("{}"));
        let kept = ToolCall {
            id: "1".into(),
            name: "send_message".into(),
            arguments: "{}".into(),
        };
        assert_eq!(words(silent.rest(&[kept])), ["call0 send_message{}"]);
    }

    #[test]
    fn calls_beyond_the_one_that_counts_are_not_shown() {
        let reading = Reading {
            one_call: true,
            ..Reading::default()
        };
        let second = Delta::ToolCallStart {
            index: 1,
            id: "2".into(),
            name: "other".into(),
        };
        let more = Delta::ToolCallArguments {
            index: 1,
            fragment: "{}".into(),
        };
        assert_eq!(
            shown(reading, &[start("note"), second, more]),
            ["call0 note"]
        );
    }
}
