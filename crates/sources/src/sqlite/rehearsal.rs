//! The first of two passes over a database with a rollback journal.
//!
//! There, other programs cannot commit while we read, so a capture at the speed of a slow store would stop them for
//! long. This pass hands all pages to the store beforehand, in slices that are each read in a short transaction of
//! their own, and is then thrown away: it holds no moment. But the store has the chunks, and the second pass, the real
//! one, goes at the speed of hashing. Later backups need no rehearsal, as nearly all of their chunks are stored already.

use std::path::Path;

use rusqlite::Connection;

use super::{DATA, connection::LiveConnection, errors::explain};
use crate::{CaptureSink, Cutting, Result, SourceError, StreamOptions};

/// Smaller databases are read at once: about two seconds at the speed of a local store, bytes.
pub(super) const SHORTEST_BYTES: u64 = 512 * 1024 * 1024;
/// Read in one transaction and kept in memory until it has ended, bytes. About ten milliseconds.
const SLICE_BYTES: usize = 8 * 1024 * 1024;

/// Does the first pass if it is worth it.
pub(super) fn rehearse(
    connection: &LiveConnection,
    path: &Path,
    sink: &dyn CaptureSink,
    shortest_bytes: u64,
) -> Result<()> {
    let sqlite = |error| explain(path, error);
    let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let (page_size, page_count) = (number("page_size").map_err(sqlite)?, number("page_count").map_err(sqlite)?);
    let journal_mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(sqlite)?;
    let bytes = u64::from(page_size) * u64::from(page_count);
    if journal_mode == "wal" || bytes <= shortest_bytes || sink.previous_manifest().is_some() {
        return Ok(());
    }
    sink.log("first pass: storing pages in short transactions, so that the second one holds its lock for less time");
    let mut out = sink.stream(&[DATA], StreamOptions { cutting: Cutting::Pages, whole_digest: false })?;
    let mut slice = Vec::with_capacity(SLICE_BYTES);
    let mut next = 1;
    while next <= page_count {
        slice.clear();
        let before = next;
        next = read_slice(connection, next, &mut slice).map_err(sqlite)?;
        out.write(&slice)?;
        if sink.is_cancelled() {
            return Err(SourceError::cancelled());
        }
        if next == before {
            // The database has become shorter meanwhile.
            break;
        }
    }
    Ok(())
}

/// Appends pages from `first` on until the slice is full; returns the next one.
fn read_slice(connection: &Connection, first: u32, slice: &mut Vec<u8>) -> rusqlite::Result<u32> {
    let transaction = connection.unchecked_transaction()?;
    let mut statement = transaction.prepare("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")?;
    let mut next = first;
    while slice.len() < SLICE_BYTES {
        let mut rows = statement.query([next])?;
        let Some(row) = rows.next()? else { break };
        slice.extend_from_slice(row.get_ref(0)?.as_blob().unwrap_or_default());
        next += 1;
    }
    Ok(next)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::{
        sqlite::{capture::capture_with, connection::create},
        testing::{Event, MemorySink, MemoryStore},
    };

    /// Begun and finished streams of a capture with this limit, and what was stored.
    fn streams(journal_mode: &str, shortest_bytes: u64) -> (usize, usize) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app.db");
        let sql = format!(
            "PRAGMA journal_mode = {journal_mode}; CREATE TABLE t(a); INSERT INTO t VALUES(randomblob(20000000));"
        );
        create(&path).unwrap().execute_batch(&sql).unwrap();
        let counts = Arc::new(Mutex::new((0, 0)));
        let seen = Arc::clone(&counts);
        let store = MemoryStore::new();
        let sink = MemorySink::new(&store).listen(move |event| match event {
            Event::Begin(_) => seen.lock().unwrap().0 += 1,
            Event::Finish(_) => seen.lock().unwrap().1 += 1,
            Event::Enter(_) | Event::Write { .. } => {}
        });
        let manifest = capture_with(&path, &sink, shortest_bytes).unwrap();
        let part = sink.into_part(manifest);
        assert!(part.bytes(&[b"data"]).unwrap() == std::fs::read(&path).unwrap());
        assert!(store.stored_bytes() <= part.manifest().size, "the second pass stores nothing anew");
        *counts.lock().unwrap()
    }

    #[test]
    fn only_large_databases_with_a_rollback_journal_are_read_twice() {
        assert_eq!(streams("delete", 1_000_000), (2, 1));
        assert_eq!(streams("delete", SHORTEST_BYTES), (1, 1));
        assert_eq!(streams("wal", 1_000_000), (1, 1));
    }
}
