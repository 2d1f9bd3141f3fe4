//! A quick look over the tree: how much there is, and what stands out. Reads no file.

use std::mem;

use super::{
    DirectorySource, OWN_PREFIX,
    capture::{never_capture, open_root},
    names::{ListingBuffer, Names, as_c_str},
    notice::{LiveDatabase, live_database},
    status::{failure, open_directory, show, status_at, status_of},
    trail::Trail,
};
use crate::{Estimate, Result};

/// Entries after which an estimate gives up: a bigger tree would take too long to be looked over.
const ESTIMATE_ENTRIES: u64 = 1_000_000;

/// What a look over the tree found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// Everything but directories.
    pub items: u64,
    pub directories: u64,
    /// Bytes of regular files.
    pub bytes: u64,
    pub unreadable: u64,
    /// The first one: where, and what it is.
    pub database: Option<(String, &'static str)>,
    /// False when there was more than was looked at.
    pub complete: bool,
}

pub(super) fn estimate(source: &DirectorySource) -> Result<Estimate> {
    let survey = survey(source, ESTIMATE_ENTRIES)?;
    if !survey.complete {
        return Ok(Estimate::default());
    }
    Ok(Estimate { bytes: Some(survey.bytes), items: Some(survey.items) })
}

/// Looks over at most `limit` entries, leaving out what a capture leaves out.
pub(super) fn survey(source: &DirectorySource, limit: u64) -> Result<Survey> {
    let root = open_root(source)?;
    let never = never_capture(source);
    let root_device =
        status_of(&root).map_err(|errno| failure(errno, format!("Cannot look at `{}`", source.shown())))?.device;
    let mut listing = ListingBuffer::new();
    let mut names = Names::default();
    names
        .read(&root, &mut listing)
        .map_err(|errno| failure(errno, format!("The directory `{}` cannot be listed", source.shown())))?;
    let mut survey = Survey::default();
    survey.look_for_databases(source, &names, b"");
    let mut trail = Trail::new(root, names);
    let (mut name, mut path) = (Vec::new(), Vec::new());
    loop {
        if !trail.value().next_into(&mut name) {
            if trail.pop().is_none() {
                survey.complete = true;
                return Ok(survey);
            }
            continue;
        }
        if survey.items + survey.directories >= limit {
            return Ok(survey);
        }
        path.clear();
        path.extend_from_slice(trail.path());
        if !path.is_empty() {
            path.push(b'/');
        }
        path.extend_from_slice(&name[..name.len() - 1]);
        let Some(directory) = trail.current() else { continue };
        let Ok(status) = status_at(directory, as_c_str(&name)) else { continue };
        let own = trail.depth() == 0 && name.starts_with(OWN_PREFIX.as_bytes());
        let elsewhere = source.options.one_file_system && status.device != root_device;
        if own || source.options.excludes(&path, status.is_directory()) || never.contains(&status.identity()) {
            continue;
        }
        if !status.is_directory() {
            survey.items += 1;
            survey.bytes += if status.file_type.is_file() { status.size } else { 0 };
            continue;
        }
        survey.directories += 1;
        if elsewhere {
            continue;
        }
        let mut names = Names::default();
        match open_directory(directory, as_c_str(&name)).and_then(|handle| {
            names.read(&handle, &mut listing)?;
            Ok(handle)
        }) {
            Ok(handle) => {
                survey.look_for_databases(source, &names, &path);
                let bare = mem::take(&mut name);
                trail.push(&bare[..bare.len() - 1], handle, status.identity(), names);
            }
            Err(_) => survey.unreadable += 1,
        }
    }
}

impl Survey {
    fn look_for_databases(&mut self, source: &DirectorySource, names: &Names, directory: &[u8]) {
        let Some(found) = live_database(names) else { return };
        let mut path = directory.to_vec();
        if let LiveDatabase::Sqlite(name) = found {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
        }
        if self.database.is_none() && !source.options.excludes(&path, false) {
            self.database = Some((show(&path), found.what()));
        }
    }
}
