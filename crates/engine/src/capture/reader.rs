//! A stored part: its manifest, its directories, its streams.

use trivault_sources::{
    CaptureManifest, ErrorKind, PartReader, Progress, RandomRead, SourceError, StoredNode, Timestamp, Warning,
};
use trivault_vault::{FileReader, NodeKind, Snapshot, TreeReader, Vault, VaultErrorKind};

use super::{
    convert::{instant, node_to_source},
    manifest::PartManifest,
    sink::{MANIFEST, PartEvents},
};
use crate::{
    domain::{Error, ErrorCode, Result},
    failure::{from_vault, to_source},
};

/// Longest manifest that is read, bytes; the inventory of a hundred thousand tables.
const LONGEST_MANIFEST: u64 = 64 << 20;

/// One part in its vault.
pub(crate) struct StoredPart {
    pub(super) tree: TreeReader,
    pub(super) source: Vec<u8>,
    manifest: PartManifest,
    captured_at: Timestamp,
}

impl StoredPart {
    /// Opens the part of a snapshot and reads its manifest.
    ///
    /// # Errors
    /// `Damaged` when the snapshot does not hold a part of this source.
    pub(crate) fn open(vault: &Vault, snapshot: &Snapshot, source: &str) -> Result<Self> {
        let tree = vault.reader(snapshot).map_err(from_vault)?;
        let path = [source.as_bytes(), MANIFEST.as_bytes()];
        let node = tree.node(&path).map_err(from_vault)?;
        let mut reader = tree.open(&node).map_err(from_vault)?;
        if reader.length() > LONGEST_MANIFEST {
            return Err(Error::new(ErrorCode::Damaged, "The manifest of a part is implausibly long."));
        }
        let mut bytes = vec![0; usize::try_from(reader.length()).unwrap_or(0)];
        read_fully(&mut reader, &mut bytes)?;
        let manifest = PartManifest::parse(&bytes)?;
        Ok(Self { tree, source: source.as_bytes().to_vec(), manifest, captured_at: instant(snapshot.record.time) })
    }

    pub(crate) fn manifest(&self) -> &PartManifest {
        &self.manifest
    }

    pub(crate) fn capture_manifest(&self) -> &CaptureManifest {
        &self.manifest.capture
    }

    pub(crate) fn captured_at(&self) -> Timestamp {
        self.captured_at
    }

    /// A stream below the part's root; `None` when there is none.
    pub(crate) fn open_stream(&self, path: &[&[u8]]) -> trivault_sources::Result<Option<Box<dyn RandomRead>>> {
        let node = match self.tree.node(&self.full(path)) {
            Ok(node) => node,
            Err(error) if *error.kind() == VaultErrorKind::Missing => return Ok(None),
            Err(error) => return Err(to_source(error)),
        };
        if node.meta.kind != NodeKind::File {
            return Ok(None);
        }
        let reader = self.tree.open(&node).map_err(to_source)?;
        Ok(Some(Box::new(PartFile(reader))))
    }

    pub(crate) fn list(&self, path: &[&[u8]]) -> trivault_sources::Result<Vec<StoredNode>> {
        let nodes = self.tree.list(&self.full(path)).map_err(to_source)?;
        Ok(nodes.iter().filter_map(node_to_source).collect())
    }

    /// Reads every directory and the first `limit` bytes of every stream, so that what is missing or damaged is found.
    pub(crate) fn read_through(&self, limit: usize) -> Result<()> {
        let mut buffer = vec![0; limit];
        let mut ahead = vec![vec![self.source.clone()]];
        while let Some(path) = ahead.pop() {
            let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
            for node in self.tree.list(&path).map_err(from_vault)? {
                match node.meta.kind {
                    NodeKind::Directory => {
                        ahead.push(path.iter().map(|name| name.to_vec()).chain([node.name.clone()]).collect());
                    }
                    NodeKind::File => {
                        let mut reader = self.tree.open(&node).map_err(from_vault)?;
                        let wanted = usize::try_from(reader.length()).unwrap_or(limit).min(limit);
                        read_fully(&mut reader, &mut buffer[..wanted])?;
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }

    fn full<'p>(&'p self, path: &[&'p [u8]]) -> Vec<&'p [u8]> {
        std::iter::once(self.source.as_slice()).chain(path.iter().copied()).collect()
    }
}

fn read_fully(reader: &mut FileReader, bytes: &mut [u8]) -> Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        let read = reader.read_at(filled as u64, &mut bytes[filled..]).map_err(from_vault)?;
        if read == 0 {
            return Err(Error::new(ErrorCode::Damaged, "A stored stream ends too early."));
        }
        filled += read;
    }
    Ok(())
}

struct PartFile(FileReader);

impl RandomRead for PartFile {
    fn length(&self) -> u64 {
        self.0.length()
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> trivault_sources::Result<usize> {
        self.0.read_at(offset, buffer).map_err(to_source)
    }
}

/// A stored part as a driver reads it, joined to the job that reads it.
pub(crate) struct JobPart<E> {
    pub(crate) part: StoredPart,
    pub(crate) events: E,
}

impl<E: PartEvents> PartReader for JobPart<E> {
    fn manifest(&self) -> &CaptureManifest {
        self.part.capture_manifest()
    }

    fn list(&self, path: &[&[u8]]) -> trivault_sources::Result<Vec<StoredNode>> {
        self.part.list(path)
    }

    fn open(&self, path: &[&[u8]]) -> trivault_sources::Result<Box<dyn RandomRead>> {
        self.part.open_stream(path)?.ok_or_else(|| {
            let path: Vec<String> = path.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            SourceError::new(ErrorKind::Store, format!("The backup holds no file `{}`.", path.join("/")))
        })
    }

    fn is_cancelled(&self) -> bool {
        self.events.is_cancelled()
    }

    fn progress(&self, progress: Progress) {
        self.events.progress(progress);
    }

    fn warn(&self, warning: Warning) {
        self.events.warn(warning);
    }

    fn log(&self, line: &str) {
        self.events.log(line);
    }

    fn point(&self, name: &str) {
        self.events.point(name);
    }
}

/// For reads that belong to no job.
pub(crate) struct NoEvents;

impl PartEvents for NoEvents {
    fn progress(&self, _: Progress) {}

    fn warn(&self, warning: Warning) {
        tracing::warn!(code = warning.code, "{}", warning.sentence);
    }

    fn log(&self, line: &str) {
        tracing::debug!("{line}");
    }

    fn is_cancelled(&self) -> bool {
        false
    }
}
