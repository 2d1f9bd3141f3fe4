//! How a captured database lies in a part, and what its manifest says of it.
//!
//! ```text
//! toc.pgdmp                  header and table of contents, as pg_dump wrote them
//! roles.sql                  roles and tablespaces of the server, to be read by a person
//! data/<directory>/0000.copy rows of one range, COPY text format, cut into chunks at rows
//! data/<directory>/blocks    the block manifest of a table of at least two blocks (module `capture::blocks`)
//! lo/blobs                   large objects: the payloads of the archive's BLOBS blocks, one after another
//! archive.pgdmp              only where the table of contents cannot be read: all that pg_dump wrote
//! ```
//! A table without rows has no stream.

use serde::{Deserialize, Serialize};

use crate::{CaptureManifest, ErrorKind, Result, SourceError};

pub(super) const TOC: &str = "toc.pgdmp";
pub(super) const ROLES: &str = "roles.sql";
pub(super) const DATA: &str = "data";
pub(super) const BLOCKS: &str = "blocks";
pub(super) const LARGE_OBJECTS: [&str; 2] = ["lo", "blobs"];
/// The stream of a capture that could only be kept whole.
pub(super) const WHOLE: &str = "archive.pgdmp";
/// Of [`Captured`]; readers refuse newer ones.
pub(super) const FORMAT: u32 = 1;

/// `details` of the manifest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Captured {
    pub how: How,
    /// `server_version_num`.
    pub server_version: u32,
    /// Of `pg_dump`: `15.18`.
    pub tool_version: String,
    pub database: DatabaseFacts,
    /// Name and version.
    pub extensions: Vec<(String, String)>,
    /// Owners and grantees of the database's objects: a restore needs them on its server.
    pub roles: Vec<String>,
    pub tables: Vec<Table>,
    pub large_objects: Option<LargeObjects>,
    /// Of [`WHOLE`].
    pub whole: Option<Whole>,
}

/// Where the rows came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum How {
    /// Our own `COPY`.
    Rows,
    /// Split from `pg_dump`'s stream while it passed.
    Split,
    /// `pg_dump`'s stream as it is: the version of its format is unknown.
    Whole,
}

/// The stream of a capture that was kept whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Whole {
    /// Bytes.
    pub length: u64,
    pub crc32: u32,
}

/// What `CREATE DATABASE` and `ALTER DATABASE` need.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct DatabaseFacts {
    pub name: String,
    pub owner: String,
    pub encoding: String,
    pub collate: String,
    pub ctype: String,
    /// `c`, `i` (ICU), `b` (built in); `None` before 15.
    pub locale_provider: Option<String>,
    pub icu_locale: Option<String>,
    /// Since 16.
    #[serde(default)]
    pub icu_rules: Option<String>,
    pub collation_version: Option<String>,
    /// `-1`: no limit.
    pub connection_limit: i64,
    pub comment: Option<String>,
    /// Grants on the database itself, `aclitem[]` as text.
    pub privileges: Option<String>,
    /// `ALTER DATABASE ... SET`: role (empty for all), and `name=value` as in `pg_db_role_setting`.
    pub settings: Vec<(String, String)>,
    /// `pg_database_size`, bytes.
    pub size: u64,
}

/// One `TABLE DATA` entry of the table of contents.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Table {
    pub schema: String,
    pub name: String,
    /// `dumpId` of its `TABLE DATA` entry.
    pub dump_id: i32,
    /// Below `data`; a name that every file system takes.
    pub directory: String,
    /// The column list of its `COPY`, quoted, without parentheses: `id, "odd name"`.
    pub columns: String,
    pub rows: u64,
    /// Bytes of all ranges.
    pub length: u64,
    pub order: Order,
    /// Positions of the key's columns in `columns`; empty without a key.
    pub key: Vec<usize>,
    /// Names of the key's columns and their types (`bigint`, `uuid`, `text` ...).
    pub key_columns: Vec<(String, String)>,
    /// A block begins where the key's hash is a multiple of this; kept from backup to backup.
    pub block_rows: u32,
    /// Borders between the ranges: page numbers for ctid order, texts of the first key column for key order. Kept.
    pub borders: Vec<String>,
    pub ranges: Vec<Range>,
    /// Number of blocks in the block manifest.
    pub blocks: u64,
}

/// In which order a table's rows were read; kept from backup to backup, because changing it stores all anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Order {
    /// By the key.
    Key,
    /// As the rows lie in the table.
    Physical,
}

/// One stream of rows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Range {
    /// `0000.copy`
    pub stream: String,
    pub rows: u64,
    /// Bytes.
    pub length: u64,
    pub crc32: u32,
    /// CRC-32 of the stream as it lies in the archive, framed in pieces: from `dump::PieceSums`, fed with the same bytes.
    pub framed_crc32: u32,
}

/// The stream `lo/blobs`. The payload of a `BLOBS` entry is all that stands in the archive after its `dumpId`: of each
/// object the number, pieces of content with their lengths, a zero; at the end another zero (`dump::LargeObjectFraming`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LargeObjects {
    pub count: u64,
    /// Bytes of the stream.
    pub length: u64,
    pub crc32: u32,
    /// In the order of their payloads in the stream, and of the table of contents. One before version 1.16 of archives.
    pub entries: Vec<LargeObjectEntry>,
}

/// A `BLOBS` entry of the table of contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LargeObjectEntry {
    pub dump_id: i32,
    /// Bytes of its payload.
    pub length: u64,
    /// Of its payload.
    pub crc32: u32,
}

impl Captured {
    /// # Errors
    /// [`ErrorKind::Invalid`] for a manifest that this version cannot read.
    pub(super) fn of(manifest: &CaptureManifest) -> Result<Self> {
        if manifest.format > FORMAT {
            return Err(SourceError::new(
                ErrorKind::Unsupported,
                format!("The backup was made by a newer Trivault (format {} of a PostgreSQL part).", manifest.format),
            )
            .hint("Update Trivault."));
        }
        serde_json::from_value(manifest.details.clone()).map_err(|error| {
            SourceError::new(ErrorKind::Invalid, "The manifest of the backup cannot be understood.").because(error)
        })
    }
}
