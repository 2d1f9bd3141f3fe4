//! The server key as text: what `key export` prints for the safe, and what the key file holds.

use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::{SERVER_KEY_BYTES, ServerKey};
use crate::domain::{Error, Result, SecretText};

const PREFIX: &str = "tvkey1";
/// Hex digits between two dashes.
const GROUP: usize = 8;
/// Bytes of the checksum that finds a typing error.
const CHECK_BYTES: usize = 4;

impl ServerKey {
    /// One line: `tvkey1-` and the key with a checksum, in groups of eight hex digits.
    pub fn to_text(&self) -> SecretText {
        let mut bytes = Zeroizing::new(self.0.to_vec());
        bytes.extend_from_slice(&Sha256::digest(self.0)[..CHECK_BYTES]);
        let digits = Zeroizing::new(hex::encode(&*bytes));
        let mut text = String::from(PREFIX);
        for group in digits.as_bytes().chunks(GROUP) {
            text.push('-');
            text.push_str(std::str::from_utf8(group).unwrap_or_default());
        }
        SecretText::new(text)
    }

    /// Reads [`ServerKey::to_text`], or 64 hex digits, or the 32 bytes themselves.
    ///
    /// # Errors
    /// `InvalidInput` when it is neither, or has a typing error.
    pub fn parse(text: &[u8]) -> Result<Self> {
        if let Ok(bytes) = <[u8; SERVER_KEY_BYTES]>::try_from(text) {
            return Ok(Self(bytes));
        }
        let wrong = || {
            Error::invalid("This is not a server key.")
                .hint("A server key is one line that begins with tvkey1-, as `trivault key export` prints it.")
        };
        let text = std::str::from_utf8(text).map_err(|_| wrong())?.trim();
        let digits: Zeroizing<String> = match text.strip_prefix(PREFIX) {
            Some(groups) => Zeroizing::new(groups.chars().filter(|c| *c != '-').collect()),
            None => Zeroizing::new(text.to_owned()),
        };
        let bytes = Zeroizing::new(hex::decode(digits.as_bytes()).map_err(|_| wrong())?);
        let (key, check) = bytes.split_at_checked(SERVER_KEY_BYTES).ok_or_else(wrong)?;
        let key: [u8; SERVER_KEY_BYTES] = key.try_into().map_err(|_| wrong())?;
        let expected = &Sha256::digest(key)[..CHECK_BYTES];
        let complete = if text.starts_with(PREFIX) { check == expected } else { check.is_empty() };
        if complete { Ok(Self(key)) } else { Err(wrong()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_survives_its_text_and_a_typing_error_is_found() {
        let key = ServerKey::new(*b"0123456789abcdef0123456789abcdef");
        let text = key.to_text();
        assert_eq!(ServerKey::parse(text.expose().as_bytes()).unwrap(), key);
        assert_eq!(ServerKey::parse(format!(" {}\n", text.expose()).as_bytes()).unwrap(), key);
        let typo = text.expose().replacen("30", "31", 1);
        assert!(ServerKey::parse(typo.as_bytes()).is_err());
        assert!(ServerKey::parse(&text.expose().as_bytes()[..60]).is_err());
        assert!(ServerKey::parse(b"").is_err());
        assert_eq!(ServerKey::parse(hex::encode(key.0).as_bytes()).unwrap(), key);
    }
}
