//! Which vault a job writes to or reads from, and opening it.

use trivault_vault::Vault;

use crate::{
    db::{AuditEntry, StoreRow, VaultRow},
    domain::{
        Error, ErrorCode, Noun, ObjectKind, ObjectRef, Part, Result, SecretText, StoreId, VaultId, VaultKind,
        VaultRecord,
    },
    failure::JobResult,
    run::RunContext,
    service::{Inner, scheduler},
    storage::state_file::StoreState,
};

pub(crate) fn store_row(context: &RunContext, id: StoreId) -> JobResult<StoreRow> {
    let found = context.wait_out(|| context.inner.db.store_row(id))?;
    found.ok_or_else(|| Error::not_found(Noun::Store, "The store is no longer in the catalogue.").into())
}

/// The vault that a backup goes to, as far as the catalogue knows it: a passcode that was never used here has none yet. One of a passcode
/// stays until the job ends, also when its last backup goes meanwhile.
pub(crate) fn known_vault(context: &RunContext, store: &StoreRow, protected: bool) -> JobResult<Option<VaultRow>> {
    let db = &context.inner.db;
    if !protected {
        return context.wait_out(|| db.server_vault(store.store.id));
    }
    let locator = context.inner.storage.locators.locate(&store.salt, context.passcode()?)?;
    let now = context.inner.clock.now();
    context.fenced(context.wait_out(|| db.hold_passcode_vault(context.run(), store.store.id, &locator, now))?)
}

/// Opens the vault that a backup goes to; one for a new passcode is made.
pub(crate) fn open_for_writing(
    context: &RunContext,
    store: &StoreRow,
    known: Option<VaultRow>,
    protected: bool,
) -> JobResult<(VaultId, Vault)> {
    if store.store.read_only {
        let sentence = format!("The store {} belongs to another installation and is read-only.", store.store.name);
        return Err(Error::new(ErrorCode::NotReady(Noun::Store), sentence)
            .hint("Adopt it with `trivault store adopt`, or use another store.")
            .into());
    }
    check_owner(context, store)?;
    let storage = &context.inner.storage;
    match (known, protected) {
        (Some(row), false) => Ok((row.vault.id, storage.server_vault(store, &row)?)),
        (None, false) => Err(no_server_vault(store).into()),
        (Some(row), true) => Ok((row.vault.id, storage.passcode_vault_to_write(store, &row, context.passcode()?)?)),
        (None, true) => new_passcode_vault(context, store),
    }
}

/// Whether the store is still ours: another installation may have adopted it since it was attached. It is read-only from then on.
pub(super) fn check_owner(context: &RunContext, store: &StoreRow) -> JobResult<()> {
    if !has_another_owner(&context.inner, store)? {
        return Ok(());
    }
    context.wait(give_up(&context.inner, store))?;
    let sentence = format!("The store {} was adopted by another installation.", store.store.name);
    Err(Error::new(ErrorCode::NotReady(Noun::Store), sentence)
        .hint("Use another store, or stop that installation and take it back with `trivault store adopt`.")
        .into())
}

/// What the store's own record says. Blocks.
pub(crate) fn has_another_owner(inner: &Inner, store: &StoreRow) -> Result<bool> {
    let state = StoreState::read(inner.storage.root_of(store)?.as_ref())?;
    Ok(state.is_some_and(|state| state.installation != inner.installation))
}

/// Nothing is written from now on to a store that another installation has adopted.
pub(crate) async fn give_up(inner: &Inner, store: &StoreRow) -> Result<()> {
    let at = ObjectRef::new(ObjectKind::Store, store.store.id.0);
    let audit = AuditEntry::of(&scheduler(), inner.clock.now(), "store.lost", Some(at));
    inner.db.set_store_read_only(store.store.id, true, &audit).await?;
    tracing::error!(store.name = store.store.name, "a store was adopted by another installation and is read-only now");
    Ok(())
}

fn new_passcode_vault(context: &RunContext, store: &StoreRow) -> JobResult<(VaultId, Vault)> {
    let (storage, passcode) = (&context.inner.storage, context.passcode()?);
    // A typing error would be noticed here.
    context.log(format!("This is the first backup under this passcode in the store {}.", store.store.name));
    let (path, vault) = storage.create_passcode_vault(store, passcode)?;
    let record = VaultRecord {
        id: VaultId(uuid::Uuid::now_v7()),
        store: store.store.id,
        kind: VaultKind::Passcode,
        path: path.clone(),
        created_at: context.inner.clock.now(),
    };
    let locator = storage.locators.locate(&store.salt, passcode)?;
    let now = record.created_at;
    let row = VaultRow { vault: record, sealed_password: None, locator: Some(locator), retired_at: None };
    let entered = context.wait_out(|| context.inner.db.enter_passcode_vault(context.run(), &row, now))?;
    let standing = context.fenced(entered)?;
    if standing.vault.id == row.vault.id {
        storage.keep_passcode_vault(row.vault.id, &vault);
        return Ok((row.vault.id, vault));
    }
    // Another job under the same passcode came first: its vault is the one.
    drop(vault);
    storage.root_of(store)?.remove_tree(&path)?;
    Ok((standing.vault.id, storage.passcode_vault(store, &standing, passcode)?))
}

/// The vault of a part with its store, for reading.
pub(crate) async fn reading_vault(inner: &Inner, part: &Part) -> Result<(StoreRow, VaultRow)> {
    let unfinished =
        || Error::new(ErrorCode::NotReady(Noun::Part), "The backup holds no finished copy of this source.");
    let vault = part.vault.ok_or_else(unfinished)?;
    let row = inner.db.vault_row(vault).await?.ok_or_else(unfinished)?;
    let store = inner.db.store_row(row.vault.store).await?.ok_or_else(unfinished)?;
    Ok((store, row))
}

/// Opens the vault of a part. Blocks.
///
/// # Errors
/// `PasscodeRequired`, `WrongPasscode`, `StoreUnavailable`.
pub(crate) fn open_for_reading(
    inner: &Inner,
    store: &StoreRow,
    row: &VaultRow,
    passcode: Option<&SecretText>,
) -> Result<Vault> {
    match row.vault.kind {
        VaultKind::Server => inner.storage.server_vault(store, row),
        VaultKind::Passcode => {
            let passcode = passcode.ok_or_else(|| {
                Error::new(ErrorCode::PasscodeRequired, "The backup is protected by a passcode.")
                    .hint("Restore it with the passcode it was made with; the server does not keep it.")
            })?;
            inner.storage.passcode_vault(store, row, passcode)
        }
    }
}

fn no_server_vault(store: &StoreRow) -> Error {
    Error::new(ErrorCode::NotReady(Noun::Vault), format!("The store {} has no vault of this server.", store.store.name))
        .hint("Attach the store again.")
}
