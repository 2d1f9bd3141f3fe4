//! The format's authenticated encryption: AES-256 in counter mode with Poly1305-AES.
//!
//! `sealed = IV(16) || AES-256-CTR(plain) || MAC(16)`. Neither type, name nor position is authenticated: a reader must always compare the
//! SHA-256 of a blob's plain text with its id.

use crate::error::{Result, VaultError};
use aes::{
    Aes128, Aes256, Block,
    cipher::{BlockCipherEncrypt, InnerIvInit, KeyInit, StreamCipher},
};
use hkdf::Hkdf;
use poly1305::Poly1305;
use sha2::Sha256;
use std::fmt;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Bytes that sealing adds.
pub(crate) const OVERHEAD: usize = 32;
const IV: usize = 16;
const MAC: usize = 16;

type Counter = ctr::CtrCore<Aes256, ctr::flavors::Ctr128BE>;

/// The 64 bytes of a key as the format stores them: `encrypt`, `mac.k`, `mac.r`.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub(crate) struct KeyMaterial {
    pub encrypt: [u8; 32],
    pub mac_k: [u8; 16],
    pub mac_r: [u8; 16],
}

impl KeyMaterial {
    /// A new random key.
    pub fn random() -> Result<Self> {
        let mut bytes = Zeroizing::new([0_u8; 64]);
        fill_random(&mut *bytes)?;
        Ok(Self::from_bytes(&bytes))
    }

    /// Splits the 64 bytes that scrypt yields.
    pub fn from_bytes(bytes: &[u8; 64]) -> Self {
        let mut key = Self { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
        key.encrypt.copy_from_slice(&bytes[..32]);
        key.mac_k.copy_from_slice(&bytes[32..48]);
        key.mac_r.copy_from_slice(&bytes[48..]);
        key
    }

    /// restic refuses a key with an all-zero part.
    pub fn is_usable(&self) -> bool {
        [&self.encrypt[..], &self.mac_k[..], &self.mac_r[..]].iter().all(|part| part.iter().any(|byte| *byte != 0))
    }
}

/// A key with its schedules expanded once.
pub(crate) struct SealingKey {
    material: KeyMaterial,
    encrypt: Aes256,
    mac: Aes128,
}

impl SealingKey {
    pub fn new(material: KeyMaterial) -> Self {
        let encrypt = Aes256::new(&material.encrypt.into());
        let mac = Aes128::new(&material.mac_k.into());
        Self { material, encrypt, mac }
    }

    /// The raw key; only for writing a key file.
    pub fn material(&self) -> &KeyMaterial {
        &self.material
    }

    /// Seals `plain` into `sealed`, which is overwritten, under an IV that must be random and never used again.
    pub fn seal_with(&self, iv: &[u8; IV], plain: &[u8], sealed: &mut Vec<u8>) {
        sealed.clear();
        sealed.reserve(plain.len() + OVERHEAD);
        sealed.extend_from_slice(iv);
        sealed.extend_from_slice(plain);
        self.counter(iv).apply_keystream(&mut sealed[IV..]);
        let tag = self.tag(iv, &sealed[IV..]);
        sealed.extend_from_slice(&tag);
    }

    /// Seals under a fresh random IV.
    pub fn seal(&self, plain: &[u8]) -> Result<Vec<u8>> {
        let mut iv = [0_u8; IV];
        fill_random(&mut iv)?;
        let mut sealed = Vec::new();
        self.seal_with(&iv, plain, &mut sealed);
        Ok(sealed)
    }

    /// Checks the MAC, then decrypts into `plain`, which is overwritten. `what` names the thing in the error.
    pub fn open_into(&self, sealed: &[u8], plain: &mut Vec<u8>, what: &dyn Fn() -> String) -> Result<()> {
        let (iv, text) = self.authenticated(sealed, what)?;
        plain.clear();
        plain.extend_from_slice(text);
        self.counter(&iv).apply_keystream(plain);
        Ok(())
    }

    /// Checks the MAC and decrypts.
    pub fn open(&self, sealed: &[u8], what: &dyn Fn() -> String) -> Result<Vec<u8>> {
        let mut plain = Vec::new();
        self.open_into(sealed, &mut plain, what)?;
        Ok(plain)
    }

    /// Bytes derived from the master key for another purpose, told apart by `purpose`.
    pub fn derive(&self, purpose: &str, output: &mut [u8]) -> Result<()> {
        Hkdf::<Sha256>::new(None, &self.material.encrypt)
            .expand(purpose.as_bytes(), output)
            .map_err(|_| VaultError::internal("too many bytes were asked of the key derivation"))
    }

    fn authenticated<'a>(&self, sealed: &'a [u8], what: &dyn Fn() -> String) -> Result<([u8; IV], &'a [u8])> {
        let split = sealed.split_first_chunk::<IV>().and_then(|(iv, rest)| Some((iv, rest.split_last_chunk::<MAC>()?)));
        let Some((iv, (text, tag))) = split else {
            return Err(VaultError::damaged(format!("{} is shorter than its own checksum", what())));
        };
        if iv == &[0; IV] || !bool::from(self.tag(iv, text).ct_eq(tag)) {
            return Err(VaultError::damaged(format!("{} does not match its checksum", what())));
        }
        Ok((*iv, text))
    }

    fn counter(&self, iv: &[u8; IV]) -> ctr::cipher::StreamCipherCoreWrapper<Counter> {
        let core = Counter::inner_iv_init(self.encrypt.clone(), &(*iv).into());
        ctr::cipher::StreamCipherCoreWrapper::from_core(core)
    }

    fn tag(&self, iv: &[u8; IV], text: &[u8]) -> [u8; MAC] {
        let mut nonce = Block::from(*iv);
        self.mac.encrypt_block(&mut nonce);
        let mut key = Zeroizing::new([0_u8; 32]);
        key[..16].copy_from_slice(&self.material.mac_r);
        key[16..].copy_from_slice(&nonce);
        Poly1305::new(&(*key).into()).compute_unpadded(text).into()
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SealingKey(..)")
    }
}

/// Random bytes of the machine.
pub(crate) fn fill_random(bytes: &mut [u8]) -> Result<()> {
    getrandom::fill(bytes)
        .map_err(|error| VaultError::internal("the machine gives no random bytes").with_source(error.to_string()))
}

/// Random bytes fetched in batches: one system call for 256 IVs instead of one each.
pub(crate) struct RandomBytes {
    batch: Box<[u8; 4096]>,
    used: usize,
}

impl RandomBytes {
    pub fn new() -> Self {
        Self { batch: Box::new([0; 4096]), used: 4096 }
    }

    /// 16 bytes that were never given out before and never will be again.
    pub fn next(&mut self) -> Result<[u8; IV]> {
        if self.used + IV > self.batch.len() {
            fill_random(&mut *self.batch)?;
            self.used = 0;
        }
        let mut bytes = [0_u8; IV];
        bytes.copy_from_slice(&self.batch[self.used..self.used + IV]);
        self.used += IV;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SealingKey {
        SealingKey::new(KeyMaterial::from_bytes(&std::array::from_fn(|index| index as u8 + 1)))
    }

    fn what() -> String {
        "the blob".to_owned()
    }

    #[test]
    fn what_was_sealed_opens_again_and_is_32_bytes_longer() {
        for length in [0, 1, 15, 16, 17, 4096, 100_003] {
            let plain: Vec<u8> = (0..length).map(|index| (index * 7) as u8).collect();
            let sealed = key().seal(&plain).unwrap();
            assert_eq!(sealed.len(), length + OVERHEAD);
            assert_eq!(key().open(&sealed, &what).unwrap(), plain);
        }
    }

    #[test]
    fn a_flipped_bit_anywhere_is_noticed() {
        let sealed = key().seal(b"some plain text").unwrap();
        for position in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[position] ^= 0x10;
            assert_eq!(key().open(&damaged, &what).unwrap_err().kind(), &crate::VaultErrorKind::Damaged);
        }
        for length in 0..OVERHEAD {
            assert!(key().open(&sealed[..length], &what).is_err());
        }
    }

    #[test]
    fn random_batches_do_not_repeat() {
        let mut random = RandomBytes::new();
        let seen: std::collections::HashSet<_> = (0..1000).map(|_| random.next().unwrap()).collect();
        assert_eq!(seen.len(), 1000);
    }

    #[test]
    fn debug_of_a_key_shows_nothing_of_it() {
        assert_eq!(format!("{:?}", key()), "SealingKey(..)");
    }
}
