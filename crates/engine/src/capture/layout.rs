//! The tree of a part while it is captured: streams that are finished, put into directories when the part is committed.

use std::collections::BTreeMap;

use trivault_sources::{ErrorKind, SourceError};
use trivault_vault::{Capture, FileRecord, Id, NodeMeta};

/// What lies under a name.
#[derive(Debug)]
pub(crate) enum Entry {
    File(NodeMeta, FileRecord),
    /// A directory that is known by its finished tree.
    Tree(NodeMeta, Id),
    Directory(BTreeMap<Vec<u8>, Entry>),
}

pub(crate) type Entries = BTreeMap<Vec<u8>, Entry>;

/// Puts an entry at a path, making the directories on the way.
pub(crate) fn insert(entries: &mut Entries, path: &[Vec<u8>], entry: Entry) -> Result<(), SourceError> {
    let Some((first, rest)) = path.split_first() else { return Err(misuse("a stream needs a path")) };
    if rest.is_empty() {
        return match entries.insert(first.clone(), entry) {
            None => Ok(()),
            Some(_) => Err(misuse("the same path was written twice")),
        };
    }
    match entries.entry(first.clone()).or_insert_with(|| Entry::Directory(Entries::new())) {
        Entry::Directory(inner) => insert(inner, rest, entry),
        Entry::File(..) | Entry::Tree(..) => Err(misuse("a stream lies below a file or a finished tree")),
    }
}

/// Stores the directories, leaves first; answers the id of the outermost one.
pub(crate) fn store(
    capture: &Capture,
    entries: &Entries,
    directory: &NodeMeta,
) -> Result<Id, trivault_vault::VaultError> {
    let mut writer = capture.directory();
    for (name, entry) in entries {
        match entry {
            Entry::File(meta, record) => writer.add_file(name, meta, record)?,
            Entry::Tree(meta, tree) => writer.add_directory(name, meta, *tree)?,
            Entry::Directory(inner) => {
                let tree = store(capture, inner, directory)?;
                writer.add_directory(name, directory, tree)?;
            }
        }
    }
    writer.finish()
}

/// Refuses names that no directory can hold.
pub(crate) fn check_name(name: &[u8]) -> Result<(), SourceError> {
    if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
        return Err(misuse("a name is empty, `.`, `..`, or holds `/` or NUL"));
    }
    Ok(())
}

/// A driver that breaks the contract: a defect, never the source's fault.
pub(crate) fn misuse(what: &str) -> SourceError {
    SourceError::new(ErrorKind::Internal, format!("The driver broke the contract of captures: {what}."))
}
