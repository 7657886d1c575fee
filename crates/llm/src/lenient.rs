//! Reading providers' JSON with as little faith in its types as possible: servers send null for
//! empty, objects for strings and numbers for words, and one odd field must not lose an answer.

use std::borrow::Cow;

use serde_json::{Number, value::RawValue};

/// A value that is not looked into yet.
pub(crate) type Raw<'a> = Option<&'a RawValue>;

/// A string; nothing when it is null or something else.
pub(crate) fn string<'a>(raw: Raw<'a>) -> Option<Cow<'a, str>> {
    let json = raw?.get();
    // A plain literal without escapes is taken as it stands.
    if let Some(inner) = json
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'))
        && !inner.contains('\\')
    {
        return Some(Cow::Borrowed(inner));
    }
    serde_json::from_str::<String>(json).ok().map(Cow::Owned)
}

/// A string that says something.
pub(crate) fn non_empty<'a>(raw: Raw<'a>) -> Option<Cow<'a, str>> {
    string(raw).filter(|text| !text.is_empty())
}

/// A count of tokens; 0 when there is none.
#[allow(clippy::cast_possible_truncation)]
pub(crate) fn count(number: Option<Number>) -> i64 {
    let Some(number) = number else {
        return 0;
    };
    let whole = number
        .as_i64()
        .or_else(|| number.as_f64().map(|float| float as i64));
    whole.unwrap_or(0).clamp(0, 1 << 40)
}

/// Why a text is no JSON, with its beginning when it is not even meant to be.
pub(crate) fn unreadable(text: &str, error: &serde_json::Error) -> String {
    let start: String = text.trim_start().chars().take(80).collect();
    if start.starts_with('{') {
        format!("{error}")
    } else if start.is_empty() {
        "it is empty".to_owned()
    } else {
        format!("it is no JSON but begins {start:?}")
    }
}

/// The bytes as text, whatever they are.
pub(crate) fn lossy_without_bom(bytes: &[u8]) -> Cow<'_, str> {
    String::from_utf8_lossy(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes))
}

/// The provider's id of a call, or a new one when there is none or it is taken.
pub(crate) fn unique_id(given: Option<String>, taken: impl Fn(&str) -> bool) -> String {
    match given {
        Some(id) if !id.is_empty() && !taken(&id) => id,
        _ => format!("call_{}", uuid::Uuid::new_v4().simple()),
    }
}
