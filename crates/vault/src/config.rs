//! `config`, the birth mark of a vault.

use crate::{
    backend::{Backend, FileKind},
    crypto::{SealingKey, fill_random},
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
};
use serde::{Deserialize, Serialize};

/// The repository version this crate writes and reads.
const VERSION: u32 = 2;
const NAME: &str = "config";

/// What `config` says. Never compressed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub version: u32,
    pub id: Id,
    /// Only for stock restic: we cut otherwise, but restic opens nothing without an irreducible one.
    pub chunker_polynomial: String,
}

impl Config {
    /// The config of a new vault.
    pub fn random() -> Result<Self> {
        let mut id = [0_u8; 32];
        fill_random(&mut id)?;
        Ok(Self { version: VERSION, id: Id::from_bytes(id), chunker_polynomial: format!("{:x}", random_polynomial()?) })
    }

    /// Stores it as the last step of creating a vault; `false` when there is one already.
    pub fn create(&self, backend: &dyn Backend, key: &SealingKey) -> Result<bool> {
        let json = serde_json::to_vec(self)
            .map_err(|error| VaultError::internal("the config cannot be written").with_source(error))?;
        backend.create(FileKind::Config, NAME, &key.seal(&json)?)
    }

    /// Reads and checks it.
    pub fn read(backend: &dyn Backend, key: &SealingKey) -> Result<Self> {
        let stored = backend.read(FileKind::Config, NAME)?;
        let plain = key.open(&stored, &|| "the config".to_owned())?;
        let config: Self = serde_json::from_slice(&plain)
            .map_err(|error| VaultError::damaged("the config cannot be understood").with_source(error))?;
        if config.version != VERSION {
            return Err(VaultError::unsupported(format!(
                "the vault has format version {}, this program knows version {VERSION}",
                config.version
            ))
            .with_hint("version 1 can be upgraded with `restic migrate upgrade_repo_v2`"));
        }
        let polynomial = u64::from_str_radix(&config.chunker_polynomial, 16).unwrap_or(0);
        if polynomial < 2 {
            return Err(VaultError::damaged("the config holds no chunker polynomial"));
        }
        Ok(config)
    }

    /// Whether there is a config at all.
    pub fn exists(backend: &dyn Backend) -> Result<bool> {
        match backend.length(FileKind::Config, NAME) {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == &VaultErrorKind::Missing => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// An irreducible polynomial of degree 53 over GF(2), as restic makes it: random odd candidates until one passes.
fn random_polynomial() -> Result<u64> {
    loop {
        let mut bytes = [0_u8; 8];
        fill_random(&mut bytes)?;
        let candidate = u64::from_le_bytes(bytes) & ((1 << 53) - 1) | 1 << 53 | 1;
        if is_irreducible(candidate) {
            return Ok(candidate);
        }
    }
}

/// 53 is prime, so a polynomial of that degree is irreducible iff it has neither root 0 nor root 1 and x^(2^53) = x modulo it.
fn is_irreducible(polynomial: u64) -> bool {
    if polynomial >> 53 != 1 || polynomial & 1 == 0 || polynomial.count_ones().is_multiple_of(2) {
        return false;
    }
    let mut power = 2;
    for _ in 0..53 {
        power = multiply(power, power, polynomial);
    }
    power == 2
}

fn multiply(mut left: u64, mut right: u64, modulus: u64) -> u64 {
    let mut product = 0;
    while right != 0 {
        if right & 1 == 1 {
            product ^= left;
        }
        right >>= 1;
        left <<= 1;
        if left >> 53 & 1 == 1 {
            left ^= modulus;
        }
    }
    product
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_polynomials_are_told_apart() {
        assert!(is_irreducible(0x3da3358b4dc173));
        assert!(is_irreducible(0x2bf07a2c1e431b), "the example of the format's description");
        assert!(!is_irreducible(0x7), "degree 2");
        assert!(!is_irreducible(1 << 53 | 1), "x^53 + 1 has the root 1");
        let reducible = (0..)
            .map(|step| (1 << 53) | 1 | (step << 1))
            .find(|f: &u64| f.count_ones() % 2 == 1 && !is_irreducible(*f));
        assert!(reducible.is_some());
    }

    #[test]
    fn random_polynomials_are_irreducible_and_of_degree_53() {
        let polynomial = random_polynomial().unwrap();
        assert!(is_irreducible(polynomial));
        assert_eq!(polynomial.ilog2(), 53);
    }
}
