//! Encryption of secrets at rest: XChaCha20-Poly1305 under one key, a random nonce per value.

use chacha20poly1305::{
    Key, KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Payload},
};
use rand::RngCore;
use sha2::{Digest, Sha256};

use crate::StoreError;

/// Bytes of an XChaCha20 nonce; random ones of this length do not repeat in practice.
const NONCE_BYTES: usize = 24;

/// Encrypts and decrypts the values of secret columns.
#[derive(Clone)]
pub struct Secrets {
    cipher: XChaCha20Poly1305,
}

impl Secrets {
    /// Derives the key from a configured passphrase or the content of the key file.
    #[must_use]
    pub fn new(key_material: &[u8]) -> Self {
        let key = Sha256::digest([b"mnemic secrets v1\0", key_material].concat());
        Self {
            cipher: XChaCha20Poly1305::new(Key::from_slice(&key)),
        }
    }

    /// Encrypts a value. `place` (table, row and column) is bound to it, so that a ciphertext that is
    /// moved to another row does not decrypt there.
    ///
    /// # Errors
    /// The value is too long for the cipher (256 GiB).
    pub fn encrypt(&self, place: &str, plain: &str) -> Result<Vec<u8>, StoreError> {
        let mut nonce = [0u8; NONCE_BYTES];
        rand::rng().fill_bytes(&mut nonce);
        let payload = Payload {
            msg: plain.as_bytes(),
            aad: place.as_bytes(),
        };
        let sealed = self
            .cipher
            .encrypt(XNonce::from_slice(&nonce), payload)
            .map_err(|_| StoreError::Invalid("the secret is too long".to_owned()))?;
        Ok([nonce.as_slice(), &sealed].concat())
    }

    /// Decrypts a value.
    ///
    /// # Errors
    /// It was encrypted with another key or for another place, or was changed.
    pub fn decrypt(&self, place: &str, sealed: &[u8]) -> Result<String, StoreError> {
        let wrong_key = || {
            StoreError::Corrupt(
                "a secret does not decrypt: the encryption key is not the one it was stored with"
                    .to_owned(),
            )
        };
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or_else(wrong_key)?;
        let payload = Payload {
            msg: sealed,
            aad: place.as_bytes(),
        };
        let plain = self
            .cipher
            .decrypt(XNonce::from_slice(nonce), payload)
            .map_err(|_| wrong_key())?;
        String::from_utf8(plain).map_err(|_| wrong_key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_opens_only_with_its_key_and_in_its_place() {
        let secrets = Secrets::new(b"one");
        let sealed = secrets.encrypt("agent_secrets/a/KEY", "value").unwrap();
        assert_eq!(
            secrets.decrypt("agent_secrets/a/KEY", &sealed).unwrap(),
            "value"
        );
        assert!(secrets.decrypt("agent_secrets/b/KEY", &sealed).is_err());
        assert!(
            Secrets::new(b"two")
                .decrypt("agent_secrets/a/KEY", &sealed)
                .is_err()
        );
        assert!(!sealed.windows(5).any(|window| window == b"value"));
    }
}
