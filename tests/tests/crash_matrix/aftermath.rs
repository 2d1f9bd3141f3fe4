//! What must be true after a crash.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    site::{DATABASE, Place, REPOSITORY, Site, State, TREE},
    work::{Prepared, Work},
};

/// Locks of a dead server are looked for every five seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Unfinished files of this age belong to nobody.
const OLD: Duration = Duration::from_secs(2 * 86_400);

/// What the work has left of the sources and at its new place, in a few words.
///
/// # Panics
/// When it is neither the one nor the other.
pub fn sources(site: &Site, work: Work, prepared: &Prepared) -> String {
    let now = site.state();
    if let Some(place) = &prepared.new_place {
        assert!(now == prepared.before, "a source was touched");
        if !place.exists() {
            return "nothing was made".to_owned();
        }
        let restored = prepared.restored.as_ref().unwrap();
        let whole = if place.is_dir() { restored.tree_is(place) } else { restored.database_is(place) };
        assert!(whole, "{} is half a restore", place.display());
        return "the new place is whole".to_owned();
    }
    let Some(restored) = &prepared.restored else {
        assert!(now == prepared.before, "a source was touched");
        return String::new();
    };
    if work == Work::AddToBoth {
        assert!(now.holds(&prepared.before), "something was deleted");
        let words = if now == prepared.before { "nothing was added" } else { "what was missing is there" };
        return words.to_owned();
    }
    if now == prepared.before {
        return "the target is as it was".to_owned();
    }
    let tree = work == Work::ReplaceTree;
    let (path, other) = if tree { (&site.tree, &site.database) } else { (&site.database, &site.tree) };
    let replaced = if tree { restored.tree_is(path) } else { restored.database_is(path) };
    let untouched = if tree { prepared.before.database_is(other) } else { prepared.before.tree_is(other) };
    assert!(replaced && untouched, "{} is neither what it was nor what the backup holds", path.display());
    "the target is the backup".to_owned()
}

/// # Panics
/// At the first promise that is not kept.
pub fn all_is_well(site: &mut Site, prepared: &Prepared) {
    journal_is_empty(site);
    site.change();
    site.back_up();
    every_promise_is_kept(site);
    site.succeed(&["retention", "apply", REPOSITORY]);
    site.succeed(&["prune"]);
    site.succeed(&["verify", "store", "--read", "all"]);
    no_lock_is_left(site);
    site.vault().succeed(["check", "--read-data"]);
    nothing_unfinished_is_left(site);
    tidy(site, prepared);
}

/// Removes what is rightly kept, so that the next crash begins without it.
pub fn tidy(site: &Site, prepared: &Prepared) {
    for path in prepared.new_place.iter().cloned().chain(kept_aside(site)) {
        let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
    }
}

fn kept_aside(site: &Site) -> Vec<PathBuf> {
    let entries = fs::read_dir(site.sources()).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| path.to_string_lossy().contains(".before-")).collect()
}

/// The restore journal is worked off every five seconds.
fn journal_is_empty(site: &Site) {
    let folder = site.path("data/restores");
    let begun = Instant::now();
    loop {
        let left: Vec<PathBuf> = match fs::read_dir(&folder) {
            Ok(entries) => entries.map(|entry| entry.unwrap().path()).collect(),
            Err(_) => Vec::new(),
        };
        if left.iter().all(|path| path.extension().is_none_or(|extension| extension != "json")) {
            return;
        }
        assert!(begun.elapsed() < LOCK_PATIENCE, "{left:?} are not finished\n{}", site.gateway.log());
        thread::sleep(LOOK_EVERY);
    }
}

/// Every backup that is reported as done restores, and holds what the sources held.
fn every_promise_is_kept(site: &Site) {
    let proof = site.path("proof");
    let _ = fs::remove_dir_all(&proof);
    fs::create_dir(&proof).unwrap();
    let mut restores = Vec::new();
    for (id, parts) in site.backups() {
        let Some(state) = site.promised.get(&id) else { panic!("the backup {id} is of an unknown state") };
        for (source, part) in parts {
            let place = proof.join(&part);
            let begin = crate::site::Begin::command(&["restore", "--part", &part, "--to", place.to_str().unwrap()]);
            restores.push((site.spawn(&begin), source, place, id.clone(), state));
        }
    }
    for (child, source, place, id, state) in restores {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{source} of {id}: {said}\n{}", site.gateway.log());
        let same = match source.as_str() {
            DATABASE => state.database_is(&place),
            TREE => state.tree_is(&place),
            other => panic!("a part of {other}"),
        };
        assert!(same, "{source} of {id} is not what it was");
    }
    fs::remove_dir_all(&proof).unwrap();
}

fn no_lock_is_left(site: &Site) {
    let begun = Instant::now();
    loop {
        let locks = site.vault().succeed(["list", "locks", "--no-lock", "--quiet"]);
        if locks.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        let locks = String::from_utf8_lossy(&locks).into_owned();
        assert!(begun.elapsed() < LOCK_PATIENCE, "these locks are left:\n{locks}\n{}", site.gateway.log());
        thread::sleep(LOOK_EVERY);
    }
}

/// What a killed process left half made is removed when it is old enough: it is made old here.
fn nothing_unfinished_is_left(site: &mut Site) {
    let beside: Vec<PathBuf> = unfinished(&site.sources());
    assert!(beside.is_empty(), "{beside:?} are left beside the sources\n{}", site.gateway.log());
    let left = unfinished_inside(site);
    if left.is_empty() {
        return;
    }
    for path in &left {
        let opened = File::options().read(true).open(path).unwrap();
        opened.set_modified(SystemTime::now() - OLD).unwrap();
    }
    site.start(&[]);
    site.change();
    site.back_up();
    let begun = Instant::now();
    while !unfinished_inside(site).is_empty() {
        let left = unfinished_inside(site);
        assert!(begun.elapsed() < LOCK_PATIENCE, "{left:?} are never removed");
        thread::sleep(LOOK_EVERY);
    }
}

fn unfinished_inside(site: &Site) -> Vec<PathBuf> {
    let mut left = unfinished(&site.path("data"));
    if site.ground.place == Place::Folder {
        left.extend(unfinished(&site.path("store")));
    }
    left
}

/// Names that this program gives to what it has not finished.
fn unfinished(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in fs::read_dir(folder).into_iter().flatten().map(|entry| entry.unwrap().path()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let marks = ["-tmp-", ".tmp-", ".trivault-", "server.new-", "node.id."];
        if marks.iter().any(|mark| name.contains(mark)) || name.ends_with(".new") {
            found.push(path);
        } else if path.is_dir() && !path.is_symlink() {
            found.extend(unfinished(&path));
        }
    }
    found
}

impl State {
    /// Whether everything that was there before is there.
    fn holds(&self, before: &Self) -> bool {
        let lines = |state: &Self| -> BTreeSet<String> {
            let (rows, tree) = state.lines();
            rows.into_iter().chain(tree).collect()
        };
        lines(before).is_subset(&lines(self))
    }
}
