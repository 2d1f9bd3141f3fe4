//! Regular files: taken over unread where nothing changed, else read, and read once more when they change meanwhile.

use std::os::fd::OwnedFd;

use rustix::{
    fs::{FileType, SeekFrom},
    io::Errno,
    time::{ClockId, clock_gettime},
};

use super::{
    super::{
        extended::{Attributes, Place},
        layout::MemberKind,
        names::as_c_str,
        status::{Status, open_file, status_at, status_of},
    },
    pace::Pace,
    tally::Oddity,
    walk::{Walk, record},
};
use crate::{Cutting, NodeType, PreviousFile, Result, StreamOptions, StreamSink, Timestamp, live_files::Reading};

const OPTIONS: StreamOptions = StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false };

/// A file modified later than this before the previous capture began may have changed after it was read without its
/// times telling, where clocks differ or are coarse: seconds.
const RACY_SECONDS: i64 = 2;
/// The kernel's clock for times of files moves on at least this often; nanoseconds.
const TICK_NANOSECONDS: i64 = 20_000_000;
/// Read of a file that says it is empty, at most; bytes.
const PSEUDO_FILE_LIMIT_BYTES: u64 = 64 * 1024 * 1024;
/// Waits for the next tick of that clock, each one millisecond.
const TICK_WAITS: u32 = 20;

/// What came of reading a file.
enum Outcome {
    Stored {
        status: Status,
        length: u64,
        crc32: u32,
        steady: bool,
    },
    /// It is not what it was when it was looked at. Nothing was stored.
    Changed,
    Missed(Errno),
}

impl Walk<'_> {
    /// Captures a regular file; `name` ends with NUL.
    pub(super) fn file(&mut self, name: &[u8], status: &Status) -> Result<()> {
        if self.options.exclude_larger_than.is_some_and(|limit| status.size > limit) {
            self.tally.excluded += 1;
            return Ok(());
        }
        if status.links > 1 && self.links.find(status.identity()).is_some() {
            return self.further_name(name, status);
        }
        if self.reuse(name, status)? {
            return Ok(());
        }
        match self.read(name, status, false)? {
            Outcome::Changed => {}
            outcome => return self.conclude(outcome),
        }
        let Some(directory) = self.trail.current() else { return Ok(()) };
        match status_at(directory, as_c_str(name)) {
            Ok(again) if again.file_type == FileType::RegularFile => {
                let outcome = self.read(name, &again, true)?;
                self.conclude(outcome)
            }
            Ok(again) => self.classify(name, &again),
            Err(errno) => self.missed(errno),
        }
    }

    fn conclude(&mut self, outcome: Outcome) -> Result<()> {
        match outcome {
            Outcome::Stored { status, length, crc32, steady } => {
                if !steady {
                    self.tally.add(Oddity::Changed, &self.path);
                }
                self.stored(&status, length, crc32)
            }
            Outcome::Changed => self.missed(Errno::STALE),
            Outcome::Missed(errno) => self.missed(errno),
        }
    }

    /// Accounts for a file that is in the tree now.
    fn stored(&mut self, status: &Status, length: u64, crc32: u32) -> Result<()> {
        if status.links > 1 {
            let attributes = &self.node.meta.extended_attributes;
            if !self.links.remember(status.identity(), status.links, &self.path, (length, crc32), attributes) {
                self.tally.add(Oddity::LinksForgotten, &self.path);
            }
        }
        self.tally.files += 1;
        self.tally.bytes += length;
        self.tally.allocated += status.allocated.min(length);
        self.count_item(length);
        record(&mut self.layout, &self.node.meta, &self.path, MemberKind::File { length, crc32 })
    }

    /// Another name of a file that is in the tree already.
    fn further_name(&mut self, name: &[u8], status: &Status) -> Result<()> {
        self.node.describe(status, NodeType::File);
        let Some(first) = self.links.find(status.identity()) else { return Ok(()) };
        self.node.meta.extended_attributes.extend_from_slice(&first.attributes);
        let names: Vec<Vec<u8>> = first.path.split(|byte| *byte == b'/').map(<[u8]>::to_vec).collect();
        self.tree.hard_link(&name[..name.len() - 1], &self.node.meta, &names)?;
        let kind = MemberKind::HardLink { first: &first.path, length: first.length, crc32: first.crc32 };
        record(&mut self.layout, &self.node.meta, &self.path, kind)?;
        self.links.met(status.identity());
        self.tally.hard_links += 1;
        self.count_item(0);
        Ok(())
    }

    /// Takes the file's content over from the previous backup, if it is the same without doubt.
    fn reuse(&mut self, name: &[u8], status: &Status) -> Result<bool> {
        if self.previous.is_none() {
            return Ok(false);
        }
        let bare = &name[..name.len() - 1];
        let Some(previous) = self.tree.previous(bare)? else { return Ok(false) };
        let same_ctime = self.options.ignore_ctime || previous.meta.changed == status.changed;
        let same_inode = self.options.ignore_inode || previous.meta.inode == status.inode;
        let same = previous.meta.node_type == NodeType::File
            && previous.meta.size == status.size
            && previous.meta.modified == status.modified;
        if !(same && same_ctime && same_inode) || self.is_racy(&previous, status) {
            return Ok(false);
        }
        let Some(checksums) = &mut self.previous else { return Ok(false) };
        let crc32 = match checksums.take(&self.path, status.size, status.modified.seconds) {
            Ok(Some(crc32)) => crc32,
            Ok(None) => return Ok(false),
            Err(error) => {
                self.sink.log(&format!("the previous backup cannot be built upon further: {error}"));
                self.previous = None;
                return Ok(false);
            }
        };
        self.node.describe(status, NodeType::File);
        if self.options.ignore_ctime {
            // Nothing says that they are the same.
            self.read_attributes_by_name(name);
        } else {
            self.node.meta.extended_attributes.extend_from_slice(&previous.meta.extended_attributes);
        }
        self.tree.reuse(bare, &self.node.meta, &previous)?;
        self.tally.reused += 1;
        self.stored(status, status.size, crc32)?;
        Ok(true)
    }

    /// True when the file may have changed after the previous capture read it, and its times would not tell.
    fn is_racy(&self, previous: &PreviousFile, status: &Status) -> bool {
        let begun = previous.captured_at;
        let after = |at: Timestamp, seconds: i64| at >= Timestamp { seconds: begun.seconds + seconds, ..begun };
        let modified_then = after(status.modified, -RACY_SECONDS);
        if self.options.ignore_ctime {
            return modified_then;
        }
        // A time of modification far in the future says nothing: whatever changed the file since set its change time.
        (modified_then && !after(status.modified, RACY_SECONDS)) || after(status.changed, 0)
    }

    /// Reads the file once. The `last` time what was read is kept even when it changed meanwhile.
    fn read(&mut self, name: &[u8], seen: &Status, last: bool) -> Result<Outcome> {
        let Some(directory) = self.trail.current() else { return Ok(Outcome::Missed(Errno::STALE)) };
        let quietly = self.effective_uid == 0 || self.effective_uid == seen.uid;
        // Waits while this server captures it as a database; dropped after the file is closed.
        let _reading = Reading::begin(seen.identity(), &|| self.sink.is_cancelled())?;
        let file = match open_file(directory, as_c_str(name), quietly) {
            Ok(file) => file,
            // A link or something without a reader has taken its place.
            Err(Errno::LOOP | Errno::NXIO) if !last => return Ok(Outcome::Changed),
            Err(errno) => return Ok(Outcome::Missed(errno)),
        };
        let mut status = *seen;
        if last {
            // Files that are replaced all the time are never the one that was looked at: take what was opened.
            match status_of(&file) {
                Ok(now) if now.file_type == FileType::RegularFile => status = now,
                Ok(_) => return Ok(Outcome::Missed(Errno::STALE)),
                Err(errno) => return Ok(Outcome::Missed(errno)),
            }
        }
        wait_for_tick(status.changed);
        self.node.describe(&status, NodeType::File);
        if let Attributes::Refused(errno) = self.node.read_attributes(Place::Handle(&file)) {
            self.tally.refused(Oddity::AttributesUnreadable, &self.path, errno);
        }
        let mut stream = self.tree.file(&name[..name.len() - 1], &self.node.meta, OPTIONS)?;
        if let Err(errno) = pour(stream.as_mut(), &file, &status, &mut self.buffer, &mut self.pace)? {
            return Ok(Outcome::Missed(errno));
        }
        let steady = status_of(&file).is_ok_and(|after| after.same_content(&status));
        if !steady && !last {
            return Ok(Outcome::Changed);
        }
        let summary = stream.finish()?;
        Ok(Outcome::Stored { status, length: summary.length, crc32: summary.crc32, steady })
    }
}

/// Writes the file's content, at most the size that it had, into the stream. The inner error is the file's.
fn pour(
    stream: &mut dyn StreamSink,
    file: &OwnedFd,
    status: &Status,
    buffer: &mut [u8],
    pace: &mut Pace<'_>,
) -> Result<Result<(), Errno>> {
    if status.allocated < status.size {
        match pour_extents(stream, file, status.size, buffer, pace)? {
            // A file system that does not tell where its holes are.
            Err(Errno::INVAL | Errno::NOTSUP | Errno::NOTTY) => {}
            outcome => return Ok(outcome),
        }
    }
    // Files of pseudo file systems say that they are empty and are not.
    let limit = if status.size == 0 { PSEUDO_FILE_LIMIT_BYTES } else { status.size };
    Ok(pour_range(stream, file, 0, limit, buffer, pace)?.map(|_| ()))
}

/// Reads only where there is data; holes are zeros that are not read.
fn pour_extents(
    stream: &mut dyn StreamSink,
    file: &OwnedFd,
    size: u64,
    buffer: &mut [u8],
    pace: &mut Pace<'_>,
) -> Result<Result<(), Errno>> {
    let mut at = 0;
    while at < size {
        pace.check()?;
        let data = match rustix::fs::seek(file, SeekFrom::Data(at)) {
            Ok(data) => data.min(size),
            // No data behind this.
            Err(Errno::NXIO) => size,
            Err(errno) if at == 0 => return Ok(Err(errno)),
            Err(_) => at,
        };
        if data > at {
            stream.write_zeros(data - at)?;
            pace.read(data - at);
        }
        if data == size {
            break;
        }
        let hole = rustix::fs::seek(file, SeekFrom::Hole(data)).unwrap_or(size).clamp(data + 1, size);
        match pour_range(stream, file, data, hole, buffer, pace)? {
            Ok(read) if read == hole - data => at = hole,
            // It shrank: what was read is what there is.
            Ok(_) => break,
            Err(errno) => return Ok(Err(errno)),
        }
    }
    Ok(Ok(()))
}

/// Reads from `start` to `end` or the end of the file; gives the number of bytes.
fn pour_range(
    stream: &mut dyn StreamSink,
    file: &OwnedFd,
    start: u64,
    end: u64,
    buffer: &mut [u8],
    pace: &mut Pace<'_>,
) -> Result<Result<u64, Errno>> {
    let mut at = start;
    while at < end {
        let wanted = usize::try_from(end - at).unwrap_or(usize::MAX).min(buffer.len());
        let read = match rustix::io::pread(file, &mut buffer[..wanted], at) {
            Ok(0) => break,
            Ok(read) => read,
            Err(Errno::INTR) => continue,
            Err(errno) => return Ok(Err(errno)),
        };
        stream.write(&buffer[..read])?;
        at += read as u64;
        pace.read(read as u64);
        if at < end {
            pace.check()?;
        }
    }
    Ok(Ok(at - start))
}

/// Waits until the clock that stamps files has moved on from `changed`, so that any later change gets another time.
/// Only a file that was changed within the last few milliseconds makes it wait.
fn wait_for_tick(changed: Timestamp) {
    for _ in 0..TICK_WAITS {
        let now = clock_gettime(ClockId::RealtimeCoarse);
        let ahead = (changed.seconds.saturating_sub(now.tv_sec))
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(changed.nanoseconds) - now.tv_nsec);
        // A time far in the future is no recent one: whatever changes the file will set another.
        if !(0..=TICK_NANOSECONDS).contains(&ahead) {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
