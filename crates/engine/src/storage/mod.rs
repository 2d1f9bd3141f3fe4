//! From rows to opened stores and vaults. Everything here blocks.
//!
//! A vault is opened once in a process: its writer, its index and the set of blobs on their way are shared by all jobs
//! (DESIGN section 5). Vaults of passcodes are forgotten some minutes after their last use, and looked at before each further one.

pub(crate) mod catalogue;
pub(crate) mod nesting;
pub(crate) mod passcodes;
pub(crate) mod state_file;

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};
use trivault_vault::{
    Kdf, MemoryBudget, Password, Vault, VaultErrorKind, VaultOptions,
    backend::{LocalRoot, ObjectRoot, PASSCODE_VAULTS, S3Credentials, S3Location, S3Patience, StoreRoot},
    lock_unless_interrupted,
};
use zeroize::{Zeroize, Zeroizing};

use self::{passcodes::Locators, state_file::purpose};
use crate::{
    db::{StoreRow, VaultRow},
    domain::{Error, ErrorCode, Result, SecretText, Store, StoreCredentials, StoreId, StoreLocation, VaultId},
    failure::from_vault,
    secrets::{ServerKey, random_hex},
};

/// How long an opened passcode vault stays in memory after its last use.
const PASSCODE_VAULT_KEPT: Duration = Duration::from_secs(600);
/// Randomness in the name of a passcode vault's folder, bytes.
const FOLDER_BYTES: usize = 16;

/// What all vaults of the process share.
pub(crate) struct Storage {
    pub(crate) locators: Locators,
    key: ServerKey,
    options: VaultOptions,
    /// By the store's name.
    patience: BTreeMap<String, S3Patience>,
    opened: Mutex<HashMap<VaultId, Opened>>,
    /// Opening costs a key derivation; two jobs must not open one vault twice.
    opening: Mutex<()>,
}

struct Opened {
    vault: Vault,
    /// `None` for server vaults, which stay.
    last_use: Option<Instant>,
}

/// Settings of [`Storage`].
pub(crate) struct StorageOptions {
    pub(crate) memory_budget: u64,
    pub(crate) zstd_level: i32,
    pub(crate) cache_directory: PathBuf,
    /// `trivault-<installation>`
    pub(crate) lock_host: String,
    /// The node.
    pub(crate) lock_user: String,
    /// Threads of each vault that compress and seal.
    pub(crate) threads: usize,
    /// Limits of time of S3 stores, by the store's name.
    pub(crate) patience: BTreeMap<String, S3Patience>,
}

/// Credentials of a store as they are sealed.
#[derive(Serialize, Deserialize)]
struct SealedCredentials {
    access_key: String,
    secret_key: String,
    session_token: Option<String>,
}

impl Drop for SealedCredentials {
    fn drop(&mut self) {
        self.secret_key.zeroize();
        self.session_token.zeroize();
    }
}

impl Storage {
    pub(crate) fn new(key: ServerKey, options: StorageOptions) -> Result<Self> {
        let StorageOptions { memory_budget, zstd_level, cache_directory, lock_host, lock_user, threads, patience } =
            options;
        let options = VaultOptions {
            budget: MemoryBudget::new(memory_budget),
            zstd_level,
            cache_directory: Some(cache_directory),
            lock_host,
            lock_user,
            workers: threads,
        };
        Ok(Self {
            locators: Locators::new()?,
            key,
            options,
            patience,
            opened: Mutex::default(),
            opening: Mutex::default(),
        })
    }

    pub(crate) fn seal_credentials(&self, store: StoreId, credentials: &StoreCredentials) -> Result<Vec<u8>> {
        let StoreCredentials { access_key, secret_key, session_token } = credentials;
        let plain = SealedCredentials {
            access_key: access_key.clone(),
            secret_key: secret_key.expose().to_owned(),
            session_token: session_token.as_ref().map(|token| token.expose().to_owned()),
        };
        let json = Zeroizing::new(
            serde_json::to_vec(&plain)
                .map_err(|error| Error::internal("Credentials could not be sealed.").because(error))?,
        );
        self.key.seal(&credentials_purpose(store), &json)
    }

    /// The place of a store. Nothing is touched yet.
    pub(crate) fn root(&self, store: &Store, sealed_credentials: Option<&[u8]>) -> Result<Arc<dyn StoreRoot>> {
        let credentials = match &store.location {
            StoreLocation::Local { .. } => None,
            StoreLocation::S3 { .. } => {
                sealed_credentials.map(|sealed| self.open_credentials(store.id, sealed)).transpose()?
            }
        };
        connect(&store.location, credentials, self.patience.get(&store.name).copied().unwrap_or_default())
    }

    pub(crate) fn root_of(&self, row: &StoreRow) -> Result<Arc<dyn StoreRoot>> {
        self.root(&row.store, row.sealed_credentials.as_deref())
    }

    fn open_credentials(&self, store: StoreId, sealed: &[u8]) -> Result<S3Credentials> {
        let plain = self.key.open(&credentials_purpose(store), sealed)?;
        let plain: SealedCredentials = serde_json::from_slice(&plain)
            .map_err(|_| Error::new(ErrorCode::Damaged, "The credentials of a store cannot be read."))?;
        let credentials = S3Credentials::new(&plain.access_key, &plain.secret_key);
        Ok(match &plain.session_token {
            Some(token) => credentials.with_session_token(token),
            None => credentials,
        })
    }

    /// Makes the server vault of a store where there is none, and opens it.
    pub(crate) fn create_server_vault(&self, root: &dyn StoreRoot, path: &str, password: &SecretText) -> Result<Vault> {
        let password = Password::new(password.expose().as_bytes());
        self.open_or_create(root, path, &password)
    }

    /// Opens the vault in a folder of a store that answers; makes it where there is none.
    fn open_or_create(&self, root: &dyn StoreRoot, path: &str, password: &Password) -> Result<Vault> {
        let backend = root.vault(path).map_err(from_vault)?;
        if has_folder(root, path)? {
            match Vault::open(Arc::clone(&backend), password, self.options.clone()) {
                Err(error) if *error.kind() == VaultErrorKind::NoVault => {}
                found => return found.map_err(|error| vault_failure(error, path)),
            }
        }
        Vault::create(backend, password, Kdf::default(), self.options.clone()).map_err(from_vault)
    }

    /// The vault of a passcode that is written to. Where its folder is gone, which no forget of ours leaves so, it is made anew.
    pub(crate) fn passcode_vault_to_write(
        &self,
        store: &StoreRow,
        row: &VaultRow,
        passcode: &SecretText,
    ) -> Result<Vault> {
        let root = self.root_of(store)?;
        if has_folder(root.as_ref(), &row.vault.path)? {
            return self.passcode_vault(store, row, passcode);
        }
        self.let_go(row.vault.id);
        let vault =
            self.open_or_create(root.as_ref(), &row.vault.path, &Password::new(passcode.expose().as_bytes()))?;
        self.keep(row.vault.id, &vault, Some(Instant::now()));
        Ok(vault)
    }

    /// The password of a server vault.
    pub(crate) fn password(&self, row: &VaultRow) -> Result<SecretText> {
        let sealed = row.sealed_password.as_deref().ok_or_else(|| {
            Error::new(ErrorCode::PasscodeRequired, "Only its passcode opens this vault; the server does not keep it.")
        })?;
        self.key.open_text(&purpose(row.vault.store), sealed)
    }

    /// A server vault, opened once in the process.
    pub(crate) fn server_vault(&self, store: &StoreRow, row: &VaultRow) -> Result<Vault> {
        if let Some(vault) = self.kept(row.vault.id) {
            return Ok(vault);
        }
        let _turn = lock_unless_interrupted(&self.opening).map_err(from_vault)?;
        if let Some(vault) = self.kept(row.vault.id) {
            return Ok(vault);
        }
        let password = Password::new(self.password(row)?.expose().as_bytes());
        let backend = self.root_of(store)?.vault(&row.vault.path).map_err(from_vault)?;
        let vault = Vault::open(backend, &password, self.options.clone())
            .map_err(|error| vault_failure(error, &row.vault.path))?;
        self.keep(row.vault.id, &vault, None);
        Ok(vault)
    }

    /// The vault of a passcode, opened once in the process and kept for some minutes.
    ///
    /// # Errors
    /// `WrongPasscode`.
    pub(crate) fn passcode_vault(&self, store: &StoreRow, row: &VaultRow, passcode: &SecretText) -> Result<Vault> {
        // The locator has shown that the passcode is right; whoever comes here without that pays scrypt.
        let proven = row.locator.as_deref() == Some(self.locators.locate(&store.salt, passcode)?.as_slice());
        if proven && let Some(vault) = self.kept_passcode_vault(row.vault.id)? {
            return Ok(vault);
        }
        let _turn = lock_unless_interrupted(&self.opening).map_err(from_vault)?;
        if proven && let Some(vault) = self.kept_passcode_vault(row.vault.id)? {
            return Ok(vault);
        }
        let password = Password::new(passcode.expose().as_bytes());
        let backend = self.root_of(store)?.vault(&row.vault.path).map_err(from_vault)?;
        let vault = Vault::open(backend, &password, self.options.clone()).map_err(|error| {
            if *error.kind() == VaultErrorKind::WrongPassword {
                return Error::new(
                    ErrorCode::WrongPasscode,
                    "The passcode is not the one that the backup was made with.",
                );
            }
            vault_failure(error, &row.vault.path)
        })?;
        self.keep(row.vault.id, &vault, Some(Instant::now()));
        Ok(vault)
    }

    /// Makes a vault for a passcode in a folder of its own; answers the folder below the store.
    pub(crate) fn create_passcode_vault(&self, store: &StoreRow, passcode: &SecretText) -> Result<(String, Vault)> {
        let path = format!("{PASSCODE_VAULTS}/{}", random_hex(FOLDER_BYTES)?);
        let backend = self.root_of(store)?.vault(&path).map_err(from_vault)?;
        let password = Password::new(passcode.expose().as_bytes());
        let vault = Vault::create(backend, &password, Kdf::default(), self.options.clone()).map_err(from_vault)?;
        Ok((path, vault))
    }

    /// Remembers a passcode vault that was just made.
    pub(crate) fn keep_passcode_vault(&self, id: VaultId, vault: &Vault) {
        self.keep(id, vault, Some(Instant::now()));
    }

    /// Lets go of an opened vault, whose folder is about to vanish.
    pub(crate) fn let_go(&self, id: VaultId) {
        lock(&self.opened).remove(&id);
    }

    /// Lets go of an opened vault that lies no longer at its place. One that was opened there since stays: jobs may be at work in it.
    fn let_go_of(&self, id: VaultId, gone: &Vault) {
        let mut opened = lock(&self.opened);
        if opened.get(&id).is_some_and(|found| found.vault.id() == gone.id()) {
            opened.remove(&id);
        }
    }

    /// Wipes the keys of passcode vaults that nobody has used for some minutes. A vault that a job works in stays the one that is
    /// opened: a second one would not know the first one's locks and blobs.
    pub(crate) fn forget_unused(&self, in_use: &HashSet<VaultId>) {
        let used = |opened: &Opened| opened.last_use.is_none_or(|at| at.elapsed() < PASSCODE_VAULT_KEPT);
        lock(&self.opened).retain(|id, opened| in_use.contains(id) || used(opened));
    }

    /// The opened vault of a passcode, for as long as it is the one that lies at its place. Server vaults are never removed; this one may
    /// have been, by another node or by hand, and another one made there under a master key of its own: what the old one writes
    /// there could never be read again.
    fn kept_passcode_vault(&self, id: VaultId) -> Result<Option<Vault>> {
        let Some(vault) = self.kept(id) else { return Ok(None) };
        if vault.is_still_there().map_err(from_vault)? {
            return Ok(Some(vault));
        }
        tracing::warn!(vault.id = %id, "an opened vault lies no longer at its place; it is opened anew");
        self.let_go_of(id, &vault);
        Ok(None)
    }

    fn kept(&self, id: VaultId) -> Option<Vault> {
        let mut opened = lock(&self.opened);
        let found = opened.get_mut(&id)?;
        if let Some(last_use) = &mut found.last_use {
            *last_use = Instant::now();
        }
        Some(found.vault.clone())
    }

    fn keep(&self, id: VaultId, vault: &Vault, last_use: Option<Instant>) {
        lock(&self.opened).insert(id, Opened { vault: vault.clone(), last_use });
    }
}

/// The store at a place. Nothing is touched yet.
fn connect(
    location: &StoreLocation,
    credentials: Option<S3Credentials>,
    patience: S3Patience,
) -> Result<Arc<dyn StoreRoot>> {
    Ok(match location {
        StoreLocation::Local { path } => Arc::new(LocalRoot::new(path).map_err(from_vault)?),
        StoreLocation::S3 { bucket, prefix, region, endpoint, path_style, allow_http } => {
            let at = S3Location {
                endpoint: endpoint.clone(),
                region: region.clone(),
                bucket: bucket.clone(),
                prefix: prefix.trim_matches('/').to_owned(),
                credentials,
                allow_http: *allow_http,
                virtual_hosted_style: !path_style,
            };
            Arc::new(ObjectRoot::connect_with(&at, patience).map_err(from_vault)?)
        }
    })
}

/// A store at a place of which no engine knows yet.
pub(crate) fn unattached(
    location: &StoreLocation,
    credentials: Option<&StoreCredentials>,
) -> Result<Arc<dyn StoreRoot>> {
    let credentials = credentials.map(|StoreCredentials { access_key, secret_key, session_token }| {
        let given = S3Credentials::new(access_key, secret_key.expose());
        match session_token {
            Some(token) => given.with_session_token(token.expose()),
            None => given,
        }
    });
    connect(location, credentials, S3Patience::default())
}

/// Whether a vault's folder is there. An object store has it as soon as something lies in it.
fn has_folder(root: &dyn StoreRoot, path: &str) -> Result<bool> {
    let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
    match root.list_dirs(parent) {
        Ok(names) => Ok(names.iter().any(|found| found == name)),
        Err(error) if *error.kind() == VaultErrorKind::Missing => Ok(false),
        Err(error) => Err(from_vault(error)),
    }
}

/// A server vault that does not open is a store that cannot be used; its sentence must not speak of passcodes.
fn vault_failure(error: trivault_vault::VaultError, path: &str) -> Error {
    match error.kind() {
        VaultErrorKind::WrongPassword => Error::new(
            ErrorCode::StoreUnavailable,
            format!("The vault {path} does not open with the password that the server keeps."),
        )
        .hint("Another installation may have been set up in this store; attach the store again.")
        .because(error),
        _ => from_vault(error),
    }
}

fn credentials_purpose(store: StoreId) -> String {
    format!("store-credentials:{store}")
}

/// A panic elsewhere leaves whole entries behind.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
