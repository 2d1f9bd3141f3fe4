//! What came of each cell, as a table for people.

use std::{collections::BTreeMap, fmt};

use crate::{cell::Halt, site::Ground, work::Work};

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
    cells: BTreeMap<(Work, Halt, Ground), Outcome>,
}

impl Table {
    pub fn insert(&mut self, work: Work, halt: &Halt, ground: Ground, outcome: Outcome) {
        let row = (work, halt.clone());
        if !self.order.contains(&row) {
            self.order.push(row);
        }
        self.cells.insert((work, halt.clone(), ground), outcome);
    }

    pub fn failures(&self) -> Vec<String> {
        let failed = self.cells.iter().filter_map(|((work, halt, ground), outcome)| match outcome {
            Outcome::Failed(why) => Some(format!("{work}, {halt}, {ground}: {why}")),
            Outcome::Survived(_) | Outcome::LeftOut(_) => None,
        });
        failed.collect()
    }
}

/// As Markdown. Cells that say the same on every ground are said once.
impl fmt::Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let survived = self.cells.values().filter(|outcome| matches!(outcome, Outcome::Survived(_))).count();
        writeln!(out, "{survived} of {} cells survived.\n", self.cells.len())?;
        write!(out, "| work | killed at |")?;
        Ground::ALL.iter().try_for_each(|ground| write!(out, " {ground} |"))?;
        writeln!(out, "\n|---|---|---|---|---|---|")?;
        let mut rows = self.order.clone();
        rows.sort_by_key(|(work, _)| *work);
        for (work, halt) in rows {
            write!(out, "| {work} | `{halt}` |")?;
            for ground in Ground::ALL {
                match self.cells.get(&(work, halt.clone(), ground)) {
                    Some(outcome) => write!(out, " {outcome} |")?,
                    None => write!(out, " |")?,
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}
