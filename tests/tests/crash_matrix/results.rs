//! What came of the cells so far, in a file: a run that is interrupted loses nothing, and the next one goes on with what is missing.
//!
//! One line for each cell, and one for the points of each kind of work; fields are separated by tabs. What stands further down counts.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write as _,
    path::PathBuf,
    sync::Mutex,
    time::Duration,
};

use crate::{cells::Cell, ground::Ground, table::Outcome, work::Work};

/// Of the file, which `TRIVAULT_CRASH_RESULTS` names.
#[derive(Default)]
pub struct Results {
    file: Option<Mutex<File>>,
    cells: BTreeMap<String, (Outcome, Duration)>,
    /// How often a cell has failed, whatever came of it later.
    failures: BTreeMap<String, u32>,
    points: BTreeMap<String, Vec<(String, u32)>>,
}

impl Results {
    pub fn open() -> Self {
        let Some(path) = std::env::var_os("TRIVAULT_CRASH_RESULTS").map(PathBuf::from) else { return Self::default() };
        let mut results = Self::default();
        for line in fs::read_to_string(&path).unwrap_or_default().lines() {
            results.read(line);
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).unwrap();
        }
        results.file = Some(Mutex::new(File::options().create(true).append(true).open(&path).unwrap()));
        results
    }

    /// A line that was torn by an interruption counts as absent.
    fn read(&mut self, line: &str) -> Option<()> {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields[..] {
            ["points", work, ref points @ .., "."] => {
                let point = |text: &&str| text.rsplit_once('#').map(|(name, count)| (name.to_owned(), count.parse()));
                let points = points.iter().filter_map(point).map(|(name, count)| (name, count.unwrap_or(1))).collect();
                self.points.insert(work.to_owned(), points);
            }
            [name, _, "failed", _, "."] => {
                *self.failures.entry(name.to_owned()).or_default() += 1;
                self.cells.remove(name);
            }
            [name, took, kind, words, "."] => {
                let outcome = match kind {
                    "survived" => Outcome::Survived(words.to_owned()),
                    "not installed" => Outcome::LeftOut("not installed"),
                    _ => return None,
                };
                self.cells.insert(name.to_owned(), (outcome, Duration::from_millis(took.parse().ok()?)));
            }
            _ => {}
        }
        Some(())
    }

    /// A cell that has failed is tried again.
    pub fn of(&self, cell: &Cell) -> Option<(Outcome, Duration)> {
        self.cells.get(&name(cell)).cloned()
    }

    /// How often this cell has failed in earlier runs with the same file.
    pub fn failures_of(&self, cell: &Cell) -> u32 {
        self.failures.get(&name(cell)).copied().unwrap_or(0)
    }

    pub fn points(&self, work: Work) -> Option<Vec<(String, u32)>> {
        self.points.get(&format!("{work:?}")).cloned()
    }

    pub fn note(&self, cell: &Cell, outcome: &Outcome, took: Duration) {
        let (kind, words) = match outcome {
            Outcome::Survived(words) => ("survived", words.as_str()),
            Outcome::LeftOut(why) => (*why, ""),
            Outcome::Failed(why) => ("failed", why.as_str()),
        };
        let words = words.replace(['\n', '\t'], " ");
        self.write(&[&name(cell), &took.as_millis().to_string(), kind, &words]);
    }

    pub fn note_points(&self, work: Work, points: &[(String, u32)]) {
        let points: Vec<String> = points.iter().map(|(name, count)| format!("{name}#{count}")).collect();
        self.write(&["points", &format!("{work:?}"), &points.join("\t")]);
    }

    fn write(&self, fields: &[&str]) {
        if let Some(file) = &self.file {
            file.lock().unwrap().write_all(format!("{}\t.\n", fields.join("\t")).as_bytes()).unwrap();
        }
    }
}

fn name(cell: &Cell) -> String {
    let ground = Ground::ALL.iter().position(|ground| *ground == cell.ground).unwrap();
    format!("{ground} {:?} {}", cell.work, cell.halt)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cell::Halt;

    #[test]
    fn a_cell_that_failed_is_tried_again_and_its_failures_are_not_forgotten() {
        let halt = Halt { point: "backup/written".to_owned(), pass: 2 };
        let cell = Cell { ground: Ground::ALL[3], work: Work::Backup, halt };
        let name = name(&cell);
        let mut results = Results::default();
        results.read(&format!("{name}\t900\tfailed\ta lock is left\t."));
        assert!(results.of(&cell).is_none());
        assert_eq!(results.failures_of(&cell), 1);
        results.read(&format!("{name}\t900\tfailed\ttorn"));
        results.read(&format!("{name}\t900\tfailed\ta lock is left\t."));
        results.read(&format!("{name}\t900\tsurvived\tsucceeded, attempt 2\t."));
        assert!(matches!(results.of(&cell), Some((Outcome::Survived(_), _))));
        assert_eq!(results.failures_of(&cell), 2);
    }
}
