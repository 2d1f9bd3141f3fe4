//! `trivault.json`: what a store says about itself. Nothing readable in it is secret.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use trivault_vault::{VaultErrorKind, backend::StoreRoot};
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::{
    domain::{Error, ErrorCode, Result, SecretText, StoreId},
    failure::from_vault,
    secrets::{ServerKey, fill_random, random_hex},
};

/// Name of the file in a store.
pub(crate) const STATE_FILE: &str = "trivault.json";
/// What this binary writes and reads.
const FORMAT: u32 = 1;
/// Bytes of a store's salt, with which its passcodes are told apart.
pub(crate) const SALT_BYTES: usize = 32;
/// Randomness of a server vault's password, bytes; twice as many hex digits.
const PASSWORD_BYTES: usize = 32;

/// A store's own record.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct StoreState {
    pub(crate) format: u32,
    /// The installation that writes here.
    pub(crate) installation: Uuid,
    pub(crate) store: StoreId,
    /// Base64.
    salt: String,
    /// Password of the server vault, sealed under the server key; base64.
    sealed_password: String,
    pub(crate) created_at: DateTime<Utc>,
    /// What a later version has added without another format; it is written back as it was.
    #[serde(flatten)]
    added_later: serde_json::Map<String, serde_json::Value>,
}

impl StoreState {
    /// A new record with a random salt and password.
    pub(crate) fn new(installation: Uuid, store: StoreId, key: &ServerKey, now: DateTime<Utc>) -> Result<Self> {
        let mut salt = [0; SALT_BYTES];
        fill_random(&mut salt)?;
        let password = Zeroizing::new(random_hex(PASSWORD_BYTES)?);
        let sealed = key.seal(&purpose(store), password.as_bytes())?;
        Ok(Self {
            format: FORMAT,
            installation,
            store,
            salt: BASE64_STANDARD.encode(salt),
            sealed_password: BASE64_STANDARD.encode(sealed),
            created_at: now,
            added_later: serde_json::Map::new(),
        })
    }

    /// The record in the store, if there is one.
    pub(crate) fn read(root: &dyn StoreRoot) -> Result<Option<Self>> {
        let bytes = match root.read(STATE_FILE) {
            Ok(bytes) => bytes,
            Err(error) if *error.kind() == VaultErrorKind::Missing => return Ok(None),
            Err(error) => return Err(from_vault(error)),
        };
        let damaged = |error: String| {
            Error::new(ErrorCode::Damaged, format!("The file {STATE_FILE} in {} cannot be read.", root.location()))
                .hint("Restore that file from a copy, or attach another place as the store.")
                .because(error)
        };
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
        if format > FORMAT {
            let sentence = format!("The store at {} was written by a later version of Trivault.", root.location());
            return Err(Error::new(ErrorCode::Unsupported, sentence).hint("Use that version or a later one."));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|error| damaged(error.to_string()))
    }

    /// Writes the record where there is none; `false` when another came first.
    pub(crate) fn create(&self, root: &dyn StoreRoot) -> Result<bool> {
        root.create(STATE_FILE, &self.to_bytes()?).map_err(from_vault)
    }

    fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = serde_json::to_vec_pretty(self)
            .map_err(|error| Error::internal("A store's record could not be written.").because(error))?;
        bytes.push(b'\n');
        Ok(bytes)
    }

    /// The same store under another installation's name and key. Backups under passcodes keep their salt.
    pub(crate) fn adopted(&self, installation: Uuid, key: &ServerKey, password: &SecretText) -> Result<Self> {
        let sealed = key.seal(&purpose(self.store), password.expose().as_bytes())?;
        Ok(Self { installation, sealed_password: BASE64_STANDARD.encode(sealed), ..self.clone() })
    }

    /// Writes the record over the one that stands.
    pub(crate) fn replace(&self, root: &dyn StoreRoot) -> Result<()> {
        root.write_atomic(STATE_FILE, &self.to_bytes()?).map_err(from_vault)
    }

    pub(crate) fn salt(&self) -> Result<Vec<u8>> {
        decode(&self.salt)
    }

    pub(crate) fn sealed_password(&self) -> Result<Vec<u8>> {
        decode(&self.sealed_password)
    }

    /// # Errors
    /// `Damaged` when it was sealed under another server key.
    pub(crate) fn password(&self, key: &ServerKey) -> Result<SecretText> {
        key.open_text(&purpose(self.store), &self.sealed_password()?)
    }
}

/// What a server vault's password is sealed for; the store's id binds it to its store.
pub(crate) fn purpose(store: StoreId) -> String {
    format!("vault-password:{store}")
}

fn decode(text: &str) -> Result<Vec<u8>> {
    BASE64_STANDARD
        .decode(text)
        .map_err(|error| Error::new(ErrorCode::Damaged, format!("The file {STATE_FILE} is damaged.")).because(error))
}

#[cfg(test)]
mod tests {
    use trivault_vault::backend::LocalRoot;

    use super::*;

    #[test]
    fn a_record_is_written_once_and_shows_no_password() {
        let folder = tempfile::tempdir().unwrap();
        let root = LocalRoot::new(folder.path()).unwrap();
        assert!(StoreState::read(&root).unwrap().is_none());
        let key = ServerKey::new([1; 32]);
        let (installation, store) = (Uuid::from_u128(1), StoreId(Uuid::from_u128(2)));
        let state = StoreState::new(installation, store, &key, DateTime::UNIX_EPOCH).unwrap();
        assert!(state.create(&root).unwrap());
        assert!(!state.create(&root).unwrap());
        let read = StoreState::read(&root).unwrap().unwrap();
        assert_eq!(read.salt().unwrap().len(), SALT_BYTES);
        let password = read.password(&key).unwrap();
        assert_eq!(password, state.password(&key).unwrap());
        let text = std::fs::read_to_string(folder.path().join(STATE_FILE)).unwrap();
        assert!(!text.contains(password.expose()));
        assert!(read.password(&ServerKey::new([2; 32])).is_err());
    }

    #[test]
    fn what_a_later_version_added_is_read_over_and_kept_when_the_record_is_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let root = LocalRoot::new(folder.path()).unwrap();
        let key = ServerKey::new([1; 32]);
        let state =
            StoreState::new(Uuid::from_u128(1), StoreId(Uuid::from_u128(2)), &key, DateTime::UNIX_EPOCH).unwrap();
        let mut json: serde_json::Value = serde_json::from_slice(&state.to_bytes().unwrap()).unwrap();
        json["region_of_origin"] = serde_json::json!({"name": "moon"});
        root.write_atomic(STATE_FILE, json.to_string().as_bytes()).unwrap();
        let read = StoreState::read(&root).unwrap().unwrap();
        let password = read.password(&key).unwrap();
        read.adopted(Uuid::from_u128(3), &key, &password).unwrap().replace(&root).unwrap();
        let text = std::fs::read_to_string(folder.path().join(STATE_FILE)).unwrap();
        let again: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(again["region_of_origin"], json["region_of_origin"]);
        assert_eq!(again["installation"], Uuid::from_u128(3).to_string());
    }

    #[test]
    fn a_damaged_or_later_record_is_refused_with_a_sentence() {
        let folder = tempfile::tempdir().unwrap();
        let root = LocalRoot::new(folder.path()).unwrap();
        for (text, code) in [("{", ErrorCode::Damaged), ("{\"format\":9}", ErrorCode::Unsupported)] {
            root.write_atomic(STATE_FILE, text.as_bytes()).unwrap();
            let refused = StoreState::read(&root).err().unwrap();
            assert_eq!(refused.code, code);
            assert!(refused.hint.is_some());
        }
    }
}
