//! PostgreSQL's custom archive format, versions 1.12 to 1.16 (PostgreSQL 9.0 to 18): read, written, split, put together.
//!
//! ```text
//! header                     magic, version, sizes, compression, time, names           `Header`
//! count, entries             the table of contents                                     `Archive`, `Entry`
//! 01 <dumpId> {<n> n bytes}* <0>                       a table's rows, COPY text       `PieceSums`, `Assembled`
//! 03 <dumpId> {<oid> {<n> n bytes}* <0>}* <0>          large objects                   `LargeObjectFraming`
//! ```
//! Integers are a sign byte and four bytes, least first; strings an integer (-1: null) and bytes. Reading is strict: what
//! is accepted is written again byte by byte as it was, and anything else is an error that names what is odd, so that a
//! capture can keep the archive whole instead. Nothing is allocated by a length that was only claimed.

mod archive;
mod assembled;
mod blueprint;
mod entry;
mod error;
mod exercise;
mod framing;
mod header;
mod split;
mod text;
mod wire;

pub(in crate::postgresql) use archive::{Archive, LargeObjectGroup};
pub(in crate::postgresql) use assembled::Assembled;
pub(in crate::postgresql) use blueprint::measure;
pub(in crate::postgresql) use entry::{Entry, Offset, Section};
pub(in crate::postgresql) use error::DumpError;
pub use exercise::exercise_archive;
pub(in crate::postgresql) use framing::{LargeObjectFraming, PieceSums};
pub(in crate::postgresql) use split::{Event, ROWS_END, Splitter};

#[cfg(test)]
mod tests;
