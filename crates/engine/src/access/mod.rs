//! How credentials are checked: password hashes, log-ins remembered and throttled, signed tokens. Pure but for its own memory;
//! the rows come from `service/access.rs`.

mod passwords;
mod remembered;
mod throttle;
mod tokens;

use zeroize::Zeroizing;

pub(crate) use self::{
    passwords::{check_form, hash, hash_of_nobody, matches},
    remembered::Remembered,
    throttle::Throttle,
    tokens::{Claims, api_token, secret_hash, sign, verify},
};
use crate::domain::Result;

/// The access state of a process.
pub struct Access {
    keys: Keys,
    pub(crate) remembered: Remembered,
    pub(crate) throttle: Throttle,
    /// At most so many password hashes at a time: each takes memory and a core.
    pub(crate) hashing: tokio::sync::Semaphore,
}

/// Password hashes that are computed at once.
const HASHES_AT_ONCE: usize = 2;

/// Keys that access needs; handed in when the engine opens.
pub struct Keys {
    /// Signs bearer tokens; the same on every node of an installation.
    pub signing_key: Zeroizing<[u8; 32]>,
}

impl Access {
    /// # Errors
    /// `Internal` when the machine has no randomness.
    pub fn new(keys: Keys) -> Result<Self> {
        Ok(Self {
            keys,
            remembered: Remembered::new()?,
            throttle: Throttle::default(),
            hashing: tokio::sync::Semaphore::new(HASHES_AT_ONCE),
        })
    }

    pub(crate) fn signing_key(&self) -> &[u8; 32] {
        &self.keys.signing_key
    }
}
