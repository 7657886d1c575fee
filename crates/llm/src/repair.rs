//! Tool arguments as weak models write them, read as the JSON that they are meant to be: in code fences, in
//! single or typographic quotes, with trailing commas, bare keys, Python's words, raw line breaks, comments,
//! lacking closers, or as a text that holds the JSON.
//!
//! What is JSON already is never changed. What was cut off inside of a value is an error and not half a
//! value: a memory must not be overwritten by the first half of a text.

mod integers;

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::json;

pub use integers::long_integers_as_text;

/// How deep values may lie in each other, as with strict JSON.
const MAX_DEPTH: usize = 100;

/// Why a text can't be read as tool arguments.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unusable {
    /// It ends in the middle of a value.
    #[error("the arguments are not valid JSON: they end in the middle")]
    Cut,
    /// It is JSON, but no object.
    #[error("the arguments must be a JSON object with the tool's parameters")]
    NoObject,
    /// It is no JSON, and none that can be mended.
    #[error("the arguments are not valid JSON ({0})")]
    NoJson(String),
}

/// A tool call's arguments as the text of a JSON object: as they are if they are one, else mended.
///
/// # Errors
/// When they can't be read as an object.
pub fn arguments(text: &str) -> Result<Cow<'_, str>, Unusable> {
    if text.trim().is_empty() {
        return Ok(Cow::Borrowed("{}"));
    }
    object(text, 2)
}

/// An object, or a text that holds one, as those write who encode twice.
fn object(text: &str, layers: u8) -> Result<Cow<'_, str>, Unusable> {
    // Also inside of a fence what is JSON stays as it is.
    for candidate in [text, without_fence(text)] {
        if json::is_object(candidate) {
            return Ok(Cow::Borrowed(candidate));
        }
    }
    match value(text)? {
        fields @ Value::Object(_) => Ok(Cow::Owned(fields.to_string())),
        Value::String(inner) if layers > 0 => {
            object(&inner, layers - 1).map(|text| Cow::Owned(text.into_owned()))
        }
        _ => Err(Unusable::NoObject),
    }
}

/// A value in JSON or in what weak models take for it.
///
/// # Errors
/// When it can't be read.
pub fn value(text: &str) -> Result<Value, Unusable> {
    let strict = match serde_json::from_str(text) {
        Ok(value) => return Ok(value),
        Err(error) => error,
    };
    let inside = without_fence(text);
    let mut reader = Reader::new(inside);
    // Words that begin no value were not cut off either.
    let is_begun = inside.starts_with(|c| matches!(c, '{' | '[') || closing(c).is_some());
    match reader.value(0) {
        Ok(value) if is_debris(reader.rest()) => Ok(value),
        Err(Stop::Cut) if is_begun => Err(Unusable::Cut),
        // The strict parser's words are those that a model knows.
        Ok(_) | Err(_) => Err(Unusable::NoJson(strict.to_string())),
    }
}

/// All values of a text, one after the other; nothing when there is anything else in it.
pub(crate) fn values(text: &str) -> Option<Vec<Value>> {
    let mut reader = Reader::new(text);
    let mut found = Vec::new();
    loop {
        reader.skip(|c| c.is_whitespace() || matches!(c, ';' | ','));
        if reader.rest().is_empty() {
            return Some(found);
        }
        if !reader.rest().starts_with(['{', '[']) {
            return None;
        }
        found.push(reader.value(0).ok()?);
    }
}

/// The arguments of a call in the form of Python, from behind its opening parenthesis: pairs of name and
/// value, the name empty where there is none; and what follows the closing one.
pub(crate) fn python_arguments(text: &str) -> Option<(Vec<(String, Value)>, &str)> {
    let mut reader = Reader::new(text);
    let mut found = Vec::new();
    loop {
        reader.space();
        if reader.take(')') {
            return Some((found, reader.rest()));
        }
        let before = reader.text;
        let name = reader.word();
        reader.space();
        let name = if !name.is_empty() && reader.take('=') {
            reader.space();
            name
        } else {
            reader.text = before;
            String::new()
        };
        let is_quoted = reader.rest().starts_with(|c| closing(c).is_some());
        let value = reader.value(0).ok()?;
        // Words without quotes are names, of things that are nowhere here.
        if value.is_string() && !is_quoted {
            return None;
        }
        found.push((name, value));
        reader.space();
        if !reader.take(',') && !reader.rest().starts_with(')') {
            return None;
        }
    }
}

/// What stands in a code fence, or the text from its first brace on.
fn without_fence(text: &str) -> &str {
    let text = text.trim();
    let Some((_, fenced)) = text.split_once("```") else {
        return text;
    };
    if text.starts_with(['{', '[', '"', '\'']) {
        return text;
    }
    let fenced = fenced
        .rfind("```")
        .and_then(|end| fenced.get(..end))
        .unwrap_or(fenced);
    // The info string, if any, ends with its line or where the value begins.
    let value = fenced.find(['\n', '{', '[']).unwrap_or(0);
    fenced.get(value..).unwrap_or(fenced).trim()
}

/// What may follow a value without meaning anything: closers too many, a fence, a tag.
fn is_debris(rest: &str) -> bool {
    let rest = rest.trim();
    let tag = rest.starts_with("</") || rest.starts_with("<|");
    tag || rest
        .chars()
        .all(|c| c.is_whitespace() || matches!(c, '}' | ']' | ')' | '`' | ';' | ','))
}

/// Why reading ends.
enum Stop {
    /// The text ends inside of a value.
    Cut,
    /// This is no value.
    Wrong,
}

struct Reader<'a> {
    text: &'a str,
    /// Whether the last thing that was read is a value in an object or a list.
    is_after_value: bool,
}

impl<'a> Reader<'a> {
    const fn new(text: &'a str) -> Self {
        Self {
            text,
            is_after_value: false,
        }
    }

    const fn rest(&self) -> &'a str {
        self.text
    }

    fn skip(&mut self, unwanted: impl Fn(char) -> bool) {
        self.text = self.text.trim_start_matches(unwanted);
    }

    /// White space and comments.
    fn space(&mut self) {
        loop {
            self.skip(char::is_whitespace);
            let end = if self.text.starts_with("//") {
                self.text.find('\n').unwrap_or(self.text.len())
            } else if self.text.starts_with("/*") {
                self.text.find("*/").map_or(self.text.len(), |at| at + 2)
            } else {
                return;
            };
            self.text = self.text.get(end..).unwrap_or_default();
        }
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.text.strip_prefix(wanted);
        self.text = rest.unwrap_or(self.text);
        rest.is_some()
    }

    fn next(&mut self) -> Option<char> {
        let mut chars = self.text.chars();
        let next = chars.next();
        self.text = chars.as_str();
        next
    }

    fn value(&mut self, depth: usize) -> Result<Value, Stop> {
        if depth > MAX_DEPTH {
            return Err(Stop::Wrong);
        }
        self.space();
        match self.text.chars().next() {
            None => Err(Stop::Cut),
            Some('{') => self.object(depth),
            Some('[') => self.array(depth),
            Some(quote) if closing(quote).is_some() => self.string(quote).map(Value::String),
            Some(_) => self.bare(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<Value, Stop> {
        self.next();
        let mut fields = Map::new();
        loop {
            if self.is_over('}')? {
                return Ok(Value::Object(fields));
            }
            let key = self.key()?;
            self.space();
            if !self.take(':') && !self.take('=') {
                return Err(self.stop());
            }
            self.take('>');
            let value = self.value(depth + 1)?;
            fields.insert(key, value);
            self.after_value('}')?;
        }
    }

    fn array(&mut self, depth: usize) -> Result<Value, Stop> {
        self.next();
        let mut items = Vec::new();
        loop {
            if self.is_over(']')? {
                return Ok(Value::Array(items));
            }
            items.push(self.value(depth + 1)?);
            self.after_value(']')?;
        }
    }

    /// Whether an object or a list ends here: with its closer, or with the text, when that ends behind a
    /// value. Where it ends behind a comma or an opener, more was to come.
    fn is_over(&mut self, closer: char) -> Result<bool, Stop> {
        self.space();
        let is_after_value = self.is_after_value;
        self.is_after_value = false;
        let mut has_comma = false;
        while self.take(',') {
            has_comma = true;
            self.space();
        }
        if self.take(closer) {
            return Ok(true);
        }
        match self.text.is_empty() {
            true if is_after_value && !has_comma => Ok(true),
            true => Err(Stop::Cut),
            false => Ok(false),
        }
    }

    /// Behind a value comes a comma, the closer, the end, or, where a comma was forgotten, a line break or a
    /// quote.
    fn after_value(&mut self, closer: char) -> Result<(), Stop> {
        let broke_line = {
            let spaces = self.text.len() - self.text.trim_start().len();
            let spaces = self.text.get(..spaces).unwrap_or_default();
            spaces.contains('\n')
        };
        self.space();
        self.is_after_value = true;
        let next = self.text.chars().next();
        match next {
            None | Some(',') => Ok(()),
            Some(c) if c == closer || c == '"' || c == '\'' || broke_line => Ok(()),
            Some(_) => Err(Stop::Wrong),
        }
    }

    fn key(&mut self) -> Result<String, Stop> {
        match self.text.chars().next() {
            Some(quote) if closing(quote).is_some() => self.string(quote),
            _ => {
                let word = self.word();
                if word.is_empty() {
                    return Err(self.stop());
                }
                Ok(word)
            }
        }
    }

    /// At the end of the text something is cut; elsewhere something is wrong.
    const fn stop(&self) -> Stop {
        if self.text.is_empty() {
            Stop::Cut
        } else {
            Stop::Wrong
        }
    }

    fn word(&mut self) -> String {
        let part = |c: char| c.is_alphanumeric() || matches!(c, '_' | '$' | '-' | '.');
        let end = self.text.find(|c| !part(c)).unwrap_or(self.text.len());
        let (word, rest) = self.text.split_at(end);
        self.text = rest;
        word.to_owned()
    }

    /// A number, a word of JSON, Python or JavaScript, or a text without quotes up to the next comma.
    fn bare(&mut self) -> Result<Value, Stop> {
        let end = self
            .text
            .find([',', '}', ']', '\n', ':', '{', '[', '(', ')', '"', '=']);
        let Some(end) = end else {
            // What has no end may be the beginning of something longer.
            return Err(Stop::Cut);
        };
        let (word, rest) = self.text.split_at(end);
        let word = word.trim();
        if word.is_empty() || rest.starts_with([':', '{', '[', '(', '"', '=']) {
            return Err(Stop::Wrong);
        }
        self.text = rest;
        Ok(match word {
            "true" | "True" | "TRUE" => Value::Bool(true),
            "false" | "False" | "FALSE" => Value::Bool(false),
            "null" | "None" | "NULL" | "nil" | "undefined" | "NaN" => Value::Null,
            _ => number(word).unwrap_or_else(|| Value::String(word.to_owned())),
        })
    }

    fn string(&mut self, quote: char) -> Result<String, Stop> {
        let triple = match quote {
            '"' => self
                .text
                .strip_prefix("\"\"\"")
                .map(|rest| ("\"\"\"", rest)),
            '\'' => self.text.strip_prefix("'''").map(|rest| ("'''", rest)),
            _ => None,
        };
        if let Some((mark, rest)) = triple {
            let (inside, rest) = rest.split_once(mark).ok_or(Stop::Cut)?;
            self.text = rest;
            return Ok(inside.to_owned());
        }
        let end = closing(quote).unwrap_or(quote);
        self.next();
        let mut text = String::new();
        loop {
            match self.next() {
                None => return Err(Stop::Cut),
                Some('\\') => self.escape(&mut text)?,
                Some(c) if c == end && self.ends_string() => return Ok(text),
                Some(c) => text.push(c),
            }
        }
    }

    /// Whether a quote ends its string, rather than being one that nobody escaped.
    fn ends_string(&self) -> bool {
        let after = self.text.trim_start();
        let is_closed = after.is_empty()
            || after.starts_with([',', '}', ']', ':', ')', '/', '='])
            || after.starts_with("```");
        // A forgotten comma before a line break.
        let broke_line = after.len() < self.text.len()
            && self
                .text
                .trim_start_matches([' ', '\t', '\r'])
                .starts_with('\n')
            && after.starts_with(['"', '\'']);
        is_closed || broke_line || after.starts_with("</") || after.starts_with("<|")
    }

    fn escape(&mut self, text: &mut String) -> Result<(), Stop> {
        let Some(c) = self.next() else {
            return Err(Stop::Cut);
        };
        match c {
            'n' => text.push('\n'),
            't' => text.push('\t'),
            'r' => text.push('\r'),
            'b' => text.push('\u{8}'),
            'f' => text.push('\u{c}'),
            '"' | '\'' | '\\' | '/' | '`' => text.push(c),
            // A line that goes on in the next.
            '\n' => {}
            'u' => {
                let code = self.hex();
                text.push(code.unwrap_or(char::REPLACEMENT_CHARACTER));
            }
            other => {
                text.push('\\');
                text.push(other);
            }
        }
        Ok(())
    }

    /// The character of `\u`, with the second half of a pair.
    fn hex(&mut self) -> Option<char> {
        let first = self.four_digits()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first);
        }
        let before = self.text;
        let second = self.text.strip_prefix("\\u").and_then(|rest| {
            self.text = rest;
            self.four_digits()
        });
        match second {
            Some(second) if (0xdc00..0xe000).contains(&second) => {
                char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00))
            }
            _ => {
                self.text = before;
                None
            }
        }
    }

    fn four_digits(&mut self) -> Option<u32> {
        let (digits, rest) = self.text.split_at_checked(4)?;
        let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| is_hex)?;
        self.text = rest;
        Some(code)
    }
}

/// The quote that ends what another begins.
const fn closing(quote: char) -> Option<char> {
    match quote {
        '"' | '\'' | '`' => Some(quote),
        '\u{201c}' | '\u{201d}' => Some('\u{201d}'),
        '\u{2018}' | '\u{2019}' => Some('\u{2019}'),
        _ => None,
    }
}

/// A number as JSON writes it, or with what Python allows: a plus, underscores, a bare point.
fn number(word: &str) -> Option<Value> {
    let first = word.trim_start_matches(['+', '-', '.']).chars().next()?;
    if !first.is_ascii_digit() {
        return None;
    }
    let plain: String = word
        .trim_start_matches('+')
        .chars()
        .filter(|c| *c != '_')
        .collect();
    let strict = serde_json::from_str::<serde_json::Number>(&plain).ok();
    let number = strict.or_else(|| {
        let is_plain = plain
            .chars()
            .all(|c| c.is_ascii_digit() || matches!(c, '.' | '-'));
        let float = plain.parse::<f64>().ok().filter(|_| is_plain)?;
        serde_json::Number::from_f64(float)
    });
    number.map(Value::Number)
}

#[cfg(test)]
mod tests;
