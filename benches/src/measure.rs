//! Running a program and what it cost, and medians over several runs.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::{fs, io};

/// What one run of a program cost.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Seconds on the clock.
    pub wall_s: f64,
    /// Seconds of all its threads in user and kernel mode.
    pub cpu_s: f64,
    /// Largest resident memory in bytes.
    pub peak_rss: u64,
}

/// Runs a program to its successful end under `/usr/bin/time`, so that the figures are its own, whatever it is.
///
/// `report` is a scratch file. Standard input comes from `input` where one is given; output goes nowhere.
pub fn run(command: &Command, input: Option<&Path>, report: &Path) -> Result<Cost, Box<dyn Error>> {
    let mut timed = Command::new("/usr/bin/time");
    timed.args(["-f", "%e %U %S %M", "-o"]).arg(report).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            timed.env(name, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        timed.current_dir(folder);
    }
    let input = match input {
        Some(path) => Stdio::from(fs::File::open(path)?),
        None => Stdio::null(),
    };
    let output = timed.stdin(input).stdout(Stdio::null()).output().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => "the program /usr/bin/time is missing: apt-get install time".into(),
        _ => Box::<dyn Error>::from(error),
    })?;
    if !output.status.success() {
        return Err(format!("{timed:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = fs::read_to_string(report)?;
    let figures: Vec<f64> = text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    match figures[..] {
        [wall_s, user, system, kib] => Ok(Cost { wall_s, cpu_s: user + system, peak_rss: (kib as u64) << 10 }),
        _ => Err(format!("/usr/bin/time said {text:?}").into()),
    }
}

/// The middle one of several figures; 0 of none.
pub fn median(figures: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = figures.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        odd if odd % 2 == 1 => sorted[odd / 2],
        even => (sorted[even / 2 - 1] + sorted[even / 2]) / 2.0,
    }
}

/// The sum of all files' lengths below a folder.
pub fn folder_bytes(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let found = entry.metadata()?;
        total += if found.is_dir() { folder_bytes(&entry.path())? } else { found.len() };
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn the_median_is_the_middle_one() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(median([]), 0.0);
    }
}
