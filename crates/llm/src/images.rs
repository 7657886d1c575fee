//! Images that messages name by URL: fetched once, when they are accepted.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use mnemic_core::messages::ContentPart;

use crate::url_guard::{FetchLimits, UrlError, UrlGuard};

/// The largest image.
const MAX_BYTES: usize = 20 * 1024 * 1024;
/// How long an image may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The formats that models read.
const FORMATS: &str = "PNG, JPEG, GIF and WebP";

/// Why there is no image.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// Its URL is refused, or it can't be fetched.
    #[error("the image can't be fetched: {0}")]
    Url(#[from] UrlError),
    /// What is there is no image, or none that models read.
    #[error("what is at {at} is not an image that models read ({found}); they read {FORMATS}")]
    NotAnImage {
        /// Where it was.
        at: String,
        /// What it is.
        found: String,
    },
    /// A `data:` URL is none.
    #[error(
        "the data: URL of the image can't be read: {reason}; it should look like data:image/png;base64,iVBORw0..."
    )]
    DataUrl {
        /// What is wrong with it.
        reason: String,
    },
}

impl UrlGuard {
    /// Fetches an image: at most 20 MB, within 10 seconds, and a format that models read. A `data:`
    /// URL is read without fetching anything.
    ///
    /// # Errors
    /// When the URL is refused, can't be fetched, or leads to something else than an image.
    pub async fn fetch_image(&self, url: &str) -> Result<ContentPart, ImageError> {
        let limits = FetchLimits {
            max_bytes: MAX_BYTES,
            timeout: PATIENCE,
        };
        self.fetch_image_within(url, limits).await
    }

    /// The same with other limits.
    ///
    /// # Errors
    /// As [`UrlGuard::fetch_image`].
    pub async fn fetch_image_within(
        &self,
        url: &str,
        limits: FetchLimits,
    ) -> Result<ContentPart, ImageError> {
        if url.trim_start().starts_with("data:") {
            return image_from_data_url(url);
        }
        let fetched = self.get(url, limits).await?;
        let not_an_image = |found: String| ImageError::NotAnImage {
            at: fetched.url.host_str().unwrap_or("the URL").to_owned(),
            found,
        };
        let named = fetched.media_type.as_str();
        // Storage servers send images as plain bytes; anything else that is no image is a page.
        if !named.starts_with("image/")
            && !matches!(
                named,
                "" | "application/octet-stream" | "binary/octet-stream"
            )
        {
            return Err(not_an_image(format!("the server calls it {named}")));
        }
        let media_type = sniff_image(&fetched.bytes).ok_or_else(|| {
            not_an_image(format!(
                "its first bytes are of no such format, though the server calls it {named:?}"
            ))
        })?;
        Ok(ContentPart::Image {
            media_type: media_type.to_owned(),
            data: STANDARD.encode(&fetched.bytes),
        })
    }
}

/// The image of a `data:` URL.
///
/// # Errors
/// When it is not base64, too large, or not an image.
pub fn image_from_data_url(url: &str) -> Result<ContentPart, ImageError> {
    let refuse = |reason: &str| ImageError::DataUrl {
        reason: reason.to_owned(),
    };
    let rest = url
        .trim()
        .strip_prefix("data:")
        .ok_or_else(|| refuse("it has another scheme"))?;
    let (kind, data) = rest
        .split_once(',')
        .ok_or_else(|| refuse("it has no comma"))?;
    if !kind
        .split(';')
        .any(|word| word.eq_ignore_ascii_case("base64"))
    {
        return Err(refuse("it is not base64"));
    }
    if data.len() / 4 * 3 > MAX_BYTES {
        return Err(refuse("it is larger than 20 MB"));
    }
    let bytes = STANDARD
        .decode(data)
        .map_err(|error| refuse(&error.to_string()))?;
    let media_type =
        sniff_image(&bytes).ok_or_else(|| refuse(&format!("it holds none of {FORMATS}")))?;
    Ok(ContentPart::Image {
        media_type: media_type.to_owned(),
        data: data.to_owned(),
    })
}

/// The media type of an image that models read, told by its first bytes (WHATWG MIME Sniffing
/// Standard, section 6.1).
#[must_use]
pub fn sniff_image(bytes: &[u8]) -> Option<&'static str> {
    if bytes.starts_with(b"\x89PNG\r\n\x1a\n") {
        return Some("image/png");
    }
    if bytes.starts_with(b"\xff\xd8\xff") {
        return Some("image/jpeg");
    }
    if bytes.starts_with(b"GIF87a") || bytes.starts_with(b"GIF89a") {
        return Some("image/gif");
    }
    let webp = bytes.starts_with(b"RIFF") && bytes.get(8..14) == Some(b"WEBPVP");
    webp.then_some("image/webp")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_told_by_their_first_bytes() {
        let table: [(&[u8], Option<&str>); 7] = [
            (b"\x89PNG\r\n\x1a\n....", Some("image/png")),
            (b"\xff\xd8\xff\xe0", Some("image/jpeg")),
            (b"GIF89a.", Some("image/gif")),
            (b"RIFF\x10\0\0\0WEBPVP8 ", Some("image/webp")),
            (b"RIFF\x10\0\0\0WAVEfmt ", None),
            (b"<svg xmlns", None),
            (b"", None),
        ];
        for (bytes, expected) in table {
            assert_eq!(sniff_image(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_data_url_is_an_image_or_an_error_that_says_why() {
        let data = STANDARD.encode(b"GIF89a.");
        let image = image_from_data_url(&format!("data:image/png;base64,{data}")).unwrap();
        assert_eq!(
            image,
            ContentPart::Image {
                media_type: "image/gif".into(),
                data
            }
        );
        for (url, reason) in [
            ("data:image/png;base64", "no comma"),
            ("data:image/svg+xml,%3Csvg", "not base64"),
            ("data:image/png;base64,!!!", "Invalid"),
            ("data:image/png;base64,aGVsbG8=", "none of PNG"),
        ] {
            let error = image_from_data_url(url).unwrap_err().to_string();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }
}
