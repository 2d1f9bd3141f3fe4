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

// Its users, the capture and the restore, come one after another.
#![allow(dead_code, unused_imports)]

mod framing;

pub(in crate::postgresql) use framing::{LargeObjectFraming, PIECE_BYTES, PieceSums, framed_length};
