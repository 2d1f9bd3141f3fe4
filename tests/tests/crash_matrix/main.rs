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
mod faults;
mod site;
mod table;
mod work;

use std::{
    collections::BTreeMap,
    panic::{AssertUnwindSafe, catch_unwind},
    process::Command,
    sync::Mutex,
    thread,
    time::{Duration, Instant},
};

use crate::{
    cell::Halt,
    site::{Ground, Site},
    table::{Outcome, Table},
    work::Work,
};

/// Cells of an ordinary run, beside those that always run.
const SAMPLE: usize = 24;
/// An ordinary run begins no further cell after this long; what it leaves out is said.
const SAMPLE_TIME: Duration = Duration::from_secs(200);
/// Points at which most depends on the order of two things.
const ALWAYS: [(Work, &str); 4] = [
    (Work::Backup, "backup/written"),
    (Work::ReplaceDatabase, "restore/swap.exchanged"),
    (Work::ReplaceTree, "restore/swap.ready"),
    (Work::PruneMarks, "prune/prune index removed"),
];

#[derive(Clone, Debug)]
struct Cell {
    ground: Ground,
    work: Work,
    halt: Halt,
}

#[test]
fn a_server_that_is_killed_at_any_point_of_a_sample_keeps_every_promise() {
    if std::env::var("TRIVAULT_CRASH_MATRIX").is_ok_and(|mode| mode == "full") {
        return;
    }
    let seed = seed();
    println!("crash matrix: seed {seed} (TRIVAULT_CRASH_SEED={seed} repeats this sample)");
    let points = all_points();
    let mut cells = Vec::new();
    for (work, name) in ALWAYS {
        let pass = points[&work].iter().find(|(point, _)| point == name);
        assert!(pass.is_some(), "{work} no longer passes {name}, but {:?}", points[&work]);
        cells.push(Cell { ground: Ground::ALL[0], work, halt: Halt { point: name.to_owned(), pass: 1 } });
    }
    let mut rest = all_cells(&points);
    let mut state = seed;
    while cells.len() < SAMPLE + ALWAYS.len() && !rest.is_empty() {
        let index = usize::try_from(next(&mut state) % rest.len() as u64).unwrap();
        cells.push(rest.swap_remove(index));
    }
    judge(run_all(&cells, Some(SAMPLE_TIME)));
}

#[test]
#[ignore = "runs for hours: scripts/crash-matrix"]
fn a_server_that_is_killed_at_any_point_keeps_every_promise() {
    let points = all_points();
    judge(run_all(&all_cells(&points), None));
}

fn judge(table: Table) {
    println!("{table}");
    if let Ok(path) = std::env::var("TRIVAULT_CRASH_TABLE") {
        std::fs::write(path, table.to_string()).unwrap();
    }
    let failed = table.failures();
    assert!(failed.is_empty(), "{} cells failed:\n{}", failed.len(), failed.join("\n\n"));
}

/// Printed, and different for each commit.
fn seed() -> u64 {
    if let Some(given) = std::env::var("TRIVAULT_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return given;
    }
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    let commit = commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    u64::from_str_radix(&commit, 16).unwrap_or(1)
}

/// SplitMix64.
fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

type Points = BTreeMap<Work, Vec<(String, u32)>>;

/// Which points each kind of work passes; two sites share the looking.
fn all_points() -> Points {
    let chosen = chosen();
    let halves = chosen.split_at(chosen.len() / 2);
    let found = Mutex::new(Points::new());
    thread::scope(|scope| {
        for half in [halves.0, halves.1] {
            let found = &found;
            scope.spawn(move || {
                let mut site = Site::new(Ground::ALL[0]).unwrap();
                for work in half {
                    let points = cell::points(&mut site, *work);
                    assert!(!points.is_empty(), "{work} passes no point");
                    found.lock().unwrap().insert(*work, points);
                }
            });
        }
    });
    found.into_inner().unwrap()
}

/// All kinds of work, or those that `TRIVAULT_CRASH_WORK` names (comma separated, as in `ReplaceTree,Prune`).
fn chosen() -> Vec<Work> {
    let names = std::env::var("TRIVAULT_CRASH_WORK").unwrap_or_default();
    let wanted = |work: &Work| names.is_empty() || names.split(',').any(|name| format!("{work:?}").starts_with(name));
    Work::ALL.into_iter().filter(wanted).collect()
}

/// The first pass of each point, and the last where it is passed several times.
fn all_cells(points: &Points) -> Vec<Cell> {
    let mut cells = Vec::new();
    for ground in grounds() {
        for (work, points) in points {
            for (point, count) in points.iter().filter(|(point, _)| work.is_alone_with(point)) {
                for pass in if *count > 1 { vec![1, *count] } else { vec![1] } {
                    cells.push(Cell { ground, work: *work, halt: Halt { point: point.clone(), pass } });
                }
            }
        }
    }
    cells
}

/// All four, or the one of `TRIVAULT_CRASH_GROUND` (0 to 3).
fn grounds() -> Vec<Ground> {
    match std::env::var("TRIVAULT_CRASH_GROUND").ok().and_then(|index| index.parse::<usize>().ok()) {
        Some(index) => vec![Ground::ALL[index]],
        None => Ground::ALL.into(),
    }
}

/// Each ground has its thread and its site; a site in which something went wrong is given up.
fn run_all(cells: &[Cell], limit: Option<Duration>) -> Table {
    let (table, begun) = (Mutex::new(Table::default()), Instant::now());
    thread::scope(|scope| {
        for ground in Ground::ALL {
            let (table, own) = (&table, cells.iter().filter(move |cell| cell.ground == ground));
            scope.spawn(move || {
                let mut site = None;
                for Cell { ground, work, halt } in own {
                    let outcome = if limit.is_some_and(|limit| begun.elapsed() > limit) {
                        Outcome::LeftOut("no time")
                    } else {
                        let started = Instant::now();
                        let outcome = one(&mut site, *ground, *work, halt);
                        println!("{work}, {halt}, {ground}: {outcome} ({:.1?})", started.elapsed());
                        outcome
                    };
                    table.lock().unwrap().insert(*work, halt, *ground, outcome);
                }
            });
        }
    });
    table.into_inner().unwrap()
}

fn one(site: &mut Option<Site>, ground: Ground, work: Work, halt: &Halt) -> Outcome {
    let tried = catch_unwind(AssertUnwindSafe(|| {
        if site.is_none() {
            *site = Site::new(ground);
        }
        site.as_mut().map(|site| cell::run(site, work, halt))
    }));
    match tried {
        Ok(Some(words)) => Outcome::Survived(words),
        Ok(None) => Outcome::LeftOut("not installed"),
        Err(panic) => {
            *site = None;
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Outcome::Failed(text.unwrap_or_else(|| "a panic without words".to_owned()))
        }
    }
}
