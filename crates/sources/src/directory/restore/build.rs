//! Builds the restored tree in a directory of its own, beside what it will replace or be added to.
//!
//! Directories are 0700 while they are filled; their own metadata comes last, from the bottom up. When a tree is to be
//! added to one that exists, only what is missing there (or differs) is built.

use std::{collections::HashMap, ffi::CString, os::fd::OwnedFd, vec};

use rustix::{
    fs::{AtFlags, Mode},
    io::Errno,
};

use super::{
    super::{
        DATA,
        extended::Place,
        names::as_c_str,
        status::{Status, failure, open_directory, show, status_at, status_of},
        trail::Trail,
    },
    existing::{Comparer, look},
    selection::{Chosen, VALUE_LIMIT_BYTES},
    tally::{Shortfall, Tally},
    write,
};
use crate::{
    ErrorKind, NodeMeta, NodeType, PartReader, Progress, Result, SourceError, StoredNode, live_files::Reading,
};

/// Bytes copied at a time.
const COPY_BUFFER_BYTES: usize = 1024 * 1024;
/// Files with several names that are remembered; beyond them each name becomes a file of its own.
const LINKED_FILES_LIMIT: usize = 1_000_000;

/// The tree that the built one will be added to.
pub(super) struct Existing {
    pub root: OwnedFd,
    /// Whether what differs is to be overwritten.
    pub update: bool,
}

/// A directory of the part on the path from its root.
struct Level {
    nodes: vec::IntoIter<StoredNode>,
    meta: NodeMeta,
    name: Vec<u8>,
    /// The files right in it are wanted.
    wanted: bool,
    in_target: bool,
}

/// Where a file with several names lies.
struct Placed {
    in_target: bool,
    path: Vec<u8>,
    identity: (u64, u64),
}

pub(super) struct Builder<'r> {
    part: &'r dyn PartReader,
    chosen: &'r Chosen,
    levels: Vec<Level>,
    /// The directories that were made: those of `levels`, but perhaps not the lowest.
    stage: Trail<()>,
    target: Option<Trail<()>>,
    update: bool,
    comparer: Option<Comparer>,
    linked: HashMap<(u64, u64), Placed>,
    tally: Tally,
    /// Of the entry at hand, below the root.
    path: Vec<u8>,
    buffer: Vec<u8>,
    progress: Progress,
}

impl<'r> Builder<'r> {
    /// `stage` is an empty directory of ours.
    pub fn new(
        part: &'r dyn PartReader,
        chosen: &'r Chosen,
        stage: OwnedFd,
        existing: Option<Existing>,
        bytes_total: u64,
    ) -> Self {
        let update = existing.as_ref().is_some_and(|existing| existing.update);
        let comparer = existing.as_ref().map(|_| Comparer::new());
        Self {
            part,
            chosen,
            levels: Vec::new(),
            stage: Trail::new(stage, ()),
            target: existing.map(|existing| Trail::new(existing.root, ())),
            update,
            comparer,
            linked: HashMap::new(),
            tally: Tally::default(),
            path: Vec::new(),
            buffer: vec![0; COPY_BUFFER_BYTES],
            progress: Progress { bytes_total: Some(bytes_total), ..Progress::default() },
        }
    }

    /// Builds everything; gives bytes and items.
    pub fn run(mut self, root: NodeMeta) -> Result<Progress> {
        let nodes = self.part.list(&[DATA.as_bytes()])?.into_iter();
        let wanted = self.chosen.wants_directory(b"");
        let in_target = self.target.is_some();
        self.levels.push(Level { nodes, meta: root, name: Vec::new(), wanted, in_target });
        while let Some(level) = self.levels.last_mut() {
            if self.part.is_cancelled() {
                return Err(SourceError::cancelled());
            }
            match level.nodes.next() {
                Some(node) => self.node(node)?,
                None => self.leave()?,
            }
        }
        self.part.progress(self.progress);
        self.tally.warn(self.part);
        Ok(self.progress)
    }

    fn node(&mut self, node: StoredNode) -> Result<()> {
        self.path.clear();
        for level in self.levels.iter().skip(1) {
            self.path.extend_from_slice(&level.name);
            self.path.push(b'/');
        }
        self.path.extend_from_slice(&node.name);
        let StoredNode { mut name, meta } = node;
        if name.is_empty() || name == b"." || name == b".." || name.contains(&b'/') || name.contains(&0) {
            return Err(write::hostile(&self.path));
        }
        name.push(0);
        if meta.node_type == NodeType::Directory { self.enter(name, meta) } else { self.leaf(&name, &meta) }
    }

    fn enter(&mut self, mut name: Vec<u8>, meta: NodeMeta) -> Result<()> {
        if !self.chosen.may_want_below(&self.path) {
            return Ok(());
        }
        let wanted = self.chosen.wants_directory(&self.path);
        let mut make = wanted && !self.chosen.picks_files();
        let mut in_target = false;
        if self.levels.last().is_some_and(|level| level.in_target) {
            match self.existing(&name)? {
                None => {}
                Some(status) if !status.is_directory() => {
                    self.tally.add(Shortfall::TypeDiffers, &self.path);
                    return Ok(());
                }
                Some(_) => {
                    in_target = true;
                    let differs = self.enter_target(&name, &meta)?;
                    make = make && self.update && differs;
                }
            }
        }
        let mut names: Vec<&[u8]> = vec![DATA.as_bytes()];
        names.extend(self.levels.iter().skip(1).map(|level| level.name.as_slice()));
        name.pop();
        names.push(&name);
        let nodes = self.part.list(&names)?.into_iter();
        self.levels.push(Level { nodes, meta, name, wanted, in_target });
        if make {
            self.make_directories()?;
        }
        Ok(())
    }

    /// Goes down in the target too; true when the directory's metadata differs from the backup's.
    fn enter_target(&mut self, name: &[u8], meta: &NodeMeta) -> Result<bool> {
        let (Some(target), Some(comparer)) = (&mut self.target, &mut self.comparer) else { return Ok(false) };
        let cannot = |errno| failure(errno, format!("Cannot open the directory `{}` of the target", show(&self.path)));
        let parent = target.current().ok_or(Errno::STALE).map_err(cannot)?;
        let handle = open_directory(parent, as_c_str(name)).map_err(cannot)?;
        let status = status_of(&handle).map_err(cannot)?;
        let differs = comparer.metadata_differs(Place::Handle(&handle), &status, meta);
        target.push(&name[..name.len() - 1], handle, status.identity(), ());
        Ok(differs)
    }

    /// What stands at the target under the name of the entry at hand.
    fn existing(&self, name: &[u8]) -> Result<Option<Status>> {
        let Some(target) = &self.target else { return Ok(None) };
        let cannot = |errno| failure(errno, format!("Cannot look at `{}` of the target", show(&self.path)));
        look(target.current().ok_or(Errno::STALE).map_err(cannot)?, name).map_err(cannot)
    }

    /// Makes the directories down to the current one that were not made yet.
    fn make_directories(&mut self) -> Result<()> {
        for level in self.levels.iter().skip(1 + self.stage.depth()) {
            let cannot = |errno| failure(errno, format!("Cannot make the directory `{}`", show(&level.name)));
            let name = CString::new(level.name.as_slice()).map_err(|_| write::hostile(&level.name))?;
            let parent = self.stage.current().ok_or(Errno::STALE).map_err(cannot)?;
            rustix::fs::mkdirat(parent, &name, Mode::RWXU).map_err(cannot)?;
            let handle = open_directory(parent, &name).map_err(cannot)?;
            let identity = status_of(&handle).map_err(cannot)?.identity();
            self.stage.push(&level.name, handle, identity, ());
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let Some(Level { nodes: _, meta, name, wanted: _, in_target }) = self.levels.pop() else { return Ok(()) };
        let depth = self.levels.len();
        if self.stage.depth() == depth {
            let handle = self.stage.current().and_then(|handle| handle.try_clone_to_owned().ok());
            let lost = || failure(Errno::STALE, "The directory that a restore builds in was moved");
            write::dress(&handle.ok_or_else(lost)?, &meta, &name, &mut self.tally)?;
            self.stage.pop();
        }
        if let Some(target) = self.target.as_mut().filter(|_| in_target) {
            target.pop();
        }
        Ok(())
    }

    /// Everything but directories.
    fn leaf(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        let level_wanted = self.levels.last().is_some_and(|level| level.wanted);
        if !level_wanted || !self.chosen.wants_name(&name[..name.len() - 1]) || !self.wants_value(meta)? {
            return Ok(());
        }
        if self.levels.last().is_some_and(|level| level.in_target) && self.stays(name, meta)? {
            return Ok(());
        }
        self.make_directories()?;
        let made = if meta.node_type == NodeType::File {
            self.file(name, meta)?;
            true
        } else {
            let directory = self.stage.current().ok_or_else(|| failure(Errno::STALE, "The restored tree was moved"))?;
            write::special(directory, as_c_str(name), meta, &self.path, &mut self.tally)?
        };
        self.progress.items += u64::from(made);
        self.part.progress(self.progress);
        Ok(())
    }

    /// True when the content is text and matches the wanted expression, or none is wanted.
    fn wants_value(&mut self, meta: &NodeMeta) -> Result<bool> {
        let Some(values) = &self.chosen.values else { return Ok(true) };
        if meta.node_type != NodeType::File {
            return Ok(false);
        }
        let mut content = self.part.open(&self.stored_path())?;
        if content.length() > VALUE_LIMIT_BYTES {
            self.tally.add(Shortfall::ValueTooLong, &self.path);
            return Ok(false);
        }
        let mut value = vec![0; usize::try_from(content.length()).unwrap_or(0)];
        let mut filled = 0;
        while filled < value.len() {
            match content.read_at(filled as u64, &mut value[filled..])? {
                0 => break,
                read => filled += read,
            }
        }
        value.truncate(filled);
        Ok(std::str::from_utf8(&value).is_ok() && values.is_match(&value))
    }

    fn stored_path(&self) -> Vec<&[u8]> {
        std::iter::once(DATA.as_bytes()).chain(self.path.split(|byte| *byte == b'/')).collect()
    }

    /// True when what stands at the target is left as it is.
    fn stays(&mut self, name: &[u8], meta: &NodeMeta) -> Result<bool> {
        let Some(status) = self.existing(name)? else { return Ok(false) };
        if status.is_directory() {
            self.tally.add(Shortfall::TypeDiffers, &self.path);
            return Ok(true);
        }
        if !self.update && meta.links < 2 {
            return Ok(true);
        }
        let same = self.same_as_target(name, &status, meta)?;
        if same {
            self.remember(meta, true, status.identity());
        }
        Ok(same || !self.update)
    }

    fn same_as_target(&mut self, name: &[u8], status: &Status, meta: &NodeMeta) -> Result<bool> {
        let mut content = match meta.node_type {
            NodeType::File => Some(self.part.open(&self.stored_path())?),
            _ => None,
        };
        let (Some(target), Some(comparer)) = (&self.target, &mut self.comparer) else { return Ok(false) };
        let Some(directory) = target.current() else { return Ok(false) };
        let name = as_c_str(name);
        // Waits while this server captures it as a database, whose locks closing the file would take away.
        let part = self.part;
        let _reading = Reading::begin(status.identity(), &|| part.is_cancelled())?;
        if comparer.metadata_differs(Place::Name(&directory, name), status, meta) {
            return Ok(false);
        }
        match &mut content {
            Some(content) => comparer.same_content(directory, name, content.as_mut()),
            None => Ok(comparer.same_special(directory, name, status, meta)),
        }
    }

    fn file(&mut self, name: &[u8], meta: &NodeMeta) -> Result<()> {
        if self.link(name, meta)? {
            return Ok(());
        }
        let mut content = self.part.open(&self.stored_path())?;
        let Some(directory) = self.stage.current() else {
            return Err(failure(Errno::STALE, "The restored tree was moved"));
        };
        let file = write::create(directory, as_c_str(name), &self.path)?;
        let (part, progress) = (self.part, &mut self.progress);
        write::fill(&file, &self.path, content.as_mut(), &mut self.buffer, &mut |bytes| {
            progress.bytes_read += bytes;
            part.progress(*progress);
            if part.is_cancelled() { Err(SourceError::cancelled()) } else { Ok(()) }
        })?;
        write::dress(&file, meta, &self.path, &mut self.tally)?;
        if meta.links > 1 {
            let status = status_of(&file).map_err(|errno| failure(errno, "Cannot look at a restored file"))?;
            self.remember(meta, false, status.identity());
        }
        Ok(())
    }

    fn remember(&mut self, meta: &NodeMeta, in_target: bool, identity: (u64, u64)) {
        if meta.links > 1 && meta.node_type == NodeType::File && self.linked.len() < LINKED_FILES_LIMIT {
            let path = self.path.clone();
            self.linked.entry((meta.device, meta.inode)).or_insert(Placed { in_target, path, identity });
        }
    }

    /// Makes the entry another name of a file that is there already; false when there is none, or it cannot be done.
    fn link(&mut self, name: &[u8], meta: &NodeMeta) -> Result<bool> {
        if meta.links < 2 {
            return Ok(false);
        }
        let Some(Placed { in_target, path, identity }) = self.linked.get(&(meta.device, meta.inode)) else {
            return Ok(false);
        };
        let from = match (&self.target, in_target) {
            (Some(target), true) => target.root(),
            _ => self.stage.root(),
        };
        let (Some(to), Ok(path)) = (self.stage.current(), CString::new(path.as_slice())) else { return Ok(false) };
        let name = as_c_str(name);
        match rustix::fs::linkat(from, &path, to, name, AtFlags::empty()) {
            // Somebody may have put a link to elsewhere on the way meanwhile: only the very file counts.
            Ok(()) if status_at(to, name).is_ok_and(|status| status.identity() == *identity) => return Ok(true),
            Ok(()) => {
                rustix::fs::unlinkat(to, name, AtFlags::empty())
                    .map_err(|errno| failure(errno, format!("Cannot remove `{}`", show(&self.path))))?;
            }
            // Too deep a path, too many names, another file system, or gone: a file of its own will do.
            Err(Errno::NAMETOOLONG | Errno::MLINK | Errno::XDEV | Errno::NOENT | Errno::PERM) => {}
            Err(errno) => return Err(failure(errno, format!("Cannot make the name `{}`", show(&self.path)))),
        }
        self.tally.add(Shortfall::LinkApart, &self.path);
        Ok(false)
    }
}

/// The metadata of the part's tree itself.
pub(super) fn root_meta(part: &dyn PartReader) -> Result<NodeMeta> {
    part.list(&[])?
        .into_iter()
        .find(|node| node.name == DATA.as_bytes() && node.meta.node_type == NodeType::Directory)
        .map(|node| node.meta)
        .ok_or_else(|| {
            SourceError::new(ErrorKind::Invalid, "This part holds no directory tree.")
                .hint("Restore it with the kind of source that it was captured from.")
        })
}
