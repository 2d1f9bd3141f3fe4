//! Verify, prune and merge with the real binary: what a person at the shell sees.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{fs, os::unix::fs::PermissionsExt as _, path::PathBuf, process::Output};

use trivault_testkit::gateway;

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// A data directory with a directory as its source; no server runs.
struct Shell {
    folder: tempfile::TempDir,
}

impl Shell {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("photos")).unwrap();
        let shell = Self { folder };
        let place = format!("photos=dir:{}", shell.path("photos").display());
        assert!(shell.run(&["source", "add", &place]).status.success());
        shell
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn run(&self, arguments: &[&str]) -> Output {
        gateway::command(&self.path("data"), arguments)
    }

    fn told(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output));
        text(&output)
    }

    fn json(&self, arguments: &[&str]) -> serde_json::Value {
        serde_json::from_slice(&self.run(arguments).stdout).unwrap()
    }

    /// A backup after a file of that name was written; its id.
    fn back_up(&self, name: &str) -> String {
        let noise = trivault_testkit::trees::noise(name.len() as u64, 400_000);
        fs::write(self.path("photos").join(name), noise).unwrap();
        let backup = self.json(&["backup", "create", "--source", "photos", "--json"]);
        backup["id"].as_str().unwrap().to_owned()
    }

    /// Packs of the default store, the largest first.
    fn packs(&self) -> Vec<PathBuf> {
        let mut found = Vec::new();
        let mut ahead = vec![self.path("data")];
        while let Some(folder) = ahead.pop() {
            for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
                match entry.file_type().unwrap().is_dir() {
                    true => ahead.push(entry.path()),
                    false if entry.path().parent().unwrap().parent().unwrap().ends_with("vault/data") => {
                        found.push(entry.path());
                    }
                    false => {}
                }
            }
        }
        found.sort_by_key(|path| std::cmp::Reverse(fs::metadata(path).unwrap().len()));
        found
    }
}

#[test]
fn damage_is_found_shown_and_healed_by_the_next_backup() {
    let shell = Shell::new();
    let first = shell.back_up("one");
    let status = shell.told(&["verify", "status"]);
    assert!(status.contains("never verified") && status.matches("never ").count() >= 3, "{status}");
    let whole = shell.told(&["verify", "store", "--read", "all"]);
    assert!(whole.contains("/vault: whole"), "{whole}");
    assert!(shell.told(&["verify", "repository", "cli-photos"]).contains("cli-photos: whole"));
    assert!(shell.told(&["verify", "backup", &first]).contains("whole"));
    assert!(!shell.told(&["verify", "status"]).contains("never"), "all three levels have run");

    let pack = shell.packs().remove(0);
    let mut bytes = fs::read(&pack).unwrap();
    bytes[50] ^= 1;
    fs::set_permissions(&pack, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(&pack, bytes).unwrap();
    let output = shell.run(&["verify", "store", "--read", "all"]);
    let said = text(&output);
    assert!(!output.status.success() && said.contains("1 of 1 stored copies of sources are damaged"), "{said}");
    assert!(said.contains(pack.file_name().unwrap().to_str().unwrap()), "{said}");
    assert!(shell.told(&["backup", "list"]).contains("DAMAGED"));
    assert!(shell.told(&["backup", "show", &first]).contains("DAMAGED since"));
    assert!(shell.json(&["backup", "show", &first, "--json"])["damage"][0]["sentence"].is_string());
    assert!(shell.told(&["verify", "status"]).contains("1 DAMAGED"));
    let latest = ["restore", "--latest", "photos", "--to", "beside"];
    let refused = shell.run(&latest);
    assert!(!refused.status.success() && text(&refused).contains("Every backup of photos is damaged"), "{refused:?}");

    shell.back_up("second");
    let healed = shell.told(&["verify", "store"]);
    assert!(healed.contains("whole"), "{healed}");
    assert!(!shell.told(&["backup", "list"]).contains("DAMAGED"));
}

#[test]
fn a_merge_keeps_the_newest_and_a_prune_says_what_it_will_do_before_it_does() {
    let shell = Shell::new();
    let backups = ["one", "second", "third"].map(|name| shell.back_up(name));
    let merged = shell.told(&["merge", "cli-photos", "--from", &backups[0], "--to", &backups[1]]);
    assert!(merged.contains(&format!("Folded 1 backups into {}", backups[1])), "{merged}");
    let left = shell.told(&["backup", "list"]);
    assert!(!left.contains(&backups[0]) && left.contains(&backups[1]) && left.contains(&backups[2]), "{left}");
    assert!(shell.told(&["merge", "cli-photos", "--days-ago", "5"]).contains("nothing was changed"));

    fs::remove_file(shell.path("photos/third")).unwrap();
    let last = shell.back_up("fourth!");
    for backup in &backups[1..] {
        shell.told(&["backup", "delete", backup]);
    }
    let before = shell.packs();
    let plan = shell.told(&["prune", "--dry-run"]);
    assert!(plan.contains("not needed:") && plan.contains("mark:"), "{plan}");
    let unused = shell.json(&["prune", "--dry-run", "--json"])[0]["plan"]["unused_bytes"].as_u64().unwrap();
    assert!(unused > 300_000, "{unused}");
    assert_eq!(shell.packs(), before, "a dry run changes nothing");
    let pruned = shell.told(&["prune"]);
    assert!(pruned.contains("Marked ") && pruned.contains("Deleted 0 packs"), "{pruned}");
    assert!(shell.packs().iter().filter(|pack| before.contains(pack)).count() == before.len(), "only marked yet");
    assert!(shell.told(&["verify", "backup", &last]).contains("whole"));
}
