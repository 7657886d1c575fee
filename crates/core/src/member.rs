//! One member of a JSON object that is still being written: its text as it comes, and the object without it.

use serde_json::Value;

/// Reads the fragments of a JSON object and takes one member out of it. Whatever is no object, or broken, passes unchanged.
#[derive(Debug, Clone)]
pub struct MemberReader {
    member: String,
    place: Place,
    /// What stands between two members, until it is known whether the next one stays.
    gap: String,
    /// The key that is being read, with its quotes.
    key: String,
    /// Whether the value that is being read is the member's.
    is_member: bool,
    /// Whether a member of the object stayed so far.
    has_kept: bool,
    value: ValueState,
    /// An escape in the member's text that is not complete.
    escape: String,
    /// The first half of a character in two escapes.
    high: Option<u32>,
}

/// What a fragment brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// More of the member's text, decoded.
    pub text: String,
    /// More of the object without the member.
    pub rest: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    BeforeObject,
    BeforeKey,
    InKey,
    AfterKey,
    BeforeValue,
    InValue,
    After,
}

/// How far a value was read.
#[derive(Debug, Clone, Copy, Default)]
struct ValueState {
    /// Lists and objects that are open in it.
    depth: u32,
    in_string: bool,
    is_escaped: bool,
    /// Whether it is a string, no list or number.
    is_text: bool,
}

impl MemberReader {
    /// A reader that takes out the member of this name.
    #[must_use]
    pub fn new(member: &str) -> Self {
        Self {
            member: member.to_owned(),
            place: Place::BeforeObject,
            gap: String::new(),
            key: String::new(),
            is_member: false,
            has_kept: false,
            value: ValueState::default(),
            escape: String::new(),
            high: None,
        }
    }

    /// Reads on.
    pub fn push(&mut self, fragment: &str) -> Taken {
        let mut taken = Taken::default();
        for char in fragment.chars() {
            self.read(char, &mut taken);
        }
        taken
    }

    fn read(&mut self, char: char, taken: &mut Taken) {
        match self.place {
            Place::BeforeObject => {
                taken.rest.push(char);
                if char == '{' {
                    self.place = Place::BeforeKey;
                } else if !char.is_whitespace() {
                    self.place = Place::After;
                }
            }
            Place::BeforeKey => self.before_key(char, taken),
            Place::InKey => self.in_key(char, taken),
            Place::AfterKey | Place::BeforeValue => self.before_value(char, taken),
            Place::InValue => self.in_value(char, taken),
            Place::After => taken.rest.push(char),
        }
    }

    fn before_key(&mut self, char: char, taken: &mut Taken) {
        match char {
            '"' => {
                self.place = Place::InKey;
                self.key = String::from(char);
                self.value = ValueState::default();
            }
            '}' => {
                self.place = Place::After;
                self.gap.retain(|char| char != ',');
                taken.rest.push_str(&std::mem::take(&mut self.gap));
                taken.rest.push(char);
            }
            _ => self.gap.push(char),
        }
    }

    fn in_key(&mut self, char: char, taken: &mut Taken) {
        self.key.push(char);
        if char != '"' || self.value.is_escaped {
            self.value.is_escaped = char == '\\' && !self.value.is_escaped;
            return;
        }
        let key: Option<Value> = serde_json::from_str(&self.key).ok();
        self.is_member = key.is_some_and(|key| key.as_str() == Some(self.member.as_str()));
        let mut gap = std::mem::take(&mut self.gap);
        if !self.is_member {
            if !self.has_kept {
                gap.retain(|char| char != ',');
            }
            self.has_kept = true;
            taken.rest.push_str(&gap);
            taken.rest.push_str(&self.key);
        }
        self.place = Place::AfterKey;
    }

    fn before_value(&mut self, char: char, taken: &mut Taken) {
        if self.place == Place::AfterKey || char.is_whitespace() {
            if char == ':' {
                self.place = Place::BeforeValue;
            }
            self.keep(char, taken);
            return;
        }
        self.place = Place::InValue;
        self.value = ValueState {
            is_text: char == '"',
            in_string: char == '"',
            depth: u32::from(matches!(char, '{' | '[')),
            is_escaped: false,
        };
        self.keep(char, taken);
    }

    fn keep(&self, char: char, taken: &mut Taken) {
        if !self.is_member {
            taken.rest.push(char);
        }
    }

    fn in_value(&mut self, char: char, taken: &mut Taken) {
        if self.value.in_string {
            return self.in_string(char, taken);
        }
        match char {
            '"' => self.value.in_string = true,
            '{' | '[' => self.value.depth += 1,
            ',' | '}' if self.value.depth == 0 => {
                self.place = Place::BeforeKey;
                return self.before_key(char, taken);
            }
            '}' | ']' => self.value.depth = self.value.depth.saturating_sub(1),
            _ => {}
        }
        self.keep(char, taken);
    }

    fn in_string(&mut self, char: char, taken: &mut Taken) {
        let ends = char == '"' && !self.value.is_escaped;
        if self.is_member && self.value.is_text && !ends {
            self.decode(char, &mut taken.text);
        } else {
            self.keep(char, taken);
        }
        self.value.is_escaped = char == '\\' && !self.value.is_escaped;
        self.value.in_string = !ends;
    }

    fn decode(&mut self, char: char, text: &mut String) {
        if self.escape.is_empty() && char != '\\' {
            return text.push(char);
        }
        self.escape.push(char);
        let length = if self.escape.starts_with("\\u") { 6 } else { 2 };
        if self.escape.len() < length {
            return;
        }
        let escape = std::mem::take(&mut self.escape);
        let Some(code) = escape.strip_prefix("\\u") else {
            let plain: Result<String, _> = serde_json::from_str(&format!("\"{escape}\""));
            return text.push_str(&plain.unwrap_or(escape));
        };
        let code = u32::from_str_radix(code, 16).unwrap_or(u32::from(char::REPLACEMENT_CHARACTER));
        match (self.high.take(), code) {
            (_, 0xD800..=0xDBFF) => self.high = Some(code),
            (Some(high), 0xDC00..=0xDFFF) => {
                let both = 0x10000 + ((high - 0xD800) << 10) + (code - 0xDC00);
                text.push(char::from_u32(both).unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            _ => text.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, size: usize) -> Taken {
        let mut reader = MemberReader::new("t");
        let mut all = Taken::default();
        let chars: Vec<char> = text.chars().collect();
        for fragment in chars.chunks(size) {
            let taken = reader.push(&fragment.iter().collect::<String>());
            all.text.push_str(&taken.text);
            all.rest.push_str(&taken.rest);
        }
        all
    }

    #[test]
    fn a_member_leaves_an_object_that_is_whole_without_it_however_it_comes() {
        for (text, member, rest) in [
            (r#"{"t":"hi","a":1}"#, "hi", r#"{"a":1}"#),
            (r#"{ "t": "hi", "a": 1 }"#, "hi", r#"{ "a": 1 }"#),
            (
                r#"{"a": [1, {"t": "x"}], "t": "hi"}"#,
                "hi",
                r#"{"a": [1, {"t": "x"}]}"#,
            ),
            (
                r#"{"a":"}\",","t":"hi","b":null}"#,
                "hi",
                r#"{"a":"}\",","b":null}"#,
            ),
            (
                r#"{"t":"a\n\"b\" \u00e9\ud83d\ude00"}"#,
                "a\n\"b\" é😀",
                "{}",
            ),
            (r#"{"t":null,"a":true}"#, "", r#"{"a":true}"#),
            (r#"{"t":{"x":["\"}"]},"a":2}"#, "", r#"{"a":2}"#),
            (r#"{"a":1}"#, "", r#"{"a":1}"#),
            ("{}", "", "{}"),
            ("", "", ""),
            ("no object", "", "no object"),
            (r#"["t"]"#, "", r#"["t"]"#),
        ] {
            for size in [1, 2, 3, 100] {
                let taken = read(text, size);
                assert_eq!(
                    (taken.text.as_str(), taken.rest.as_str()),
                    (member, rest),
                    "{text} by {size}"
                );
            }
        }
    }

    #[test]
    fn text_comes_as_soon_as_it_is_there() {
        let mut reader = MemberReader::new("t");
        assert_eq!(reader.push(r#"{"t":"Hel"#).text, "Hel");
        assert_eq!(reader.push("lo").text, "lo");
    }

    proptest::proptest! {
        #[test]
        fn any_text_comes_out_as_it_went_in(text in ".*", other in ".*", first in proptest::bool::ANY, size in 1usize..9) {
            let object = if first {
                serde_json::json!({"t": text, "other": other})
            } else {
                serde_json::json!({"other": other, "t": text})
            };
            let taken = read(&object.to_string(), size);
            proptest::prop_assert_eq!(taken.text, text);
            let rest: Value = serde_json::from_str(&taken.rest).unwrap();
            proptest::prop_assert_eq!(rest, serde_json::json!({"other": other}));
        }

        #[test]
        fn nothing_makes_it_panic(text in "[{}\\[\\]\",:\\\\tu0-9a-f ]*", size in 1usize..5) {
            read(&text, size);
        }
    }
}
