//! A test aid: the server writes down the points that its work passes, or stops at one of them for ever, to be killed there.
//!
//! `TRIVAULT_POINTS_FILE`: the name of each point is appended to this file, one a line, as it is reached.
//! `TRIVAULT_HALT_AT=backup/commit#2` with `TRIVAULT_HALT_FILE`: when that point is reached the second time (without a number: the first
//! time), the point's name is written to the file, which appears complete; the thread stops, and with it every other one that comes to
//! any point.
//!
//! `TRIVAULT_CLOCK_OFFSET`: the clock of the server, or of a command, is wrong by so many seconds.
//!
//! A server reads these variables once, when it opens its engine, and nothing else of them; commands read the clock's alone. Without
//! them nobody listens to points, and the clock is the machine's.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use chrono::{DateTime, TimeDelta, Utc};
use trivault_engine::{Clock, Observer, SystemClock};

const HALT_AT: &str = "TRIVAULT_HALT_AT";
const HALT_FILE: &str = "TRIVAULT_HALT_FILE";
const POINTS_FILE: &str = "TRIVAULT_POINTS_FILE";
const CLOCK_OFFSET: &str = "TRIVAULT_CLOCK_OFFSET";

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// The machine's clock, or one that is wrong.
///
/// # Errors
/// A sentence when the offset is no number of seconds.
pub fn clock() -> Result<Arc<dyn Clock>, String> {
    let Some(text) = variable(CLOCK_OFFSET) else { return Ok(Arc::new(SystemClock)) };
    let offset = text.parse().ok().and_then(TimeDelta::try_seconds);
    let offset = offset.ok_or_else(|| format!("{CLOCK_OFFSET}={text} is no number of seconds."))?;
    tracing::warn!(offset_seconds = offset.num_seconds(), "the clock of this server is wrong, for a test");
    Ok(Arc::new(WrongClock(offset)))
}

struct WrongClock(TimeDelta);

impl Clock for WrongClock {
    fn now(&self) -> DateTime<Utc> {
        let now = SystemClock.now();
        now.checked_add_signed(self.0).unwrap_or(now)
    }
}

/// The observer that the environment asks for.
///
/// # Errors
/// A sentence when the variables make no sense or the file of points cannot be made.
pub fn observer() -> Result<Option<Observer>, String> {
    let halt = match (variable(HALT_AT), variable(HALT_FILE)) {
        (None, _) => None,
        (Some(_), None) => return Err(format!("{HALT_AT} needs {HALT_FILE}.")),
        (Some(at), Some(file)) => Some(Halt::parse(&at, file.into())?),
    };
    let points = variable(POINTS_FILE).map(|path| open(Path::new(&path))).transpose()?;
    if halt.is_none() && points.is_none() {
        return Ok(None);
    }
    tracing::warn!("this server writes down or stops at points of its work, for a test");
    let listener =
        Listener { halt, points: points.map(Mutex::new), passed: Mutex::default(), halted: AtomicBool::new(false) };
    Ok(Some(Arc::new(move |point| {
        if listener.hears(&point.to_string()) == Next::Halt {
            loop {
                std::thread::park();
            }
        }
    })))
}

fn open(path: &Path) -> Result<File, String> {
    File::options()
        .create(true)
        .append(true)
        .open(path)
        .map_err(|error| format!("{POINTS_FILE}={} cannot be opened: {error}.", path.display()))
}

/// Where to stop.
struct Halt {
    name: String,
    /// Counted from one.
    time: u64,
    file: PathBuf,
}

impl Halt {
    fn parse(at: &str, file: PathBuf) -> Result<Self, String> {
        let (name, time) = at.rsplit_once('#').unwrap_or((at, "1"));
        let time = time.parse().ok().filter(|time| *time > 0);
        let time = time.ok_or_else(|| format!("{HALT_AT}={at}: behind `#` comes a number from 1 on."))?;
        Ok(Self { name: name.to_owned(), time, file })
    }

    /// Complete or not there. Should it fail, nobody would ever know that the server stands still.
    fn tell(&self) {
        let beside = self.file.with_extension("new");
        let told = fs::write(&beside, &self.name).and_then(|()| fs::rename(&beside, &self.file));
        if let Err(error) = told {
            tracing::error!(%error, "the halt could not be told");
            std::process::exit(1);
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    GoOn,
    Halt,
}

struct Listener {
    halt: Option<Halt>,
    points: Option<Mutex<File>>,
    passed: Mutex<HashMap<String, u64>>,
    halted: AtomicBool,
}

impl Listener {
    fn hears(&self, point: &str) -> Next {
        if self.halted.load(Ordering::SeqCst) {
            return Next::Halt;
        }
        if let Some(points) = &self.points {
            let mut points = points.lock().unwrap_or_else(PoisonError::into_inner);
            // One write for a line, so that lines of several processes do not mix.
            if let Err(error) = points.write_all(format!("{point}\n").as_bytes()) {
                tracing::error!(%error, "a point could not be written down");
            }
        }
        let Some(halt) = self.halt.as_ref().filter(|halt| halt.name == point) else { return Next::GoOn };
        let time = {
            let mut passed = self.passed.lock().unwrap_or_else(PoisonError::into_inner);
            let time = passed.entry(point.to_owned()).or_default();
            *time += 1;
            *time
        };
        if time < halt.time {
            return Next::GoOn;
        }
        if !self.halted.swap(true, Ordering::SeqCst) {
            halt.tell();
        }
        Next::Halt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listener(at: &str, folder: &Path) -> Listener {
        Listener {
            halt: Some(Halt::parse(at, folder.join("halted")).unwrap()),
            points: Some(Mutex::new(open(&folder.join("points")).unwrap())),
            passed: Mutex::default(),
            halted: AtomicBool::new(false),
        }
    }

    #[test]
    fn the_second_pass_of_a_point_is_told_and_stops_all_that_comes_after() {
        let folder = tempfile::tempdir().unwrap();
        let listener = listener("backup/commit#2", folder.path());
        let file = folder.path().join("halted");
        assert_eq!(["backup/commit", "restore/commit"].map(|point| listener.hears(point)), [Next::GoOn; 2]);
        assert!(!file.exists());
        assert_eq!(["backup/commit", "restore/commit"].map(|point| listener.hears(point)), [Next::Halt; 2]);
        assert_eq!(fs::read_to_string(file).unwrap(), "backup/commit");
        let points = fs::read_to_string(folder.path().join("points")).unwrap();
        assert_eq!(points, "backup/commit\nrestore/commit\nbackup/commit\n");
    }

    #[test]
    fn a_number_that_is_none_is_refused() {
        for at in ["backup/commit#", "backup/commit#0", "backup/commit#x"] {
            assert!(Halt::parse(at, PathBuf::new()).is_err(), "{at}");
        }
        assert_eq!(Halt::parse("backup/commit", PathBuf::new()).unwrap().time, 1);
    }
}
