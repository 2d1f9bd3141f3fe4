//! argon2id hashes of passwords.

use argon2::{
    Algorithm, Argon2, Params, Version,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};

use crate::domain::{Error, Result, SecretText};

/// OWASP's first recommendation: 19 MiB, two passes, one lane.
const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// Fewest and most bytes of a password.
const SHORTEST: usize = 8;
const LONGEST: usize = 1024;

fn hasher() -> Result<Argon2<'static>> {
    let params = Params::new(MEMORY_KIB, PASSES, LANES, None).map_err(|error| {
        Error::internal("The parameters of the password hash are wrong.").because(error.to_string())
    })?;
    Ok(Argon2::new(Algorithm::Argon2id, Version::V0x13, params))
}

/// # Errors
/// `InvalidInput` with the rule.
pub(crate) fn check_form(password: &SecretText) -> Result<()> {
    let length = password.expose().len();
    if (SHORTEST..=LONGEST).contains(&length) {
        return Ok(());
    }
    Err(Error::invalid(format!("A password has {SHORTEST} to {LONGEST} bytes.")))
}

/// A new hash with its own salt, in PHC form. Blocks for tens of milliseconds.
///
/// # Errors
/// `Internal` when the machine has no randomness.
pub(crate) fn hash(password: &SecretText) -> Result<String> {
    let hash = hasher()?.hash_password(password.expose().as_bytes());
    let hash = hash.map_err(|error| Error::internal("The password could not be hashed.").because(error.to_string()))?;
    Ok(hash.to_string())
}

/// Whether the password is the hash's. Blocks as long for a wrong one as for the right one.
pub(crate) fn matches(password: &SecretText, hash: &str) -> bool {
    let (Ok(hasher), Ok(hash)) = (hasher(), PasswordHash::new(hash)) else { return false };
    hasher.verify_password(password.expose().as_bytes(), &hash).is_ok()
}

/// A hash that no password has: what unknown users are compared with, so that they cost the same time.
pub(crate) fn hash_of_nobody() -> &'static str {
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let hashed = hash(&SecretText::new("correct horse")).unwrap();
        assert!(hashed.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(matches(&SecretText::new("correct horse"), &hashed));
        assert!(!matches(&SecretText::new("correct horsf"), &hashed));
        assert_ne!(hashed, hash(&SecretText::new("correct horse")).unwrap(), "each has a salt of its own");
    }

    #[test]
    fn nobodys_hash_can_be_computed_and_never_matches() {
        assert!(PasswordHash::new(hash_of_nobody()).is_ok());
        assert!(!matches(&SecretText::new(""), hash_of_nobody()));
    }

    #[test]
    fn a_password_has_eight_to_1024_bytes() {
        assert!(check_form(&SecretText::new("x".repeat(7))).is_err());
        assert!(check_form(&SecretText::new("x".repeat(8))).is_ok());
        assert!(check_form(&SecretText::new("x".repeat(1025))).is_err());
    }
}
