//! Real work on a store, recorded, and what it promised at which moment.

use crate::{
    CheckOptions, Id, LockMode, Password, ReadSubset, Result, Vault, VaultErrorKind,
    backend::{
        DiskOperation, LocalRoot, StoreRoot,
        recorder::{Record, Recorder},
    },
    tests::{prune::prune, scene::*},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

/// Where the recorded vault lies below its store.
pub const VAULT: &str = "p/0123456789abcdef";
const SETTINGS: &str = "trivault.json";
const REMOVED: &str = "p/ffff";

type Files = Vec<(&'static [u8], Vec<u8>)>;

/// Said when a call has returned, unless it says otherwise.
pub enum Word {
    /// The store's small file has this content.
    Settings(&'static [u8]),
    VaultMade,
    /// A commit has returned.
    Kept(Id, Files),
    /// A snapshot is about to be forgotten.
    Forgetting(Id),
    Forgotten(Id),
    /// The second vault was removed.
    TreeRemoved,
}

pub struct Story {
    pub directory: TempDir,
    pub log: Vec<Record>,
    pub words: Vec<Word>,
}

/// Who does the work, with the recorder below.
struct Teller {
    recorder: Arc<Recorder>,
    words: Vec<Word>,
}

impl Teller {
    fn say(&mut self, word: Word) {
        self.recorder.mark(self.words.len());
        self.words.push(word);
    }

    fn keep(&mut self, vault: &Vault, files: &[(&'static [u8], u64, usize)]) -> Id {
        let files: Files = files
            .iter()
            .map(|(name, seed, length)| (*name, [noise(*seed, *length), rows(*seed, 20_000)].concat()))
            .collect();
        let borrowed: Vec<(&[u8], &[u8])> = files.iter().map(|(name, content)| (*name, content.as_slice())).collect();
        let snapshot = capture_files(vault, &borrowed).unwrap().snapshot;
        self.say(Word::Kept(snapshot, files));
        snapshot
    }

    fn forget(&mut self, vault: &Vault, snapshot: Id) {
        self.say(Word::Forgetting(snapshot));
        vault.forget(&snapshot).unwrap();
        self.say(Word::Forgotten(snapshot));
    }
}

impl Story {
    /// Does the work; `leaves` names the syncs that a faulty program forgets.
    pub fn tell(leaves: impl FnMut(DiskOperation<'_>) -> bool + Send + 'static) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let recorder = Recorder::begin(directory.path(), leaves);
        let mut teller = Teller { recorder: Arc::clone(&recorder), words: Vec::new() };
        let store = LocalRoot::new(directory.path().join("store")).unwrap();
        store.prepare().unwrap();
        assert!(store.create(SETTINGS, b"first").unwrap());
        teller.say(Word::Settings(b"first"));
        let vault = Vault::create(store.vault(VAULT).unwrap(), &Password::new(PASSWORD), FAST, options()).unwrap();
        teller.say(Word::VaultMade);
        let lock = vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
        let first = teller.keep(&vault, &[(b"a", 1, 150_000), (b"b", 2, 90_000)]);
        lock.refresh_now().unwrap();
        teller.keep(&vault, &[(b"a", 1, 150_000), (b"c", 3, 40_000)]);
        let small = teller.keep(&vault, &[(b"d", 4, 10)]);
        lock.release().unwrap();
        teller.forget(&vault, first);
        prune(&vault, 0);
        store.write_atomic(SETTINGS, b"second, longer than the first").unwrap();
        teller.say(Word::Settings(b"second, longer than the first"));
        store.write_atomic(&format!("{REMOVED}/config"), b"x").unwrap();
        store.remove_tree(REMOVED).unwrap();
        teller.say(Word::TreeRemoved);
        // Another process stores again what is marked, and relies on what is there.
        let other = Vault::open(store.vault(VAULT).unwrap(), &Password::new(PASSWORD), options()).unwrap();
        teller.keep(&other, &[(b"b", 2, 90_000), (b"c", 3, 40_000)]);
        teller.forget(&other, small);
        prune(&vault, 25);
        prune(&other, 51);
        // What is listed in an index file of its own is marked, then deleted by a prune that has nothing left to list. It writes no index file,
        // so that only the sync of the removal itself keeps the former list away. (Of the packs before, chance decides which stand together:
        // a blob goes into one of two open packs, and one that stays is listed anew with the marks of the others.)
        let alone = teller.keep(&vault, &[(b"e", 5, 10)]);
        teller.forget(&vault, alone);
        prune(&vault, 75);
        prune(&vault, 101);
        let log = recorder.log();
        Self { directory, log, words: teller.words }
    }

    /// What is broken in the state below `state`, which a power cut after the first `said` words has left.
    pub fn broken(&self, said: usize, state: &Path) -> std::result::Result<(), String> {
        let (said, unsaid) = self.words.split_at(said);
        self.settings(said, unsaid, &state.join("store"))?;
        let path = vault_below(state);
        let vault = match open(&path) {
            Ok(vault) => vault,
            Err(error) => {
                let made = said.iter().any(|word| matches!(word, Word::VaultMade));
                let none = matches!(error.kind(), VaultErrorKind::NoVault | VaultErrorKind::StoreUnavailable);
                return if none && !made { Ok(()) } else { Err(format!("the vault does not open: {error}")) };
            }
        };
        unlock(&vault);
        self.snapshots(said, &vault)?;
        let report = vault.check(&CheckOptions { read: ReadSubset::None }, &Calm).map_err(|error| error.to_string())?;
        if report.is_sound() { Ok(()) } else { Err(format!("check: {report:?}")) }
    }

    fn settings(&self, said: &[Word], unsaid: &[Word], store: &Path) -> std::result::Result<(), String> {
        let content = |word: &Word| if let Word::Settings(content) = word { Some(*content) } else { None };
        let found = std::fs::read(store.join(SETTINGS)).ok();
        let last = said.iter().rev().find_map(content);
        let next = unsaid.iter().find_map(content);
        if found.as_deref() != last && (found.is_none() || found.as_deref() != next) {
            return Err(format!("the settings are {found:?} instead of {last:?} or {next:?}"));
        }
        if said.iter().any(|word| matches!(word, Word::TreeRemoved)) && store.join(REMOVED).exists() {
            return Err("a vault that was removed is back".to_owned());
        }
        Ok(())
    }

    /// What must be there is, what may not be is not, and what is there reads back byte by byte.
    fn snapshots(&self, said: &[Word], vault: &Vault) -> std::result::Result<(), String> {
        let listed = vault.snapshots().map_err(|error| error.to_string())?;
        if !listed.damaged.is_empty() {
            return Err(format!("damaged snapshots: {:?}", listed.damaged));
        }
        let is_listed = |id: &Id| listed.snapshots.iter().any(|snapshot| snapshot.id == *id);
        for (position, word) in said.iter().enumerate() {
            match word {
                Word::Kept(id, _) => {
                    let leaves = |word: &Word| matches!(word, Word::Forgetting(forgotten) if forgotten == id);
                    if !is_listed(id) && !said[position..].iter().any(leaves) {
                        return Err(format!("snapshot {id} is lost"));
                    }
                }
                Word::Forgotten(id) if is_listed(id) => return Err(format!("snapshot {id} is back")),
                _ => {}
            }
        }
        for snapshot in &listed.snapshots {
            let known = self.words.iter().find_map(|word| match word {
                Word::Kept(id, files) if *id == snapshot.id => Some(files),
                _ => None,
            });
            let Some(files) = known else { return Err(format!("snapshot {} was never written", snapshot.id)) };
            let read = |name: &[u8]| -> Result<Vec<u8>> { read_all(&vault.reader(snapshot)?, &[name]) };
            for (name, content) in files {
                match read(name) {
                    Ok(found) if found == *content => {}
                    Ok(_) => return Err(format!("snapshot {} gives other bytes", snapshot.id)),
                    Err(error) => return Err(format!("snapshot {}: {error}", snapshot.id)),
                }
            }
        }
        Ok(())
    }
}

pub fn vault_below(state: &Path) -> PathBuf {
    state.join("store").join(VAULT)
}
