//! Restores: planned, built beside, put into place, and finished or undone after a crash.
//!
//! ```text
//!            built in                  then                                    interrupted before / after
//! fresh      T.trivault-J              rename to T                             removed / nothing to do
//! swap       T.trivault-J              rename to T.before-J, exchange with T   removed / nothing to do
//! entries    T/.trivault-J             rename to ….ready, then entry by entry  removed / finished
//! merge      T.trivault-J or inside    rename to ….ready, then file by file    removed / finished
//! ```
//! After the rename to `….ready` everything that is needed lies on the disk, so that [`resume`] finishes without the
//! backup. A merge that is interrupted between its end and the job's is taken for one that touched nothing: running it
//! again changes nothing.

mod apply;
mod build;
mod existing;
mod place;
mod plan;
mod remove;
mod selection;
mod tally;
mod target;
mod write;

use std::path::PathBuf;

use apply::{MergeRule, Places, Watch};
use build::{Builder, Existing, root_meta};
pub(super) use plan::plan;
use plan::{Details, Mode};
use selection::Chosen;

use super::status::failure;
use crate::{
    Conflict, Interrupted, PartReader, PartRestorePlan, Progress, RestoreOutcome, Result, SourceError, Warning,
};

fn details(plan: &PartRestorePlan) -> Result<Details> {
    serde_json::from_value(plan.details.clone()).map_err(apply::unreadable_plan)
}

fn merge_rule(plan: &PartRestorePlan, details: &Details) -> MergeRule {
    let update = plan.request.conflict != Conflict::AddMissing;
    MergeRule { update, directories_too: update && details.whole }
}

/// Carries a plan out. When it fails or is cancelled, nothing of it stays.
pub(super) fn restore(part: &dyn PartReader, plan: &PartRestorePlan) -> Result<RestoreOutcome> {
    let details = details(plan)?;
    let chosen = Chosen::parse(&plan.request.selection, &part.manifest().inventory, false)?;
    let root = root_meta(part)?;
    plan::refuse_left_over(&details)?;
    make_parents(&details)?;
    let places = Places::open(&details).inspect_err(|_| remove_parents(&details))?;
    let stage = places.stage.make().inspect_err(|_| remove_parents(&details))?;

    let built = build(part, plan, &details, &chosen, &places, stage, root);
    let placed = built.and_then(|progress| {
        if part.is_cancelled() {
            return Err(SourceError::cancelled());
        }
        put_into_place(part, plan, &details, &places, progress)?;
        Ok(progress)
    });
    match placed {
        Ok(progress) => Ok(RestoreOutcome {
            bytes_written: progress.bytes_read,
            items: progress.items,
            kept_aside: kept_aside(&details, &places)?,
        }),
        Err(error) => {
            match undo(&places, &details, plan) {
                Ok(Interrupted::NothingTouched) => {}
                Ok(Interrupted::Finished) => part.log("the restore was past its turning point and was finished"),
                Err(left) => part.log(&format!("what the failed restore made could not be removed: {left}")),
            }
            Err(error)
        }
    }
}

fn build(
    part: &dyn PartReader,
    plan: &PartRestorePlan,
    details: &Details,
    chosen: &Chosen,
    places: &Places,
    stage: std::os::fd::OwnedFd,
    root: crate::NodeMeta,
) -> Result<Progress> {
    part.log(&format!("writing to {}", places.stage.shown()));
    let sync = stage
        .try_clone()
        .map_err(|error| SourceError::new(crate::ErrorKind::Unavailable, "Too many files are open.").because(error))?;
    let existing = match details.mode {
        Mode::Merge => {
            Some(Existing { root: places.target.open_directory()?, update: merge_rule(plan, details).update })
        }
        Mode::Fresh | Mode::Swap | Mode::Entries => None,
    };
    let progress = Builder::new(part, chosen, stage, existing, plan.bytes).run(root)?;
    rustix::fs::syncfs(&sync).map_err(|errno| failure(errno, "Cannot write the restored files to disk"))?;
    Ok(progress)
}

fn put_into_place(
    part: &dyn PartReader,
    plan: &PartRestorePlan,
    details: &Details,
    places: &Places,
    progress: Progress,
) -> Result<()> {
    let watch =
        Watch { log: &|line| part.log(line), step: &|| part.progress(progress), point: &|name| part.point(name) };
    if details.mode == Mode::Entries {
        let sentence = format!(
            "{} cannot be renamed, so its entries are replaced one by one: for a moment programs see old and new ones.",
            places.target.shown()
        );
        part.warn(Warning { code: "not_atomic".to_owned(), count: 1, sentence });
    }
    match details.mode {
        Mode::Fresh => apply::publish(places, details, &watch),
        Mode::Swap => apply::swap(places, details, &watch),
        Mode::Entries => apply::replace_entries(places, details, &watch),
        Mode::Merge => apply::merge(places, details, merge_rule(plan, details), &watch),
    }
}

fn kept_aside(details: &Details, places: &Places) -> Result<Vec<PathBuf>> {
    let kept = matches!(details.mode, Mode::Swap | Mode::Entries) && places.before.exists()?;
    Ok(if kept { vec![details.before.clone()] } else { Vec::new() })
}

/// After a crash: removes what was built, or finishes what had begun. May be called again.
pub(super) fn resume(plan: &PartRestorePlan) -> Result<Interrupted> {
    let details = details(plan)?;
    // Without the directory that the target is in, nothing was made in it.
    if details.missing_parents.iter().any(|parent| !parent.exists()) {
        remove_parents(&details);
        return Ok(Interrupted::NothingTouched);
    }
    undo(&Places::open(&details)?, &details, plan)
}

/// Brings the target to one of the two states that a restore may end in.
fn undo(places: &Places, details: &Details, plan: &PartRestorePlan) -> Result<Interrupted> {
    let watch = Watch { log: &|_| {}, step: &|| {}, point: &|_| {} };
    match details.mode {
        Mode::Fresh => undo_fresh(places, details),
        Mode::Swap => undo_swap(places, details),
        Mode::Entries => {
            if places.ready.exists()? || places.moving.exists()? {
                apply::replace_entries(places, details, &watch)?;
                return Ok(Interrupted::Finished);
            }
            if places.stage.exists()? {
                places.stage.remove()?;
                return Ok(Interrupted::NothingTouched);
            }
            // Both are gone at the end, and before the beginning; only what is kept aside tells, if there was any.
            Ok(if places.before.exists()? { Interrupted::Finished } else { Interrupted::NothingTouched })
        }
        Mode::Merge => {
            if places.ready.exists()? && places.target_inode()? != details.target_inode {
                // The target that was added to is gone, and another one is none of our business.
                places.ready.remove()?;
                return Ok(Interrupted::NothingTouched);
            }
            if places.ready.exists()? {
                apply::merge(places, details, merge_rule(plan, details), &watch)?;
                return Ok(Interrupted::Finished);
            }
            places.stage.remove()?;
            Ok(Interrupted::NothingTouched)
        }
    }
}

fn undo_fresh(places: &Places, details: &Details) -> Result<Interrupted> {
    if places.stage.exists()? {
        places.stage.remove()?;
        remove_parents(details);
        return Ok(Interrupted::NothingTouched);
    }
    let now = places.target_inode()?;
    if now.is_some() && now != details.target_inode {
        places.target.sync()?;
        return Ok(Interrupted::Finished);
    }
    remove_parents(details);
    Ok(Interrupted::NothingTouched)
}

fn undo_swap(places: &Places, details: &Details) -> Result<Interrupted> {
    let Places { target, stage, before, .. } = places;
    if places.target_inode()? == details.target_inode {
        // The exchange did not happen. The new tree lies under one of the names, if it is there at all.
        if stage.exists()? {
            stage.remove()?
        } else {
            before.remove()?
        }
        return Ok(Interrupted::NothingTouched);
    }
    if before.status()?.map(|status| status.inode) == details.target_inode {
        // On file systems without an exchange there is a moment without a target.
        if !target.exists()? && stage.exists()? {
            stage.rename(target)?;
        }
        stage.remove()?;
        target.sync()?;
        return Ok(Interrupted::Finished);
    }
    // Somebody else replaced the target: theirs stays, ours goes.
    stage.remove()?;
    Ok(Interrupted::NothingTouched)
}

fn make_parents(details: &Details) -> Result<()> {
    for parent in &details.missing_parents {
        match std::fs::create_dir(parent) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => {
                remove_parents(details);
                let errno = rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO);
                return Err(failure(errno, format!("Cannot make the directory `{}`", plan::shown(parent))));
            }
        }
    }
    Ok(())
}

/// Removes what [`make_parents`] made, where nothing else has come into it.
fn remove_parents(details: &Details) {
    for parent in details.missing_parents.iter().rev() {
        // Not empty or not there: not ours to remove.
        let _ = std::fs::remove_dir(parent);
    }
}
