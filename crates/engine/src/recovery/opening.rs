//! Opening a store with its secret and looking through it. Nothing is written, here or there.

use std::{
    collections::{BTreeMap, HashSet},
    sync::Arc,
};

use chrono::{TimeDelta, Utc};
use trivault_vault::{
    LockInfo, MemoryBudget, Password, Snapshot, Vault, VaultErrorKind, VaultOptions,
    backend::{FileKind, PASSCODE_VAULTS, SERVER_VAULT, StoreRoot},
};

use super::{
    configuration::{Configuration, Parsed},
    found::{FoundPart, read_file},
};
use crate::{
    capture::Tags,
    domain::{Error, ErrorCode, PartId, Result, SecretText, StoreCredentials, StoreLocation},
    failure::from_vault,
    secrets::{self, ServerKey},
    service::{blocking, plain_location},
    storage::{
        catalogue::{CATALOGUE_HOST, CONFIGURATION_FILE, CONFIGURATION_HOST},
        state_file::StoreState,
        unattached,
    },
};

/// Whose lock was refreshed within this time lives: locks are refreshed every five minutes.
const ALIVE: TimeDelta = TimeDelta::minutes(11);
/// Longest configuration that is read, bytes.
const LONGEST_CONFIGURATION: u64 = 256 << 20;
/// File of the server key in the data directory.
const KEY_FILE: &str = "server.key";

/// With what a store is opened.
#[derive(Clone, Debug)]
pub enum RecoverySecret {
    /// What `trivault key export` printed: opens the vault and everything sealed.
    ServerKey(ServerKey),
    /// What `trivault vault export-key` printed: opens the vault; secrets of sources and users stay closed.
    VaultPassword(SecretText),
}

/// Which store is recovered.
#[derive(Clone, Debug)]
pub struct RecoveryOptions {
    pub location: StoreLocation,
    /// Of an S3 store.
    pub credentials: Option<StoreCredentials>,
    pub secret: RecoverySecret,
    /// Name of the store where its configuration does not tell one.
    pub name: String,
}

/// A store that was opened with its secret and looked through.
pub struct Recovery {
    pub(super) options: RecoveryOptions,
    pub(super) root: Arc<dyn StoreRoot>,
    pub(super) state: StoreState,
    pub(super) password: SecretText,
    pub(super) key: Option<ServerKey>,
    pub(super) vault: Vault,
    pub(super) survey: Survey,
}

/// What lies in a store.
#[derive(Default)]
pub(super) struct Survey {
    /// By part: the snapshot of the highest attempt.
    pub(super) parts: BTreeMap<PartId, FoundPart>,
    /// The newest configuration that can be read, with the snapshot that holds it and its history.
    pub(super) configuration: Option<(Configuration, Snapshot)>,
    /// The highest format of configurations that only a later version reads.
    pub(super) later_format: Option<u32>,
    /// Every snapshot of the store's own vault and of those of passcodes, lower-case hex.
    pub(super) snapshots: HashSet<String>,
    /// Snapshots in each vault of a passcode, by its path.
    pub(super) passcode_vaults: BTreeMap<String, HashSet<String>>,
    /// Host and paths of snapshots that others wrote.
    pub(super) foreign: Vec<String>,
    /// Snapshot files that cannot be read, and snapshots of ours whose tags are not understood.
    pub(super) damaged: u64,
    /// Locks that somebody has refreshed lately.
    pub(super) locks: Vec<LockInfo>,
}

impl Recovery {
    /// Opens the store and looks through it.
    ///
    /// # Errors
    /// `InvalidInput` (not a store; the key or password is not its own), `StoreUnavailable`, `Damaged`.
    pub async fn open(options: RecoveryOptions) -> Result<Self> {
        blocking(move || Self::look_through(options)).await
    }

    fn look_through(options: RecoveryOptions) -> Result<Self> {
        let location = plain_location(options.location)?;
        let options = RecoveryOptions { location, ..options };
        let root = unattached(&options.location, options.credentials.as_ref())?;
        let state = StoreState::read(root.as_ref())?.ok_or_else(|| no_store(root.as_ref()))?;
        let (password, key) = match &options.secret {
            RecoverySecret::ServerKey(key) => {
                let wrong = |error| {
                    Error::invalid(format!("The server key does not open the store at {}.", root.location()))
                        .hint("Give the key that `trivault key export` printed on the server that wrote this store, or the password of its vault.")
                        .because(error)
                };
                (state.password(key).map_err(wrong)?, Some(key.clone()))
            }
            RecoverySecret::VaultPassword(password) => (password.clone(), None),
        };
        let vault = open_vault(root.as_ref(), &password)?;
        let survey = survey(root.as_ref(), &vault)?;
        Ok(Self { options, root, state, password, key, vault, survey })
    }

    /// The server key that opened the store.
    pub fn server_key(&self) -> Option<&ServerKey> {
        self.key.as_ref()
    }

    /// Puts the server key into an empty data directory, so that a server starts on it.
    ///
    /// # Errors
    /// `InvalidInput` when another key is there already.
    pub fn keep_server_key(&self, data_directory: &std::path::Path) -> Result<()> {
        let Some(key) = &self.key else { return Ok(()) };
        crate::data_directory::DataDirectory::open(data_directory)?;
        let path = data_directory.join(KEY_FILE);
        if secrets::load_or_keep(&path, key)? == *key {
            return Ok(());
        }
        Err(Error::invalid(format!("Another server key is in {} already.", path.display()))
            .hint("Recover into an empty data directory."))
    }
}

fn no_store(root: &dyn StoreRoot) -> Error {
    let vaults = root.list_dirs("").unwrap_or_default();
    let location = root.location();
    if vaults.iter().any(|name| name == SERVER_VAULT) {
        return Error::invalid(format!("The store at {location} has lost its trivault.json."))
            .hint("Bring that file back from a copy of the store. The vault beside it opens with the stock restic and the vault's password.");
    }
    Error::invalid(format!("There is no store at {location}: it holds no trivault.json."))
        .hint("Name the folder or prefix that `trivault store list` showed as the store's location.")
}

fn open_vault(root: &dyn StoreRoot, password: &SecretText) -> Result<Vault> {
    let backend = root.vault(SERVER_VAULT).map_err(from_vault)?;
    let options = VaultOptions::new(MemoryBudget::new(MemoryBudget::DEFAULT_BYTES), "trivault-recover", "recover");
    let password = Password::new(password.expose().as_bytes());
    Vault::open(backend, &password, options).map_err(|error| match error.kind() {
        VaultErrorKind::WrongPassword => Error::invalid(format!(
            "The password does not open the vault of the store at {}.",
            root.location()
        ))
        .hint("Give what `trivault vault export-key` printed for this store's own vault, or the exported server key.")
        .because(error),
        VaultErrorKind::NoVault => {
            Error::new(ErrorCode::Damaged, format!("The store at {} has no vault.", root.location()))
                .hint("The folder `vault` of the store is missing or was copied incompletely.")
                .because(error)
        }
        _ => from_vault(error),
    })
}

fn survey(root: &dyn StoreRoot, vault: &Vault) -> Result<Survey> {
    let listed = vault.snapshots().map_err(from_vault)?;
    let mut survey = Survey { damaged: listed.damaged.len() as u64, ..Survey::default() };
    let mut configurations = Vec::new();
    for snapshot in listed.snapshots {
        survey.snapshots.insert(snapshot.id.to_hex());
        let record = &snapshot.record;
        if record.hostname == CONFIGURATION_HOST && record.username == "trivault" {
            configurations.push(snapshot);
        } else if let Some(found) = FoundPart::of(&snapshot) {
            survey.take(found);
        } else if Tags::of(&record.tags).is_some() || record.hostname == CATALOGUE_HOST {
            survey.damaged += 1;
        } else {
            survey.foreign.push(format!("{} {}", record.hostname, record.paths.join(" ")));
        }
    }
    (survey.configuration, survey.later_format) = newest(vault, configurations)?;
    for folder in root.list_dirs(PASSCODE_VAULTS).or_else(nothing_there)? {
        let path = format!("{PASSCODE_VAULTS}/{folder}");
        let listed = root.vault(&path).and_then(|backend| backend.list(FileKind::Snapshot)).map_err(from_vault)?;
        let names: HashSet<String> = listed.into_iter().map(|entry| entry.name).collect();
        survey.snapshots.extend(names.iter().cloned());
        survey.passcode_vaults.insert(path, names);
    }
    let now = Utc::now();
    let alive = |lock: &LockInfo| lock.hostname.starts_with("trivault-") && now - lock.time < ALIVE;
    survey.locks = vault.locks().map_err(from_vault)?.into_iter().filter(alive).collect();
    Ok(survey)
}

fn nothing_there(error: trivault_vault::VaultError) -> Result<Vec<String>> {
    match error.kind() {
        VaultErrorKind::Missing => Ok(Vec::new()),
        _ => Err(from_vault(error)),
    }
}

/// A configuration and the snapshot that holds it.
type Found = Option<(Configuration, Snapshot)>;

/// The newest configuration that can be read and that this version understands, and the highest format among the newer ones.
fn newest(vault: &Vault, snapshots: Vec<Snapshot>) -> Result<(Found, Option<u32>)> {
    let mut later = None;
    for snapshot in snapshots.into_iter().rev() {
        match read_file(vault, &snapshot, CONFIGURATION_FILE, LONGEST_CONFIGURATION) {
            Ok(Some(bytes)) => match Configuration::parse(&bytes) {
                Ok(Parsed::Known(found)) => return Ok((Some((*found, snapshot)), later)),
                Ok(Parsed::Later(format)) => later = later.max(Some(format)),
                Err(error) => tracing::warn!(%error, "a configuration is not understood and passed over"),
            },
            Ok(None) => {}
            Err(error) if error.code == ErrorCode::Damaged => {
                tracing::warn!(%error, "a configuration is damaged and passed over");
            }
            Err(error) => return Err(error),
        }
    }
    Ok((None, later))
}

impl Survey {
    /// Of several attempts at a part, the last one counts: it has taken over or forgotten the others.
    fn take(&mut self, found: FoundPart) {
        match self.parts.get(&found.part) {
            Some(standing) if (standing.attempt, standing.begun) >= (found.attempt, found.begun) => {}
            _ => drop(self.parts.insert(found.part, found)),
        }
    }

    /// The vault of a passcode that holds this snapshot.
    pub(super) fn vault_holding(&self, snapshot: &str) -> Option<&str> {
        let found = self.passcode_vaults.iter().find(|(_, snapshots)| snapshots.contains(snapshot));
        found.map(|(path, _)| path.as_str())
    }
}
