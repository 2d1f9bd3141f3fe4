//! The tree of a capture in memory.

use std::{collections::BTreeMap, sync::Arc, sync::atomic::Ordering};

use super::{
    lock,
    sink::{Event, MemorySink, check_name, misuse},
    store::{Content, FileContent, Node, find},
};
use crate::{NodeMeta, NodeType, PreviousFile, Result, StreamOptions, StreamSink, TreeSink};

/// A directory on the path from the root.
struct Level {
    name: Vec<u8>,
    meta: NodeMeta,
    children: BTreeMap<Vec<u8>, Node>,
}

pub(super) struct MemoryTree<'s> {
    sink: &'s MemorySink,
    /// The root (`data`) first.
    levels: Vec<Level>,
}

impl<'s> MemoryTree<'s> {
    pub(super) fn new(sink: &'s MemorySink, root: NodeMeta) -> Self {
        Self { sink, levels: vec![Level { name: b"data".to_vec(), meta: root, children: BTreeMap::new() }] }
    }

    fn level(&mut self) -> Result<&mut Level> {
        self.levels.last_mut().ok_or_else(|| misuse("the tree has ended"))
    }

    /// Names on the way, the root's first.
    fn path(&self, name: Option<&[u8]>) -> Vec<Vec<u8>> {
        self.levels.iter().map(|level| level.name.clone()).chain(name.map(<[u8]>::to_vec)).collect()
    }

    fn check(&mut self, name: &[u8]) -> Result<()> {
        check_name(name)?;
        if self.level()?.children.last_key_value().is_some_and(|(last, _)| last.as_slice() >= name) {
            return Err(misuse("names of a directory must come in strictly ascending order"));
        }
        Ok(())
    }

    fn add(&mut self, name: &[u8], node: Node) -> Result<()> {
        self.check(name)?;
        self.level()?.children.insert(name.to_vec(), node);
        Ok(())
    }

    /// The content of a file that this capture has already seen, in open or in ended directories.
    fn seen(&self, path: &[Vec<u8>]) -> Option<FileContent> {
        let mut at = 0;
        while at + 1 < self.levels.len() && path.get(at) == Some(&self.levels[at + 1].name) {
            at += 1;
        }
        let rest: Vec<&[u8]> = path.iter().skip(at).map(Vec::as_slice).collect();
        match find(&self.levels[at].children, &rest).map(|node| &node.content) {
            Some(Content::File(content)) => Some(content.clone()),
            _ => None,
        }
    }
}

impl TreeSink for MemoryTree<'_> {
    fn enter(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        self.check(name)?;
        if meta.node_type != NodeType::Directory {
            return Err(misuse("only a directory can be entered"));
        }
        self.levels.push(Level { name: name.to_vec(), meta: meta.clone(), children: BTreeMap::new() });
        let path = self.path(None);
        self.sink.tell(&Event::Enter(&path[1..]));
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        if self.levels.len() < 2 {
            return Err(misuse("the root is ended by finish()"));
        }
        let Some(level) = self.levels.pop() else { return Err(misuse("the tree has ended")) };
        let node = Node { meta: level.meta, content: Content::Directory(level.children) };
        self.add(&level.name, node)
    }

    fn file<'a>(
        &'a mut self,
        name: &[u8],
        meta: &NodeMeta,
        options: StreamOptions,
    ) -> Result<Box<dyn StreamSink + 'a>> {
        self.check(name)?;
        if meta.node_type != NodeType::File {
            return Err(misuse("only a regular file has content"));
        }
        let path = self.path(Some(name));
        let sink = self.sink;
        let (name, mut meta) = (name.to_vec(), meta.clone());
        let attach = Box::new(move |content: FileContent| {
            // As in the vault: a node says how many bytes are stored, whatever stat said before they were read.
            meta.size = content.length;
            self.add(&name, Node { meta, content: Content::File(content) })
        });
        Ok(sink.begin(path, options, attach))
    }

    fn special(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        if matches!(meta.node_type, NodeType::File | NodeType::Directory) {
            return Err(misuse("files and directories are not special"));
        }
        self.add(name, Node { meta: meta.clone(), content: Content::Nothing })
    }

    fn hard_link(&mut self, name: &[u8], meta: &NodeMeta, first: &[Vec<u8>]) -> Result<()> {
        let content = self.seen(first).ok_or_else(|| misuse("a hard link names a file that was not captured"))?;
        let mut meta = meta.clone();
        meta.size = content.length;
        self.add(name, Node { meta, content: Content::File(content) })
    }

    fn previous(&mut self, name: &[u8]) -> Result<Option<PreviousFile>> {
        let Some(part) = &self.sink.previous else { return Ok(None) };
        let path = self.path(Some(name));
        let path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        Ok(part.node(&path).and_then(|node| match &node.content {
            Content::File(content) => Some(PreviousFile {
                meta: node.meta.clone(),
                captured_at: part.captured_at(),
                content: Arc::clone(&content.chunks),
            }),
            Content::Directory(_) | Content::Nothing => None,
        }))
    }

    fn reuse(&mut self, name: &[u8], meta: &NodeMeta, previous: &PreviousFile) -> Result<()> {
        let mut offsets = Vec::with_capacity(previous.content.len());
        let mut length = 0;
        for chunk in previous.content.iter() {
            offsets.push(length);
            length += self.sink.store.chunk_length(chunk)?;
        }
        let mut meta = meta.clone();
        meta.size = length;
        let content = FileContent { chunks: Arc::clone(&previous.content), offsets: Arc::new(offsets), length };
        self.add(name, Node { meta, content: Content::File(content) })
    }

    fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(root) = self.levels.pop() else { return Err(misuse("the tree has ended")) };
        if !self.levels.is_empty() {
            return Err(misuse("a directory was entered and not left"));
        }
        let node = Node { meta: root.meta, content: Content::Directory(root.children) };
        lock(&self.sink.root).insert(root.name, node);
        self.sink.tree_open.store(false, Ordering::SeqCst);
        Ok(())
    }
}
