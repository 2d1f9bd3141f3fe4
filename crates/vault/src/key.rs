//! Key files: how a password opens the master key.

use crate::{
    backend::{Backend, FileKind},
    budget::MemoryBudget,
    crypto::{KeyMaterial, SealingKey, fill_random},
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    password::Password,
    snapshot::go_time,
    unpacked,
};
use base64::{Engine, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// restic tries no more key files than this.
const MAX_KEYS: usize = 20;
const SALT: usize = 64;
/// Most memory that somebody else's key may ask of scrypt.
const MAX_SCRYPT_BYTES: u64 = 1 << 30;

/// Parameters of scrypt for a new key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kdf {
    /// Binary logarithm of N.
    pub log_n: u8,
    /// Block size.
    pub r: u32,
    /// Parallelism.
    pub p: u32,
}

impl Default for Kdf {
    /// N = 2^16, r = 8, p = 1: 64 MiB and about 0.3 s. Fixed, so that keys made under load are not weaker.
    fn default() -> Self {
        Self { log_n: 16, r: 8, p: 1 }
    }
}

impl Kdf {
    fn derive(self, password: &Password, salt: &[u8], budget: &Arc<MemoryBudget>) -> Result<KeyMaterial> {
        let Self { log_n, r, p } = self;
        let bytes = 1_u64.checked_shl(log_n.into()).and_then(|n| n.checked_mul(128)?.checked_mul(r.into()));
        let bytes = bytes.filter(|bytes| *bytes <= MAX_SCRYPT_BYTES && log_n > 0);
        let params = scrypt::Params::new(log_n, r, p).ok().filter(|_| u64::from(r) * u64::from(p) < 1 << 30);
        let (Some(bytes), Some(params)) = (bytes, params) else {
            return Err(VaultError::unsupported(format!("a key asks for scrypt with N = 2^{log_n}, r = {r}, p = {p}")));
        };
        let _permit = budget.acquire(bytes, &|| false)?;
        let mut derived = Zeroizing::new([0_u8; 64]);
        scrypt::scrypt(password.expose(), salt, &params, &mut *derived)
            .map_err(|_| VaultError::internal("scrypt refused its output length"))?;
        Ok(KeyMaterial::from_bytes(&derived))
    }
}

#[derive(Serialize, Deserialize)]
struct KeyFile {
    created: String,
    username: String,
    hostname: String,
    kdf: String,
    #[serde(rename = "N")]
    n: u64,
    r: u32,
    p: u32,
    salt: String,
    data: String,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct MasterFile {
    mac: MacFile,
    encrypt: String,
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct MacFile {
    k: String,
    r: String,
}

/// Who a new key file says made it.
pub(crate) struct KeyLabel<'a> {
    pub created: DateTime<Utc>,
    pub username: &'a str,
    pub hostname: &'a str,
}

/// Writes a key file that opens `master` with `password`; the answer is its name.
pub(crate) fn add(
    backend: &dyn Backend,
    master: &KeyMaterial,
    password: &Password,
    kdf: Kdf,
    label: &KeyLabel<'_>,
    budget: &Arc<MemoryBudget>,
) -> Result<Id> {
    let wrong = |error| VaultError::internal("a key file cannot be written").with_source(error);
    let mut salt = [0_u8; SALT];
    fill_random(&mut salt)?;
    let user = SealingKey::new(kdf.derive(password, &salt, budget)?);
    let secret = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
    let mac = MacFile { k: secret(&master.mac_k), r: secret(&master.mac_r) };
    let plain =
        Zeroizing::new(serde_json::to_vec(&MasterFile { mac, encrypt: secret(&master.encrypt) }).map_err(wrong)?);
    let file = KeyFile {
        created: go_time(&label.created),
        username: label.username.to_owned(),
        hostname: label.hostname.to_owned(),
        kdf: "scrypt".to_owned(),
        n: 1 << kdf.log_n,
        r: kdf.r,
        p: kdf.p,
        salt: BASE64_STANDARD.encode(salt),
        data: BASE64_STANDARD.encode(user.seal(&plain)?),
    };
    let json = serde_json::to_vec(&file).map_err(wrong)?;
    let id = Id::of(&json);
    backend.write(FileKind::Key, &id.to_hex(), &json)?;
    Ok(id)
}

/// A master key and the key file that gave it.
#[derive(Debug)]
pub(crate) struct Opened {
    pub id: Id,
    pub master: SealingKey,
}

/// Tries the key files as restic does, at most [`MAX_KEYS`]. A broken file does not hide a good one, but is named when none opens.
pub(crate) fn open(backend: &dyn Backend, password: &Password, budget: &Arc<MemoryBudget>) -> Result<Opened> {
    let mut broken = None;
    let mut names = unpacked::list(backend, FileKind::Key)?;
    names.sort_unstable();
    if names.is_empty() {
        return Err(VaultError::new(VaultErrorKind::NoVault, format!("there is no vault at {}", backend.location())));
    }
    for id in names.into_iter().take(MAX_KEYS) {
        match try_key(backend, &id, password, budget) {
            Ok(Some(master)) => return Ok(Opened { id, master }),
            Ok(None) => {}
            Err(error) if matches!(error.kind(), VaultErrorKind::Damaged | VaultErrorKind::Unsupported) => {
                broken = Some(error);
            }
            Err(error) if error.kind() == &VaultErrorKind::Missing => {}
            Err(error) => return Err(error),
        }
    }
    Err(broken.unwrap_or_else(|| {
        VaultError::new(
            VaultErrorKind::WrongPassword,
            format!("the password does not open the vault at {}", backend.location()),
        )
        .with_hint("check the password; upper and lower case and spaces count")
    }))
}

fn try_key(
    backend: &dyn Backend,
    id: &Id,
    password: &Password,
    budget: &Arc<MemoryBudget>,
) -> Result<Option<SealingKey>> {
    let broken = |why: &str| VaultError::damaged(format!("key file {id} {why}"));
    let json = backend.read(FileKind::Key, &id.to_hex())?;
    if Id::of(&json) != *id {
        return Err(broken("does not have the content its name stands for"));
    }
    let file: KeyFile = serde_json::from_slice(&json).map_err(|error| broken("is not a key").with_source(error))?;
    if file.kdf != "scrypt" {
        return Err(VaultError::unsupported(format!("key file {id} uses an unknown key derivation")));
    }
    let salt = BASE64_STANDARD.decode(&file.salt).unwrap_or_default();
    let data = BASE64_STANDARD.decode(&file.data).map_err(|_| broken("is not a key"))?;
    if salt.len() != SALT || !file.n.is_power_of_two() {
        return Err(broken("has no valid scrypt parameters"));
    }
    let kdf = Kdf { log_n: file.n.ilog2() as u8, r: file.r, p: file.p };
    let user = SealingKey::new(kdf.derive(password, &salt, budget)?);
    let Ok(plain) = user.open(&data, &|| "the key".to_owned()).map(Zeroizing::new) else {
        return Ok(None);
    };
    let parsed: MasterFile = serde_json::from_slice(&plain).map_err(|_| broken("holds no master key"))?;
    let decode = |text: &str, into: &mut [u8]| -> Result<()> {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text).map_err(|_| broken("holds no master key"))?);
        if bytes.len() != into.len() {
            return Err(broken("holds a master key of the wrong length"));
        }
        into.copy_from_slice(&bytes);
        Ok(())
    };
    let mut master = KeyMaterial { encrypt: [0; 32], mac_k: [0; 16], mac_r: [0; 16] };
    decode(&parsed.encrypt, &mut master.encrypt)?;
    decode(&parsed.mac.k, &mut master.mac_k)?;
    decode(&parsed.mac.r, &mut master.mac_r)?;
    if !master.is_usable() {
        return Err(broken("holds an empty master key"));
    }
    Ok(Some(SealingKey::new(master)))
}
