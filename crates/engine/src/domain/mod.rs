//! The engine's words (DESIGN section 2): ids, states and records, without SQL and without HTTP.

pub mod access;
pub mod backup;
pub mod cron;
pub mod error;
pub mod ids;
pub mod job;
pub mod maintenance;
pub mod merge;
pub mod naming;
pub mod plan;
pub mod prune;
pub mod repository;
pub mod restore;
pub mod retention;
pub mod schedule;
pub mod source;
pub mod state;
pub mod store;
pub mod verification;
pub mod waiting;

pub use trivault_sources::{CaptureManifest, Conflict, Finding, Inventory, Progress, Selection, SourceConfig, Warning};

pub use self::{
    access::*, backup::*, cron::*, error::*, ids::*, job::*, maintenance::*, merge::*, naming::*, plan::*, prune::*,
    repository::*, restore::*, retention::*, schedule::*, source::*, state::*, store::*, verification::*, waiting::*,
};
