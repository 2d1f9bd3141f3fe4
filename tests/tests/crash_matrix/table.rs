//! What came of each cell, as a table for people.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    time::Duration,
};

use crate::{cell::Halt, cells::Cell, ground::Ground, work::Work};

/// Why a cell that there was no time for is left out.
pub const NOT_RUN: &str = "not run";

#[derive(Clone, Debug)]
pub enum Outcome {
    /// All promises were kept; what became of the work.
    Survived(String),
    LeftOut(&'static str),
    Failed(String),
}

impl fmt::Display for Outcome {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Survived(words) => out.write_str(words),
            Self::LeftOut(why) => write!(out, "({why})"),
            Self::Failed(_) => out.write_str("**failed**"),
        }
    }
}

#[derive(Default)]
pub struct Table {
    /// In the order in which the points were met.
    order: Vec<(Work, Halt)>,
    cells: BTreeMap<Cell, (Outcome, Duration)>,
    /// How often a cell failed in earlier runs.
    failed_before: BTreeMap<Cell, u32>,
}

impl Table {
    pub fn insert(&mut self, cell: &Cell, outcome: Outcome, took: Duration) {
        let row = (cell.work, cell.halt.clone());
        if !self.order.contains(&row) {
            self.order.push(row);
        }
        self.cells.insert(cell.clone(), (outcome, took));
    }

    /// Failures of earlier runs: a cell that survives later does not hide them.
    pub fn failed_before(&mut self, cell: &Cell, times: u32) {
        if times > 0 {
            self.failed_before.insert(cell.clone(), times);
        }
    }

    fn count(&self, is_meant: impl Fn(&Outcome) -> bool) -> usize {
        self.cells.values().filter(|(outcome, _)| is_meant(outcome)).count()
    }

    pub fn failures(&self) -> Vec<String> {
        let failed = self.cells.iter().filter_map(|(cell, (outcome, _))| match outcome {
            Outcome::Failed(why) => Some(format!("{cell}: {why}")),
            Outcome::Survived(_) | Outcome::LeftOut(_) => None,
        });
        failed.collect()
    }
}

/// As Markdown. Points in a row of which the same became are one line; what was not run is counted and not listed.
impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let survived = self.count(|outcome| matches!(outcome, Outcome::Survived(_)));
        let failed = self.count(|outcome| matches!(outcome, Outcome::Failed(_)));
        let not_run = self.count(|outcome| matches!(outcome, Outcome::LeftOut(NOT_RUN)));
        let left_out = self.cells.len() - survived - failed - not_run;
        let works: BTreeSet<Work> = self.cells.keys().map(|cell| cell.work).collect();
        let mut times: Vec<Duration> =
            self.cells.values().map(|(_, took)| *took).filter(|took| !took.is_zero()).collect();
        times.sort();
        writeln!(
            out,
            "{} kinds of work, {} cells: {survived} survived, {failed} failed, {left_out} came to nothing, {not_run} were not run.",
            works.len(),
            self.cells.len(),
        )?;
        for ground in Ground::ALL {
            let of_ground = || self.cells.iter().filter(move |(cell, _)| cell.ground == ground);
            let run = of_ground().filter(|(_, (outcome, _))| !matches!(outcome, Outcome::LeftOut(NOT_RUN))).count();
            writeln!(out, "On {ground}: {run} of {} were run.", of_ground().count())?;
        }
        if let (Some(middle), Some(longest)) = (times.get(times.len() / 2), times.last()) {
            let sum: Duration = times.iter().sum();
            writeln!(
                out,
                "A cell took {middle:.1?} (median) to {longest:.1?}, all together {} minutes.",
                sum.as_secs() / 60
            )?;
        }
        writeln!(out, "\n| work | killed at | what became of it | on |\n|---|---|---|---|")?;
        let mut lines: Vec<(Work, Vec<&Halt>, Said)> = Vec::new();
        let mut rows = self.order.clone();
        rows.sort_by_key(|(work, _)| *work);
        for (work, halt) in &rows {
            let said = self.said(*work, halt);
            match lines.last_mut() {
                Some((last, halts, before)) if last == work && *before == said => halts.push(halt),
                _ => lines.push((*work, vec![halt], said)),
            }
        }
        for (work, halts, said) in lines {
            let halts: Vec<String> = halts.into_iter().map(|halt| format!("`{halt}`")).collect();
            for (words, grounds) in said {
                let grounds = if grounds.len() == Ground::ALL.len() { "all".to_owned() } else { grounds.join("; ") };
                writeln!(out, "| {work} | {} | {words} | {grounds} |", halts.join(", "))?;
            }
        }
        let survived = |cell: &Cell| matches!(self.cells.get(cell), Some((Outcome::Survived(_), _)));
        let before = self.failed_before.iter().filter(|(cell, _)| survived(cell));
        let before: Vec<String> = before.map(|(cell, times)| format!("{cell} ({times})")).collect();
        match before.len() {
            0 => writeln!(out, "\nNo cell that survived had failed before."),
            count => writeln!(out, "\n{count} cells failed before they survived: {}.", before.join("; ")),
        }
    }
}

/// What became of one piece of work at one point, each with the grounds on which it did.
type Said = Vec<(String, Vec<String>)>;

impl Table {
    fn said(&self, work: Work, halt: &Halt) -> Said {
        let mut said = Said::new();
        for ground in Ground::ALL {
            let outcome = self.cells.get(&Cell { ground, work, halt: halt.clone() }).map(|(outcome, _)| outcome);
            let Some(outcome) = outcome.filter(|outcome| !matches!(outcome, Outcome::LeftOut(NOT_RUN))) else {
                continue;
            };
            let words = outcome.to_string();
            match said.iter_mut().find(|(known, _)| *known == words) {
                Some((_, grounds)) => grounds.push(ground.to_string()),
                None => said.push((words, vec![ground.to_string()])),
            }
        }
        said
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_stands_under_the_table_although_the_cell_survived_later() {
        let halt = |pass| Halt { point: "backup/written".to_owned(), pass };
        let [good, once_bad, bad] =
            [1, 2, 3].map(|pass| Cell { ground: Ground::ALL[0], work: Work::Backup, halt: halt(pass) });
        let mut table = Table::default();
        let survived = || Outcome::Survived("succeeded, attempt 2".to_owned());
        table.insert(&good, survived(), Duration::from_secs(1));
        table.failed_before(&good, 0);
        assert!(table.to_string().ends_with("\nNo cell that survived had failed before.\n"), "{table}");
        table.insert(&once_bad, survived(), Duration::from_secs(1));
        table.failed_before(&once_bad, 2);
        table.insert(&bad, Outcome::Failed("a lock is left".to_owned()), Duration::from_secs(1));
        table.failed_before(&bad, 1);
        let said = "\n1 cells failed before they survived: backup, backup/written#2, SQLite, folder (2).\n";
        assert!(table.to_string().ends_with(said), "{table}");
        assert!(table.to_string().contains("2 survived, 1 failed"), "{table}");
    }
}
