//! Chunks by id, and the tree of one stored part.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex},
};

use sha2::{Digest, Sha256};

use super::lock;
use crate::{CaptureManifest, ErrorKind, NodeMeta, RandomRead, Result, SourceError, Timestamp};

/// Bytes of a chunk of zeros and of a content-defined chunk: the stand-in cuts at fixed places.
pub(super) const CHUNK_BYTES: usize = 64 * 1024;

pub(super) type ChunkId = [u8; 32];

/// The chunks of all parts of a test.
#[derive(Default)]
pub struct MemoryStore {
    chunks: Mutex<HashMap<ChunkId, Arc<[u8]>>>,
}

impl MemoryStore {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Bytes of all distinct chunks, uncompressed.
    pub fn stored_bytes(&self) -> u64 {
        lock(&self.chunks).values().map(|chunk| chunk.len() as u64).sum()
    }

    pub(super) fn put(&self, chunk: &[u8]) -> ChunkId {
        let id: ChunkId = Sha256::digest(chunk).into();
        lock(&self.chunks).entry(id).or_insert_with(|| Arc::from(chunk));
        id
    }

    fn get(&self, id: &ChunkId) -> Result<Arc<[u8]>> {
        lock(&self.chunks)
            .get(id)
            .cloned()
            .ok_or_else(|| SourceError::new(ErrorKind::Store, "A chunk of the part is missing."))
    }

    pub(super) fn chunk_length(&self, id: &ChunkId) -> Result<u64> {
        self.get(id).map(|chunk| chunk.len() as u64)
    }

    /// Forgets every chunk, so that reading anything fails as in a damaged vault.
    pub fn lose_everything(&self) {
        lock(&self.chunks).clear();
    }
}

/// One node of a stored part.
#[derive(Clone)]
pub(super) struct Node {
    pub meta: NodeMeta,
    pub content: Content,
}

#[derive(Clone)]
pub(super) enum Content {
    Directory(BTreeMap<Vec<u8>, Node>),
    File(FileContent),
    Nothing,
}

/// The chunks of a file with the offset at which each begins.
#[derive(Clone, Default)]
pub(super) struct FileContent {
    pub chunks: Arc<Vec<ChunkId>>,
    pub offsets: Arc<Vec<u64>>,
    pub length: u64,
}

/// A stored part: the tree, the manifest, and when its capture began.
pub struct MemoryPart {
    pub(super) store: Arc<MemoryStore>,
    pub(super) root: BTreeMap<Vec<u8>, Node>,
    pub(super) manifest: CaptureManifest,
    pub(super) captured_at: Timestamp,
}

impl MemoryPart {
    pub fn manifest(&self) -> &CaptureManifest {
        &self.manifest
    }

    pub fn captured_at(&self) -> Timestamp {
        self.captured_at
    }

    /// The whole content of the file at `path` below the part's root.
    pub fn bytes(&self, path: &[&[u8]]) -> Result<Vec<u8>> {
        let mut reader = self.reader(path)?;
        let length = usize::try_from(reader.length())
            .map_err(|_| SourceError::new(ErrorKind::Internal, "The file is too large for memory."))?;
        let mut bytes = vec![0; length];
        let read = reader.read_at(0, &mut bytes)?;
        bytes.truncate(read);
        Ok(bytes)
    }

    /// Metadata of the node at `path` below the part's root.
    pub fn meta(&self, path: &[&[u8]]) -> Option<&NodeMeta> {
        self.node(path).map(|node| &node.meta)
    }

    pub(super) fn node(&self, path: &[&[u8]]) -> Option<&Node> {
        find(&self.root, path)
    }

    pub(super) fn directory(&self, path: &[&[u8]]) -> Option<&BTreeMap<Vec<u8>, Node>> {
        if path.is_empty() {
            return Some(&self.root);
        }
        match &self.node(path)?.content {
            Content::Directory(children) => Some(children),
            Content::File(_) | Content::Nothing => None,
        }
    }

    pub(super) fn reader(&self, path: &[&[u8]]) -> Result<ChunkReader> {
        match self.node(path).map(|node| &node.content) {
            Some(Content::File(content)) => {
                Ok(ChunkReader { store: Arc::clone(&self.store), content: content.clone() })
            }
            _ => Err(SourceError::new(
                ErrorKind::Store,
                format!("The part has no file `{}`.", String::from_utf8_lossy(&path.join(&b'/'))),
            )),
        }
    }
}

pub(super) fn find<'a>(root: &'a BTreeMap<Vec<u8>, Node>, path: &[&[u8]]) -> Option<&'a Node> {
    let (first, rest) = path.split_first()?;
    let node = root.get(*first)?;
    if rest.is_empty() {
        return Some(node);
    }
    match &node.content {
        Content::Directory(children) => find(children, rest),
        Content::File(_) | Content::Nothing => None,
    }
}

/// Random access over chunks.
pub(super) struct ChunkReader {
    store: Arc<MemoryStore>,
    content: FileContent,
}

impl RandomRead for ChunkReader {
    fn length(&self) -> u64 {
        self.content.length
    }

    fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let position = offset + filled as u64;
            if position >= self.content.length {
                break;
            }
            let index = self.content.offsets.partition_point(|start| *start <= position) - 1;
            let chunk = self.store.get(&self.content.chunks[index])?;
            let within = usize::try_from(position - self.content.offsets[index]).unwrap_or(usize::MAX);
            let count = (chunk.len() - within).min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&chunk[within..within + count]);
            filled += count;
        }
        Ok(filled)
    }
}
