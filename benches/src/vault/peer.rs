//! restic's side: the commands that do the same work.

use super::ours::PASSWORD;
use std::path::Path;
use std::process::Command;

fn restic(vault: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("restic");
    command
        .args(arguments)
        .env("RESTIC_REPOSITORY", vault)
        .env("RESTIC_PASSWORD", PASSWORD)
        .env("RESTIC_CACHE_DIR", vault.with_extension("restic-cache"));
    command
}

/// Makes an empty repository.
pub fn init(vault: &Path) -> Command {
    restic(vault, &["init"])
}

/// Backs up standard input.
pub fn backup_stream(vault: &Path) -> Command {
    restic(vault, &["backup", "--stdin", "--stdin-filename", "dump.sql", "--quiet"])
}

/// Backs up a tree.
pub fn backup_tree(vault: &Path, folder: &Path) -> Command {
    let mut command = restic(vault, &["backup", "--quiet", "."]);
    command.current_dir(folder);
    command
}

/// Restores the newest snapshot into a folder.
pub fn restore(vault: &Path, target: &Path) -> Command {
    let mut command = restic(vault, &["restore", "latest", "--target"]);
    command.arg(target);
    command
}

/// Reads and checks every byte: also of ours.
pub fn check(vault: &Path) -> Command {
    restic(vault, &["check", "--read-data", "--quiet"])
}
