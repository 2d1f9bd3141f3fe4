//! Random access to one stored stream, with reading ahead.

use crate::{
    budget::{Permit, Reclaim},
    core::{Core, lock},
    error::Result,
    id::Id,
    interrupt::{self, Interrupt, within},
    pack::BlobKind,
    read_group::load_group,
};
use std::{
    collections::VecDeque,
    fmt,
    ops::Range,
    sync::{
        Arc, Mutex, Weak,
        mpsc::{self, RecvTimeoutError},
    },
};

/// Plain bytes that are fetched and opened by one task.
const GROUP_BYTES: u64 = 1 << 20;
/// Blobs of one group, for streams of tiny chunks.
const GROUP_BLOBS: usize = 512;

type Blobs = Vec<Arc<Vec<u8>>>;

/// Random access to one stored stream; reading on is read ahead.
pub struct FileReader {
    core: Arc<Core>,
    content: Arc<Vec<Id>>,
    /// Where each blob begins, and where the last ends.
    starts: Vec<u64>,
    current: Option<(Range<usize>, Blobs)>,
    ahead: Option<Arc<Ahead>>,
    /// First blob that no group of the read-ahead covers.
    planned: usize,
    /// Of who opened it: drivers read on threads of their own.
    interrupt: Option<Interrupt>,
}

/// Groups on their way. The budget may take them back while the reader pauses.
#[derive(Default)]
struct Ahead {
    groups: Mutex<VecDeque<Group>>,
}

struct Group {
    range: Range<usize>,
    blobs: mpsc::Receiver<Result<Blobs>>,
    _permit: Permit,
}

impl FileReader {
    pub(crate) fn new(core: Arc<Core>, content: Arc<Vec<Id>>) -> Result<Self> {
        let mut starts = Vec::with_capacity(content.len() + 1);
        let mut length = 0;
        starts.push(0);
        for id in content.iter() {
            length += u64::from(core.locate(BlobKind::Data, id)?.blob.plain_length());
            starts.push(length);
        }
        Ok(Self { core, content, starts, current: None, ahead: None, planned: 0, interrupt: Interrupt::current() })
    }

    /// The same with its blobs at hand already.
    pub(crate) fn with_blobs(mut self, blobs: Blobs) -> Self {
        self.planned = self.content.len();
        self.current = Some((0..self.content.len(), blobs));
        self
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.starts.last().copied().unwrap_or(0)
    }

    /// Fills `buffer` from `offset`; shorter only at the end of the stream.
    pub fn read_at(&mut self, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let at = offset.saturating_add(filled as u64);
            if at >= self.length() {
                break;
            }
            let index = self.starts.partition_point(|start| *start <= at) - 1;
            match self.interrupt.clone() {
                None => self.ensure(index, buffer.len() - filled)?,
                interrupt => within(interrupt, || self.ensure(index, buffer.len() - filled))?,
            }
            let Some((range, blobs)) = &self.current else { break };
            let skip = (at - self.starts[index]) as usize;
            let Some(available) = blobs.get(index - range.start).and_then(|blob| blob.get(skip..)) else { break };
            let count = available.len().min(buffer.len() - filled);
            buffer[filled..filled + count].copy_from_slice(&available[..count]);
            filled += count;
        }
        Ok(filled)
    }

    /// Makes the blob of this index part of the current group.
    fn ensure(&mut self, index: usize, wanted: usize) -> Result<()> {
        let in_sequence = match &self.current {
            Some((range, _)) if range.contains(&index) => return Ok(()),
            Some((range, _)) => index == range.end,
            None => index == 0,
        };
        self.current = None;
        if !in_sequence {
            self.ahead = None;
            self.planned = 0;
            // A jump: fetch what is asked for and no more; reading ahead begins when the reader goes on from here.
            let end = self.group_end(index, wanted as u64);
            return self.load(index..end);
        }
        let mut limit = self.content.len();
        let next = self.ahead.as_ref().and_then(|ahead| {
            let mut groups = lock(&ahead.groups);
            while groups.front().is_some_and(|group| group.range.start < index) {
                groups.pop_front();
            }
            limit = groups.front().map_or(limit, |group| group.range.start);
            if limit == index { groups.pop_front() } else { None }
        });
        let Some(Group { range, blobs, _permit }) = next else {
            let end = self.group_end(index, GROUP_BYTES).min(limit.max(index + 1));
            self.planned = self.planned.max(end);
            self.read_ahead();
            return self.load(index..end);
        };
        self.read_ahead();
        loop {
            match blobs.recv_timeout(interrupt::LOOK) {
                Ok(blobs) => {
                    self.current = Some((range, blobs?));
                    return Ok(());
                }
                // It may stand behind another job's reads.
                Err(RecvTimeoutError::Timeout) => interrupt::check()?,
                // The task's thread is gone; do its work here.
                Err(RecvTimeoutError::Disconnected) => return self.load(range),
            }
        }
    }

    fn load(&mut self, range: Range<usize>) -> Result<()> {
        let blobs = load_group(&self.core, &self.content[range.clone()])?;
        self.current = Some((range, blobs));
        Ok(())
    }

    /// The end of the group that begins at a blob: at least one blob, else within the limits.
    fn group_end(&self, start: usize, bytes: u64) -> usize {
        let limit = self.starts[start] + bytes.clamp(1, GROUP_BYTES);
        let end = self.starts.partition_point(|begin| *begin < limit).saturating_sub(1);
        end.clamp(start + 1, start + GROUP_BLOBS).min(self.content.len())
    }

    /// Plans groups as far as window and budget allow.
    fn read_ahead(&mut self) {
        if self.planned >= self.content.len() {
            return;
        }
        let budget = &self.core.options.budget;
        let ahead = Arc::clone(self.ahead.get_or_insert_with(|| {
            let ahead = Arc::new(Ahead::default());
            let weak: Weak<Ahead> = Arc::downgrade(&ahead);
            budget.register(weak);
            ahead
        }));
        let window = 2 * self.core.options.workers.max(1);
        loop {
            // Groups may have been taken back: what is planned then begins behind those that are left.
            let (length, end) = {
                let groups = lock(&ahead.groups);
                (groups.len(), groups.back().map(|group| group.range.end))
            };
            let start = end.unwrap_or(self.planned);
            if length >= window || start >= self.content.len() {
                return;
            }
            let range = start..self.group_end(start, GROUP_BYTES);
            let bytes = self.starts[range.end] - self.starts[range.start];
            let Some(permit) = budget.try_acquire(bytes) else { return };
            let (sender, blobs) = mpsc::sync_channel(1);
            let (core, content, wanted) = (Arc::clone(&self.core), Arc::clone(&self.content), range.clone());
            self.planned = range.end;
            lock(&ahead.groups).push_back(Group { range, blobs, _permit: permit });
            self.core.pool.run(Box::new(move || {
                // Nobody waits any more when the reader has jumped or was dropped.
                let _ = sender.send(load_group(&core, &content[wanted]));
            }));
        }
    }
}

impl Reclaim for Ahead {
    fn reclaim(&self) {
        let taken = std::mem::take(&mut *lock(&self.groups));
        drop(taken);
    }
}

impl fmt::Debug for FileReader {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "FileReader({} bytes in {} blobs)", self.length(), self.content.len())
    }
}
