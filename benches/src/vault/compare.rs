//! Interleaved pairs of runs, and the table of their medians.

use super::peer;
use crate::measure::{Cost, folder_bytes, median, run};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What is compared and how often.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Folder for inputs and vaults; several times the size of the inputs must fit.
    pub work: PathBuf,
    /// Length of the stream in bytes.
    pub stream_bytes: u64,
    /// Number of files in the tree.
    pub files: u64,
    /// How many pairs are run.
    pub pairs: usize,
}

/// The two sides of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Ours,
    Restic,
}

/// The runs of one side in the order of the pairs.
#[derive(Debug, Default)]
struct Runs {
    backup: Vec<Cost>,
    second: Vec<Cost>,
    restore: Vec<Cost>,
    stored: Vec<f64>,
    added: Vec<f64>,
}

/// One line of the table: lower is better, `limit` is the largest ratio of ours to restic's that is aimed at.
struct Line {
    what: &'static str,
    ours: f64,
    restic: f64,
    ratio: f64,
    limit: Option<f64>,
    unit: &'static str,
}

fn ours(arguments: &[&dyn AsRef<std::ffi::OsStr>]) -> Result<Command, Box<dyn Error>> {
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("child");
    for argument in arguments {
        command.arg(argument);
    }
    Ok(command)
}

/// A subject: what is backed up first, and what second when there is a second backup.
struct Subject<'a> {
    name: &'a str,
    first: &'a Path,
    second: Option<&'a Path>,
}

impl Plan {
    fn report(&self) -> PathBuf {
        self.work.join("time.txt")
    }

    fn backup(&self, side: Side, vault: &Path, what: &Path) -> Result<Cost, Box<dyn Error>> {
        match (side, what.is_dir()) {
            (Side::Ours, false) => run(&ours(&[&"backup-stream", &vault, &what])?, None, &self.report()),
            (Side::Ours, true) => run(&ours(&[&"backup-tree", &vault, &what])?, None, &self.report()),
            (Side::Restic, false) => run(&peer::backup_stream(vault), Some(what), &self.report()),
            (Side::Restic, true) => run(&peer::backup_tree(vault, what), None, &self.report()),
        }
    }

    fn one(&self, side: Side, subject: &Subject<'_>, runs: &mut Runs) -> Result<(), Box<dyn Error>> {
        let folder = self.work.join(format!("{}-{side:?}-{}", subject.name, runs.backup.len()));
        clean(&folder)?;
        fs::create_dir_all(&folder)?;
        let (vault, target) = (folder.join("vault"), folder.join("restored"));
        match side {
            Side::Ours => run(&ours(&[&"init", &vault])?, None, &self.report())?,
            Side::Restic => run(&peer::init(&vault), None, &self.report())?,
        };
        settle();
        let backup = self.backup(side, &vault, subject.first)?;
        let stored = folder_bytes(&vault)?;
        settle();
        let restore = match side {
            Side::Ours => run(&ours(&[&"restore", &vault, &target])?, None, &self.report())?,
            Side::Restic => run(&peer::restore(&vault, &target), None, &self.report())?,
        };
        same(subject.first, &target)?;
        eprintln!("  {side:?} {}: backup {backup:.2?}, restore {restore:.2?}, stored {stored}", subject.name);
        runs.backup.push(backup);
        runs.restore.push(restore);
        runs.stored.push(stored as f64);
        if let Some(second) = subject.second {
            settle();
            let cost = self.backup(side, &vault, second)?;
            let added = folder_bytes(&vault)?.saturating_sub(stored);
            eprintln!("  {side:?} second: {cost:.2?}, added {added}");
            runs.second.push(cost);
            runs.added.push(added as f64);
        }
        if side == Side::Ours && runs.backup.len() == 1 {
            run(&peer::check(&vault), None, &self.report())?;
            eprintln!("  restic check --read-data of ours: no errors");
        }
        // An ext4 without a journal slows the making of files down for minutes after many were removed: trees stay until the end.
        if subject.first.is_dir() { Ok(()) } else { clean(&folder) }
    }

    fn compare(&self, subject: &Subject<'_>, input_bytes: u64) -> Result<(), Box<dyn Error>> {
        let (mut ours, mut restic) = (Runs::default(), Runs::default());
        for pair in 0..self.pairs {
            eprintln!("{}: pair {} of {}", subject.name, pair + 1, self.pairs);
            // Each side goes first in every other pair, so that neither always finds the warmer machine.
            let order = if pair % 2 == 0 { [Side::Ours, Side::Restic] } else { [Side::Restic, Side::Ours] };
            for side in order {
                self.one(side, subject, if side == Side::Ours { &mut ours } else { &mut restic })?;
            }
        }
        println!(
            "\n{} of {:.0} MB, medians of {} interleaved pairs",
            subject.name,
            input_bytes as f64 / 1e6,
            self.pairs
        );
        print(&lines(&ours, &restic));
        if let Some(second) = subject.second {
            let share = median(ours.added.iter().copied()) / fs::metadata(second)?.len() as f64 * 100.0;
            println!("second backup: {share:.2} % of its input stored anew (aim: at most 3 %)");
        }
        Ok(())
    }

    /// Compares backups of a stream, with a second one in which 1 % of the rows changed.
    pub fn stream(&self) -> Result<(), Box<dyn Error>> {
        let (first, second) = (self.work.join("dump-1.sql"), self.work.join("dump-2.sql"));
        crate::inputs::dump(&first, self.stream_bytes, 0)?;
        crate::inputs::dump(&second, self.stream_bytes, 1)?;
        let bytes = fs::metadata(&first)?.len();
        self.compare(&Subject { name: "stream", first: &first, second: Some(&second) }, bytes)
    }

    /// Compares backups of a tree of small files.
    pub fn tree(&self) -> Result<(), Box<dyn Error>> {
        let folder = self.make_tree()?;
        let bytes = folder_bytes(&folder)?;
        self.compare(&Subject { name: "tree", first: &folder, second: None }, bytes)?;
        for side in [Side::Ours, Side::Restic] {
            for number in 0..self.pairs {
                clean(&self.work.join(format!("tree-{side:?}-{number}")))?;
            }
        }
        Ok(())
    }

    fn make_tree(&self) -> Result<PathBuf, Box<dyn Error>> {
        let folder = self.work.join("tree");
        if !folder.exists() {
            crate::inputs::tree(&folder, self.files)?;
        }
        Ok(folder)
    }

    /// Measures the memory of one process that backs up a stream and a tree at once.
    pub fn memory(&self) -> Result<(), Box<dyn Error>> {
        let (dump, folder) = (self.work.join("dump-1.sql"), self.make_tree()?);
        crate::inputs::dump(&dump, self.stream_bytes, 0)?;
        let both = self.work.join("both");
        clean(&both)?;
        fs::create_dir_all(&both)?;
        let vault = both.join("vault");
        run(&ours(&[&"init", &vault])?, None, &self.report())?;
        let cost = run(&ours(&[&"backup-both", &vault, &dump, &folder])?, None, &self.report())?;
        println!(
            "\nstream and tree at once in one process: peak memory {} MiB (aim: at most 256), {cost:.1?}",
            cost.peak_rss >> 20
        );
        run(&peer::check(&vault), None, &self.report())?;
        clean(&both)
    }
}

fn clean(folder: &Path) -> Result<(), Box<dyn Error>> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}

/// Waits for what earlier runs left to be written, so that it does not count for the next.
fn settle() {
    // Without `sync` the figures are noisier, not wrong.
    let _ = Command::new("sync").status();
}

fn same(first: &Path, target: &Path) -> Result<(), Box<dyn Error>> {
    let restored = if first.is_dir() { target.to_owned() } else { target.join("dump.sql") };
    let equal = Command::new("diff").arg("-rq").arg(first).arg(restored).status()?.success();
    if equal { Ok(()) } else { Err("what was restored differs from what was backed up".into()) }
}

fn lines(ours: &Runs, restic: &Runs) -> Vec<Line> {
    let costs = |what, ours: &[Cost], restic: &[Cost], pick: fn(&Cost) -> f64, limit, unit| Line {
        what,
        ours: median(ours.iter().map(pick)),
        restic: median(restic.iter().map(pick)),
        ratio: median(ours.iter().zip(restic).map(|(ours, restic)| pick(ours) / pick(restic))),
        limit,
        unit,
    };
    let wall = |cost: &Cost| cost.wall_s;
    let cpu = |cost: &Cost| cost.cpu_s;
    let rss = |cost: &Cost| cost.peak_rss as f64 / f64::from(1 << 20);
    let sizes = |what, ours: &[f64], restic: &[f64], limit| {
        let (ours, restic) = (median(ours.iter().copied()) / 1e6, median(restic.iter().copied()) / 1e6);
        Line { what, ours, restic, ratio: ours / restic, limit, unit: "MB" }
    };
    let mut lines = vec![
        costs("backup, wall", &ours.backup, &restic.backup, wall, Some(1.0 / 1.2), "s"),
        costs("backup, CPU", &ours.backup, &restic.backup, cpu, Some(0.6), "s"),
        costs("backup, peak memory", &ours.backup, &restic.backup, rss, None, "MiB"),
        sizes("stored", &ours.stored, &restic.stored, Some(1.1)),
        costs("restore, wall", &ours.restore, &restic.restore, wall, Some(1.0), "s"),
        costs("restore, CPU", &ours.restore, &restic.restore, cpu, None, "s"),
        costs("restore, peak memory", &ours.restore, &restic.restore, rss, None, "MiB"),
    ];
    if !ours.added.is_empty() {
        lines.push(costs("second, wall", &ours.second, &restic.second, wall, None, "s"));
        lines.push(costs("second, CPU", &ours.second, &restic.second, cpu, None, "s"));
        lines.push(sizes("second, added", &ours.added, &restic.added, None));
    }
    lines
}

fn print(lines: &[Line]) {
    println!("{:<22} {:>10} {:>10} {:>7} {:>7}", "", "trivault", "restic", "ratio", "aim");
    for Line { what, ours, restic, ratio, limit, unit } in lines {
        let aim = limit.map_or(String::new(), |limit| format!("<={limit:.2}"));
        let verdict = limit.map_or("", |limit| if *ratio <= limit { "  ok" } else { "  MISSED" });
        println!("{:<22} {ours:>10.2} {restic:>10.2} {ratio:>7.2} {aim:>7}{verdict}", format!("{what} ({unit})"));
    }
}
