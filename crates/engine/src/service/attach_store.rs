//! Attaching a store: the place is probed, its `trivault.json` written or read, its vault made or opened.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use trivault_vault::backend::SERVER_VAULT;
use uuid::Uuid;

use super::{Inner, blocking};
use crate::{
    db::{AuditEntry, Labels, StoreRow, VaultRow},
    domain::*,
    failure::from_vault,
    storage::{nesting, state_file::StoreState},
};

/// Makes a place a store of this installation.
pub(super) async fn attach(inner: &Arc<Inner>, caller: &Caller, new: NewStore) -> Result<Store> {
    caller.require(Role::Admin)?;
    caller.require_everything()?;
    let NewStore { name, location, credentials, is_default, managed } = new;
    check_name(&name)?;
    let location = plain(location)?;
    let taken = |sentence: String| Error::new(ErrorCode::AlreadyExists(Noun::Store), sentence);
    if inner.db.store_named(&name).await?.is_some() {
        return Err(taken(format!("A store called {name} exists already.")));
    }
    let (stores, sources) = (inner.db.stores().await?, inner.db.sources().await?);
    let attached: Vec<Source> = sources.into_iter().filter(|source| source.status == SourceStatus::Attached).collect();
    nesting::check(&location, &stores, &attached, inner.data.path())?;

    let now = inner.clock.now();
    let id = StoreId(Uuid::now_v7());
    let store = Store { id, name, location, is_default, read_only: false, managed, created_at: now, updated_at: now };
    let opened = {
        let inner = Arc::clone(inner);
        blocking(move || open_place(&inner, store, credentials)).await?
    };
    let Opened { row, vault } = opened;
    if stores.iter().any(|known| known.id == row.store.id) {
        return Err(taken("This place is attached as a store already, under another name.".to_owned()));
    }
    let at = ObjectRef::new(ObjectKind::Store, row.store.id.0);
    let mut labels = Labels::default();
    labels.propose(&inner.namers, at, NewObject::Store(&row.store));
    let audit = AuditEntry::of(caller, now, "store.create", Some(at));
    inner.db.insert_store(&row, vault.as_ref(), &labels, &audit).await?;
    tracing::info!(store.id = %row.store.id, store.name = row.store.name, "store attached");
    Ok(row.store)
}

/// Takes a store of another installation over.
pub(super) async fn adopt(
    inner: &Arc<Inner>,
    caller: &Caller,
    id: StoreId,
    password: Option<SecretText>,
) -> Result<Store> {
    caller.require(Role::Admin)?;
    caller.require_everything()?;
    let missing = || Error::not_found(Noun::Store, "There is no such store.");
    let row = inner.db.store_row(id).await?.ok_or_else(missing)?;
    if !row.store.read_only {
        return Ok(row.store);
    }
    let vault = {
        let inner = Arc::clone(inner);
        blocking(move || adopt_place(&inner, &row, password)).await?
    };
    let audit = AuditEntry::of(caller, inner.clock.now(), "store.adopt", Some(ObjectRef::new(ObjectKind::Store, id.0)));
    inner.db.insert_vault(&vault).await?;
    inner.db.set_store_read_only(id, false, &audit).await?;
    inner.db.store(id).await?.ok_or_else(missing)
}

/// Blocks.
fn adopt_place(inner: &Inner, row: &StoreRow, password: Option<SecretText>) -> Result<VaultRow> {
    let root = inner.storage.root_of(row)?;
    let state = StoreState::read(root.as_ref())?
        .ok_or_else(|| Error::new(ErrorCode::StoreUnavailable, "The store's trivault.json is gone."))?;
    let password = match password {
        Some(password) => password,
        None => state.password(&inner.key).map_err(|_| {
            Error::invalid("The store was made under another server key; the password of its vault is needed.")
                .hint("On the other installation, `trivault vault export-key` prints it.")
        })?,
    };
    inner.storage.create_server_vault(root.as_ref(), SERVER_VAULT, &password).map_err(|error| Error {
        code: ErrorCode::InvalidInput,
        sentence: "The password does not open the store's vault.".to_owned(),
        ..error
    })?;
    let adopted = state.adopted(inner.installation, &inner.key, &password)?;
    adopted.replace(root.as_ref())?;
    vault_row(&row.store, &adopted, inner.clock.now())
}

struct Opened {
    row: StoreRow,
    vault: Option<VaultRow>,
}

/// Blocks.
fn open_place(inner: &Inner, mut store: Store, credentials: Option<StoreCredentials>) -> Result<Opened> {
    let storage = &inner.storage;
    // Sealed for a store's id, which a place that was a store before brings along.
    let provisional = credentials.as_ref().map(|given| storage.seal_credentials(store.id, given)).transpose()?;
    let root = storage.root(&store, provisional.as_deref())?;
    root.prepare().map_err(from_vault)?;
    root.probe().map_err(from_vault)?;
    let state = match StoreState::read(root.as_ref())? {
        Some(state) => state,
        None => {
            let fresh = StoreState::new(inner.installation, store.id, &inner.key, store.created_at)?;
            match fresh.create(root.as_ref())? {
                true => fresh,
                // Another server came first.
                false => StoreState::read(root.as_ref())?.ok_or_else(|| {
                    Error::new(ErrorCode::StoreUnavailable, "The store changes while it is attached.")
                })?,
            }
        }
    };
    store.id = state.store;
    store.read_only = state.installation != inner.installation;
    let sealed_credentials = credentials.as_ref().map(|given| storage.seal_credentials(store.id, given)).transpose()?;
    let vault = server_vault(inner, root.as_ref(), &store, &state)?;
    let row = StoreRow { salt: state.salt()?, sealed_credentials, store };
    Ok(Opened { row, vault })
}

/// The store's own vault. That of another installation is known only where the server key opens it too.
fn server_vault(
    inner: &Inner,
    root: &dyn trivault_vault::backend::StoreRoot,
    store: &Store,
    state: &StoreState,
) -> Result<Option<VaultRow>> {
    let password = match state.password(&inner.key) {
        Ok(password) => password,
        Err(_) if store.read_only => return Ok(None),
        Err(error) => return Err(error),
    };
    if !store.read_only {
        inner.storage.create_server_vault(root, SERVER_VAULT, &password)?;
    }
    vault_row(store, state, store.created_at).map(Some)
}

fn vault_row(store: &Store, state: &StoreState, created_at: DateTime<Utc>) -> Result<VaultRow> {
    let (id, kind, path) = (VaultId(Uuid::now_v7()), VaultKind::Server, SERVER_VAULT.to_owned());
    let vault = VaultRecord { id, store: store.id, kind, path, created_at };
    Ok(VaultRow { vault, sealed_password: Some(state.sealed_password()?), locator: None, retired_at: None })
}

/// Absolute paths without symbolic links; prefixes without slashes at their ends.
pub(crate) fn plain(location: StoreLocation) -> Result<StoreLocation> {
    match location {
        StoreLocation::Local { path } => {
            if path.is_empty() || path.contains('\0') {
                return Err(Error::invalid("The store's folder is not a path."));
            }
            let path = nesting::true_path(std::path::Path::new(&path));
            let path = path.to_str().ok_or_else(|| Error::invalid("The store's folder is not UTF-8."))?.to_owned();
            Ok(StoreLocation::Local { path })
        }
        StoreLocation::S3 { bucket, prefix, region, endpoint, path_style, allow_http } => {
            if bucket.is_empty() {
                return Err(Error::invalid("The store's bucket has no name."));
            }
            let prefix = prefix.trim_matches('/').to_owned();
            Ok(StoreLocation::S3 { bucket, prefix, region, endpoint, path_style, allow_http })
        }
    }
}

pub(crate) fn check_name(name: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if name.len() <= 64 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(plain) {
        return Ok(());
    }
    Err(Error::invalid(format!("{name:?} cannot be the name of a store."))
        .hint("A name has up to 64 letters, digits, dots, dashes and underscores, and begins with a letter or digit."))
}
