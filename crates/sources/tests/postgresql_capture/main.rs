//! Captures of databases on a real server, compared with the live ones by schema text and by digests over all rows.
//!
//! The way back of these tests is `pg_restore` itself, over the archive that is put together from the part.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod bank;
mod coverage;
mod fallback;
mod growth;
mod interference;
mod sink;
mod standby;
mod support;
