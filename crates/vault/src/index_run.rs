//! A sorted file of blobs and their places: the local cache of an index too large for memory.
//!
//! In memory stay ten bits per blob, which answer most questions about unknown blobs, and the first key of every 128 records, so that any
//! other question costs one read. Ids are stored encrypted under a key of the vault: the cache of a vault tells nobody without the
//! vault's password which contents it holds. Everything here can be lost or thrown away at any time.

use crate::{
    error::{Result, VaultError},
    id::Id,
    index::Place,
    pack::BlobKind,
};
use aes::{
    Aes128, Block,
    cipher::{BlockCipherEncrypt, KeyInit},
};
use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

const MAGIC: &[u8; 8] = b"TVINDEX1";
/// Blinded id (32), kind and pack number (4), offset, length, plain length (4 each).
const RECORD: usize = 48;
/// Records per remembered key; one read fetches them all.
const FENCE: usize = 128;
const FILTER_BITS: u64 = 10;
const FILTER_PROBES: u64 = 7;
const KIND_BIT: u32 = 1 << 31;

/// One line of the file.
pub(crate) type Record = [u8; RECORD];

/// Hides ids in the cache.
pub(crate) struct RunKey(Aes128);

impl RunKey {
    pub fn new(key: &[u8; 16]) -> Self {
        Self(Aes128::new(&(*key).into()))
    }

    fn blind(&self, id: &Id) -> [u8; 32] {
        let mut blinded = *id.as_bytes();
        for half in blinded.chunks_exact_mut(16) {
            let mut block = Block::default();
            block.copy_from_slice(half);
            self.0.encrypt_block(&mut block);
            half.copy_from_slice(&block);
        }
        blinded
    }

    /// The line of a blob.
    pub fn record(&self, kind: BlobKind, id: &Id, place: Place) -> Record {
        let mut record = [0; RECORD];
        record[..32].copy_from_slice(&self.blind(id));
        let tag = place.pack | if kind == BlobKind::Tree { KIND_BIT } else { 0 };
        // Big-endian, so that trees sort after data of the same id.
        record[32..36].copy_from_slice(&tag.to_be_bytes());
        record[36..40].copy_from_slice(&place.offset.to_le_bytes());
        record[40..44].copy_from_slice(&place.length.to_le_bytes());
        record[44..].copy_from_slice(&place.uncompressed.unwrap_or(0).to_le_bytes());
        record
    }
}

impl fmt::Debug for RunKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("RunKey(..)")
    }
}

/// An opened run file.
pub(crate) struct Run {
    key: Aes128,
    file: File,
    files: Vec<Id>,
    packs: Vec<(Id, u32)>,
    filter: Vec<u8>,
    fences: Vec<u64>,
    /// Offset of the first record.
    base: u64,
    len: usize,
}

impl fmt::Debug for Run {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Run({} blobs)", self.len)
    }
}

impl Run {
    /// Opens a run file; an error means that it cannot be used and shall be made anew.
    pub fn open(path: &Path, key: &RunKey) -> Result<Self> {
        let file = File::open(path).map_err(unusable)?;
        let length = file.metadata().map_err(unusable)?.len();
        let mut reader = BufReader::with_capacity(1 << 18, &file);
        let mut magic = [0; 8];
        reader.read_exact(&mut magic).map_err(unusable)?;
        let (files, packs, records) = (read_u64(&mut reader)?, read_u64(&mut reader)?, read_u64(&mut reader)?);
        let head = 32 + files.saturating_mul(32).saturating_add(packs.saturating_mul(36));
        let derived = filter_length(records).saturating_add(fence_count(records).saturating_mul(8));
        let base = head.saturating_add(derived).saturating_add(32);
        if &magic != MAGIC || base.saturating_add(records.saturating_mul(RECORD as u64)) != length {
            return Err(unusable(std::io::Error::other("not a complete run file")));
        }
        let mut hashing = Hashing::new(&mut reader);
        let mut read = || -> Result<_> {
            let files = (0..files).map(|_| read_id(&mut hashing)).collect::<Result<Vec<_>>>()?;
            let packs = (0..packs)
                .map(|_| Ok((read_id(&mut hashing)?, read_u32(&mut hashing)?)))
                .collect::<Result<Vec<_>>>()?;
            let mut filter = vec![0; filter_length(records) as usize];
            hashing.read_exact(&mut filter).map_err(unusable)?;
            let fences = (0..fence_count(records)).map(|_| read_u64(&mut hashing)).collect::<Result<Vec<_>>>()?;
            Ok((files, packs, filter, fences))
        };
        let (files, packs, filter, fences) = read()?;
        let digest = hashing.finish();
        let mut stored = [0; 32];
        reader.read_exact(&mut stored).map_err(unusable)?;
        if digest != stored {
            return Err(unusable(std::io::Error::other("checksum of a run file does not hold")));
        }
        Ok(Self { key: key.0.clone(), file, files, packs, filter, fences, base, len: records as usize })
    }

    /// The index files whose content this is.
    pub fn files(&self) -> &[Id] {
        &self.files
    }

    /// The packs in the order of their numbers, each with the end of its last blob.
    pub fn packs(&self) -> &[(Id, u32)] {
        &self.packs
    }

    /// Number of blobs.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number of a blob's record, and where the blob lies.
    pub fn find(&self, kind: BlobKind, id: &Id) -> Result<Option<(usize, Place)>> {
        let blinded = RunKey(self.key.clone()).blind(id);
        if !probes(&blinded, self.filter.len() as u64 * 8)
            .all(|bit| self.filter[(bit / 8) as usize] >> (bit % 8) & 1 == 1)
        {
            return Ok(None);
        }
        let prefix = prefix(&blinded);
        // Equal prefixes may cross a fence: begin one block before the first fence that is not below.
        let mut block = self.fences.partition_point(|fence| *fence < prefix).saturating_sub(1);
        let mut buffer = [0; RECORD * FENCE];
        while self.fences.get(block).is_some_and(|fence| *fence <= prefix) {
            let first = block * FENCE;
            let bytes = &mut buffer[..(self.len - first).min(FENCE) * RECORD];
            self.file.read_exact_at(bytes, self.base + (first * RECORD) as u64).map_err(unusable)?;
            for (number, record) in bytes.chunks_exact(RECORD).enumerate().filter(|(_, record)| record[..32] == blinded)
            {
                if let Some(place) = place_of(record, kind) {
                    return Ok(Some((first + number, place)));
                }
            }
            block += 1;
        }
        Ok(None)
    }

    /// Writes a new run: the records of `old` and the sorted `fresh` ones; a fresh one replaces the old one of the same blob.
    pub fn write(path: &Path, files: &[Id], packs: &[(Id, u32)], old: Option<&Run>, fresh: &[Record]) -> Result<()> {
        if let Some(directory) = path.parent() {
            std::fs::create_dir_all(directory).map_err(unusable)?;
        }
        let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
        let result = write_file(&temporary, files, packs, old, fresh)
            .and_then(|()| std::fs::rename(&temporary, path).map_err(unusable));
        if result.is_err() {
            // Only tidiness: an error here must not hide the first one.
            let _ = std::fs::remove_file(&temporary);
        }
        result
    }
}

fn write_file(path: &Path, files: &[Id], packs: &[(Id, u32)], old: Option<&Run>, fresh: &[Record]) -> Result<()> {
    let count = merged(old, fresh)?.try_fold(0_u64, |count, record| record.map(|_| count + 1))?;
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(unusable)?;
    let mut out = BufWriter::with_capacity(1 << 18, file);
    let mut filter = vec![0_u8; filter_length(count) as usize];
    let bits = filter.len() as u64 * 8;
    let mut fences = Vec::with_capacity(fence_count(count) as usize);
    for (position, record) in merged(old, fresh)?.enumerate() {
        let record = record?;
        for bit in probes(&record[..32], bits) {
            filter[(bit / 8) as usize] |= 1 << (bit % 8);
        }
        if position % FENCE == 0 {
            fences.push(prefix(&record));
        }
    }
    let mut head = Vec::new();
    files.iter().for_each(|id| head.extend_from_slice(id.as_bytes()));
    for (id, end) in packs {
        head.extend_from_slice(id.as_bytes());
        head.extend_from_slice(&end.to_le_bytes());
    }
    head.extend_from_slice(&filter);
    fences.iter().for_each(|fence| head.extend_from_slice(&fence.to_le_bytes()));
    out.write_all(MAGIC).map_err(unusable)?;
    for number in [files.len() as u64, packs.len() as u64, count] {
        out.write_all(&number.to_le_bytes()).map_err(unusable)?;
    }
    out.write_all(&head).map_err(unusable)?;
    out.write_all(Id::of(&head).as_bytes()).map_err(unusable)?;
    for record in merged(old, fresh)? {
        out.write_all(&record?).map_err(unusable)?;
    }
    out.into_inner().map_err(|error| unusable(error.into_error()))?.sync_all().map_err(unusable)
}

/// The records of both in order, each blob once.
fn merged<'a>(old: Option<&'a Run>, fresh: &'a [Record]) -> Result<impl Iterator<Item = Result<Record>> + 'a> {
    let mut old = old.map(Records::new).transpose()?.into_iter().flatten().peekable();
    let mut fresh = fresh.iter().copied().peekable();
    Ok(std::iter::from_fn(move || {
        let (left, right) = match (old.peek(), fresh.peek()) {
            (Some(Err(_)), _) | (Some(_), None) => return old.next(),
            (None, _) => return fresh.next().map(Ok),
            (Some(Ok(left)), Some(right)) => (identity(left), identity(right)),
        };
        if left == right {
            old.next();
        }
        if left < right { old.next() } else { fresh.next().map(Ok) }
    }))
}

/// What makes two records the same blob: its blinded id and its kind.
fn identity(record: &Record) -> ([u8; 32], bool) {
    let mut id = [0; 32];
    id.copy_from_slice(&record[..32]);
    (id, record[32] & 0x80 != 0)
}

/// Reads all records of a run in order.
struct Records<'a> {
    reader: BufReader<&'a File>,
    left: usize,
}

impl<'a> Records<'a> {
    fn new(run: &'a Run) -> Result<Self> {
        let mut reader = BufReader::with_capacity(1 << 18, &run.file);
        reader.seek(SeekFrom::Start(run.base)).map_err(unusable)?;
        Ok(Self { reader, left: run.len })
    }
}

impl Iterator for Records<'_> {
    type Item = Result<Record>;

    fn next(&mut self) -> Option<Result<Record>> {
        self.left = self.left.checked_sub(1)?;
        let mut record = [0; RECORD];
        Some(self.reader.read_exact(&mut record).map(|()| record).map_err(unusable))
    }
}

/// Reads and takes a SHA-256 of what was read.
struct Hashing<'a, R> {
    inner: &'a mut R,
    digest: sha2::Sha256,
}

impl<'a, R: Read> Hashing<'a, R> {
    fn new(inner: &'a mut R) -> Self {
        Self { inner, digest: sha2::Digest::new() }
    }

    fn finish(self) -> [u8; 32] {
        sha2::Digest::finalize(self.digest).into()
    }
}

impl<R: Read> Read for Hashing<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        sha2::Digest::update(&mut self.digest, &buffer[..count]);
        Ok(count)
    }
}

fn place_of(record: &[u8], kind: BlobKind) -> Option<Place> {
    let number = |at: usize| Some(u32::from_le_bytes(*record.get(at..)?.first_chunk()?));
    let tag = u32::from_be_bytes(*record.get(32..)?.first_chunk()?);
    let is_tree = tag & KIND_BIT != 0;
    if is_tree != (kind == BlobKind::Tree) {
        return None;
    }
    let uncompressed = Some(number(44)?).filter(|length| *length > 0);
    Some(Place { pack: tag & !KIND_BIT, offset: number(36)?, length: number(40)?, uncompressed })
}

/// The first eight bytes as a number; sorts as the bytes do.
fn prefix(blinded: &[u8]) -> u64 {
    blinded.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

/// The bits of the filter that stand for a blob. The blinded id is as good as random, so its own bytes are the hashes.
fn probes(blinded: &[u8], bits: u64) -> impl Iterator<Item = u64> {
    let part =
        |at: usize| blinded.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let (start, step) = (part(8), part(16) | 1);
    (0..FILTER_PROBES).map(move |probe| start.wrapping_add(step.wrapping_mul(probe)) % bits.max(1))
}

/// Bytes; at least one, so that the empty filter needs no special case.
fn filter_length(records: u64) -> u64 {
    records.saturating_mul(FILTER_BITS) / 8 + 1
}

fn fence_count(records: u64) -> u64 {
    records.div_ceil(FENCE as u64)
}

fn read_u64(reader: &mut impl Read) -> Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes).map_err(unusable)?;
    Ok(u64::from_le_bytes(bytes))
}

fn read_u32(reader: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes).map_err(unusable)?;
    Ok(u32::from_le_bytes(bytes))
}

fn read_id(reader: &mut impl Read) -> Result<Id> {
    let mut bytes = [0; 32];
    reader.read_exact(&mut bytes).map_err(unusable)?;
    Ok(Id::from_bytes(bytes))
}

fn unusable(error: std::io::Error) -> VaultError {
    VaultError::internal("the index cache cannot be used")
        .with_source(error)
        .with_hint("the cache directory can be removed; it is made again")
}
