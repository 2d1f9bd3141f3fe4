//! Verified log-ins, remembered for a while so that a client that sends its password with every request does not cost a
//! password hash each time. Passwords are not kept: only an HMAC under a key of this process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::domain::{Error, Result, SecretText};

/// Minutes that a verified log-in is remembered.
const LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// Log-ins that are remembered; the oldest goes first.
const MOST: usize = 1_000;

pub(crate) struct Remembered {
    key: [u8; 32],
    entries: Mutex<HashMap<[u8; 32], DateTime<Utc>>>,
}

impl Remembered {
    /// # Errors
    /// `Internal` when the machine has no randomness.
    pub(crate) fn new() -> Result<Self> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)
            .map_err(|error| Error::internal("The machine gives no randomness.").because(error))?;
        Ok(Self { key, entries: Mutex::default() })
    }

    /// What a log-in is remembered by. The row's version is part of it: a changed user is forgotten at once.
    fn mark(&self, name: &str, version: i64, password: &SecretText) -> Option<[u8; 32]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).ok()?;
        mac.update(&(name.len() as u64).to_be_bytes());
        mac.update(name.as_bytes());
        mac.update(&version.to_be_bytes());
        mac.update(password.expose().as_bytes());
        Some(mac.finalize().into_bytes().into())
    }

    pub(crate) fn knows(&self, name: &str, version: i64, password: &SecretText, now: DateTime<Utc>) -> bool {
        let Some(mark) = self.mark(name, version, password) else { return false };
        let entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.get(&mark).is_some_and(|until| *until > now)
    }

    pub(crate) fn remember(&self, name: &str, version: i64, password: &SecretText, now: DateTime<Utc>) {
        let Some(mark) = self.mark(name, version, password) else { return };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|_, until| *until > now);
        if entries.len() >= MOST
            && let Some(oldest) = entries.iter().min_by_key(|(_, until)| **until).map(|(mark, _)| *mark)
        {
            entries.remove(&oldest);
        }
        entries.insert(mark, now + LIFETIME);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_in_is_known_until_it_is_old_or_its_user_changed() {
        let remembered = Remembered::new().unwrap();
        let (now, password) = (DateTime::<Utc>::UNIX_EPOCH, SecretText::new("right"));
        remembered.remember("mira", 1, &password, now);
        assert!(remembered.knows("mira", 1, &password, now + TimeDelta::minutes(4)));
        assert!(!remembered.knows("mira", 1, &password, now + TimeDelta::minutes(5)));
        assert!(!remembered.knows("mira", 2, &password, now));
        assert!(!remembered.knows("mira", 1, &SecretText::new("wrong"), now));
        assert!(!remembered.knows("mir", 1, &SecretText::new("aright"), now));
    }
}
