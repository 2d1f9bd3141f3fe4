//! What a restore will do, decided and printed before anything is touched.

use std::{
    ffi::OsString,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{
    super::{DirectorySource, KIND, OWN_PREFIX, capture::MANIFEST_FORMAT, status::show},
    build::root_meta,
    selection::Chosen,
    target::{Found, can_be_beside, look, mount_below},
};
use crate::{
    CaptureManifest, Conflict, ErrorKind, PartReader, PartRestorePlan, PartRestoreRequest, RestoreTarget, Result,
    SourceError, Timestamp,
    sizes::{free_bytes, human},
};

/// How the built tree gets to its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Mode {
    /// The target does not exist or is empty: one rename.
    Fresh,
    /// Exchanged with the target in one step.
    Swap,
    /// The target cannot be renamed (a mount point): its entries are replaced one by one.
    Entries,
    /// Added to what is there.
    Merge,
}

/// The driver's part of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Details {
    pub mode: Mode,
    pub target: PathBuf,
    /// Where the tree is built; what is there may be removed at any time before [`Details::ready`].
    pub stage: PathBuf,
    /// Its name once it is complete and is being put into place (entries, merge).
    pub ready: PathBuf,
    /// Its name once everything that must go away is away (entries).
    pub moving: PathBuf,
    /// Where what was replaced is kept (swap, entries).
    pub before: PathBuf,
    /// Inode of the target when the plan was made; `None` when there was none. Its device is that of everything made
    /// beside it, and has another number after the machine was started anew.
    pub target_inode: Option<u64>,
    /// Directories on the way to the target that do not exist yet, the highest first.
    pub missing_parents: Vec<PathBuf>,
    /// Everything in the part is wanted.
    pub whole: bool,
    /// Of the part's tree itself: mode, and seconds and nanoseconds of its modification.
    pub root_mode: u32,
    pub root_modified: (i64, u32),
}

impl Details {
    pub fn root_modified(&self) -> Timestamp {
        Timestamp { seconds: self.root_modified.0, nanoseconds: self.root_modified.1 }
    }
}

pub(in super::super) fn plan(
    source: &DirectorySource,
    part: &dyn PartReader,
    request: &PartRestoreRequest,
) -> Result<PartRestorePlan> {
    let PartRestoreRequest { target, conflict, selection, job } = request;
    let manifest = part.manifest();
    refuse_foreign(manifest)?;
    if job.is_empty() || job.len() > 32 || !job.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_lowercase()) {
        return Err(SourceError::new(ErrorKind::Internal, "The name of a restore's job is not usable."));
    }
    let merged = manifest.details.get("inventory_merged").and_then(serde_json::Value::as_bool).unwrap_or(false);
    let chosen = Chosen::parse(selection, &manifest.inventory, !merged)?;
    let root = root_meta(part)?;
    let found = look(source, target)?;
    let mode = choose_mode(source, target, *conflict, &chosen, &found)?;
    let beside = can_be_beside(&found) && found.status.as_ref().is_none_or(|status| !status.mount_root);
    let bytes = if chosen.include_everything() { manifest.size } else { chosen.bytes(&manifest.inventory) };

    let made = |beside_suffix: String, inside: String| {
        if beside { with_suffix(&found.path, &beside_suffix) } else { found.path.join(inside) }
    };
    let details = Details {
        mode,
        stage: made(format!(".trivault-{job}"), format!("{OWN_PREFIX}{job}")),
        ready: made(format!(".trivault-{job}.ready"), format!("{OWN_PREFIX}{job}.ready")),
        moving: made(format!(".trivault-{job}.moving"), format!("{OWN_PREFIX}{job}.moving")),
        before: made(format!(".before-{job}"), format!("{OWN_PREFIX}before-{job}")),
        target_inode: found.status.as_ref().map(|status| status.inode),
        missing_parents: found.missing_parents.clone(),
        whole: chosen.is_everything(),
        root_mode: root.mode,
        root_modified: (root.modified.seconds, root.modified.nanoseconds),
        target: found.path.clone(),
    };
    refuse_left_over(&details)?;
    if mode != Mode::Merge {
        refuse_without_space(&found, manifest, bytes)?;
    }
    let steps = steps(source, &details, *conflict, bytes);
    let mut temporary = vec![details.stage.clone()];
    if mode == Mode::Merge {
        temporary.push(details.ready.clone());
    }
    let details = serde_json::to_value(details).map_err(|error| {
        SourceError::new(ErrorKind::Unsupported, "The target's path is not UTF-8, so it cannot be kept with the job.")
            .hint("Choose a target with a plain name.")
            .because(error)
    })?;
    Ok(PartRestorePlan { request: request.clone(), steps, bytes, temporary, details })
}

fn refuse_foreign(manifest: &CaptureManifest) -> Result<()> {
    if manifest.kind != KIND {
        return Err(SourceError::new(
            ErrorKind::Invalid,
            format!("This backup is of the kind `{}`, not of a directory.", manifest.kind),
        )
        .hint("Restore it with a source of its own kind."));
    }
    if manifest.format > MANIFEST_FORMAT {
        return Err(SourceError::new(ErrorKind::Unsupported, "This backup was made by a newer version.")
            .hint("Update this program, then restore."));
    }
    Ok(())
}

fn choose_mode(
    source: &DirectorySource,
    target: &RestoreTarget,
    conflict: Conflict,
    chosen: &Chosen,
    found: &Found,
) -> Result<Mode> {
    let Some(status) = &found.status else { return Ok(Mode::Fresh) };
    if found.empty {
        let renamed_over = !status.mount_root && can_be_beside(found);
        return Ok(if renamed_over { Mode::Fresh } else { Mode::Entries });
    }
    if let RestoreTarget::NewPath(path) = target {
        return Err(SourceError::new(
            ErrorKind::Conflict,
            format!("`{}` is there already and is not empty.", shown(path)),
        )
        .hint("Choose a path that does not exist yet, or restore in place."));
    }
    if let Some(mounted) = mount_below(&found.path) {
        return Err(SourceError::new(
            ErrorKind::Conflict,
            format!("Another file system is mounted at `{}`, inside the target.", shown(&mounted)),
        )
        .hint("Unmount it first, or restore to a new path and copy from there."));
    }
    match conflict {
        Conflict::AddMissing | Conflict::UpdateDiffering => Ok(Mode::Merge),
        Conflict::Replace if !chosen.is_everything() => Err(SourceError::new(
            ErrorKind::Unsupported,
            "A directory is replaced as a whole; a selection of it cannot take its place.",
        )
        .hint("Update what differs instead, or restore the selection to a new path.")),
        Conflict::Replace if found.path == Path::new("/") => {
            Err(SourceError::new(ErrorKind::Unsupported, "The root of the running system cannot be replaced.")
                .hint("Restore to a new path, or from a rescue system."))
        }
        Conflict::Replace => {
            if let Some(own) = own_inside(source, &found.path) {
                return Err(SourceError::new(
                    ErrorKind::Conflict,
                    format!("The gateway's own `{}` lies inside the target and would be moved away.", shown(&own)),
                )
                .hint("Update what differs instead, or restore to a new path."));
            }
            let swap = !status.mount_root && can_be_beside(found);
            Ok(if swap { Mode::Swap } else { Mode::Entries })
        }
    }
}

/// The data directory or a store, if one lies in the target.
fn own_inside(source: &DirectorySource, target: &Path) -> Option<PathBuf> {
    source
        .never_capture
        .iter()
        .filter_map(|path| std::fs::canonicalize(path).ok())
        .find(|path| path.starts_with(target))
}

pub(super) fn refuse_left_over(details: &Details) -> Result<()> {
    let Details { stage, ready, moving, before, .. } = details;
    match [stage, ready, moving, before].into_iter().find(|path| std::fs::symlink_metadata(path).is_ok()) {
        None => Ok(()),
        Some(path) => Err(SourceError::new(
            ErrorKind::Conflict,
            format!("`{}` is left over from an earlier run of this restore.", shown(path)),
        )
        .hint("Look at it, then remove it, and start the restore again.")),
    }
}

fn refuse_without_space(found: &Found, manifest: &CaptureManifest, bytes: u64) -> Result<()> {
    // Holes take no space; what the files took up on the source's disk is the better guess.
    let allocated = manifest.details.get("allocated").and_then(serde_json::Value::as_u64).unwrap_or(u64::MAX);
    let wanted = bytes.min(allocated);
    let place = if found.status.is_some() { &found.path } else { &found.parent };
    let Some(free) = free_bytes(place) else { return Ok(()) };
    if free >= wanted {
        return Ok(());
    }
    Err(SourceError::new(
        ErrorKind::Full,
        format!("The restore needs {}, and `{}` has {} left.", human(wanted), shown(place), human(free)),
    )
    .hint("Free some space there, or choose another place."))
}

fn steps(source: &DirectorySource, details: &Details, conflict: Conflict, bytes: u64) -> Vec<String> {
    let Details { mode, target, stage, before, missing_parents, .. } = details;
    let (target, stage, before) = (shown(target), shown(stage), shown(before));
    let mut steps: Vec<String> =
        missing_parents.iter().map(|path| format!("Makes the directory {}.", shown(path))).collect();
    match mode {
        Mode::Fresh => {
            steps.push(format!("Writes {} to {stage}.", human(bytes)));
            steps.push(format!("Renames it to {target}."));
        }
        Mode::Swap | Mode::Entries => {
            steps.push(format!("Writes {} to {stage}.", human(bytes)));
            if *mode == Mode::Swap {
                steps.push(format!("Exchanges it with {target} in one step."));
            } else {
                steps.push(format!(
                    "Replaces the entries of {target} one by one, because it cannot be renamed: for a moment programs \
                     see some old and some new ones."
                ));
            }
            steps.push(format!(
                "Keeps what was there as {before}; programs that have files of it open go on using those."
            ));
            if source.options.leaves_something_out() {
                steps.push(format!("What this source leaves out of its backups is then only in {before}."));
            }
        }
        Mode::Merge => {
            let what = match conflict {
                Conflict::AddMissing => "Writes what is missing",
                Conflict::UpdateDiffering | Conflict::Replace => "Writes what is missing or differs",
            };
            steps.push(format!("{what}, at most {}, to {stage}.", human(bytes)));
            steps.push(format!("Moves it file by file into {target}; nothing is deleted."));
        }
    }
    steps
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.file_name().map(OsString::from).unwrap_or_default();
    name.push(suffix);
    path.with_file_name(name)
}

pub(super) fn shown(path: &Path) -> String {
    show(path.as_os_str().as_bytes())
}
