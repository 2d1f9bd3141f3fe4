//! Wire ↔ engine: total, pure, no async. Structures are taken apart whole, so that a new field is a compile error.

pub mod archive;
pub mod backups;
pub mod history;
pub mod merges;
pub mod plans;
pub mod repositories;
pub mod restores;
pub mod tasks;
pub mod time;

#[cfg(test)]
pub mod tests_support;
