//! What must be true after a crash.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant, SystemTime},
};

use crate::{
    ground::Place,
    ledger::Ledger,
    site::{Begin, Done, PASSCODE, REPOSITORY, Site, State},
    work::{NewPlace, Prepared, Work},
};

/// Locks of a dead server are looked for every five seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(90);
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// Unfinished files of this age belong to nobody.
const OLD: Duration = Duration::from_secs(2 * 86_400);

/// What the work has left of the sources and at its new place, in a few words.
///
/// # Panics
/// When it is neither the one nor the other.
pub fn sources(site: &Site, work: Work, prepared: &Prepared) -> String {
    // Until an interrupted restore is finished or undone, a PostgreSQL database may have no name.
    journal_is_empty(site);
    let now = site.state();
    if let Some(place) = &prepared.new_place {
        assert!(now == prepared.before, "a source was touched");
        if !site.has(place) {
            return "nothing was made".to_owned();
        }
        let restored = prepared.restored.as_ref().unwrap();
        assert!(site.holds(place, work.restored(), restored), "{place:?} is half a restore");
        return "the new place is whole".to_owned();
    }
    let Some(restored) = &prepared.restored else {
        assert!(now == prepared.before, "a source was touched");
        return String::new();
    };
    if work == Work::AddToBoth {
        assert!(now.holds(&prepared.before), "something was deleted");
        let [rows, files] = now.more_than(&prepared.before);
        let words = match (rows, files) {
            (0, 0) => "nothing was added",
            (1, 1) => "what was missing is there",
            (1, 0) | (0, 1) => "what was missing of one source is there",
            other => panic!("so many rows and entries were added: {other:?}"),
        };
        site.find_again();
        return words.to_owned();
    }
    if now == prepared.before {
        return "the target is as it was".to_owned();
    }
    let mut expected = prepared.before.clone();
    expected.take_over(work.restored(), restored);
    assert!(now == expected, "{} is neither what it was nor what the backup holds", work.restored());
    "the target is the backup".to_owned()
}

/// # Panics
/// At the first promise that is not kept.
pub fn all_is_well(site: &mut Site, prepared: &Prepared) {
    site.change();
    site.back_up();
    let done = site.backups();
    every_promise_is_kept(site, &done);
    site.succeed(&["retention", "apply", REPOSITORY]);
    site.succeed(&["prune"]);
    site.succeed(&["verify", "store", "--read", "all"]);
    no_lock_is_left(site);
    restic_finds_nothing(site);
    nothing_unfinished_is_left(site);
    tidy(site, prepared, &done);
}

/// Removes what is rightly kept, so that the next crash begins without it.
pub fn tidy(site: &Site, prepared: &Prepared, done: &[Done]) {
    for place in prepared.new_place.iter().cloned().chain(kept_aside(site)) {
        match place {
            NewPlace::Path(path) => {
                drop(if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) })
            }
            NewPlace::Database(name) => site.ledger.iter().for_each(|ledger| ledger.drop_database(&name)),
        }
    }
    // They are of another repository, whose retention keeps them.
    for Done { id, .. } in done.iter().filter(|backup| backup.protected) {
        site.succeed(&["backup", "delete", id]);
    }
}

fn kept_aside(site: &Site) -> Vec<NewPlace> {
    let entries = fs::read_dir(site.sources()).unwrap().map(|entry| entry.unwrap().path());
    let paths = entries.filter(|path| path.to_string_lossy().contains(".before-")).map(NewPlace::Path);
    let databases = site.ledger.iter().flat_map(Ledger::beside).filter(|name| name.contains("__before_"));
    paths.chain(databases.map(NewPlace::Database)).collect()
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
fn every_promise_is_kept(site: &Site, done: &[Done]) {
    let proof = site.path("proof");
    let _ = fs::remove_dir_all(&proof);
    fs::create_dir(&proof).unwrap();
    let passcode = site.path("passcode");
    fs::write(&passcode, PASSCODE).unwrap();
    let mut restores = Vec::new();
    for Done { id, parts, protected } in done {
        let Some(state) = site.promised.get(id) else { panic!("the backup {id} is of an unknown state") };
        for (source, part) in parts {
            let mut command = vec!["restore", "--part", part];
            if *protected {
                command.extend(["--passcode-file", passcode.to_str().unwrap()]);
            }
            let place = match &site.ledger {
                None => NewPlace::Path(proof.join(part)),
                Some(ledger) => NewPlace::Database(format!("{}_{}", ledger.database, part.replace('-', "_"))),
            };
            match &place {
                NewPlace::Path(path) => command.extend(["--to", path.to_str().unwrap()]),
                NewPlace::Database(name) => command.extend(["--to-database", name]),
            }
            restores.push((site.spawn(&Begin::command(&command)), source, place, id.clone(), state));
        }
    }
    for (child, source, place, id, state) in restores {
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{source} of {id}: {said}\n{}", site.gateway.log());
        assert!(site.holds(&place, source, state), "{source} of {id} is not what it was");
        if let (NewPlace::Database(name), Some(ledger)) = (&place, &site.ledger) {
            ledger.drop_database(name);
        }
    }
    fs::remove_dir_all(&proof).unwrap();
}

/// The server goes on with its own work, such as the capture of its configuration: restic has to wait for that, and does not by itself.
fn restic_finds_nothing(site: &Site) {
    let begun = Instant::now();
    loop {
        let output = site.vault().run(["check", "--read-data"]);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let waits = said.contains("already locked") && begun.elapsed() < LOCK_PATIENCE;
        assert!(output.status.success() || waits, "restic check:\n{said}\n{}", site.gateway.log());
        if output.status.success() {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn no_lock_is_left(site: &Site) {
    let begun = Instant::now();
    loop {
        let locks = site.lock_files();
        if locks.is_empty() {
            return;
        }
        assert!(begun.elapsed() < LOCK_PATIENCE, "these locks are left: {locks:?}\n{}", site.gateway.log());
        thread::sleep(LOOK_EVERY);
    }
}

/// What a killed process left half made is removed when it is old enough: it is made old here.
fn nothing_unfinished_is_left(site: &mut Site) {
    let beside: Vec<PathBuf> = unfinished(&site.sources());
    assert!(beside.is_empty(), "{beside:?} are left beside the sources\n{}", site.gateway.log());
    let databases: Vec<String> =
        site.ledger.iter().flat_map(Ledger::beside).filter(|name| name.contains("__tv_")).collect();
    assert!(databases.is_empty(), "{databases:?} are left beside the source\n{}", site.gateway.log());
    let left = unfinished_inside(site);
    if left.is_empty() {
        return;
    }
    for path in &left {
        let opened = File::options().read(true).open(path).unwrap();
        opened.set_modified(SystemTime::now() - OLD).unwrap();
    }
    site.start();
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
    /// So many rows, and entries of the tree, are here and not there.
    fn more_than(&self, before: &Self) -> [usize; 2] {
        let ((rows, tree), (old_rows, old_tree)) = (self.lines(), before.lines());
        let more = |now: Vec<String>, old: Vec<String>| {
            let old: BTreeSet<String> = old.into_iter().collect();
            now.into_iter().filter(|line| !old.contains(line)).count()
        };
        [more(rows, old_rows), more(tree, old_tree)]
    }

    /// Whether everything that was there before is there.
    fn holds(&self, before: &Self) -> bool {
        let lines = |state: &Self| -> BTreeSet<String> {
            let (rows, tree) = state.lines();
            rows.into_iter().chain(tree).collect()
        };
        lines(before).is_subset(&lines(self))
    }
}
