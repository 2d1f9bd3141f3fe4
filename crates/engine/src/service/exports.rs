//! Parts written out as a file of their own engine, for those who want it without a restore.

use std::{io::Write, sync::Arc};

use trivault_sources::RandomRead;

use super::{Engine, blocking, delete_backup::is_passcode_of};
use crate::{
    capture::{JobPart, NoEvents},
    domain::*,
    failure::from_source,
    kinds::{driver_for, open_for_reading, reading_vault, restore_part},
};

/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;

impl Engine {
    /// Writes a part into `out`, which is flushed when this returns.
    ///
    /// # Errors
    /// `NotReady(Part)`, `PasscodeRequired`, `WrongPasscode`, `StoreUnavailable`, `Damaged`, `Unsupported` (the kind has no such
    /// format), `InvalidInput` when `out` takes no more.
    pub async fn export_part(
        &self,
        caller: &Caller,
        part: PartId,
        format: ExportFormat,
        passcode: Option<SecretText>,
        mut out: Box<dyn Write + Send>,
    ) -> Result<()> {
        caller.require(Role::Operator)?;
        let inner = self.inner();
        let missing = || Error::not_found(Noun::Part, "The backup is not in the catalogue.");
        let backup = inner.db.backup_of_part(part).await?.ok_or_else(missing)?;
        let part = backup.parts.iter().find(|found| found.id == part).ok_or_else(missing)?.clone();
        caller.require_source(part.source)?;
        if part.state != BackupState::Succeeded {
            let sentence = "The backup is not finished, so it cannot be exported.";
            return Err(Error::new(ErrorCode::NotReady(Noun::Part), sentence));
        }
        if backup.protected {
            let given = passcode.as_ref().ok_or_else(|| {
                Error::new(ErrorCode::PasscodeRequired, "The backup is protected by a passcode.")
                    .hint("Export it with the passcode it was made with; the server does not keep it.")
            })?;
            if !is_passcode_of(inner, caller, &part, given).await? {
                let sentence = "The passcode is not the one that the backup was made with.";
                return Err(Error::new(ErrorCode::WrongPasscode, sentence));
            }
        }
        let config = restore_part::config_of(inner, &part).await?;
        let (store, row) = reading_vault(inner, &part).await?;
        let stores = inner.db.stores().await?;
        let inner = Arc::clone(inner);
        blocking(move || {
            let vault = open_for_reading(&inner, &store, &row, passcode.as_ref())?;
            let stored = restore_part::open_in(&vault, &part)?;
            let reader = Arc::new(JobPart { part: stored, events: NoEvents });
            let driver = driver_for(&inner, &config, &stores)?;
            match format {
                ExportFormat::Sql => driver.export_sql(reader, &mut out).map_err(from_source)?,
                ExportFormat::Custom => copy(driver.archive(reader).map_err(from_source)?.as_mut(), &mut out)?,
            }
            out.flush().map_err(unwritable)
        })
        .await
    }
}

fn copy(archive: &mut dyn RandomRead, out: &mut dyn Write) -> Result<()> {
    let (mut offset, mut buffer) = (0, vec![0; PIECE_BYTES]);
    loop {
        let read = archive.read_at(offset, &mut buffer).map_err(from_source)?;
        if read == 0 {
            break;
        }
        out.write_all(&buffer[..read]).map_err(unwritable)?;
        offset += read as u64;
    }
    if offset == archive.length() {
        return Ok(());
    }
    Err(Error::new(ErrorCode::Damaged, "The archive ends earlier than it was recorded."))
}

fn unwritable(error: std::io::Error) -> Error {
    Error::invalid(format!("The export cannot be written: {error}.")).because(error)
}
