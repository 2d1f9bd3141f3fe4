//! Putting a stored database back: beside the target first, and then in one step.
//!
//! Four ways, chosen by [`plan`]:
//! * a whole database to a place where there is none: written beside, synced, checked, renamed;
//! * a whole database over the live one: the same, then the two names are exchanged, and the old file is kept;
//! * rows into the live database ([`super::merge`]), read from a private copy of the backup beside it;
//! * some tables to a place where there is no database: a new one is built that way beside it, then renamed.
//!
//! Names of temporary files hold the job's name, so that [`resume`] finds after a crash what it has to finish or remove.

mod copy;
mod in_use;
mod plan;
mod settle;
mod swap;

use std::{fs, path::Path};

use super::{
    connection::create,
    errors::{explain, from_system},
    filter::Filter,
    merge::{Merge, Report},
};
use crate::{Conflict, Interrupted, PartReader, PartRestorePlan, RestoreOutcome, Result, SourceError};
pub(super) use plan::plan;
use plan::{Details, Places, Work};

/// Carries a plan out.
///
/// # Errors
/// After an error that comes before the swap or the commit, the target is as it was and nothing stays beside it.
pub(super) fn carry_out(part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome> {
    let details = Details::of(plan)?;
    let places = Places::new(&details.target, &plan.request.job);
    if part.is_cancelled() {
        return Err(SourceError::cancelled());
    }
    let result = match details.work {
        Work::WriteNew => write_new(part, &details, &places),
        Work::BuildNew => build_new(part, plan, &details, &places),
        Work::Swap => swap::swap(part, &details, &places),
        Work::Merge => merge_into(part, plan, &details, &places),
    };
    let Err(error) = result else { return result };
    if details.work == Work::Merge {
        // Here we know that the commit did not happen, so nothing is left to finish.
        settle::remove_temporary(&places)?;
        return Err(error);
    }
    match settle::settle(&details, &places, plan.bytes) {
        Ok(Interrupted::Finished) if details.work == Work::Swap => {
            part.log(&format!("finished after a failure behind the swap: {error}"));
            Ok(swap::outcome(part, &places))
        }
        Ok(_) => Err(error),
        Err(again) => {
            part.log(&format!("could not tidy up: {again}"));
            Err(error)
        }
    }
}

/// After a crash: finishes what had passed its swap or its last row, removes everything else.
pub(super) fn resume(plan: &PartRestorePlan) -> Result<Interrupted> {
    let details = Details::of(plan)?;
    let places = Places::new(&details.target, &plan.request.job);
    if details.work == Work::Merge && places.merging.exists() {
        // Every row was in and only the commit may be missing: doing it again changes nothing that was done.
        let filter = Filter::new(&plan.request.selection, &details.inventory)?;
        run_merge(&places.merging, &details.target, &filter, plan, Report(None), &|| Ok(()))?;
        settle::remove_temporary(&places)?;
        return Ok(Interrupted::Finished);
    }
    settle::settle(&details, &places, plan.bytes)
}

fn write_new(part: &dyn PartReader, details: &Details, places: &Places) -> Result<RestoreOutcome> {
    settle::make_directories(details)?;
    let bytes = copy::write_database(part, &places.new, details)?;
    copy::check(&places.new, part)?;
    part.point("swap");
    copy::rename_new(&places.new, &details.target)?;
    part.point("swap.renamed");
    part.log(&format!("restored to {}", details.target.display()));
    Ok(RestoreOutcome { bytes_written: bytes, items: part.manifest().items, kept_aside: Vec::new() })
}

fn build_new(
    part: &dyn PartReader,
    plan: &PartRestorePlan,
    details: &Details,
    places: &Places,
) -> Result<RestoreOutcome> {
    settle::make_directories(details)?;
    let filter = Filter::new(&plan.request.selection, &part.manifest().inventory)?;
    let bytes = copy::write_database(part, &places.part, details)?;
    copy::check(&places.part, part)?;
    make_empty(&places.new, details)?;
    let items = run_merge(&places.part, &places.new, &filter, plan, Report(Some(part)), &|| Ok(()))?;
    copy::finish_file(&places.new, details, part)?;
    copy::rename_new(&places.new, &details.target)?;
    settle::remove_temporary(places)?;
    Ok(RestoreOutcome { bytes_written: bytes, items, kept_aside: Vec::new() })
}

/// A new database with the page size and the text encoding of the backup: attached databases must share the latter.
fn make_empty(path: &Path, details: &Details) -> Result<()> {
    let connection = create(path)?;
    let sqlite = |error| explain(path, error);
    connection.pragma_update(None, "page_size", details.page_size).map_err(sqlite)?;
    connection.pragma_update(None, "encoding", &details.encoding).map_err(sqlite)?;
    // Only the first table of a database writes its encoding down; VACUUM frees what that table had.
    connection.execute_batch("CREATE TABLE t(a); DROP TABLE t; VACUUM").map_err(sqlite)?;
    connection.pragma_update(None, "user_version", details.user_version).map_err(sqlite)?;
    connection.pragma_update(None, "application_id", details.application_id).map_err(sqlite)
}

fn merge_into(
    part: &dyn PartReader,
    plan: &PartRestorePlan,
    details: &Details,
    places: &Places,
) -> Result<RestoreOutcome> {
    let filter = Filter::new(&plan.request.selection, &part.manifest().inventory)?;
    let bytes = copy::write_database(part, &places.part, details)?;
    copy::check(&places.part, part)?;
    let before_commit = || {
        part.point("merge");
        fs::rename(&places.part, &places.merging).map_err(|error| from_system(&places.part, "rename", error))?;
        copy::sync_directory(&places.directory)?;
        part.point("merge.commit");
        Ok(())
    };
    let items = run_merge(&places.part, &details.target, &filter, plan, Report(Some(part)), &before_commit)?;
    part.point("merge.committed");
    settle::remove_temporary(places)?;
    Ok(RestoreOutcome { bytes_written: bytes, items, kept_aside: Vec::new() })
}

fn run_merge(
    from: &Path,
    target: &Path,
    filter: &Filter,
    plan: &PartRestorePlan,
    report: Report<'_>,
    before_commit: &dyn Fn() -> Result<()>,
) -> Result<u64> {
    let update = plan.request.conflict == Conflict::UpdateDiffering;
    Merge { part: from, target, filter, update, report, copied: plan.bytes }.run(before_commit)
}
