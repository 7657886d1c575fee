//! What clients put into messages: a text, or a list of texts and images.

use std::fmt;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use mnemic_core::messages::{ContentPart, MessageBody, Role};
use mnemic_llm::{image_from_data_url, sniff_image};
use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, SeqAccess, Visitor},
};
use utoipa::ToSchema;

use crate::error::ApiError;

/// A text, or a list of texts and images.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Content {
    /// One text.
    Text(String),
    /// Several parts.
    Parts(Vec<InputPart>),
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;

        impl<'de> Visitor<'de> for Either {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a list of content parts")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Content, E> {
                Ok(Content::Text(text.to_owned()))
            }

            fn visit_string<E: de::Error>(self, text: String) -> Result<Content, E> {
                Ok(Content::Text(text))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Content, A::Error> {
                Vec::deserialize(de::value::SeqAccessDeserializer::new(seq)).map(Content::Parts)
            }
        }

        deserializer.deserialize_any(Either)
    }
}

/// A piece of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputPart {
    /// A text.
    Text {
        /// The text.
        text: String,
    },
    /// An image.
    Image {
        /// Where it is.
        source: InputImage,
    },
    /// Thoughts of a reasoning model, in messages of the assistant.
    Reasoning {
        /// The thoughts.
        reasoning: String,
        /// The provider's signature of them.
        #[serde(default)]
        signature: Option<String>,
    },
    /// Thoughts that their provider shows nobody, in messages of the assistant.
    RedactedReasoning {
        /// The provider's sealed text.
        data: String,
    },
    /// Thoughts whose text was left out, in messages of the assistant.
    OmittedReasoning {
        /// The provider's signature of them.
        #[serde(default)]
        signature: Option<String>,
    },
}

/// Where an image is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum InputImage {
    /// On the web, or in a `data:` URL; the server fetches it before it accepts the message.
    Url {
        /// The URL.
        url: String,
    },
    /// Here.
    Base64 {
        /// The MIME type.
        media_type: String,
        /// The bytes in base64.
        data: String,
    },
    /// As the history showed it.
    Letta {
        /// The MIME type.
        #[serde(default)]
        media_type: Option<String>,
        /// The bytes in base64.
        #[serde(default)]
        data: Option<String>,
    },
}

/// A part that is ready, or an image that is still to be fetched.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// Ready.
    Ready(ContentPart),
    /// To be fetched from this URL.
    Fetch(String),
}

/// The pieces of a content.
///
/// # Errors
/// A part is not one that a message of this role may have.
pub fn pieces(content: Content, role: Role) -> Result<Vec<Piece>, ApiError> {
    match content {
        Content::Text(text) => Ok(vec![Piece::Ready(ContentPart::Text { text })]),
        Content::Parts(parts) if parts.is_empty() => Err(ApiError::unprocessable(
            "the content of a message must have at least one part",
        )),
        Content::Parts(parts) => parts.into_iter().map(|part| piece(part, role)).collect(),
    }
}

fn piece(part: InputPart, role: Role) -> Result<Piece, ApiError> {
    match part {
        InputPart::Text { text } => Ok(Piece::Ready(ContentPart::Text { text })),
        InputPart::Reasoning { .. }
        | InputPart::RedactedReasoning { .. }
        | InputPart::OmittedReasoning { .. }
            if role != Role::Assistant =>
        {
            Err(ApiError::unprocessable(
                "only messages of the role 'assistant' may have parts of the types 'reasoning', \
                 'redacted_reasoning' and 'omitted_reasoning'",
            ))
        }
        // Who signed it is not known, so it is shown and never sent to a provider.
        InputPart::Reasoning {
            reasoning: text,
            signature,
        } => Ok(Piece::Ready(ContentPart::Reasoning {
            text,
            signature,
            origin: None,
        })),
        InputPart::OmittedReasoning { signature } => Ok(Piece::Ready(ContentPart::Reasoning {
            text: String::new(),
            signature,
            origin: None,
        })),
        InputPart::RedactedReasoning { data } => Ok(Piece::Ready(ContentPart::RedactedReasoning {
            data,
            origin: None,
        })),
        InputPart::Image { .. } if role != Role::User => Err(ApiError::unprocessable(
            "only messages of the role 'user' may have parts of the type 'image'",
        )),
        InputPart::Image {
            source: InputImage::Url { url },
        } if url.starts_with("data:") => {
            let image = image_from_data_url(&url);
            image
                .map(Piece::Ready)
                .map_err(|error| ApiError::unprocessable(error.to_string()))
        }
        InputPart::Image {
            source: InputImage::Url { url },
        } => Ok(Piece::Fetch(url)),
        InputPart::Image {
            source: InputImage::Base64 { data, .. },
        } => image(data),
        InputPart::Image {
            source: InputImage::Letta { data, .. },
        } => {
            let data = data.ok_or_else(|| {
                ApiError::unprocessable("an image of the type 'letta' must come with its data")
            })?;
            image(data)
        }
    }
}

/// An image given in base64. What it is, is seen from its bytes: a provider that is given something
/// else would refuse every later turn of the conversation as well.
fn image(data: String) -> Result<Piece, ApiError> {
    let bytes = STANDARD.decode(data.as_bytes()).map_err(|error| {
        ApiError::unprocessable(format!("an image's data is not valid base64: {error}"))
    })?;
    let media_type = sniff_image(&bytes).ok_or_else(|| {
        ApiError::unprocessable("an image's data must be a PNG, JPEG, GIF or WebP")
    })?;
    Ok(Piece::Ready(ContentPart::Image {
        media_type: media_type.to_owned(),
        data,
    }))
}

/// A body of ready parts.
#[must_use]
pub fn body(content: Vec<ContentPart>) -> MessageBody {
    MessageBody {
        content,
        ..MessageBody::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(value: Value, role: Role) -> Result<Vec<Piece>, u16> {
        let content: Content = serde_json::from_value(value).map_err(|_| 0u16)?;
        pieces(content, role).map_err(|error| error.status().as_u16())
    }

    /// The first bytes of a PNG.
    const PNG: &str = "iVBORw0KGgo=";

    fn text(text: &str) -> Piece {
        Piece::Ready(ContentPart::text(text))
    }

    #[test]
    fn texts_and_images_are_read_in_all_their_forms() {
        let image = Piece::Ready(ContentPart::Image {
            media_type: "image/png".to_owned(),
            data: PNG.to_owned(),
        });
        let source = |source: Value| json!([{"type": "image", "source": source}]);
        let table = [
            (json!("Hi"), vec![text("Hi")]),
            (json!([{"type": "text", "text": "Hi"}]), vec![text("Hi")]),
            (
                source(json!({"type": "base64", "media_type": "image/png", "data": PNG})),
                vec![image.clone()],
            ),
            (
                source(json!({"type": "url", "url": format!("data:image/png;base64,{PNG}")})),
                vec![image.clone()],
            ),
            (
                source(json!({
                    "type": "letta", "file_id": "file-1", "media_type": "image/png", "data": PNG
                })),
                vec![image],
            ),
            (
                source(json!({"type": "url", "url": "https://example.org/a.png"})),
                vec![Piece::Fetch("https://example.org/a.png".to_owned())],
            ),
        ];
        for (given, wanted) in table {
            assert_eq!(read(given.clone(), Role::User).unwrap(), wanted, "{given}");
        }
    }

    #[test]
    fn what_a_message_cannot_have_is_refused() {
        let bad_image = |media_type: &str, data: &str| {
            json!([{"type": "image",
                    "source": {"type": "base64", "media_type": media_type, "data": data}}])
        };
        let table = [
            (json!([]), Role::User),
            (json!(5), Role::User),
            (json!([{"type": "video"}]), Role::User),
            (
                json!([{"type": "reasoning", "reasoning": "hm"}]),
                Role::User,
            ),
            (bad_image("image/png", PNG), Role::System),
            (bad_image("image/bmp", "Qk1GAAAA"), Role::User),
            (bad_image("image/png", "%%"), Role::User),
            (bad_image("image/png", ""), Role::User),
        ];
        for (given, role) in table {
            assert!(read(given.clone(), role).is_err(), "{given} was accepted");
        }
    }
}
