//! The vault: a restic repository, format version 2, written and read by our own streaming pipeline.
//!
//! Everything here blocks; callers run it on threads of their own. The vault knows no SQL, no jobs and no sources: streams and trees go
//! in, streams and trees come out.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod backend;
mod error;

pub use error::{Result, VaultError, VaultErrorKind};
