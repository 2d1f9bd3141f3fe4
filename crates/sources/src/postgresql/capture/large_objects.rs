//! Large objects, as they will lie in the archive.

use crate::{
    CaptureSink, Cutting, ErrorKind, Result, SourceError, StreamOptions, StreamSink, StreamSummary,
    postgresql::{
        dump::{LargeObjectFraming, LargeObjectGroup},
        layout::{LARGE_OBJECTS, LargeObjectEntry, LargeObjects},
        session::{Session, sql_state},
    },
};

/// Bytes of one object that are read at once.
const PIECE_BYTES: usize = 1 << 20;
/// Small objects are read by the dozen: so many, and of each so many bytes.
const OBJECTS_AT_ONCE: usize = 32;
const FIRST_BYTES: usize = 64 * 1024;

/// The stream that was written.
pub(super) struct Objects {
    pub facts: LargeObjects,
}

/// A stream of payloads with a checksum of the current one.
pub(super) struct Payloads<'s> {
    out: Box<dyn StreamSink + 's>,
    sum: crc32fast::Hasher,
    length: u64,
    count: u64,
    entries: Vec<LargeObjectEntry>,
}

impl<'s> Payloads<'s> {
    pub(super) fn begin(sink: &'s dyn CaptureSink) -> Result<Self> {
        let options = StreamOptions { cutting: Cutting::ContentDefined, whole_digest: false };
        let out = sink.stream(&LARGE_OBJECTS, options)?;
        Ok(Self { out, sum: crc32fast::Hasher::new(), length: 0, count: 0, entries: Vec::new() })
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.sum.update(bytes);
        self.length += bytes.len() as u64;
        self.out.write(bytes)
    }

    /// Another object begins.
    pub(super) fn count(&mut self) {
        self.count += 1;
    }

    /// The payload of an entry is complete.
    pub(super) fn end_entry(&mut self, dump_id: i32) {
        let crc32 = std::mem::replace(&mut self.sum, crc32fast::Hasher::new()).finalize();
        self.entries.push(LargeObjectEntry { dump_id, length: std::mem::take(&mut self.length), crc32 });
    }

    pub(super) fn finish(self) -> Result<Objects> {
        let StreamSummary { length, crc32, .. } = self.out.finish()?;
        Ok(Objects { facts: LargeObjects { count: self.count, length, crc32, entries: self.entries } })
    }
}

/// Reads all groups in the snapshot. `count` is told of bytes.
///
/// # Errors
/// [`ErrorKind::Denied`] where an object may not be read.
pub(super) fn read(
    session: &mut Session,
    sink: &dyn CaptureSink,
    groups: &[LargeObjectGroup],
    check: &dyn Fn() -> Result<()>,
    count: &dyn Fn(u64),
) -> Result<Objects> {
    let mut payloads = Payloads::begin(sink)?;
    for group in groups {
        let oids = match &group.oids {
            Some(oids) => oids.clone(),
            None => all(session)?,
        };
        for batch in oids.chunks(OBJECTS_AT_ONCE) {
            check()?;
            for (oid, first) in first_bytes(session, batch)? {
                payloads.count();
                payloads.write(&LargeObjectFraming::begin(oid))?;
                let mut offset = piece(&mut payloads, &first, count)?;
                let mut full = first.len() == FIRST_BYTES;
                while full {
                    check()?;
                    let next = bytes(session, &format!("SELECT lo_get({oid}, {offset}, {PIECE_BYTES})"))?;
                    offset += piece(&mut payloads, &next, count)?;
                    full = next.len() == PIECE_BYTES;
                }
                payloads.write(&LargeObjectFraming::END)?;
            }
        }
        payloads.write(&LargeObjectFraming::END)?;
        payloads.end_entry(group.dump_id);
    }
    payloads.finish()
}

fn piece(payloads: &mut Payloads<'_>, bytes: &[u8], count: &dyn Fn(u64)) -> Result<u64> {
    if !bytes.is_empty() {
        payloads.write(&LargeObjectFraming::piece(u32::try_from(bytes.len()).unwrap_or(u32::MAX)))?;
        payloads.write(bytes)?;
        count(bytes.len() as u64);
    }
    Ok(bytes.len() as u64)
}

fn all(session: &mut Session) -> Result<Vec<u32>> {
    let rows = session.rows("SELECT oid FROM pg_largeobject_metadata ORDER BY oid")?;
    Ok(rows.into_iter().filter_map(|row| row.into_iter().next()??.parse().ok()).collect())
}

fn first_bytes(session: &mut Session, oids: &[u32]) -> Result<Vec<(u32, Vec<u8>)>> {
    let list: Vec<String> = oids.iter().map(u32::to_string).collect();
    let sql = format!(
        "SELECT o.oid, lo_get(o.oid, 0, {FIRST_BYTES}) FROM unnest('{{{}}}'::oid[]) WITH ORDINALITY o (oid, place) \
         ORDER BY o.place",
        list.join(",")
    );
    let rows = session.rows(&sql).map_err(explain)?;
    let parse = |row: Vec<Option<String>>| {
        let mut row = row.into_iter().flatten();
        Some((row.next()?.parse().ok()?, unhex(&row.next()?)?))
    };
    let read: Vec<(u32, Vec<u8>)> = rows.into_iter().filter_map(parse).collect();
    if read.len() != oids.len() {
        return Err(SourceError::new(ErrorKind::Internal, "Not every large object was read."));
    }
    Ok(read)
}

fn bytes(session: &mut Session, sql: &str) -> Result<Vec<u8>> {
    let text = session.text(sql).map_err(explain)?.unwrap_or_default();
    unhex(&text)
        .ok_or_else(|| SourceError::new(ErrorKind::Internal, "The server sent a large object that is not in hex."))
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    hex::decode(text.strip_prefix("\\x")?).ok()
}

fn explain(error: SourceError) -> SourceError {
    if sql_state(&error).as_deref() == Some("42501") {
        return SourceError { kind: ErrorKind::Denied, ..error }
            .hint("Large objects are read by their owners and by superusers; grant SELECT ON LARGE OBJECT to the user of the backup.");
    }
    error
}
