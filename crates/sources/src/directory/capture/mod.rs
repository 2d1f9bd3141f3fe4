//! One capture: a walk from the root, in which every entry is looked at once.

mod file;
mod inventory;
mod links;
mod node;
mod pace;
mod tally;
mod walk;

use std::collections::{BTreeMap, HashSet};

use rustix::io::Errno;
use serde_json::json;

pub(super) use inventory::collection_of;

use super::{
    DirectorySource, KIND,
    layout::{self, Layout, LayoutWriter, PreviousChecksums},
    names::{ListingBuffer, Names},
    status::{Status, failure, open_directory_path, show, status_of},
};
use crate::{
    CaptureManifest, CaptureSink, Cutting, DownloadRecord, ErrorKind, Result, SourceError, StreamOptions, StreamRecord,
    archive::stored_gzip_length,
};
use walk::Walk;

/// Of the driver's part of the manifest.
pub(super) const MANIFEST_FORMAT: u32 = 1;

/// Name of the directory that a file system's check leaves in its root.
const LOST_AND_FOUND: &[u8] = b"lost+found";

/// Captures the directory into `sink`.
pub(super) fn capture(source: &DirectorySource, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
    let root = open_root(source)?;
    let status = status_of(&root).map_err(|errno| failure(errno, format!("Cannot look at `{}`", source.shown())))?;
    let never = never_capture(source);
    refuse_own(source, &status, &never)?;

    let mut listing = ListingBuffer::new();
    let mut names = Names::default();
    names
        .read(&root, &mut listing)
        .map_err(|errno| failure(errno, format!("The directory `{}` cannot be listed", source.shown())))?;
    refuse_unmounted(source, sink, &names)?;

    let options = StreamOptions { cutting: Cutting::AtMarks, whole_digest: false };
    let layout = LayoutWriter::new(sink.stream(&[layout::STREAM], options)?);
    let mut walk = Walk::new(source, sink, layout, root, &status, never, listing)?;
    walk.previous = previous_checksums(sink);
    walk.enter_root(names)?;
    let outcome = walk.run().and_then(|()| walk.refuse_unreadable(source));
    if !matches!(&outcome, Err(error) if error.kind == ErrorKind::Cancelled) {
        walk.tell();
    }
    outcome?;
    finish(source, walk, sink)
}

fn finish(source: &DirectorySource, walk: Walk<'_>, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
    let Walk { tree, layout, tally, inventory, .. } = walk;
    tree.finish()?;
    let written = layout.finish()?;
    let record = StreamRecord {
        length: written.stream.length,
        sha256: written.stream.sha256.map(hex::encode),
        crc32: written.stream.crc32,
    };
    sink.log(&tally.summary());
    Ok(CaptureManifest {
        format: MANIFEST_FORMAT,
        kind: KIND.to_owned(),
        versions: BTreeMap::from([(KIND.to_owned(), env!("CARGO_PKG_VERSION").to_owned())]),
        size: tally.bytes,
        items: tally.items(),
        streams: BTreeMap::from([(layout::STREAM.to_owned(), record)]),
        inventory: inventory.finish(),
        download: Some(DownloadRecord {
            length: stored_gzip_length(written.tar_length),
            details: json!({ "format": 1, "tar_length": written.tar_length, "crc32": written.tar_crc32 }),
        }),
        details: tally.details(&source.shown()),
    })
}

/// Opens the directory that is captured; links in its own path are followed, because a person gave it.
pub(super) fn open_root(source: &DirectorySource) -> Result<std::os::fd::OwnedFd> {
    open_directory_path(&source.root).map_err(|errno| {
        let shown = source.shown();
        match errno {
            Errno::NOENT => SourceError::new(ErrorKind::Missing, format!("There is no directory at `{shown}`."))
                .hint("Check the path, and whether the disk that it is on is mounted."),
            Errno::NOTDIR => SourceError::new(ErrorKind::Invalid, format!("What is at `{shown}` is not a directory."))
                .hint("Give the directory that holds it; a database file is a source of its own."),
            Errno::ACCESS | Errno::PERM => {
                SourceError::new(ErrorKind::Denied, format!("We may not read the directory `{shown}`."))
                    .hint("Run as its owner or as root, or give the program the capability CAP_DAC_READ_SEARCH.")
            }
            errno => failure(errno, format!("The directory `{shown}` cannot be opened")),
        }
        .because(std::io::Error::from(errno))
    })
}

/// Device and inode of what must never be captured. What does not exist now cannot be met.
pub(super) fn never_capture(source: &DirectorySource) -> HashSet<(u64, u64)> {
    source
        .never_capture
        .iter()
        .filter_map(|path| open_directory_path(path).and_then(status_of).ok())
        .map(|status| status.identity())
        .collect()
}

/// Refuses to capture our own data directory or a store.
pub(super) fn refuse_own(source: &DirectorySource, root: &Status, never: &HashSet<(u64, u64)>) -> Result<()> {
    if never.contains(&root.identity()) {
        return Err(SourceError::new(
            ErrorKind::Invalid,
            format!("`{}` is the gateway's own data directory or a store.", source.shown()),
        )
        .hint("Choose the directory that holds your data; ours is left out of it by itself."));
    }
    Ok(())
}

/// An empty directory where there was something before is most often a disk that is not mounted.
fn refuse_unmounted(source: &DirectorySource, sink: &dyn CaptureSink, names: &Names) -> Result<()> {
    let was_empty = sink.previous_manifest().is_none_or(|manifest| manifest.items == 0);
    if was_empty || source.options.allow_empty || !names.iter().all(|name| name == LOST_AND_FOUND) {
        return Ok(());
    }
    Err(SourceError::new(
        ErrorKind::Missing,
        format!("The directory `{}` is empty, and its previous backup was not.", source.shown()),
    )
    .hint("Is the disk mounted? If it was emptied on purpose, set the option `allow_empty`."))
}

/// The checksums of the previous backup; without them its files are read again.
fn previous_checksums(sink: &dyn CaptureSink) -> Option<PreviousChecksums> {
    match sink.previous_stream(&[layout::STREAM]).and_then(|stream| stream.map(Layout::open).transpose()) {
        Ok(layout) => layout.map(PreviousChecksums::new),
        Err(error) => {
            sink.log(&format!("the previous backup cannot be built upon, every file is read: {error}"));
            None
        }
    }
}

/// A path of the walk for a sentence.
fn shown_path(path: &[u8]) -> String {
    if path.is_empty() { "the directory itself".to_owned() } else { format!("`{}`", show(path)) }
}
