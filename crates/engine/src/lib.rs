//! The engine: sources, stores, repositories, plans, backups, jobs and who may touch them.
//!
//! It makes, keeps and restores backups, and knows nothing of HTTP or of any dialect's words. Dialects call [`Engine`]'s
//! methods (one per use case, in `service/<noun>.rs`), which read and write the metadata database through `db/<noun>.rs`.

pub mod domain;
mod service;

pub use domain::*;
pub use service::{Download, Engine};
