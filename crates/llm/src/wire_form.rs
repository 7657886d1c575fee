//! Names, ids and arguments in the forms that all servers accept.
//!
//! What a provider refuses in a history it refuses for ever after, so nothing that a model or an
//! import may have left there is passed on unseen.

use std::borrow::Cow;

use mnemic_core::messages::{ContentPart, Image, MessageBody, Role};
use serde_json::json;

use crate::{json, transcript::MessageView};

/// OpenAI's limit on the length of call ids.
const MAX_ID: usize = 40;
/// OpenAI's limit on the length of function names and speakers' names.
const MAX_NAME: usize = 64;
/// What the model reads in place of a return that the history does not hold.
pub(crate) const NO_RETURN: &str = "The result of this call was not recorded.";

/// Stands for a message without any text.
const NOTHING: &str = "(This message is empty.)";

/// What somebody said, as parts in the form of a protocol that has no field for a speaker's name.
pub(crate) fn spoken_parts(
    view: &MessageView<'_>,
    text_part: fn(&mut Vec<u8>, &str),
    image_part: fn(&mut Vec<u8>, &str, &str),
) -> Vec<u8> {
    let mut parts = Vec::new();
    let is_user = view.role == Role::User;
    let named = view.name.map(wire_name);
    let mut name = named.filter(|name| is_user && !name.is_empty());
    for part in &view.body.content {
        match part {
            ContentPart::Text { text } => match name.take() {
                Some(name) => text_part(&mut parts, &format!("{name}: {text}")),
                None => text_part(&mut parts, text),
            },
            ContentPart::Image { media_type, data } if is_user => {
                image_part(&mut parts, media_type, data);
            }
            _ => {}
        }
    }
    if parts.is_empty() {
        text_part(&mut parts, NOTHING);
    }
    parts
}

/// What shows the images of tools where their returns can't.
pub(crate) fn shown(images: Vec<Image>) -> MessageBody {
    let images = images.into_iter().map(|image| ContentPart::Image {
        media_type: image.media_type,
        data: image.data,
    });
    let note = ContentPart::text("[What the tool returned as images:]");
    MessageBody {
        content: std::iter::once(note).chain(images).collect(),
        ..MessageBody::default()
    }
}

/// One text as it is, several joined by line breaks.
pub(crate) fn text_of(body: &MessageBody) -> Cow<'_, str> {
    match body.content.as_slice() {
        [] => Cow::Borrowed(""),
        [ContentPart::Text { text }] => Cow::Borrowed(text),
        _ => Cow::Owned(body.plain_text()),
    }
}

/// How many parts of an assistant message can be sent: thoughts may not be the last thing that it
/// holds.
pub(crate) fn sendable_parts(body: &MessageBody) -> usize {
    if !body.tool_calls.is_empty() {
        return body.content.len();
    }
    let says =
        |part: &ContentPart| matches!(part, ContentPart::Text { text } if !text.trim().is_empty());
    body.content
        .iter()
        .rposition(says)
        .map_or(0, |last| last + 1)
}

/// A call id that fits: short, visible ASCII. Others are replaced by a digest, the same every time.
pub(crate) fn wire_id(id: &str) -> Cow<'_, str> {
    if !id.is_empty() && id.len() <= MAX_ID && id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Cow::Borrowed(id);
    }
    // FNV-1a, written out because the standard hasher may differ between compilers.
    let digest = id.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Cow::Owned(format!("call_{digest:016x}"))
}

/// A name of letters, digits, `_` and `-`, which is what OpenAI accepts of functions and speakers.
pub(crate) fn wire_name(name: &str) -> Cow<'_, str> {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    if name.len() <= MAX_NAME && name.chars().all(fits) {
        return Cow::Borrowed(name);
    }
    let safe = name
        .chars()
        .take(MAX_NAME)
        .map(|c| if fits(c) { c } else { '_' });
    Cow::Owned(safe.collect())
}

/// Arguments as a JSON object in text: llama-server and vLLM parse them for their chat templates
/// and fail on anything else.
pub(crate) fn wire_arguments(arguments: &str) -> Cow<'_, str> {
    if json::is_object(arguments) {
        return Cow::Borrowed(arguments);
    }
    if arguments.trim().is_empty() {
        return Cow::Borrowed("{}");
    }
    Cow::Owned(json!({ "not_json": arguments }).to_string())
}
