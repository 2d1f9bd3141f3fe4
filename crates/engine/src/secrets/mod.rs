//! The server key and what it seals.
//!
//! One key of 32 bytes seals every secret that must be kept: credentials of sources and stores, the passwords of vaults,
//! passcodes of scheduled work. It never seals anything itself: a key for sealing and a key for signing are derived from it, so
//! that a weakness in one use says nothing about the other.

mod key_file;
mod sources;
mod text;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub(crate) use key_file::{load_or_create, load_or_keep};

use crate::domain::{Error, Result, SecretText};

/// Bytes of the server key.
pub const SERVER_KEY_BYTES: usize = 32;
/// First byte of everything sealed; another value is a later format.
const SEALED_FORMAT: u8 = 1;
const SEALING_LABEL: &[u8] = b"trivault-sealing-v1";
const SIGNING_LABEL: &[u8] = b"trivault-signing-v1";

/// The key that opens everything the server keeps; wiped on drop, never printed.
#[derive(Clone, PartialEq, Eq, Zeroize, ZeroizeOnDrop)]
pub struct ServerKey([u8; SERVER_KEY_BYTES]);

impl std::fmt::Debug for ServerKey {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("ServerKey")
    }
}

impl ServerKey {
    pub fn new(bytes: [u8; SERVER_KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// A new key.
    ///
    /// # Errors
    /// `Internal` when the machine has no randomness.
    pub fn random() -> Result<Self> {
        let mut bytes = [0; SERVER_KEY_BYTES];
        fill_random(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Seals `plain` for one purpose; what was sealed for another does not open.
    pub(crate) fn seal(&self, purpose: &str, plain: &[u8]) -> Result<Vec<u8>> {
        let mut text = Zeroizing::new(plain.to_vec());
        text.reserve_exact(AES_256_GCM.tag_len());
        let nonce = self
            .sealing_key()?
            .seal_in_place_append_tag(Aad::from(purpose.as_bytes()), &mut *text)
            .map_err(|_| Error::internal("A secret could not be sealed."))?;
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + text.len());
        sealed.push(SEALED_FORMAT);
        sealed.extend_from_slice(nonce.as_ref());
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Opens what [`ServerKey::seal`] made for the same purpose.
    ///
    /// # Errors
    /// `Damaged` when it was sealed under another key or for another purpose, or was changed.
    pub(crate) fn open(&self, purpose: &str, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let refused = || {
            Error::new(crate::domain::ErrorCode::Damaged, "A sealed secret does not open with this server key.")
                .hint("Start with the server key that this installation was made with (server.key, or its export).")
        };
        let (format, rest) = sealed.split_first().ok_or_else(refused)?;
        if *format != SEALED_FORMAT || rest.len() < NONCE_LEN {
            return Err(refused());
        }
        let (nonce, text) = rest.split_at(NONCE_LEN);
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| refused())?;
        let mut text = Zeroizing::new(text.to_vec());
        let length = self
            .sealing_key()?
            .open_in_place(nonce, Aad::from(purpose.as_bytes()), &mut text)
            .map_err(|_| refused())?
            .len();
        text.truncate(length);
        Ok(text)
    }

    /// Opens text.
    pub(crate) fn open_text(&self, purpose: &str, sealed: &[u8]) -> Result<SecretText> {
        let plain = self.open(purpose, sealed)?;
        let text = std::str::from_utf8(&plain)
            .map_err(|_| Error::new(crate::domain::ErrorCode::Damaged, "A sealed secret is not text."))?;
        Ok(SecretText::new(text))
    }

    /// The key that signs bearer tokens; the same on every node that has this server key.
    pub(crate) fn signing_key(&self) -> Result<Zeroizing<[u8; 32]>> {
        self.derive(SIGNING_LABEL)
    }

    fn sealing_key(&self) -> Result<RandomizedNonceKey> {
        let key = self.derive(SEALING_LABEL)?;
        RandomizedNonceKey::new(&AES_256_GCM, key.as_slice())
            .map_err(|_| Error::internal("The sealing key could not be made."))
    }

    fn derive(&self, label: &[u8]) -> Result<Zeroizing<[u8; 32]>> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0)
            .map_err(|_| Error::internal("A key could not be derived from the server key."))?;
        mac.update(label);
        Ok(Zeroizing::new(mac.finalize().into_bytes().into()))
    }
}

/// Fills with the operating system's randomness.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| Error::internal("The machine gives no randomness.").because(error.to_string()))
}

/// `bytes` of randomness in lower-case hex.
pub(crate) fn random_hex(bytes: usize) -> Result<String> {
    let mut random = Zeroizing::new(vec![0; bytes]);
    fill_random(&mut random)?;
    Ok(hex::encode(&*random))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_with_the_same_key_and_purpose_only() {
        let key = ServerKey::new([7; 32]);
        let sealed = key.seal("vault", b"hunter22").unwrap();
        assert_eq!(key.open("vault", &sealed).unwrap().as_slice(), b"hunter22");
        assert!(key.open("source", &sealed).is_err());
        assert!(ServerKey::new([8; 32]).open("vault", &sealed).is_err());
        assert!(!sealed.windows(8).any(|window| window == b"hunter22"));
    }

    #[test]
    fn every_changed_or_shortened_secret_is_refused() {
        let key = ServerKey::new([7; 32]);
        let sealed = key.seal("vault", b"x").unwrap();
        for at in 0..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 1;
            assert!(key.open("vault", &changed).is_err(), "byte {at}");
            assert!(key.open("vault", &sealed[..at]).is_err(), "length {at}");
        }
    }

    #[test]
    fn sealing_twice_shows_nothing_and_signing_has_a_key_of_its_own() {
        let key = ServerKey::new([7; 32]);
        assert_ne!(key.seal("a", b"same").unwrap(), key.seal("a", b"same").unwrap());
        assert_ne!(*key.signing_key().unwrap(), *key.derive(SEALING_LABEL).unwrap());
        assert_eq!(format!("{key:?}"), "ServerKey");
    }
}
