//! Bytes to text, after the Encoding Standard: a byte order mark, what the server says, what the page says, a guess.

use encoding_rs::{Encoding, UTF_8, WINDOWS_1252};

/// Bytes in which a page may name its encoding (HTML standard, 13.2.3.2).
const PRESCAN: usize = 1_024;

/// Text of bytes; what can't be decoded becomes replacement characters.
pub(super) fn decode(bytes: &[u8], named: Option<&str>, is_html: bool) -> String {
    let from_server = named.and_then(|label| Encoding::for_label(label.as_bytes()));
    let from_page = || is_html.then(|| declared(bytes)).flatten();
    let guessed = || {
        if std::str::from_utf8(bytes).is_ok() {
            UTF_8
        } else {
            WINDOWS_1252
        }
    };
    let encoding = from_server.or_else(from_page).unwrap_or_else(guessed);
    // A byte order mark wins over all of them.
    let (text, _, _) = encoding.decode(bytes);
    text.into_owned()
}

/// The encoding that a page declares in a `meta` element near its beginning.
fn declared(bytes: &[u8]) -> Option<&'static Encoding> {
    let head = bytes.get(..PRESCAN).unwrap_or(bytes);
    let head = String::from_utf8_lossy(head).to_ascii_lowercase();
    let mut rest = head.as_str();
    while let Some((_, from_meta)) = rest.split_once("<meta") {
        let (element, after) = from_meta.split_once('>').unwrap_or((from_meta, ""));
        if let Some((_, value)) = element.split_once("charset") {
            let value = value.trim_start().trim_start_matches('=').trim_start();
            let value = value.trim_start_matches(['"', '\'']);
            let label = value
                .split(|c: char| c.is_whitespace() || matches!(c, '"' | '\'' | ';' | '/'))
                .next()
                .unwrap_or_default();
            // What says in ASCII that it is UTF-16 is not (HTML standard, 13.2.3.2).
            let encoding = Encoding::for_label(label.as_bytes()).map(Encoding::output_encoding);
            if encoding.is_some() {
                return encoding;
            }
        }
        rest = after;
    }
    None
}

/// What bytes without a media type seem to be.
pub(super) enum Looks {
    Html,
    Text,
    Binary,
}

pub(super) fn looks_like(bytes: &[u8]) -> Looks {
    let head = bytes.get(..PRESCAN).unwrap_or(bytes);
    if head.contains(&0) {
        return Looks::Binary;
    }
    let start = String::from_utf8_lossy(head)
        .trim_start()
        .to_ascii_lowercase();
    let is_html = ["<!doctype html", "<html", "<head", "<body", "<!--"];
    if is_html.iter().any(|opening| start.starts_with(opening)) {
        Looks::Html
    } else if start.starts_with("%pdf-") {
        Looks::Binary
    } else {
        Looks::Text
    }
}
