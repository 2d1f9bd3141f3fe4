//! The tree below a part's `data`, built from the leaves while a driver walks it.

use std::{collections::HashMap, sync::Arc};

use trivault_sources::{ErrorKind, NodeMeta, NodeType, PreviousFile, SourceError, StreamOptions, StreamSink, TreeSink};
use trivault_vault::{self as vault, DirectoryWriter, FileRecord, Id, Node, NodeKind};

use super::{
    convert::{content_to_source, meta_to_source, meta_to_vault},
    layout::{Entry, check_name, misuse},
    sink::{DATA, PartSink, open_stream},
};
use crate::failure::to_source;

type Result<T> = trivault_sources::Result<T>;

/// A directory on the path from the root.
struct Level {
    name: Vec<u8>,
    meta: vault::NodeMeta,
    writer: DirectoryWriter,
}

pub(super) struct PartTree<'s> {
    sink: &'s PartSink<'s>,
    /// `data` first.
    levels: Vec<Level>,
    /// Files with several names, by the path of the first one seen below `data`.
    linked: HashMap<Vec<Vec<u8>>, FileRecord>,
    /// What [`TreeSink::previous`] found last: the name and the record that a reuse would take.
    found: Option<(Vec<u8>, FileRecord)>,
}

impl<'s> PartTree<'s> {
    pub(super) fn new(sink: &'s PartSink<'s>, root: vault::NodeMeta) -> Self {
        let root = Level { name: DATA.to_vec(), meta: root, writer: sink.capture.directory() };
        Self { sink, levels: vec![root], linked: HashMap::new(), found: None }
    }

    fn writer(&mut self) -> Result<&mut DirectoryWriter> {
        self.levels.last_mut().map(|level| &mut level.writer).ok_or_else(|| misuse("the tree has ended"))
    }

    /// Names below `data`.
    fn path(&self, name: &[u8]) -> Vec<Vec<u8>> {
        self.levels.iter().skip(1).map(|level| level.name.clone()).chain([name.to_vec()]).collect()
    }

    fn add_file(&mut self, name: &[u8], meta: &NodeMeta, record: &FileRecord) -> Result<()> {
        self.writer()?.add_file(name, &meta_to_vault(meta), record).map_err(to_source)?;
        if meta.links > 1 {
            self.linked.entry(self.path(name)).or_insert_with(|| record.clone());
        }
        Ok(())
    }

    /// The record of a file of the previous part that is still whole.
    fn look_up(&self, name: &[u8]) -> Result<Option<(Node, FileRecord)>> {
        if self.sink.previous.is_none() {
            return Ok(None);
        }
        let mut path: Vec<&[u8]> = vec![self.sink.source.as_bytes()];
        path.extend(self.levels.iter().map(|level| level.name.as_slice()));
        path.push(name);
        let Some(node) = self.sink.capture.previous_node(&path).map_err(to_source)? else { return Ok(None) };
        if node.meta.kind != NodeKind::File {
            return Ok(None);
        }
        let record = self.sink.capture.reuse(&node).map_err(to_source)?;
        Ok(record.map(|record| (node, record)))
    }
}

impl TreeSink for PartTree<'_> {
    fn enter(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        check_name(name)?;
        if meta.node_type != NodeType::Directory {
            return Err(misuse("only a directory can be entered"));
        }
        let writer = self.sink.capture.directory();
        self.levels.push(Level { name: name.to_vec(), meta: meta_to_vault(meta), writer });
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        if self.levels.len() < 2 {
            return Err(misuse("the root is ended by finish()"));
        }
        let Some(Level { name, meta, writer }) = self.levels.pop() else { return Err(misuse("the tree has ended")) };
        let tree = writer.finish().map_err(to_source)?;
        self.writer()?.add_directory(&name, &meta, tree).map_err(to_source)
    }

    fn file<'a>(
        &'a mut self,
        name: &[u8],
        meta: &NodeMeta,
        options: StreamOptions,
    ) -> Result<Box<dyn StreamSink + 'a>> {
        check_name(name)?;
        if meta.node_type != NodeType::File {
            return Err(misuse("only a regular file has content"));
        }
        let (name, meta, capture) = (name.to_vec(), meta.clone(), self.sink.capture);
        open_stream(capture, options, Box::new(move |record| self.add_file(&name, &meta, record)))
    }

    fn special(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        check_name(name)?;
        if matches!(meta.node_type, NodeType::File | NodeType::Directory) {
            return Err(misuse("files and directories are not special"));
        }
        self.writer()?.add_special(name, &meta_to_vault(meta)).map_err(to_source)
    }

    fn hard_link(&mut self, name: &[u8], meta: &NodeMeta, first: &[Vec<u8>]) -> Result<()> {
        check_name(name)?;
        let record =
            self.linked.get(first).cloned().ok_or_else(|| misuse("a hard link names a file that was not captured"))?;
        self.writer()?.add_file(name, &meta_to_vault(meta), &record).map_err(to_source)
    }

    fn previous(&mut self, name: &[u8]) -> Result<Option<PreviousFile>> {
        self.found = None;
        let (Some((node, record)), Some(previous)) = (self.look_up(name)?, self.sink.previous) else {
            return Ok(None);
        };
        let Some(meta) = meta_to_source(&node.meta) else { return Ok(None) };
        let content = content_to_source(&node.content);
        self.found = Some((name.to_vec(), record));
        Ok(Some(PreviousFile { meta, captured_at: previous.captured_at(), content }))
    }

    fn reuse(&mut self, name: &[u8], meta: &NodeMeta, previous: &PreviousFile) -> Result<()> {
        check_name(name)?;
        let record = match self.found.take() {
            Some((found, record)) if found == name => record,
            _ => self.record_of(previous)?,
        };
        self.add_file(name, meta, &record)
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(Level { name, meta, writer }) = self.levels.pop() else { return Err(misuse("the tree has ended")) };
        if !self.levels.is_empty() {
            return Err(misuse("a directory was entered and not left"));
        }
        let tree = writer.finish().map_err(to_source)?;
        self.sink.entries().insert(name, Entry::Tree(meta, tree));
        Ok(())
    }
}

impl PartTree<'_> {
    /// For a driver that kept what it looked up earlier.
    fn record_of(&self, previous: &PreviousFile) -> Result<FileRecord> {
        let node = Node {
            name: Vec::new(),
            meta: meta_to_vault(&previous.meta),
            content: Arc::new(previous.content.iter().map(|id| Id::from_bytes(*id)).collect()),
            subtree: None,
        };
        self.sink.capture.reuse(&node).map_err(to_source)?.ok_or_else(|| {
            SourceError::new(ErrorKind::Store, "A file of the previous backup is no longer whole in the vault.")
                .hint("Start the backup again, as a full one.")
        })
    }
}
