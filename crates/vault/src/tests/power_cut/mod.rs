//! A power cut at any moment of the store's life loses nothing that was promised.
//!
//! Killing a process cannot show this, because the page cache survives it. So each operation on the disk is recorded while the vault
//! works; for each prefix of that log the states are built which POSIX allows a power cut to leave, and the vault is looked at.

mod disk;
mod story;

use super::{
    prune::{assert_sound, prune},
    restic::restic,
    scene::*,
};
use crate::backend::{Backend, DiskOperation, FileKind, recorder::Record, recorder::Recorder};
use disk::{Disk, Fate};
use std::{collections::HashSet, fs, path::Path};
use story::{Story, Word, vault_below};

/// The extreme fates, tried for each prefix.
const EXTREMES: [Fate; 6] =
    [Fate::Lost, Fate::NamesAlone, Fate::Resurrected, Fate::Vanished, Fate::Behind("index"), Fate::Behind("snapshots")];
/// Fates by chance for each prefix, beside these.
const CHANCES: u64 = 3;

/// What was looked at.
#[derive(Debug, Default)]
struct Seen {
    prefixes: usize,
    states: usize,
}

/// A sound state.
struct State<'a> {
    number: usize,
    /// How many words were said before.
    said: usize,
    path: &'a Path,
}

/// Looks at all states that a power cut may leave. `beyond` gets each sound one.
fn explore(story: &Story, mut beyond: impl FnMut(&State<'_>)) -> Result<Seen, String> {
    let (pool, state) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut disk = Disk::new(story.directory.path());
    let (mut seen, mut known, mut said) = (Seen::default(), HashSet::new(), 0);
    for (position, record) in story.log.iter().enumerate() {
        disk.apply(record);
        if let Record::Mark(word) = record {
            said = word + 1;
        }
        seen.prefixes += 1;
        let chances = (0..CHANCES).map(|turn| Fate::Chance(position as u64 * CHANCES + turn));
        for fate in EXTREMES.into_iter().chain(chances) {
            let mut survivors = disk.cut(fate);
            // Nobody reads unfinished files; one state with them is enough to know.
            if seen.states % 10 != 0 {
                survivors.retain(|path, _| !path.to_string_lossy().contains("-tmp-"));
            }
            if !known.insert((said, survivors.clone())) {
                continue;
            }
            let path = state.path().join(seen.states.to_string());
            disk.make(&survivors, pool.path(), &path);
            story.broken(said, &path).map_err(|broken| {
                format!("a power cut after operation {position} ({}), fate {fate:?}: {broken}", short(record))
            })?;
            beyond(&State { number: seen.states, said, path: &path });
            fs::remove_dir_all(&path).unwrap();
            seen.states += 1;
        }
    }
    Ok(seen)
}

fn short(record: &Record) -> String {
    match record {
        Record::Write(path, bytes) => format!("Write({path:?}, {} bytes)", bytes.len()),
        other => format!("{other:?}"),
    }
}

/// Whether this is the sync of a directory of that name.
fn is_directory(operation: DiskOperation<'_>, name: &str) -> bool {
    matches!(operation, DiskOperation::SyncDirectory(path) if path.ends_with(name))
}

#[test]
fn a_power_cut_at_any_moment_loses_nothing_that_was_promised() {
    let story = Story::tell(|_| false);
    let made = story.words.iter().position(|word| matches!(word, Word::VaultMade)).unwrap();
    let (mut checked, mut said) = (0, HashSet::new());
    let seen = explore(&story, |state| {
        let vault = vault_below(state.path);
        if !vault.join("config").exists() {
            return;
        }
        // The stock restic agrees on every state of a vault that was promised, and the vault goes on working.
        if state.said > made {
            restic(&vault, &["check", "--no-lock"]);
            checked += 1;
            said.insert(state.said);
        }
        match state.number % 120 {
            0 => drop(restic(&vault, &["check", "--no-lock", "--read-data"])),
            20 | 80 => {
                let opened = open(&vault).unwrap();
                capture_files(&opened, &[(b"next", &noise(9, 50_000))]).unwrap();
                prune(&opened, 200);
                prune(&opened, 230);
                if state.number % 120 == 80 {
                    assert_sound(&vault);
                }
            }
            _ => {}
        }
    });
    let seen = seen.unwrap();
    eprintln!("{seen:?}, {checked} of them looked at by the stock restic");
    assert!(seen.prefixes > 150 && seen.states > 80, "{seen:?}");
    assert_eq!(said.len(), story.words.len() - made, "after each promise");
    assert!(checked >= 200, "{checked} states, {} promises", said.len());
}

#[test]
fn a_program_that_forgets_one_kind_of_sync_is_found_out() {
    type Forgets = fn(DiskOperation<'_>) -> bool;
    let programs: [(&str, Forgets); 6] = [
        ("the directory of snapshots", |operation| is_directory(operation, "snapshots")),
        ("the directory of index files", |operation| is_directory(operation, "index")),
        ("the directory of pack directories", |operation| is_directory(operation, "data")),
        (
            "the content of packs",
            |operation| matches!(operation, DiskOperation::SyncFile(path) if path.components().any(|part| part.as_os_str() == "data")),
        ),
        (
            "the content of index files",
            |operation| matches!(operation, DiskOperation::SyncFile(path) if path.parent().is_some_and(|parent| parent.ends_with("index"))),
        ),
        ("the directory of the store", |operation| is_directory(operation, "store")),
    ];
    for (forgotten, forgets) in programs {
        let found = explore(&Story::tell(forgets), |_| {});
        assert!(found.is_err(), "{forgotten}: {found:?}");
        eprintln!("{forgotten}: {}", found.unwrap_err());
    }
}

#[test]
fn a_program_that_forgets_to_make_the_removal_of_an_index_file_last_is_found_out() {
    // A sync right after a new file is done, one right after a removal is not: packs are deleted later that the old file lists.
    let mut last_was_file = false;
    let story = Story::tell(move |operation| {
        let forgets = is_directory(operation, "index") && !last_was_file;
        last_was_file =
            matches!(operation, DiskOperation::SyncFile(path) if path.to_string_lossy().contains("/index/"));
        forgets
    });
    let found = explore(&story, |_| {});
    assert!(found.is_err(), "{found:?}");
    eprintln!("{}", found.unwrap_err());
}

#[test]
fn a_snapshot_does_not_rely_on_an_index_file_whose_writer_died_before_its_name_was_durable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    let mut written = false;
    let recorder = Recorder::begin(directory.path(), move |operation| {
        // The first writer's only index file; nothing else is synced there before the other writer comes.
        is_directory(operation, "index") && !std::mem::replace(&mut written, true)
    });
    let make = || crate::Vault::create(backend(&path), &crate::Password::new(PASSWORD), FAST, options()).unwrap();
    let first = make();
    let content = noise(1, 100_000);
    let capture = begin(&first, None);
    let record = stream(&capture, &content, CONTENT_DEFINED).unwrap();
    let mut root = capture.directory();
    root.add_file(b"f", &file_meta(), &record).unwrap();
    root.finish().unwrap();
    capture.abandon().unwrap();
    let other = open(&path).unwrap();
    let committed = capture_files(&other, &[(b"f", &content)]).unwrap();
    assert_eq!(committed.summary.data_added, 0, "it relies on what the first writer has stored");
    let mut disk = Disk::new(directory.path());
    recorder.log().iter().for_each(|record| disk.apply(record));
    let (pool, state) = (tempfile::tempdir().unwrap(), directory.path().join("state"));
    disk.make(&disk.cut(Fate::Lost), pool.path(), &state);
    let vault = open(&state.join("vault")).unwrap();
    assert_eq!(read_all(&reader(&vault, &committed), &[b"f"]).unwrap(), content);
}

#[test]
fn a_pack_lasts_in_a_directory_whose_maker_died_before_it_was_durable() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("vault");
    let recorder = Recorder::begin(directory.path(), |_| false);
    let (one, two) = ("ab".repeat(32), format!("ab{}", "cd".repeat(31)));
    backend(&path).prepare().unwrap();
    // Made by somebody who did not come to sync `data`.
    fs::create_dir(path.join("data/ab")).unwrap();
    let mut log = recorder.log();
    log.push(Record::MakeDirectory(path.join("data/ab")));
    let before = recorder.log().len();
    for name in [&one, &two] {
        backend(&path).write(FileKind::Pack, name, b"x").unwrap();
    }
    log.extend(recorder.log().split_off(before));
    let mut disk = Disk::new(directory.path());
    log.iter().for_each(|record| disk.apply(record));
    let survivors = disk.cut(Fate::Lost);
    assert!(survivors.contains_key(Path::new(&format!("vault/data/ab/{two}"))), "{survivors:?}");
}
