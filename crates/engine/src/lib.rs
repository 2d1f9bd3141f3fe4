//! The engine: sources, stores, repositories, plans, backups, jobs and who may touch them.
//!
//! It makes, keeps and restores backups, and knows nothing of HTTP or of any dialect's words. Dialects call [`Engine`]'s
//! methods (one per use case, in `service/<noun>.rs`), which read and write the metadata database through `db/<noun>.rs`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
pub mod clock;
pub mod db;
pub mod domain;
pub mod schedule;
mod service;

pub use domain::*;
pub use service::{Download, Engine};
