//! The engine: sources, stores, repositories, plans, backups, jobs and who may touch them.
//!
//! It makes, keeps and restores backups, and knows nothing of HTTP or of any dialect's words. Dialects call [`Engine`]'s
//! methods (one per use case, in `service/<noun>.rs`), which read and write the metadata database through `db/<noun>.rs`.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used))]

pub mod access;
mod capture;
pub mod clock;
mod data_directory;
pub mod db;
pub mod domain;
mod failure;
mod kinds;
#[cfg(test)]
mod lab;
mod labels;
mod merge_plan;
mod open;
mod options;
mod point;
mod reconcilers;
mod recovery;
pub mod retention;
mod run;
pub mod schedule;
mod secrets;
mod service;
mod storage;
mod workers;

pub use clock::{Clock, ManualClock, SystemClock};
pub use domain::*;
pub use options::{CareOptions, DatabaseLocation, EngineOptions, RetryPolicy, ServerKeyLocation};
pub use point::{Observer, Point};
pub use recovery::{OtherStore, Recovery, RecoveryOptions, RecoverySecret, RecoverySummary};
pub use secrets::{SERVER_KEY_BYTES, ServerKey};
pub use service::{Download, Engine, StartMaintenance};
pub use trivault_vault::backend::S3Patience;
