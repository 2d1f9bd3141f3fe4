//! How credentials are checked: password hashes, log-ins remembered and throttled, signed tokens. Pure but for its own memory;
//! the rows come from `service/access.rs`.

use zeroize::Zeroizing;

/// The access state of a process.
pub struct Access {
    #[allow(dead_code)]
    keys: Keys,
}

/// Keys that access needs; handed in when the engine opens.
pub struct Keys {
    /// Signs bearer tokens; the same on every node of an installation.
    pub signing_key: Zeroizing<[u8; 32]>,
}

impl Access {
    pub fn new(keys: Keys) -> Self {
        Self { keys }
    }
}
