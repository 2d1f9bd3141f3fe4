//! The crash matrix: the real binary is killed with SIGKILL at the named points of every kind of work, on every combination of metadata
//! database and store, and started again; then everything that it has promised is looked at. `docs/crash-matrix.md` says what is
//! looked at and has the table.
//!
//! The points are not listed anywhere: a first pass writes down which ones the work passes, so that a new one is covered at once.
//!
//! An ordinary run takes a sample, chosen by a seed that is printed, and always the cells that matter most. `scripts/crash-matrix` runs
//! all of them.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code: a failed expectation is a failed test")]

mod aftermath;
mod cell;
mod cells;
mod faults;
mod full_disks;
mod ground;
mod ledger;
mod promises;
mod results;
mod runner;
mod site;
mod store_faults;
mod table;
mod work;

use std::time::{Duration, Instant};

use crate::{cells::Cell, results::Results, table::Table};

/// A sample begins no further cell after this long; what it leaves out is said.
const SAMPLE_TIME: Duration = Duration::from_secs(100);

#[test]
fn a_server_that_is_killed_at_any_point_of_a_sample_keeps_every_promise() {
    if std::env::var("TRIVAULT_CRASH_MATRIX").is_ok_and(|mode| mode == "full") {
        return;
    }
    let until = Instant::now() + SAMPLE_TIME;
    let mut state = cells::seed();
    println!("crash matrix: seed {state} (TRIVAULT_CRASH_SEED={state} repeats this sample)");
    let results = Results::default();
    let points = runner::points(&cells::sampled_works(&mut state), &results);
    let may_begin = |cell: &Cell| cell.is_in_every_sample() || Instant::now() < until;
    judge(&runner::run(cells::sample(&points, &mut state), &results, may_begin));
}

#[test]
#[ignore = "runs for a long time: scripts/crash-matrix"]
fn a_server_that_is_killed_at_any_point_keeps_every_promise() {
    let results = Results::open();
    let points = runner::points(&cells::chosen(), &results);
    let limit = std::env::var("TRIVAULT_CRASH_MINUTES").ok().and_then(|minutes| minutes.parse().ok());
    let until = limit.map(|minutes: u64| Instant::now() + Duration::from_secs(60 * minutes));
    judge(&runner::run(cells::all(&points), &results, |_| until.is_none_or(|until| Instant::now() < until)));
}

fn judge(table: &Table) {
    println!("{table}");
    if let Ok(path) = std::env::var("TRIVAULT_CRASH_TABLE") {
        std::fs::write(path, table.to_string()).unwrap();
    }
    let failed = table.failures();
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n\n"));
}
