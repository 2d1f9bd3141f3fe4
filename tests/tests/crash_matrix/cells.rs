//! Which cells there are, and which of them run.

use std::{collections::BTreeMap, fmt, process::Command};

use crate::{cell::Halt, ground::Ground, site::Sources, work::Work};

/// Points at which most depends on the order of two things.
pub const ALWAYS: [(Work, &str); 4] = [
    (Work::Backup, "backup/written"),
    (Work::ReplaceDatabase, "restore/swap.exchanged"),
    (Work::ReplaceTree, "restore/swap.ready"),
    (Work::PruneMarks, "prune/prune index removed"),
];
/// Kinds of work in a sample, beside those of [`ALWAYS`].
const SAMPLED_WORKS: usize = 4;
/// Cells of a sample, beside those of [`ALWAYS`].
const SAMPLED_CELLS: usize = 12;

/// The points that each kind of work passes, in their order, with how often it passes each.
pub type Points = BTreeMap<Work, Vec<(String, u32)>>;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cell {
    pub ground: Ground,
    pub work: Work,
    pub halt: Halt,
}

impl Cell {
    /// What a site must be for this cell to run in it.
    pub fn site(&self) -> (Ground, Sources) {
        (self.ground, self.work.sources())
    }

    /// Whether it is in every sample, however slow the machine is.
    pub fn is_in_every_sample(&self) -> bool {
        always().any(|cell| cell == *self)
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}, {}, {}", self.work, self.halt, self.ground)
    }
}

/// The cells of [`ALWAYS`], on the plainest ground.
fn always() -> impl Iterator<Item = Cell> {
    let cell = |(work, point): (Work, &str)| (work, Halt { point: point.to_owned(), pass: 1 });
    ALWAYS.into_iter().map(cell).map(|(work, halt)| Cell { ground: Ground::ALL[0], work, halt })
}

/// The first pass of each point, and the last where it is passed several times; on the most different grounds first.
pub fn all(points: &Points) -> Vec<Cell> {
    grounds().into_iter().flat_map(|ground| on(ground, points)).collect()
}

/// `TRIVAULT_CRASH_POINT` leaves out points that do not have this in their name.
fn on(ground: Ground, points: &Points) -> Vec<Cell> {
    let part = std::env::var("TRIVAULT_CRASH_POINT").unwrap_or_default();
    let mut cells = Vec::new();
    for (work, points) in points {
        for (point, count) in points.iter().filter(|(point, _)| work.is_alone_with(point) && point.contains(&part)) {
            for pass in if *count > 1 { vec![1, *count] } else { vec![1] } {
                cells.push(Cell { ground, work: *work, halt: Halt { point: point.clone(), pass } });
            }
        }
    }
    cells
}

/// The kinds of work of a sample.
pub fn sampled_works(state: &mut u64) -> Vec<Work> {
    let mut works: Vec<Work> = ALWAYS.map(|(work, _)| work).into();
    let mut rest: Vec<Work> = chosen().into_iter().filter(|work| !works.contains(work)).collect();
    for _ in 0..SAMPLED_WORKS {
        if let Some(index) = below(state, rest.len()) {
            works.push(rest.swap_remove(index));
        }
    }
    works
}

/// Cells of these kinds of work: those of [`ALWAYS`], and some on the plainest ground and another one.
///
/// # Panics
/// When a point of [`ALWAYS`] is passed no more.
pub fn sample(points: &Points, state: &mut u64) -> Vec<Cell> {
    let mut cells: Vec<Cell> = always().collect();
    for Cell { work, halt, .. } in &cells {
        let is_passed = points[work].iter().any(|(point, _)| *point == halt.point);
        assert!(is_passed, "{work} no longer passes {halt}, but {:?}", points[work]);
    }
    let mut rest = on(Ground::ALL[0], points);
    if let Some(other) = below(state, Ground::ALL.len() - 1) {
        rest.extend(on(Ground::ALL[1 + other], points));
    }
    rest.retain(|cell| !cells.contains(cell));
    for _ in 0..SAMPLED_CELLS {
        if let Some(index) = below(state, rest.len()) {
            cells.push(rest.swap_remove(index));
        }
    }
    cells
}

/// All kinds of work, or those that `TRIVAULT_CRASH_WORK` names (comma separated, as in `ReplaceTree,Prune`).
pub fn chosen() -> Vec<Work> {
    let names = std::env::var("TRIVAULT_CRASH_WORK").unwrap_or_default();
    let wanted = |work: &Work| names.is_empty() || names.split(',').any(|name| format!("{work:?}").starts_with(name));
    Work::ALL.into_iter().filter(wanted).collect()
}

/// All four, or those of `TRIVAULT_CRASH_GROUND` (0 to 3, comma separated).
fn grounds() -> Vec<Ground> {
    let names = std::env::var("TRIVAULT_CRASH_GROUND").unwrap_or_default();
    let named: Vec<Ground> =
        names.split(',').filter_map(|index| Ground::ALL.get(index.parse::<usize>().ok()?).copied()).collect();
    if named.is_empty() { [0, 3, 1, 2].map(|index| Ground::ALL[index]).into() } else { named }
}

/// Of the sample: printed, and different for each commit.
pub fn seed() -> u64 {
    if let Some(given) = std::env::var("TRIVAULT_CRASH_SEED").ok().and_then(|seed| seed.parse().ok()) {
        return given;
    }
    u64::from_str_radix(&commit(), 16).unwrap_or(1)
}

pub fn commit() -> String {
    let commit = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output();
    commit.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}

/// SplitMix64.
pub fn next(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

fn below(state: &mut u64, length: usize) -> Option<usize> {
    (length > 0).then(|| usize::try_from(next(state) % length as u64).unwrap_or(0))
}
