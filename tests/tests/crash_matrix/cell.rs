//! One cell of the matrix: a server is killed at one point of one piece of work, and started again.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Child,
    thread,
    time::{Duration, Instant},
};

use crate::{
    aftermath,
    promises::Known,
    site::{Job, LEASE, LOOK_AT_JOBS_EVERY, REPOSITORY, Site},
    work::{Prepared, Work},
};

/// A point that is not reached by then will not be.
const PATIENCE: Duration = Duration::from_secs(120);
/// What [`run`] answers when the work ended without passing the point.
pub const NOT_REACHED: &str = "not reached";
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How long after its start, beyond a lease, a server may need on a busy machine to take back what its predecessor ran.
const TAKE_BACK_SLACK: Duration = Duration::from_secs(10);

/// A point of the work, and at which of its passes the server is killed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Halt {
    pub point: String,
    pub pass: u32,
}

impl std::fmt::Display for Halt {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}#{}", self.point, self.pass)
    }
}

/// Points that a piece of work passes, in their order, with how often it passes each.
pub fn points(site: &mut Site, work: Work) -> Vec<(String, u32)> {
    let prepared = work.prepare(site);
    let file = site.path("points");
    let _ = fs::remove_file(&file);
    if let Some(first) = work.first_crash() {
        assert!(crash(site, work, &prepared, first), "{work}: {first} is not reached");
    }
    site.start_mortal(&[("TRIVAULT_POINTS_FILE", file.to_str().unwrap())]);
    let passed = || fs::read_to_string(&file).unwrap_or_default();
    if work.first_crash().is_none() {
        let _ = site.spawn(&prepared.begin).wait();
    }
    let begun = Instant::now();
    while work.last_point().is_some_and(|last| !passed().lines().any(|point| point == last)) {
        assert!(begun.elapsed() < PATIENCE, "{work} does not end:\n{}", passed());
        thread::sleep(LOOK_EVERY);
    }
    site.settle();
    let mut points: Vec<(String, u32)> = Vec::new();
    let is_of_work = |point: &&str| work.prefixes().iter().any(|prefix| point.starts_with(prefix));
    for point in passed().lines().filter(is_of_work) {
        match points.iter_mut().find(|(known, _)| known == point) {
            // How often depends on how long the work takes.
            Some(_) if point.ends_with("/heartbeat") => {}
            Some((_, count)) => *count += 1,
            None => points.push((point.to_owned(), 1)),
        }
    }
    site.start();
    let done = site.promise(&prepared.before);
    site.forget_strangers();
    aftermath::tidy(site, &prepared, &done);
    points
}

/// Kills the server at the point and looks at everything afterwards; answers what became of the work in a few words.
///
/// # Panics
/// At the first promise that is not kept.
pub fn run(site: &mut Site, work: Work, halt: &Halt) -> String {
    let prepared = work.prepare(site);
    let known = Known::of(site);
    let reached = match work.first_crash() {
        None => crash(site, work, &prepared, &halt.to_string()),
        Some(first) => {
            assert!(crash(site, work, &prepared, first), "{first} is not reached");
            crash_at_start(site, &halt.to_string())
        }
    };
    let orphans: Vec<Job> = site.jobs().into_iter().filter(|job| job.state == "running").collect();
    site.start();
    let begun = Instant::now();
    taken_back(site, &orphans, begun);
    let jobs = known.is_kept(site, Some(work), &prepared.before);
    let job = jobs.iter().rfind(|job| Some(job.kind.as_str()) == work.kind());
    let end = job.map_or_else(|| "no job".to_owned(), |job| format!("{}, attempt {}", job.state, job.attempt));
    match work {
        Work::VerifyHeals => site.forget_strangers(),
        Work::Scheduled => {
            let done = |kind: &str| jobs.iter().filter(|job| job.kind == kind && job.state == "succeeded").count();
            assert_eq!([done("prune"), done("backup")], [1, 1], "one occurrence, once: {jobs:?}");
            site.succeed(&["retention", "set", REPOSITORY, "--last", "3"]);
        }
        _ => {}
    }
    let found = aftermath::sources(site, work, &prepared);
    aftermath::all_is_well(site, &prepared);
    let found = if found.is_empty() { String::new() } else { format!("; {found}") };
    match (reached, work.kind()) {
        (false, _) => NOT_REACHED.to_owned(),
        (true, None) => format!("done after the restart{found}"),
        (true, Some(_)) => format!("{end}{found}"),
    }
}

/// Starts a server that stops at the point, lets it begin the work, kills it. `false` when the work ends without passing the point.
fn crash(site: &mut Site, work: Work, prepared: &Prepared, halt: &str) -> bool {
    let file = fresh(site);
    site.start_mortal(&[("TRIVAULT_HALT_AT", halt), ("TRIVAULT_HALT_FILE", file.to_str().unwrap())]);
    let mut child = site.spawn(&prepared.begin);
    let reached = until_halted(site, work, &file, &mut child);
    let _ = child.kill();
    let _ = child.wait();
    site.gateway.kill();
    reached
}

/// As [`crash`] for work that a server does before it answers anybody.
fn crash_at_start(site: &Site, halt: &str) -> bool {
    let file = fresh(site);
    let mut server = site.start_unheard(&[("TRIVAULT_HALT_AT", halt), ("TRIVAULT_HALT_FILE", file.to_str().unwrap())]);
    let begun = Instant::now();
    while !file.exists() && begun.elapsed() < PATIENCE / 4 {
        thread::sleep(LOOK_EVERY);
    }
    let _ = server.kill();
    let _ = server.wait();
    file.exists()
}

fn fresh(site: &Site) -> PathBuf {
    let file = site.path("halted");
    let _ = fs::remove_file(&file);
    file
}

fn until_halted(site: &Site, work: Work, file: &Path, child: &mut Child) -> bool {
    let begun = Instant::now();
    loop {
        if file.exists() {
            return true;
        }
        assert!(begun.elapsed() < PATIENCE, "neither halted nor over\n{}", site.gateway.log());
        let over = child.try_wait().unwrap().is_some() && work.last_point().is_none();
        if over && site.jobs().iter().all(Job::is_over) {
            // What comes right after a job's last word.
            thread::sleep(10 * LOOK_EVERY);
            return file.exists();
        }
        if work.last_point().is_some() && begun.elapsed() > PATIENCE / 3 {
            return false;
        }
        thread::sleep(LOOK_EVERY);
    }
}

/// No run of the dead server counts as running for longer than a lease. A machine on which looking itself takes long is given more time.
fn taken_back(site: &Site, orphans: &[Job], begun: Instant) {
    let mut left: BTreeMap<&str, u64> = orphans.iter().map(|job| (job.id.as_str(), job.attempt)).collect();
    let mut slowest_look = Duration::ZERO;
    while !left.is_empty() {
        let elapsed = begun.elapsed();
        assert!(
            elapsed < LEASE + TAKE_BACK_SLACK + 3 * slowest_look,
            "{left:?} still run after {elapsed:?}\n{}",
            site.gateway.log()
        );
        let jobs = site.jobs();
        slowest_look = slowest_look.max(begun.elapsed() - elapsed);
        left.retain(|id, attempt| {
            jobs.iter().any(|job| job.id == *id && job.state == "running" && job.attempt == *attempt)
        });
        if !left.is_empty() {
            thread::sleep(LOOK_AT_JOBS_EVERY);
        }
    }
}
