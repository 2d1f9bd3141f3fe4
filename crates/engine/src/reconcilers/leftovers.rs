//! What killed processes left half made in the data directory.
//!
//! Only names that this program gives to what it has not finished, and only when nobody can be at work on it any more. What a
//! restore leaves beside its target is the restore journal's to finish, what lies in a vault is the vault's to sweep.

use std::{
    fs::{self, DirEntry},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    domain::Result,
    kinds::restore_part::RESTORED,
    service::{Inner, blocking},
};

/// What was not touched for so long belongs to nobody: none of these is in the making for more than seconds.
const NOBODYS_AFTER: Duration = Duration::from_secs(3600);

type IsUnfinished = fn(&str) -> bool;

/// Folders of the data directory with the names of unfinished files in them.
const UNFINISHED: [(&str, IsUnfinished); 4] = [
    ("", |name| name.starts_with("node.id.") || name.starts_with("server.new-")),
    ("restores", |name| name.ends_with(".new")),
    ("cache", |name| name.contains(".tmp-")),
    ("cache/*", |name| name.contains(".tmp-")),
];

pub(super) async fn remove(inner: &Arc<Inner>) -> Result<()> {
    let (data, before) = (inner.data.path().to_owned(), SystemTime::now() - NOBODYS_AFTER);
    let removed = blocking(move || Ok(sweep(&data, before))).await?;
    if removed > 0 {
        tracing::info!(entries = removed, "removed what a killed process left unfinished in the data directory");
    }
    Ok(())
}

/// Removes what was last touched before `before`; answers how much. What cannot be removed is left for the next pass.
fn sweep(data: &Path, before: SystemTime) -> usize {
    let mut removed = 0;
    for (folder, is_unfinished) in UNFINISHED {
        let folders = match folder.strip_suffix("/*") {
            Some(above) => entries(&data.join(above)).iter().map(DirEntry::path).collect(),
            None => vec![data.join(folder)],
        };
        removed += folders
            .iter()
            .flat_map(|folder| entries(folder))
            .filter(|entry| entry.file_name().to_str().is_some_and(is_unfinished))
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()) && is_older(entry, before))
            .filter(|entry| fs::remove_file(entry.path()).is_ok())
            .count();
    }
    // A restore into a new place makes its folder first; one that holds nothing would keep the name from the next restore.
    removed
        + entries(&data.join(RESTORED))
            .iter()
            .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()) && is_older(entry, before))
            // Refused, and rightly, for a folder that holds something.
            .filter(|entry| fs::remove_dir(entry.path()).is_ok())
            .count()
}

/// Symbolic links are not followed: a folder that is one is read as empty.
fn entries(folder: &Path) -> Vec<DirEntry> {
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    let listed = if is_folder { fs::read_dir(folder).ok() } else { None };
    listed.into_iter().flatten().filter_map(std::io::Result::ok).collect()
}

fn is_older(entry: &DirEntry, before: SystemTime) -> bool {
    entry.metadata().and_then(|found| found.modified()).is_ok_and(|at| at < before)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in entries(folder) {
            found.push(entry.path().display().to_string());
            found.extend(tree(&entry.path()));
        }
        found.sort();
        found
    }

    #[test]
    fn old_unfinished_files_and_empty_folders_go_and_all_else_stays() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for folder in ["restores", "cache/v1", "restored/empty", "restored/full", "stores/default", "elsewhere"] {
            fs::create_dir_all(at(folder)).unwrap();
        }
        let left = ["node.id.x", "server.new-x", "restores/1.new", "cache/a.tmp-1", "cache/v1/index.tmp-2"];
        let kept = [
            "node.id",
            "server.key",
            "trivault.db",
            "restores/1.json",
            "cache/v1/index",
            "restored/full/a.sqlite",
            "stores/default/a.tmp-1",
            "elsewhere/a.new",
        ];
        for name in left.iter().chain(&kept) {
            fs::write(at(name), "x").unwrap();
        }
        std::os::unix::fs::symlink(at("elsewhere"), at("cache/link")).unwrap();
        fs::write(at("elsewhere/index.tmp-3"), "x").unwrap();
        let all = tree(directory.path());
        let now = SystemTime::now();
        assert_eq!(sweep(directory.path(), now - NOBODYS_AFTER), 0, "somebody may be at work on them");
        assert_eq!(tree(directory.path()), all);
        let later = now + Duration::from_secs(1);
        assert_eq!(sweep(directory.path(), later), left.len() + 1);
        for name in kept.iter().chain(&["cache/link", "elsewhere/index.tmp-3"]) {
            assert!(at(name).exists(), "{name}");
        }
        assert!(left.iter().all(|name| !at(name).exists()) && !at("restored/empty").exists());
        assert_eq!(sweep(directory.path(), later), 0, "a second pass finds nothing");
    }
}
