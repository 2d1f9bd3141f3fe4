//! Random damage: whatever happens to whichever file, reading ends in the right bytes or in an error. The seed is fixed; a failure names the
//! round, which can be run alone.

use crate::support::*;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use trivault_vault::{Cutting, Vault};

const ROUNDS: u64 = 250;

/// A small generator of its own, so that a round stays the same whatever the crates do.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }
}

struct Original {
    folder: tempfile::TempDir,
    streams: Vec<(&'static str, Vec<u8>)>,
    files: Vec<PathBuf>,
}

fn original() -> Original {
    let folder = tempfile::tempdir().unwrap();
    let vault = create(folder.path());
    let streams = vec![
        ("a-text", text(1, 400_000)),
        ("b-noise", trivault_testkit::trees::noise(2, 300_000)),
        ("c-small", b"small".to_vec()),
    ];
    let borrowed: Vec<(&str, &[u8])> = streams.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    capture_streams(&vault, &borrowed, Cutting::ContentDefined);
    capture_streams(&vault, &[("a-text", &streams[0].1)], Cutting::Pages);
    let mut files = Vec::new();
    collect(folder.path(), folder.path(), &mut files);
    files.sort();
    Original { folder, streams, files }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(root, &path, files);
        } else {
            files.push(path.strip_prefix(root).unwrap().to_owned());
        }
    }
}

fn copy(original: &Original, target: &Path) {
    for directory in ["keys", "index", "snapshots", "locks", "data"] {
        fs::create_dir_all(target.join(directory)).unwrap();
    }
    for file in &original.files {
        fs::create_dir_all(target.join(file).parent().unwrap()).unwrap();
        fs::copy(original.folder.path().join(file), target.join(file)).unwrap();
        fs::set_permissions(target.join(file), fs::Permissions::from_mode(0o600)).unwrap();
    }
}

/// Does one of many kinds of damage; returns a sentence for a failing test.
fn damage(original: &Original, target: &Path, dice: &mut Dice) -> String {
    let file = &original.files[dice.roll(original.files.len())];
    let path = target.join(file);
    let mut bytes = fs::read(&path).unwrap();
    if bytes.is_empty() {
        return format!("{}: empty already", file.display());
    }
    let at = dice.roll(bytes.len());
    let what = match dice.roll(9) {
        0 | 1 => {
            bytes[at] ^= 1 << dice.roll(8);
            "a flipped bit"
        }
        2 => {
            bytes.truncate(at);
            "cut short"
        }
        3 => {
            let end = (at + 1 + dice.roll(4096)).min(bytes.len());
            bytes[at..end].fill(0);
            "a hole of zeros"
        }
        4 => {
            bytes.extend_from_slice(b"more");
            "longer"
        }
        5 => {
            bytes.clear();
            "empty"
        }
        6 => {
            bytes.remove(at);
            "one byte missing"
        }
        7 => {
            let other = &original.files[dice.roll(original.files.len())];
            bytes = fs::read(original.folder.path().join(other)).unwrap();
            "another file's content"
        }
        _ => {
            fs::remove_file(&path).unwrap();
            return format!("{}: removed", file.display());
        }
    };
    fs::write(&path, bytes).unwrap();
    format!("{}: {what} at {at}", file.display())
}

/// Reads all that can be read; what is read must be right. Returns whether anything was told.
fn read(vault: &Vault, original: &Original) -> bool {
    let Ok(list) = vault.snapshots() else { return true };
    let mut told = !list.damaged.is_empty() || list.snapshots.len() < 2;
    for snapshot in &list.snapshots {
        let Ok(reader) = vault.reader(snapshot) else {
            told = true;
            continue;
        };
        let Ok(nodes) = reader.list(&[]) else {
            told = true;
            continue;
        };
        for node in nodes {
            let (_, right) =
                original.streams.iter().find(|(name, _)| name.as_bytes() == node.name).expect("a known name");
            match read_node(&reader, &node) {
                Ok(bytes) => assert!(bytes == *right, "wrong bytes in {}", String::from_utf8_lossy(&node.name)),
                Err(error) => told |= !error.sentence().is_empty(),
            }
        }
    }
    told
}

#[test]
fn no_damage_gives_wrong_bytes_or_a_panic() {
    let original = original();
    assert!(!read(&open(original.folder.path(), PASSWORD).unwrap(), &original), "the vault is whole at first");
    let mut silent = 0;
    for round in 0..ROUNDS {
        let mut dice = Dice(round * 7919 + 1);
        let target = tempfile::tempdir().unwrap();
        copy(&original, target.path());
        let mut done = Vec::new();
        for _ in 0..=dice.roll(2) {
            done.push(damage(&original, target.path(), &mut dice));
            // A later damage may find its file gone.
            if done.last().is_some_and(|done| done.ends_with("removed")) {
                break;
            }
        }
        let outcome = std::panic::catch_unwind(|| match open(target.path(), PASSWORD) {
            Ok(vault) => read(&vault, &original),
            Err(error) => !error.sentence().is_empty(),
        });
        match outcome {
            Ok(true) => {}
            // Damage to a pack's own header, or bytes after its end, is not seen by a reader: the index says where the blobs are.
            Ok(false) => silent += 1,
            Err(_) => panic!("round {round}: {done:?}"),
        }
    }
    assert!(silent < ROUNDS / 4, "{silent} of {ROUNDS} damages were not noticed");
}
