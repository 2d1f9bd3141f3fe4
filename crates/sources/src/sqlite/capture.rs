//! One read transaction, all pages in order.

use std::{collections::BTreeMap, fs, os::unix::fs::MetadataExt, path::Path, time::Duration};

use rusqlite::{Connection, ErrorCode};
use serde_json::json;

use super::{
    DATA, KIND,
    census::Census,
    connection::{beside, open_live, open_unread, require_page_table},
    errors::explain,
    rehearsal,
    schema::{self, Object, TableType},
};
use crate::{
    CaptureManifest, CaptureSink, Collection, Cutting, DownloadRecord, ErrorKind, Inventory, Progress, Result, Scope,
    SourceError, StreamOptions, StreamRecord, StreamSummary, Warning, archive,
};

/// Of our part of the manifest.
const MANIFEST_FORMAT: u32 = 1;
/// What is gathered before it is handed on, bytes: small pages would make many small writes.
const WRITE_BYTES: usize = 256 * 1024;
/// A log that grows by more than this while we read is worth a warning, bytes.
const LARGE_WAL_GROWTH_BYTES: u64 = 1 << 30;
/// Where page 1 counts the transactions that changed the file, and where it names the version that wrote it.
const CHANGE_COUNTER: std::ops::Range<usize> = 24..28;
const WRITTEN_BY: std::ops::Range<usize> = 96..100;

/// The state of the database that the transaction sees.
struct Snapshot {
    page_size: u32,
    page_count: u32,
    journal_mode: String,
    encoding: String,
    application_id: i64,
    user_version: i64,
    auto_vacuum: i64,
    freelist_count: i64,
    objects: Vec<Object>,
}

pub(super) fn capture(path: &Path, sink: &dyn CaptureSink) -> Result<CaptureManifest> {
    capture_with(path, sink, rehearsal::SHORTEST_BYTES)
}

/// `rehearse_from`: the length from which on a database with a rollback journal is read twice, bytes.
pub(super) fn capture_with(path: &Path, sink: &dyn CaptureSink, rehearse_from: u64) -> Result<CaptureManifest> {
    if sink.is_cancelled() {
        return Err(SourceError::cancelled());
    }
    let connection = open_live(path)?;
    require_page_table(&connection)?;
    rehearsal::rehearse(&connection, path, sink, rehearse_from)?;
    let snapshot = Snapshot::begin(&connection).map_err(|error| explain(path, error))?;
    let is_wal = snapshot.journal_mode == "wal";
    let wal_before = length(&beside(path, "-wal"));
    sink.log(&format!(
        "reading {} pages of {} bytes of {} ({} mode) in one transaction",
        snapshot.page_count,
        snapshot.page_size,
        path.display(),
        snapshot.journal_mode
    ));
    if !is_wal {
        sink.log("commits of other programs wait until the last page is read; WAL mode (PRAGMA journal_mode=WAL) avoids that");
    }
    let mut pages = Pages { census: Census::new(snapshot.page_count), first: Vec::new() };
    let summary = stream(&connection, path, &snapshot, sink, &mut pages)?;
    if !is_wal {
        confirm_lock(path, &pages.first)?;
    }
    let inventory = inventory(&connection, path, &snapshot, &pages, sink)?;
    connection.execute_batch("COMMIT").map_err(|error| explain(path, error))?;
    if is_wal {
        report_wal(sink, length(&beside(path, "-wal")).saturating_sub(wal_before));
    }
    Ok(manifest(path, &snapshot, &pages, summary, inventory))
}

/// What is kept of the pages that went by.
struct Pages {
    census: Option<Census>,
    first: Vec<u8>,
}

impl Snapshot {
    /// Begins the transaction. SQLite takes its snapshot at the first read, not at BEGIN.
    fn begin(connection: &Connection) -> rusqlite::Result<Self> {
        connection.execute_batch("BEGIN")?;
        let objects = schema::objects(connection, "main")?;
        let number = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let text = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, String>(0));
        Ok(Self {
            page_size: connection.pragma_query_value(None, "page_size", |row| row.get(0))?,
            page_count: connection.pragma_query_value(None, "page_count", |row| row.get(0))?,
            journal_mode: text("journal_mode")?,
            encoding: text("encoding")?,
            application_id: number("application_id")?,
            user_version: number("user_version")?,
            auto_vacuum: number("auto_vacuum")?,
            freelist_count: number("freelist_count")?,
            objects,
        })
    }

    fn bytes(&self) -> u64 {
        u64::from(self.page_size) * u64::from(self.page_count)
    }
}

/// Reads every page in order and checks that none is missing.
fn stream(
    connection: &Connection,
    path: &Path,
    snapshot: &Snapshot,
    sink: &dyn CaptureSink,
    pages: &mut Pages,
) -> Result<StreamSummary> {
    let sqlite = |error| explain(path, error);
    let mut out = sink.stream(&[DATA], StreamOptions { cutting: Cutting::Pages, whole_digest: true })?;
    let mut progress = Progress { bytes_total: Some(snapshot.bytes()), ..Progress::default() };
    let mut buffer = Vec::with_capacity(WRITE_BYTES + snapshot.page_size as usize);
    let mut statement = connection.prepare("SELECT pgno, data FROM sqlite_dbpage").map_err(sqlite)?;
    let mut rows = statement.query([]).map_err(sqlite)?;
    let mut expected = 1;
    while let Some(row) = rows.next().map_err(sqlite)? {
        let number: u32 = row.get(0).map_err(sqlite)?;
        let page = row.get_ref(1).map_err(sqlite)?.as_blob().unwrap_or_default();
        if number != expected || page.len() != snapshot.page_size as usize {
            return Err(gap(path, number));
        }
        expected += 1;
        if number == 1 {
            pages.first = page.to_vec();
        }
        if let Some(census) = &mut pages.census {
            census.see(page);
        }
        buffer.extend_from_slice(page);
        if buffer.len() >= WRITE_BYTES {
            out.write(&buffer)?;
            progress.bytes_read += buffer.len() as u64;
            buffer.clear();
            sink.progress(progress);
            if sink.is_cancelled() {
                return Err(SourceError::cancelled());
            }
        }
    }
    if expected != snapshot.page_count + 1 {
        return Err(gap(path, expected));
    }
    out.write(&buffer)?;
    progress.bytes_read += buffer.len() as u64;
    sink.progress(progress);
    if sink.is_cancelled() {
        return Err(SourceError::cancelled());
    }
    let summary = out.finish()?;
    if summary.length != snapshot.bytes() {
        return Err(SourceError::new(ErrorKind::Internal, "Not every page of the database was stored."));
    }
    Ok(summary)
}

fn gap(path: &Path, number: u32) -> SourceError {
    SourceError::new(ErrorKind::Invalid, format!("Page {number} of {} could not be read in its place.", path.display()))
        .hint("Check the database with `PRAGMA integrity_check`.")
}

/// While our shared lock stands, nobody commits in rollback mode: a second look must find the same change counter. If
/// something in this process has opened and closed the file behind SQLite's back, the lock is gone and this finds it.
fn confirm_lock(path: &Path, first: &[u8]) -> Result<()> {
    let Some(before) = first.get(CHANGE_COUNTER) else { return Ok(()) };
    let second = open_unread(path)?;
    second.busy_timeout(Duration::ZERO).map_err(|error| explain(path, error))?;
    let page: rusqlite::Result<Vec<u8>> =
        second.query_row("SELECT data FROM sqlite_dbpage WHERE pgno = 1", [], |row| row.get(0));
    let page = match page {
        // A writer of this same process waits for us to finish: then it has not written.
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => return Ok(()),
        other => other.map_err(|error| explain(path, error))?,
    };
    if page.get(CHANGE_COUNTER) == Some(before) {
        return Ok(());
    }
    Err(SourceError::new(
        ErrorKind::Unavailable,
        format!("{} changed while it was read, in spite of our lock.", path.display()),
    )
    .hint("Something else in this server read the same file at that time (a directory that contains it?); try again."))
}

/// Rows of each table, from the pages that went by.
fn inventory(
    connection: &Connection,
    path: &Path,
    snapshot: &Snapshot,
    pages: &Pages,
    sink: &dyn CaptureSink,
) -> Result<Inventory> {
    let sqlite = |error| explain(path, error);
    let mut statement = connection.prepare("SELECT data FROM sqlite_dbpage WHERE pgno = ?1").map_err(sqlite)?;
    let mut fetch = |number: u32, into: &mut Vec<u8>| -> Result<()> {
        let page: Vec<u8> = statement.query_row([number], |row| row.get(0)).map_err(sqlite)?;
        *into = page;
        Ok(())
    };
    let mut collections = Vec::new();
    let mut uncounted = Vec::new();
    for table in schema::tables(connection, "main").map_err(sqlite)? {
        let root = match table.table_type {
            TableType::Table => root_of(&snapshot.objects, &table.name),
            TableType::Virtual => content_root(&snapshot.objects, &table.name),
            TableType::Shadow | TableType::View => continue,
        };
        let items = match (&pages.census, root) {
            (_, None) => Some(0),
            (None, Some(_)) => None,
            (Some(census), Some(root)) => census.rows(root, &mut fetch)?,
        };
        if items.is_none() {
            uncounted.push(table.name.clone());
        }
        collections.push(Collection { name: table.name, items: items.unwrap_or(0), size: 0 });
    }
    if let Some(first) = uncounted.first() {
        let why = if pages.census.is_none() { "the database has too many pages" } else { "their pages form no tree" };
        sink.warn(Warning {
            code: "rows_not_counted".into(),
            count: uncounted.len() as u64,
            sentence: format!("The rows of {} tables were not counted, as {why} (first: {first}).", uncounted.len()),
        });
    }
    let is_index = |object: &&Object| object.object_type == "index" && object.sql.is_some();
    Ok(Inventory {
        scopes: vec![Scope { name: "_default".into(), collections }],
        indexes: snapshot.objects.iter().filter(is_index).count() as u64,
    })
}

fn root_of(objects: &[Object], table: &str) -> Option<u32> {
    objects
        .iter()
        .find(|object| object.object_type == "table" && object.name == table && object.root > 0)
        .map(|object| object.root)
}

/// The shadow table that has one row for each row of a full-text or R-tree table.
fn content_root(objects: &[Object], table: &str) -> Option<u32> {
    ["_docsize", "_content", "_rowid"].iter().find_map(|suffix| root_of(objects, &format!("{table}{suffix}")))
}

fn report_wal(sink: &dyn CaptureSink, growth: u64) {
    sink.log(&format!("the write-ahead log grew by {growth} bytes meanwhile"));
    if growth > LARGE_WAL_GROWTH_BYTES {
        sink.warn(Warning {
            code: "large_wal".into(),
            count: 1,
            sentence: format!("The database's write-ahead log grew by {growth} bytes while it was read."),
        });
    }
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map(|found| found.len()).unwrap_or(0)
}

fn manifest(
    path: &Path,
    snapshot: &Snapshot,
    pages: &Pages,
    summary: StreamSummary,
    inventory: Inventory,
) -> CaptureManifest {
    let mut versions = BTreeMap::from([("sqlite".to_owned(), rusqlite::version().to_owned())]);
    if let Some(writer) = pages.first.get(WRITTEN_BY).and_then(|bytes| <[u8; 4]>::try_from(bytes).ok()) {
        let number = u32::from_be_bytes(writer);
        let version = format!("{}.{}.{}", number / 1_000_000, number / 1000 % 1000, number % 1000);
        versions.insert("sqlite_last_writer".to_owned(), version);
    }
    let record = StreamRecord { length: summary.length, sha256: summary.sha256.map(hex::encode), crc32: summary.crc32 };
    // Permissions are read after the pages: they are only what a restore begins with.
    let mode = fs::metadata(path).map(|found| found.mode() & 0o777).unwrap_or(0o600);
    CaptureManifest {
        format: MANIFEST_FORMAT,
        kind: KIND.to_owned(),
        versions,
        size: snapshot.bytes(),
        items: inventory.scopes.iter().flat_map(|scope| &scope.collections).map(|table| table.items).sum(),
        streams: BTreeMap::from([(DATA.to_owned(), record)]),
        inventory,
        download: Some(DownloadRecord {
            length: archive::single_member_length(summary.length),
            details: serde_json::Value::Null,
        }),
        details: json!({
            "page_size": snapshot.page_size,
            "page_count": snapshot.page_count,
            "journal_mode": snapshot.journal_mode,
            "encoding": snapshot.encoding,
            "application_id": snapshot.application_id,
            "user_version": snapshot.user_version,
            "auto_vacuum": snapshot.auto_vacuum,
            "freelist_count": snapshot.freelist_count,
            "mode": mode,
        }),
    }
}
