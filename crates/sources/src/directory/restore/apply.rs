//! Putting the built tree into place. Everything here can be interrupted anywhere and run again.

use std::{
    ffi::CString,
    os::fd::{AsFd, OwnedFd},
};

use rustix::{
    fs::{AtFlags, FileType, Mode as FileMode},
    io::Errno,
};

use super::{
    super::{
        OWN_PREFIX,
        names::{ListingBuffer, Names},
        status::{Status, failure, open_directory, show, status_at, status_of},
        trail::Trail,
    },
    existing::{copy_metadata, look, set_time},
    place::{Place, changed_meanwhile, move_entry},
    plan::Details,
    remove::remove_tree,
};
use crate::{ErrorKind, Result, SourceError};

/// Who follows what happens; a resumed restore has nobody.
pub(super) struct Watch<'w> {
    pub log: &'w dyn Fn(&str),
    pub step: &'w dyn Fn(),
    pub point: &'w dyn Fn(&str),
}

/// The paths of a plan, opened.
pub(super) struct Places {
    pub target: Place,
    pub stage: Place,
    pub ready: Place,
    pub moving: Place,
    pub before: Place,
}

impl Places {
    pub fn open(details: &Details) -> Result<Self> {
        Ok(Self {
            target: Place::open(&details.target)?,
            stage: Place::open(&details.stage)?,
            ready: Place::open(&details.ready)?,
            moving: Place::open(&details.moving)?,
            before: Place::open(&details.before)?,
        })
    }

    /// Inode of what is at the target now; at a mount point that of what is mounted.
    pub fn target_inode(&self) -> Result<Option<u64>> {
        Ok(self.target.status()?.map(|status| status.inode))
    }
}

/// One rename to a place that does not exist, or is an empty directory.
pub(super) fn publish(places: &Places, details: &Details, watch: &Watch<'_>) -> Result<()> {
    let Places { target, stage, .. } = places;
    if places.target_inode()? != details.target_inode {
        return Err(changed_meanwhile(target.shown()));
    }
    (watch.log)(&format!("renaming {} to {}", stage.shown(), target.shown()));
    (watch.point)("swap");
    stage.rename(target)?;
    (watch.point)("swap.renamed");
    target.sync()
}

/// Exchanges the built tree with the target. It gets the name under which the old one will be kept first, so that the
/// exchange itself is the only step that counts.
pub(super) fn swap(places: &Places, details: &Details, watch: &Watch<'_>) -> Result<()> {
    let Places { target, stage, before, .. } = places;
    if places.target_inode()? != details.target_inode {
        return Err(changed_meanwhile(target.shown()));
    }
    (watch.log)(&format!("renaming {} to {}", stage.shown(), before.shown()));
    (watch.point)("swap");
    stage.rename(before)?;
    before.sync()?;
    (watch.point)("swap.ready");
    (watch.log)(&format!("exchanging {} with {}", before.shown(), target.shown()));
    if !before.exchange(target)? {
        (watch.log)("this file system cannot exchange names, so it takes two renames");
        before.rename(stage)?;
        target.rename(before)?;
        (watch.log)(&format!("renaming {} to {}", stage.shown(), target.shown()));
        stage.rename(target)?;
    }
    (watch.point)("swap.exchanged");
    target.sync()
}

/// Replaces the target's entries one by one. Begins or goes on wherever it stopped.
pub(super) fn replace_entries(places: &Places, details: &Details, watch: &Watch<'_>) -> Result<()> {
    let target = places.target.open_directory()?;
    if Some(status_of(&target).map_err(|errno| cannot(errno, places))?.inode) != details.target_inode {
        return Err(changed_meanwhile(places.target.shown()));
    }
    if places.stage.exists()? {
        (watch.log)("the new tree is complete; replacing entries begins");
        places.stage.rename(&places.ready)?;
        places.ready.sync()?;
    }
    if !places.before.exists()? {
        places.before.make()?;
    }
    let before = places.before.open_directory()?;
    if places.ready.exists()? {
        let ready = places.ready.open_directory()?;
        move_away(&target, &ready, &before, watch).map_err(|errno| cannot(errno, places))?;
        let status = status_of(&ready).map_err(|errno| cannot(errno, places))?;
        copy_metadata(&ready, target.as_fd(), &Status { mode: status.mode | 0o700, ..status })
            .map_err(|errno| cannot(errno, places))?;
        rustix::fs::fchmod(&ready, FileMode::from_raw_mode(status.mode | 0o700))
            .map_err(|errno| cannot(errno, places))?;
        (watch.log)("what the backup does not have is away; moving new entries in");
        places.ready.rename(&places.moving)?;
        places.moving.sync()?;
    }
    if places.moving.exists()? {
        let moving = places.moving.open_directory()?;
        move_in(&target, &moving, &before, watch).map_err(|errno| cannot(errno, places))?;
    }
    rustix::fs::fchmod(&target, FileMode::from_raw_mode(details.root_mode)).map_err(|errno| cannot(errno, places))?;
    rustix::fs::syncfs(&target).map_err(|errno| cannot(errno, places))?;
    (watch.log)("every entry is replaced");
    places.moving.remove_if_empty()?;
    places.before.remove_if_empty()?;
    set_time(target.as_fd(), details.root_modified()).map_err(|errno| cannot(errno, places))?;
    places.target.sync()
}

fn cannot(errno: Errno, places: &Places) -> SourceError {
    failure(errno, format!("Cannot replace the entries of `{}`", places.target.shown()))
}

/// Moves entries that the new tree does not have out of the way.
fn move_away(target: &OwnedFd, ready: &OwnedFd, before: &OwnedFd, watch: &Watch<'_>) -> Result<(), Errno> {
    let mut listing = ListingBuffer::new();
    let (mut old, mut new) = (Names::default(), Names::default());
    old.read(target, &mut listing)?;
    new.read(ready, &mut listing)?;
    let mut name = Vec::new();
    while old.next_into(&mut name) {
        let bare = &name[..name.len() - 1];
        if new.contains(bare) || bare == b"lost+found" || bare.starts_with(OWN_PREFIX.as_bytes()) {
            continue;
        }
        (watch.step)();
        set_aside(target, &name, before)?;
    }
    Ok(())
}

/// Moves new entries in, and what they replace out of the way.
fn move_in(target: &OwnedFd, moving: &OwnedFd, before: &OwnedFd, watch: &Watch<'_>) -> Result<(), Errno> {
    let mut listing = ListingBuffer::new();
    let mut new = Names::default();
    new.read(moving, &mut listing)?;
    let mut name = Vec::new();
    while new.next_into(&mut name) {
        (watch.step)();
        if name.starts_with(b"lost+found\0") {
            remove_tree(moving.as_fd(), c"lost+found")?;
            continue;
        }
        if look(target.as_fd(), &name)?.is_some() {
            set_aside(target, &name, before)?;
            (watch.step)();
        }
        move_entry(moving.as_fd(), &name, target.as_fd(), &name, false)?;
    }
    Ok(())
}

/// Moves an entry into `before`, under another name where its own is taken.
fn set_aside(target: &OwnedFd, name: &[u8], before: &OwnedFd) -> Result<(), Errno> {
    let mut new_name = name.to_vec();
    for number in 1_u32.. {
        match move_entry(target.as_fd(), name, before.as_fd(), &new_name, false) {
            Err(Errno::EXIST | Errno::NOTEMPTY) => {
                new_name.truncate(name.len() - 1);
                new_name.extend_from_slice(format!(".{number}\0").as_bytes());
            }
            Err(Errno::NOENT) => return Ok(()),
            answer => return answer,
        }
    }
    Err(Errno::EXIST)
}

/// Whether a merge overwrites what differs, and directories' metadata with it.
#[derive(Clone, Copy)]
pub(super) struct MergeRule {
    pub update: bool,
    pub directories_too: bool,
}

/// Moves what was built into the target, keeping what is there. Begins or goes on wherever it stopped.
pub(super) fn merge(places: &Places, details: &Details, rule: MergeRule, watch: &Watch<'_>) -> Result<()> {
    let Places { target, stage, ready, .. } = places;
    let root = target.open_directory()?;
    let cannot = |errno: Errno, path: &[u8]| failure(errno, format!("Cannot move `{}` into its place", show(path)));
    if Some(status_of(&root).map_err(|errno| cannot(errno, b"."))?.inode) != details.target_inode {
        return Err(changed_meanwhile(target.shown()));
    }
    if stage.exists()? {
        (watch.log)("what is to be added is complete; moving it begins");
        (watch.point)("merge");
        stage.rename(ready)?;
        ready.sync()?;
        (watch.point)("merge.ready");
    }
    if ready.exists()? {
        let staged = ready.open_directory()?;
        merge_trees(staged, root, rule, watch).map_err(|(errno, path)| cannot(errno, &path))?;
        rustix::fs::syncfs(&target.open_directory()?).map_err(|errno| cannot(errno, b"."))?;
        (watch.log)("everything is in its place");
        (watch.point)("merge.moved");
        ready.remove()?;
        ready.sync()?;
    }
    Ok(())
}

/// The error with the path at which it was met.
type Failed = (Errno, Vec<u8>);

struct StagedLevel {
    names: Names,
    status: Status,
}

fn merge_trees(staged: OwnedFd, target: OwnedFd, rule: MergeRule, watch: &Watch<'_>) -> Result<(), Failed> {
    let mut listing = ListingBuffer::new();
    let level = open_level(&staged, &mut listing).map_err(|errno| (errno, Vec::new()))?;
    let mut staged = Trail::new(staged, level);
    let mut target = Trail::new(target, ());
    let mut name = Vec::new();
    loop {
        let at = |errno: Errno, path: &[u8]| (errno, path.to_vec());
        if staged.value().names.next_into(&mut name) {
            (watch.step)();
            merge_entry(&mut staged, &mut target, &name, rule, &mut listing)
                .map_err(|errno| at(errno, &[staged.path(), b"/", &name[..name.len() - 1]].concat()))?;
            continue;
        }
        let path = staged.path().to_vec();
        if rule.directories_too {
            let status = staged.value().status;
            let handles = (staged.current(), target.current());
            let (Some(from), Some(to)) = handles else { return Err(at(Errno::STALE, &path)) };
            let from = from.try_clone_to_owned().map_err(|_| at(Errno::MFILE, &path))?;
            copy_metadata(&from, to, &status).map_err(|errno| at(errno, &path))?;
        }
        target.pop();
        if staged.pop().is_none() {
            return Ok(());
        }
        let last = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let last = CString::new(last).map_err(|_| at(Errno::INVAL, &path))?;
        let parent = staged.current().ok_or_else(|| at(Errno::STALE, &path))?;
        rustix::fs::unlinkat(parent, &last, AtFlags::REMOVEDIR).map_err(|errno| at(errno, &path))?;
    }
}

fn open_level(handle: &OwnedFd, listing: &mut ListingBuffer) -> Result<StagedLevel, Errno> {
    let status = status_of(handle)?;
    if status.mode & 0o700 != 0o700 {
        rustix::fs::fchmod(handle, FileMode::from_raw_mode(status.mode | 0o700))?;
    }
    let mut names = Names::default();
    names.read(handle, listing)?;
    Ok(StagedLevel { names, status })
}

/// Moves one entry, or goes down into a directory that is on both sides.
fn merge_entry(
    staged: &mut Trail<StagedLevel>,
    target: &mut Trail<()>,
    name: &[u8],
    rule: MergeRule,
    listing: &mut ListingBuffer,
) -> Result<(), Errno> {
    let (Some(from), Some(to)) = (staged.current(), target.current()) else { return Err(Errno::STALE) };
    let c_name = super::super::names::as_c_str(name);
    let is_directory = status_at(from, c_name)?.is_directory();
    let existing = look(to, name)?;
    match existing {
        None => match move_entry(from, name, to, name, false) {
            // It came into being this very moment: what exists stays.
            Err(Errno::EXIST | Errno::NOTEMPTY) => remove_tree(from, c_name),
            answer => answer,
        },
        Some(status) if is_directory && status.is_directory() => {
            let handle = open_directory(from, c_name)?;
            let level = open_level(&handle, listing)?;
            let below = open_directory(to, c_name)?;
            let identities = (level.status.identity(), status_of(&below)?.identity());
            staged.push(&name[..name.len() - 1], handle, identities.0, level);
            target.push(&name[..name.len() - 1], below, identities.1, ());
            Ok(())
        }
        Some(status) if is_directory || status.file_type == FileType::Directory || !rule.update => {
            remove_tree(from, c_name)
        }
        Some(_) => {
            move_entry(from, name, to, name, true)?;
            // Two names of one file: the rename did nothing, and said so by success.
            match rustix::fs::unlinkat(from, c_name, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            }
        }
    }
}

/// A plan that this version does not understand.
pub(super) fn unreadable_plan(error: serde_json::Error) -> SourceError {
    SourceError::new(ErrorKind::Internal, "The plan of this restore cannot be read.").because(error)
}
