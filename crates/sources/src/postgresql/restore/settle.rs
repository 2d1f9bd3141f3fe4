//! The swap, and what is done about one that was interrupted.
//!
//! `found` is the database of the target's name, `old` the one that the plan saw there (known by its oid).
//!
//! | temporary | found     | kept | what happened           | what is done                    |
//! |-----------|-----------|------|-------------------------|---------------------------------|
//! | any       | old       | no   | nothing was swapped     | temporary is dropped            |
//! | yes       | none      | old  | died between the renames| temporary takes the name        |
//! | no        | another   | old  | all was done            | nothing                         |
//! | no        | none      | old  | somebody dropped it     | the old one takes its name back |
//! | yes       | another   | old  | a stranger took the name| refused until a person decides  |
//!
//! Without an old database there is one rename: the temporary one is there (dropped) or the target is (done).

use crate::{ErrorKind, Interrupted, Result, SourceError, postgresql::session::Session};

use super::{
    plan::Details,
    target::{Found, allow_connections, drop_database, find, rename},
};

/// Gives the built database the target's name. What was there keeps existing under another one.
///
/// # Errors
/// The target is then as it was.
pub(super) fn swap(server: &mut Session, details: &Details, point: &dyn Fn(&str)) -> Result<()> {
    let Details { names, old, .. } = details;
    let found = find(server, &names.database)?;
    if found.map(|found| found.oid) != old.map(|old| old.oid) {
        let sentence = match old {
            Some(_) => format!("{} is not the database any more that the restore was planned for.", names.database),
            None => format!("A database {} has been made meanwhile.", names.database),
        };
        return Err(SourceError::new(ErrorKind::Conflict, sentence).hint("Plan the restore again."));
    }
    point("swap");
    let Some(old) = old else {
        rename(server, &names.temporary, &names.database)?;
        point("swap.renamed");
        return Ok(());
    };
    // Applications connect again at once; nobody may between the end of their sessions and the rename.
    allow_connections(server, &names.database, false)?;
    point("swap.closed");
    if let Err(error) = rename(server, &names.database, &names.kept) {
        reopen(server, &names.database, *old)?;
        return Err(error);
    }
    point("swap.between");
    if let Err(error) = rename(server, &names.temporary, &names.database) {
        rename(server, &names.kept, &names.database)?;
        reopen(server, &names.database, *old)?;
        return Err(error);
    }
    point("swap.exchanged");
    reopen(server, &names.kept, *old)
}

fn reopen(server: &mut Session, name: &str, old: Found) -> Result<()> {
    if old.allows_connections { allow_connections(server, name, true) } else { Ok(()) }
}

/// After a crash or a failure: finishes the swap, or removes what was made beside. May be called again.
///
/// # Errors
/// When the server cannot be reached or refuses; nothing is lost, and a later call goes on.
pub(super) fn settle(server: &mut Session, details: &Details) -> Result<Interrupted> {
    let Details { names, old, .. } = details;
    let temporary = find(server, &names.temporary)?;
    let found = find(server, &names.database)?;
    let Some(old) = old else {
        if temporary.is_some() {
            drop_database(server, &names.temporary)?;
            return Ok(Interrupted::NothingTouched);
        }
        return Ok(if found.is_some() { Interrupted::Finished } else { Interrupted::NothingTouched });
    };
    let kept = find(server, &names.kept)?.filter(|kept| kept.oid == old.oid);
    match (temporary, found, kept) {
        // All was done, and the replaced database has been dropped since.
        (None, Some(found), None) if found.oid != old.oid => Ok(Interrupted::Finished),
        (_, Some(found), None) => {
            drop_database(server, &names.temporary)?;
            if found.oid == old.oid && !found.allows_connections {
                reopen(server, &names.database, *old)?;
            }
            Ok(Interrupted::NothingTouched)
        }
        (Some(_), None, Some(_)) => {
            rename(server, &names.temporary, &names.database)?;
            reopen(server, &names.kept, *old)?;
            Ok(Interrupted::Finished)
        }
        (None, Some(_), Some(_)) => {
            reopen(server, &names.kept, *old)?;
            Ok(Interrupted::Finished)
        }
        (None, None, Some(_)) => {
            rename(server, &names.kept, &names.database)?;
            reopen(server, &names.database, *old)?;
            Ok(Interrupted::NothingTouched)
        }
        (Some(_), Some(_), Some(_)) => Err(SourceError::new(
            ErrorKind::Conflict,
            format!("A database {} was made while the restore stood between its two renames.", names.database),
        )
        .hint(format!(
            "Rename that one; the restored database is {}, the replaced one {}.",
            names.temporary, names.kept
        ))),
        // Somebody has dropped the target while its successor was built.
        (Some(_), None, None) => {
            drop_database(server, &names.temporary)?;
            Ok(Interrupted::NothingTouched)
        }
        (None, None, None) => Ok(Interrupted::NothingTouched),
    }
}
