//! Tests of the engine as a whole: real sources, a real store, a real metadata database; only time is made.

mod backups;
pub(crate) mod bench;
mod cancels;
mod care_cancels;
mod database_restarts;
mod database_silence;
mod deletion;
mod downloads;
mod failures;
mod gate;
mod locks;
mod logs;
mod merges;
mod passcode_vaults;
mod passcodes;
mod plan_checks;
mod plans;
mod prunes;
mod retention;
mod runs;
mod schedules;
mod source_secrets;
mod stores;
mod verification;
mod wrong_clocks;
