//! The secrets of keys and tokens. Only their digests are stored. A plain SHA-256 is right for these: they are 256 random bits,
//! which no list of likely words holds, so that a slow hash would protect nothing and cost every request.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};

/// Letters by which people know a key.
const HINT: usize = 4;

/// What a secret is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A key.
    Key,
    /// The token of an end user.
    Token,
}

impl Kind {
    const fn prefix(self) -> &'static str {
        match self {
            Self::Key => "mnk_",
            Self::Token => "mnu_",
        }
    }
}

/// A secret that is told once.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    /// The secret itself.
    pub text: String,
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A new one.
    #[must_use]
    pub fn new(kind: Kind) -> Self {
        let bytes: [u8; 32] = rand::random();
        Self {
            text: format!("{}{}", kind.prefix(), URL_SAFE_NO_PAD.encode(bytes)),
        }
    }

    /// What is stored of it.
    #[must_use]
    pub fn hash(&self) -> String {
        hash(self.text.as_bytes())
    }

    /// Its last letters.
    #[must_use]
    pub fn hint(&self) -> String {
        let skipped = self.text.chars().count().saturating_sub(HINT);
        self.text.chars().skip(skipped).collect()
    }
}

/// What a text with the form of a secret is, and its digest.
#[must_use]
pub fn known(text: &[u8]) -> Option<(Kind, String)> {
    let kinds = [Kind::Key, Kind::Token].into_iter();
    let kind = kinds
        .into_iter()
        .find(|kind| text.starts_with(kind.prefix().as_bytes()))?;
    Some((kind, hash(text)))
}

fn hash(text: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(text);
    digest
        .iter()
        .fold(String::with_capacity(64), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_known_by_its_form_and_stored_as_its_digest() {
        for kind in [Kind::Key, Kind::Token] {
            let (one, other) = (Secret::new(kind), Secret::new(kind));
            assert_ne!(one.text, other.text);
            assert_eq!(one.text.len(), kind.prefix().len() + 43, "256 bits");
            assert_eq!(known(one.text.as_bytes()), Some((kind, one.hash())));
            assert!(one.text.ends_with(&one.hint()));
            assert!(!format!("{one:?}").contains(&one.text));
        }
        for other in ["", "sk-none", "mnk", "MNK_x"] {
            assert_eq!(known(other.as_bytes()), None, "{other}");
        }
    }
}
