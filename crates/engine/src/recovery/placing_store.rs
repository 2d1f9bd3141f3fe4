//! The recovered store itself, and its vaults.

use trivault_vault::backend::SERVER_VAULT;
use uuid::Uuid;

use super::{
    Recovery,
    configuration::{CapturedVault, Configuration},
    rebuild::Rebuild,
};
use crate::{
    db::{StoreRow, VaultRow},
    domain::{Result, Store, VaultId, VaultKind, VaultRecord},
    secrets::ServerKey,
    service::check_store_name,
    storage::{nesting, state_file::purpose},
};

impl Rebuild<'_> {
    /// The store, read-only until the end, and its vaults.
    pub(super) fn place_store(&mut self) -> Result<Store> {
        let (inner, recovery) = (self.inner, self.recovery);
        let store = match self.wait(inner.db.store(recovery.state.store))? {
            Some(standing) => standing,
            None => self.new_store()?,
        };
        let sealed_credentials = match &recovery.options.credentials {
            Some(given) => Some(inner.storage.seal_credentials(store.id, given)?),
            None => None,
        };
        let vaults = self.vault_rows(&store)?;
        let row = StoreRow { store: store.clone(), sealed_credentials, salt: recovery.state.salt()? };
        self.wait(inner.db.recover_store(&row, &vaults))?;
        for vault in self.wait(inner.db.vaults())?.into_iter().filter(|vault| vault.store == store.id) {
            match vault.kind {
                VaultKind::Server => self.store_vault = Some(vault.id),
                VaultKind::Passcode => drop(self.vaults.insert(vault.path, vault.id)),
            }
        }
        Ok(store)
    }

    fn new_store(&self) -> Result<Store> {
        let Recovery { options, state, survey, .. } = self.recovery;
        check_store_name(&options.name)?;
        nesting::check(&options.location, &self.wait(self.inner.db.stores())?, &[], self.inner.data.path())?;
        let captured: Vec<Store> = match &survey.configuration {
            Some((configuration, _)) => Configuration::read(&configuration.stores).0,
            None => Vec::new(),
        };
        let now = self.inner.clock.now();
        let has_default = self.wait(self.inner.db.default_store())?.is_some();
        let found = captured.into_iter().find(|store| store.id == state.store);
        let (name, managed, created_at, wants_default) = match found {
            Some(store) => (store.name, store.managed, store.created_at, store.is_default),
            None => (options.name.clone(), false, state.created_at, true),
        };
        let is_taken = self.wait(self.inner.db.store_named(&name))?.is_some();
        let name = if is_taken { format!("{name}-{}", &state.store.to_string()[..8]) } else { name };
        Ok(Store {
            id: state.store,
            name,
            location: options.location.clone(),
            is_default: wants_default && !has_default,
            read_only: true,
            managed,
            created_at,
            updated_at: now,
        })
    }

    /// The store's own vault, and those of passcodes that anything tells of.
    fn vault_rows(&self, store: &Store) -> Result<Vec<VaultRow>> {
        let Recovery { survey, password, .. } = self.recovery;
        let key: &ServerKey = &self.inner.key;
        let captured: Vec<CapturedVault> = match &survey.configuration {
            Some((configuration, _)) => Configuration::read(&configuration.vaults).0,
            None => Vec::new(),
        };
        let own = captured.iter().find(|found| found.vault.store == store.id && found.vault.kind == VaultKind::Server);
        let id = own.map_or_else(|| VaultId(Uuid::now_v7()), |found| found.vault.id);
        let record = |id, kind, path: &str| VaultRecord {
            id,
            store: store.id,
            kind,
            path: path.to_owned(),
            created_at: store.created_at,
        };
        let sealed = key.seal(&purpose(store.id), password.expose().as_bytes())?;
        let mut rows = vec![VaultRow {
            vault: record(id, VaultKind::Server, SERVER_VAULT),
            sealed_password: Some(sealed),
            locator: None,
            retired_at: None,
        }];
        for path in survey.passcode_vaults.keys() {
            let known = captured.iter().find(|found| found.vault.store == store.id && found.vault.path == *path);
            let told = survey.parts.values().filter_map(|part| part.protected.as_ref()).find(|told| {
                told.path.as_deref() == Some(path) || survey.vault_holding(&told.snapshot) == Some(path.as_str())
            });
            let (id, locator) = match (known, told) {
                (Some(CapturedVault { vault, locator }), _) => {
                    (vault.id, locator.as_ref().and_then(|text| hex::decode(text).ok()))
                }
                (None, Some(told)) => (told.vault, told.locator.clone()),
                // Nothing tells of a backup in it.
                (None, None) => continue,
            };
            let vault = record(id, VaultKind::Passcode, path);
            rows.push(VaultRow { vault, sealed_password: None, locator, retired_at: None });
        }
        Ok(rows)
    }
}
