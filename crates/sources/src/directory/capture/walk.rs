//! The walk: one entry after another, in the byte order of the names, without recursion.

use std::{collections::HashSet, mem, os::fd::OwnedFd};

use rustix::{fs::FileType, io::Errno};

use super::{
    super::{
        DirectorySource, OWN_PREFIX,
        extended::{Attributes, Place},
        layout::{LayoutWriter, Member, MemberKind, PreviousChecksums},
        names::{ListingBuffer, Names, as_c_str},
        notice::{LiveDatabase, live_database},
        options::Options,
        status::{Status, failure, open_directory, open_file, show, status_at, status_of},
        trail::Trail,
    },
    inventory::InventoryBuilder,
    links::HardLinks,
    node::NodeBuffer,
    pace::Pace,
    tally::{Oddity, Tally},
};
use crate::{CaptureSink, ErrorKind, NodeMeta, NodeType, Result, SourceError, TreeSink};

/// Bytes read in one call.
const READ_BUFFER_BYTES: usize = 512 * 1024;
/// Listings of directories that were left, kept for their memory.
const SPARE_LISTINGS: usize = 16;
/// How a valid `CACHEDIR.TAG` begins.
const CACHE_TAG: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
const CACHE_TAG_NAME: &[u8] = b"CACHEDIR.TAG";

/// What is kept for a directory on the path from the root.
#[derive(Default)]
pub(super) struct Level {
    names: Names,
    /// Right in this directory.
    pub files: u64,
    pub bytes: u64,
}

pub(super) struct Walk<'s> {
    pub options: &'s Options,
    pub sink: &'s dyn CaptureSink,
    pub tree: Box<dyn TreeSink + 's>,
    pub layout: LayoutWriter<'s>,
    /// Checksums of the previous backup; `None` when every file is to be read.
    pub previous: Option<PreviousChecksums>,
    pub trail: Trail<Level>,
    /// Of the entry at hand, below the root.
    pub path: Vec<u8>,
    pub node: NodeBuffer,
    pub links: HardLinks,
    pub tally: Tally,
    pub inventory: InventoryBuilder,
    pub pace: Pace<'s>,
    pub buffer: Vec<u8>,
    pub effective_uid: u32,
    name: Vec<u8>,
    listing: ListingBuffer,
    spare: Vec<Names>,
    never: HashSet<(u64, u64)>,
    root_device: u64,
}

impl<'s> Walk<'s> {
    pub fn new(
        source: &'s DirectorySource,
        sink: &'s dyn CaptureSink,
        layout: LayoutWriter<'s>,
        root: OwnedFd,
        status: &Status,
        never: HashSet<(u64, u64)>,
        listing: ListingBuffer,
    ) -> Result<Self> {
        let mut node = NodeBuffer::new();
        let mut tally = Tally::default();
        node.describe(status, NodeType::Directory);
        if let Attributes::Refused(errno) = node.read_attributes(Place::Handle(&root)) {
            tally.refused(Oddity::AttributesUnreadable, b"", errno);
        }
        Ok(Self {
            options: &source.options,
            sink,
            tree: sink.tree(&node.meta)?,
            layout,
            previous: None,
            trail: Trail::new(root, Level::default()),
            path: Vec::new(),
            node,
            links: HardLinks::default(),
            tally,
            inventory: InventoryBuilder::default(),
            pace: Pace::new(sink),
            buffer: vec![0; READ_BUFFER_BYTES],
            effective_uid: rustix::process::geteuid().as_raw(),
            name: Vec::new(),
            listing,
            spare: Vec::new(),
            never,
            root_device: status.device,
        })
    }

    /// Begins with the root's names; `node` describes the root since [`Walk::new`].
    pub fn enter_root(&mut self, names: Names) -> Result<()> {
        self.look_for_databases(&names, b"");
        self.trail.value().names = names;
        self.tally.directories += 1;
        record(&mut self.layout, &self.node.meta, &self.path, MemberKind::Directory)
    }

    /// Walks everything.
    pub fn run(&mut self) -> Result<()> {
        loop {
            self.pace.check()?;
            if self.trail.current().is_none() {
                self.path.clear();
                self.path.extend_from_slice(self.trail.path());
                self.tally.add(Oddity::Vanished, &self.path);
                self.trail.value().names.skip_rest();
            }
            let mut name = mem::take(&mut self.name);
            let more = self.trail.value().names.next_into(&mut name);
            if more {
                self.entry(&name)?;
            }
            self.name = name;
            if !more && !self.leave()? {
                return Ok(());
            }
        }
    }

    /// Goes up; false when the root was left.
    fn leave(&mut self) -> Result<bool> {
        let level = self.trail.value();
        let (files, bytes, names) = (level.files, level.bytes, mem::take(&mut level.names));
        self.inventory.add(self.trail.path(), files, bytes);
        if self.spare.len() < SPARE_LISTINGS {
            self.spare.push(names);
        }
        if self.trail.pop().is_none() {
            return Ok(false);
        }
        self.tree.leave()?;
        Ok(true)
    }

    /// Looks at one entry; `name` ends with NUL.
    fn entry(&mut self, name: &[u8]) -> Result<()> {
        let bare = &name[..name.len() - 1];
        self.path.clear();
        self.path.extend_from_slice(self.trail.path());
        if !self.path.is_empty() {
            self.path.push(b'/');
        }
        self.path.extend_from_slice(bare);
        if self.trail.depth() == 0 && bare.starts_with(OWN_PREFIX.as_bytes()) {
            self.sink.log(&format!("left out what a restore made: {}", show(bare)));
            return Ok(());
        }
        let Some(directory) = self.trail.current() else { return Ok(()) };
        match status_at(directory, as_c_str(name)) {
            Ok(status) => self.classify(name, &status),
            Err(errno) => self.missed(errno),
        }
    }

    /// An entry that cannot be looked at, listed, opened or read.
    pub fn missed(&mut self, errno: Errno) -> Result<()> {
        match errno {
            Errno::NOENT | Errno::STALE => self.tally.add(Oddity::Vanished, &self.path),
            // Not this entry's fault, and the next one would fare no better.
            Errno::MFILE | Errno::NFILE | Errno::NOMEM => {
                return Err(failure(errno, "The machine is short of what a walk needs")
                    .hint("Raise the limit, or try again later."));
            }
            errno => self.tally.refused(Oddity::Unreadable, &self.path, errno),
        }
        Ok(())
    }

    /// Captures an entry as what it is.
    pub fn classify(&mut self, name: &[u8], status: &Status) -> Result<()> {
        let excluded = self.options.excludes(&self.path, status.is_directory());
        if excluded || (self.options.exclude_nodump && status.no_dump) {
            self.tally.excluded += 1;
            return Ok(());
        }
        match status.file_type {
            FileType::RegularFile => self.file(name, status),
            FileType::Directory => self.directory(name, status),
            FileType::Symlink => self.symlink(name, status),
            FileType::Fifo => self.special(name, status, NodeType::Fifo, Some(MemberKind::Fifo)),
            FileType::Socket => self.special(name, status, NodeType::Socket, None),
            FileType::CharacterDevice => {
                let device = status.special_device;
                let kind = MemberKind::CharacterDevice(device);
                self.special(name, status, NodeType::CharacterDevice(device), Some(kind))
            }
            FileType::BlockDevice => {
                let device = status.special_device;
                self.special(name, status, NodeType::BlockDevice(device), Some(MemberKind::BlockDevice(device)))
            }
            FileType::Unknown => self.missed(Errno::NOTSUP),
        }
    }

    fn directory(&mut self, name: &[u8], status: &Status) -> Result<()> {
        if self.never.contains(&status.identity()) {
            self.sink.log(&format!("left out `{}`: it is the gateway's own", show(&self.path)));
            self.tally.excluded += 1;
            return Ok(());
        }
        let elsewhere = status.device != self.root_device;
        if elsewhere && self.options.one_file_system {
            return self.empty_directory(name, status);
        }
        let Some(parent) = self.trail.current() else { return Ok(()) };
        let opened = open_directory(parent, as_c_str(name)).and_then(|handle| {
            let mut names = self.spare.pop().unwrap_or_default();
            names.read(&handle, &mut self.listing)?;
            let status = status_of(&handle)?;
            Ok((handle, status, names))
        });
        let (handle, status, mut names) = match opened {
            Ok(opened) => opened,
            Err(Errno::NOENT | Errno::STALE) => return self.missed(Errno::NOENT),
            Err(errno) => {
                // The directory itself is known, and is stored without what is in it.
                self.missed(errno)?;
                return self.empty_directory(name, status);
            }
        };
        if self.options.exclude_caches && is_cache(&handle, &names) {
            self.tally.excluded += names.len() as u64 - 1;
            names.keep_only(CACHE_TAG_NAME);
        }
        self.node.describe(&status, NodeType::Directory);
        if let Attributes::Refused(errno) = self.node.read_attributes(Place::Handle(&handle)) {
            self.tally.refused(Oddity::AttributesUnreadable, &self.path, errno);
        }
        let bare = &name[..name.len() - 1];
        self.tree.enter(bare, &self.node.meta)?;
        record(&mut self.layout, &self.node.meta, &self.path, MemberKind::Directory)?;
        self.tally.directories += 1;
        let path = mem::take(&mut self.path);
        self.look_for_databases(&names, &path);
        self.path = path;
        self.trail.push(bare, handle, status.identity(), Level { names, files: 0, bytes: 0 });
        Ok(())
    }

    /// A directory whose entries are not captured.
    fn empty_directory(&mut self, name: &[u8], status: &Status) -> Result<()> {
        self.node.describe(status, NodeType::Directory);
        self.tree.enter(&name[..name.len() - 1], &self.node.meta)?;
        self.tree.leave()?;
        self.tally.directories += 1;
        record(&mut self.layout, &self.node.meta, &self.path, MemberKind::Directory)
    }

    fn symlink(&mut self, name: &[u8], status: &Status) -> Result<()> {
        let Some(directory) = self.trail.current() else { return Ok(()) };
        let target = match rustix::fs::readlinkat_raw(directory, as_c_str(name), &mut self.buffer[..]) {
            Ok(length) => self.buffer[..length].to_vec(),
            Err(errno) => return self.missed(errno),
        };
        self.node.describe(status, NodeType::Symlink(target));
        self.read_attributes_by_name(name);
        self.tree.special(&name[..name.len() - 1], &self.node.meta)?;
        self.tally.symlinks += 1;
        self.count_item(0);
        let NodeType::Symlink(target) = &self.node.meta.node_type else { return Ok(()) };
        record(&mut self.layout, &self.node.meta, &self.path, MemberKind::Symlink(target))
    }

    fn special(&mut self, name: &[u8], status: &Status, kind: NodeType, member: Option<MemberKind<'_>>) -> Result<()> {
        self.node.describe(status, kind);
        self.read_attributes_by_name(name);
        self.tree.special(&name[..name.len() - 1], &self.node.meta)?;
        self.tally.specials += 1;
        self.count_item(0);
        match member {
            Some(member) => record(&mut self.layout, &self.node.meta, &self.path, member),
            None => Ok(()),
        }
    }

    /// For what must not be opened.
    pub fn read_attributes_by_name(&mut self, name: &[u8]) {
        let Some(directory) = self.trail.current() else { return };
        if let Attributes::Refused(errno) = self.node.read_attributes(Place::Name(&directory, as_c_str(name))) {
            self.tally.refused(Oddity::AttributesUnreadable, &self.path, errno);
        }
    }

    /// One more entry right in the current directory.
    pub fn count_item(&mut self, bytes: u64) {
        let level = self.trail.value();
        level.files += 1;
        level.bytes += bytes;
        self.pace.item();
    }

    fn look_for_databases(&mut self, names: &Names, directory: &[u8]) {
        let Some(found) = live_database(names) else { return };
        let mut path = directory.to_vec();
        if let LiveDatabase::Sqlite(name) = found {
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(name);
            if self.options.excludes(&path, false) {
                return;
            }
        }
        let what = found.what();
        self.tally.add_with(Oddity::LiveDatabase, || format!("{}, {what}", super::shown_path(&path)));
    }

    /// Reports what there is to report.
    pub fn tell(&mut self) {
        self.tally.add_many(Oddity::InventoryMerged, self.inventory.merged);
        self.tally.warn(self.sink);
        self.pace.tell();
    }

    /// Fails where too much could not be read for a backup to be worth its name.
    pub fn refuse_unreadable(&self, source: &DirectorySource) -> Result<()> {
        let unreadable = self.tally.count(Oddity::Unreadable);
        let seen = self.tally.items() + self.tally.directories + unreadable;
        let share = unreadable as f64 / seen.max(1) as f64;
        if unreadable == 0 || share <= self.options.max_unreadable_share {
            return Ok(());
        }
        Err(SourceError::new(
            ErrorKind::Denied,
            format!("{unreadable} of {seen} entries of `{}` could not be read.", source.shown()),
        )
        .hint("Run as root or with the capability CAP_DAC_READ_SEARCH, or raise the option `max_unreadable_share`."))
    }
}

/// Adds the entry that `meta` describes to the download.
pub(super) fn record(layout: &mut LayoutWriter<'_>, meta: &NodeMeta, path: &[u8], kind: MemberKind<'_>) -> Result<()> {
    layout.add(&Member {
        path,
        kind,
        mode: meta.mode,
        uid: meta.uid,
        gid: meta.gid,
        user: &meta.user,
        group: &meta.group,
        modified: meta.modified.seconds,
        attributes: &meta.extended_attributes,
    })
}

/// True where a directory says of itself that it is a cache.
fn is_cache(directory: &OwnedFd, names: &Names) -> bool {
    if !names.contains(CACHE_TAG_NAME) {
        return false;
    }
    let mut tag = [0; CACHE_TAG.len()];
    let regular = status_at(directory, c"CACHEDIR.TAG").is_ok_and(|status| status.file_type == FileType::RegularFile);
    let read = open_file(directory, c"CACHEDIR.TAG", false).and_then(|file| rustix::io::pread(&file, &mut tag[..], 0));
    regular && read == Ok(CACHE_TAG.len()) && tag == CACHE_TAG
}
