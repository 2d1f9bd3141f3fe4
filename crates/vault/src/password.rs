//! The secret that opens a vault.

use std::fmt;
use zeroize::Zeroizing;

/// A password: exactly the bytes given, neither trimmed nor normalised, wiped after use. Debug prints nothing of it.
#[derive(Clone)]
pub struct Password(Zeroizing<Vec<u8>>);

impl Password {
    /// Takes the bytes over.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }

    /// The bytes; for the key derivation only.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Password(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_of_a_password_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", Password::new("hunter22")), "Password(..)");
    }
}
