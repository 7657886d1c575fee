//! Token counts by a real tokenizer: OpenAI's `o200k_base`, which is close enough for other models
//! to decide what fits.

use crate::messages::{ContentPart, MessageBody, Role};

/// Tokens that a chat format adds to each message for its role and separators, as OpenAI's guide on
/// counting tokens of chat requests states it (3 per message, 1 more for a name).
const MESSAGE_OVERHEAD: usize = 3;

/// Tokens reckoned for an image: that of one in high detail of about 1,024 x 1,024 pixels in OpenAI's
/// pricing (85 + 4 tiles x 170), whatever its real size.
const IMAGE_TOKENS: usize = 765;

/// How many tokens a text takes. Linear in its length, whatever the text.
#[must_use]
pub fn count(text: &str) -> usize {
    if text.is_empty() { 0 } else { bpe_openai::o200k_base().count(text) }
}

/// How many tokens a message takes in a request.
#[must_use]
pub fn count_message(role: Role, body: &MessageBody, name: Option<&str>) -> i64 {
    let mut total = MESSAGE_OVERHEAD + name.map_or(0, |name| count(name) + 1);
    for part in &body.content {
        total += match part {
            ContentPart::Text { text } => count(text),
            ContentPart::Image { .. } => IMAGE_TOKENS,
            // Not sent back, except by providers that ask for it.
            ContentPart::Reasoning { .. } => 0,
        };
    }
    for call in &body.tool_calls {
        total += MESSAGE_OVERHEAD + count(&call.name) + count(&call.arguments);
    }
    for result in &body.tool_returns {
        total += MESSAGE_OVERHEAD + count(&result.text);
    }
    debug_assert!(role != Role::Tool || body.content.is_empty());
    i64::try_from(total).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_as_the_tokenizer_cuts_them() {
        assert_eq!(count(""), 0);
        assert_eq!(count("hello world"), 2);
    }

    #[test]
    fn a_message_counts_its_text_calls_and_name() {
        let body = MessageBody::text("hello world");
        let plain = count_message(Role::User, &body, None);
        assert_eq!(plain, 5);
        assert!(count_message(Role::User, &body, Some("Ada")) > plain);
    }
}
