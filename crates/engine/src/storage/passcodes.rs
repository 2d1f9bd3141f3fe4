//! From a passcode to the vault it opens (store.md, section 7).
//!
//! A locator says which vault of a store belongs to a passcode and nothing about the passcode to anyone who has not 64 MiB and
//! a third of a second for each guess. Passcodes themselves are never kept: what was derived is remembered for some minutes
//! under an HMAC with a key of this process.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use argon2::{Algorithm, Argon2, Params, Version};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::{
    domain::{Error, Result, SecretText},
    secrets::fill_random,
};

/// KiB of memory of one derivation.
const MEMORY_KIB: u32 = 64 << 10;
const PASSES: u32 = 3;
const LANES: u32 = 1;
const LOCATOR_LABEL: &[u8] = b"trivault-repo-v1";
/// Bytes of a locator: 32 hex digits.
const LOCATOR_BYTES: usize = 16;
/// How long a derivation is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Derivations that are remembered at most.
const MOST_REMEMBERED: usize = 256;
/// The contract's lower limit, characters.
const SHORTEST_PASSCODE: usize = 8;
/// Upper limit, bytes.
const LONGEST_PASSCODE: usize = 1024;

/// Refuses passcodes that are too short, too long, or that the stock restic could not be given.
pub(crate) fn check_form(passcode: &SecretText) -> Result<()> {
    let text = passcode.expose();
    if text.chars().count() < SHORTEST_PASSCODE {
        return Err(Error::invalid(format!("The passcode must have at least {SHORTEST_PASSCODE} characters."))
            .hint("Twelve random characters are a good passcode."));
    }
    if text.len() > LONGEST_PASSCODE {
        return Err(Error::invalid(format!("The passcode must have at most {LONGEST_PASSCODE} bytes.")));
    }
    if text.contains(['\n', '\r', '\0']) {
        return Err(Error::invalid("The passcode must not contain a line end.")
            .hint("The stock restic strips line ends from passwords, so it could not open the backup."));
    }
    Ok(())
}

/// Locators by an HMAC of salt and passcode, with the time of their derivation.
type Remembered = HashMap<[u8; 32], (Instant, Vec<u8>)>;

/// Derives locators, one at a time: 64 MiB each, and at most some three look-ups a second, which limits guessing.
pub(crate) struct Locators {
    process_key: Zeroizing<[u8; 32]>,
    remembered: Mutex<Remembered>,
    one_at_a_time: Mutex<()>,
}

impl Locators {
    pub(crate) fn new() -> Result<Self> {
        let mut process_key = Zeroizing::new([0; 32]);
        fill_random(process_key.as_mut_slice())?;
        Ok(Self { process_key, remembered: Mutex::default(), one_at_a_time: Mutex::default() })
    }

    /// The locator of a passcode in the store with this salt. Blocks for a third of a second.
    pub(crate) fn locate(&self, salt: &[u8], passcode: &SecretText) -> Result<Vec<u8>> {
        let name = self.name(salt, passcode)?;
        if let Some(found) = self.look_up(&name) {
            return Ok(found);
        }
        let _turn = lock(&self.one_at_a_time);
        if let Some(found) = self.look_up(&name) {
            return Ok(found);
        }
        let locator = derive(salt, passcode)?;
        let mut remembered = lock(&self.remembered);
        remembered.retain(|_, (at, _)| at.elapsed() < REMEMBERED);
        if remembered.len() >= MOST_REMEMBERED {
            remembered.clear();
        }
        remembered.insert(name, (Instant::now(), locator.clone()));
        Ok(locator)
    }

    fn look_up(&self, name: &[u8; 32]) -> Option<Vec<u8>> {
        lock(&self.remembered).get(name).filter(|(at, _)| at.elapsed() < REMEMBERED).map(|(_, found)| found.clone())
    }

    fn name(&self, salt: &[u8], passcode: &SecretText) -> Result<[u8; 32]> {
        let mut mac = hmac(self.process_key.as_slice())?;
        mac.update(&(salt.len() as u64).to_be_bytes());
        mac.update(salt);
        mac.update(passcode.expose().as_bytes());
        Ok(mac.finalize().into_bytes().into())
    }
}

fn derive(salt: &[u8], passcode: &SecretText) -> Result<Vec<u8>> {
    let failed = |error: argon2::Error| Error::internal("A passcode could not be derived.").because(error.to_string());
    let mut tag = Zeroizing::new([0; 32]);
    let params = Params::new(MEMORY_KIB, PASSES, LANES, Some(tag.len())).map_err(failed)?;
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(passcode.expose().as_bytes(), salt, tag.as_mut_slice())
        .map_err(failed)?;
    let mut mac = hmac(tag.as_slice())?;
    mac.update(LOCATOR_LABEL);
    Ok(mac.finalize().into_bytes()[..LOCATOR_BYTES].to_vec())
}

fn hmac(key: &[u8]) -> Result<Hmac<Sha256>> {
    Hmac::<Sha256>::new_from_slice(key).map_err(|_| Error::internal("A passcode could not be derived."))
}

/// A panic elsewhere leaves whole entries behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_locator_depends_on_passcode_and_store_alone() {
        let passcode = SecretText::new("correct horse");
        let locator = derive(&[1; 32], &passcode).unwrap();
        assert_eq!(locator.len(), LOCATOR_BYTES);
        let locators = Locators::new().unwrap();
        assert_eq!(locators.locate(&[1; 32], &passcode).unwrap(), locator);
        assert_ne!(locators.locate(&[2; 32], &passcode).unwrap(), locator);
        assert_ne!(locators.locate(&[1; 32], &SecretText::new("correct horsf")).unwrap(), locator);
    }

    #[test]
    fn passcodes_that_restic_could_not_be_given_are_refused() {
        let good = |text: &str| check_form(&SecretText::new(text)).is_ok();
        assert!(good("12345678") && good("pässwört") && good(" spaces stay ") && good(&"x".repeat(1024)));
        assert!(!good("1234567") && !good("line\nend123") && !good("line end\r") && !good(&"x".repeat(1025)));
    }
}
