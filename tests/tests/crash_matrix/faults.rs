//! Faults beside kills: a database that is cut off or falls silent, and a clock that jumps while no server runs. The same promises are
//! looked at afterwards.
//!
//! What the store does wrong (503, torn connections, silence) is in [`crate::store_faults`], disks without room are in
//! [`crate::full_disks`].

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    thread,
    time::{Duration, Instant},
};

use trivault_testkit::{
    postgres::{PostgresServer, Variant},
    proxy::{Cut, CuttingProxy},
};

use crate::{
    aftermath,
    cells::{next, seed},
    ground::{Ground, Metadata, Place},
    promises::Known,
    site::{Job, LOOK_AT_JOBS_EVERY, Site, Sources},
    work::Work,
};

/// Requests to the database among which the first fault of a piece of work falls, and behind it the second.
const FIRST_WITHIN: u64 = 60;
const SECOND_WITHIN: u64 = 20;
const CUTS: [Cut; 2] = [Cut::BeforeEffect, Cut::AfterEffect];
const SILENCES: [Cut; 2] = [Cut::SilentBefore, Cut::SilentAfter];
/// After this long a silent connection is gone for good. Less than the minute after which the server itself gives it up, and more than a
/// lease of ten seconds.
const LONGEST_SILENCE_SECONDS: u64 = 14;
/// Jumps of the clock that are tried whatever the seed is: a month forward, a day back.
const MONTH: i64 = 30 * 24 * 3600;
const DAY_BACK: i64 = -24 * 3600;
/// Jumps by the seed are from a second to seven weeks: so many doublings of a second, and up to as much again.
const DOUBLINGS: u64 = 22;
/// How long after the start a job of the dead server may count as running, on a machine that is not busy. A lease that was granted before
/// the clock was set back a little cannot be told from one that was granted now: it lasts for up to two leases of ten seconds.
const TAKEN_BACK_WITHIN: Duration = Duration::from_secs(30);
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(10);

#[test]
fn a_database_that_is_cut_off_or_silent_costs_no_backup_no_source_and_no_deletion() {
    on_a_faulty_database(seed(), [Work::Backup, Work::ReplaceTree, Work::Forget, Work::PruneMarks]);
}

#[test]
fn a_database_that_is_cut_off_or_silent_costs_no_verification_no_merge_and_no_restore() {
    let works = [Work::VerifyBackups, Work::Merge, Work::ReplaceDatabase, Work::Backup];
    on_a_faulty_database(seed().wrapping_add(1), works);
}

/// Does each piece of work while one connection of the server to its database is cut and another falls silent.
fn on_a_faulty_database(seed: u64, works: [Work; 4]) {
    let variant = Variant { tcp: true, ..Variant::default() };
    let Some(server) = PostgresServer::own(&variant) else { return };
    server.query("postgres", "CREATE DATABASE trivault");
    let proxy = CuttingProxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())));
    let metadata = |port: u16| format!("[database]\nurl = \"postgresql://postgres@127.0.0.1:{port}/trivault\"\n");
    let metadata = [metadata(proxy.address().port()), metadata(server.port())];
    let ground = Ground { metadata: Metadata::Postgres, place: Place::Folder };
    let Some(mut site) = Site::with(ground, Sources::Files, [&metadata[0], &metadata[1]], |_| {}) else { return };
    println!("faulty database: seed {seed}");
    let mut draw = DatabaseFaults::by(seed);
    for work in works {
        let prepared = work.prepare(&mut site);
        let known = Known::of(&site);
        let (made, faults) = (proxy.made(), draw.next_two());
        println!("{work}: {faults:?}");
        for (requests, cut, silence) in &faults {
            proxy.cut_after_for(*requests, *cut, *silence);
        }
        let child = site.spawn(&prepared.begin);
        let begun = Instant::now();
        // The server asks its database by itself, too: sooner or later each fault is met.
        while proxy.made() < made + faults.len() as u64 {
            assert!(begun.elapsed() < PATIENCE, "{work}: not all of {faults:?} are met\n{}", site.gateway.log());
            thread::sleep(LOOK_EVERY);
        }
        // The request itself may be what has met one: then it was refused with a word, or done without an answer.
        let output = child.wait_with_output().unwrap();
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let jobs = known.is_kept(&mut site, Some(work), &prepared.before);
        let own: Vec<&Job> = jobs.iter().filter(|job| Some(job.kind.as_str()) == work.kind()).collect();
        println!("{work}: {} {own:?}; {}", output.status, said.lines().last().unwrap_or_default());
        assert!(!own.is_empty() || said.contains("metadata database"), "{work}: no job, and no word why: {said}");
        let found = aftermath::sources(&site, work, &prepared);
        println!("{work}: {found}");
        aftermath::all_is_well(&mut site, &prepared);
    }
}

/// The faults of a database, by a seed.
struct DatabaseFaults {
    state: u64,
    /// How many were drawn.
    turn: usize,
}

impl DatabaseFaults {
    fn by(seed: u64) -> Self {
        let mut state = seed;
        let turn = (next(&mut state) % 4) as usize;
        Self { state, turn }
    }

    /// A cut and a silence, in either order: after how many requests, which, and how long a silence lasts. Before and after the effect in
    /// turn, so that all four kinds come. Two and no more: a job is tried three times, so that they alone never end it.
    fn next_two(&mut self) -> [(u64, Cut, Duration); 2] {
        let mut cuts = [CUTS[self.turn % 2], SILENCES[(self.turn / 2) % 2]];
        self.turn += 1;
        if next(&mut self.state).is_multiple_of(2) {
            cuts.reverse();
        }
        let first = next(&mut self.state) % FIRST_WITHIN;
        let second = first + 1 + next(&mut self.state) % SECOND_WITHIN;
        let silence = Duration::from_secs(1 + next(&mut self.state) % LONGEST_SILENCE_SECONDS);
        [(first, cuts[0], silence), (second, cuts[1], silence)]
    }
}

#[test]
fn a_clock_that_jumps_while_a_job_runs_and_the_server_is_killed_leaves_no_job_running() {
    let Some(site) = Site::new(Ground::ALL[0], Sources::Files) else { return };
    let [one, another] = jumps(seed());
    jumped(site, &[one, another, MONTH, DAY_BACK].map(|jump| (Work::Backup, "backup/written", jump)));
}

#[test]
fn a_clock_that_jumps_leaves_no_job_running_either_where_the_metadata_and_the_store_are_on_servers() {
    let Some(site) = Site::new(Ground::ALL[3], Sources::Files) else { return };
    let [first, second, third] = jumps(seed().wrapping_add(1));
    let jumps = [
        (Work::Backup, "backup/written", first),
        (Work::Forget, "forget/removed", second),
        (Work::PruneMarks, "prune/prune index removed", third),
    ];
    jumped(site, &jumps);
}

/// Jumps in seconds, forward and back in turn; their sizes and which way the first one goes are drawn.
fn jumps<const COUNT: usize>(seed: u64) -> [i64; COUNT] {
    let mut state = seed;
    let mut sign = if next(&mut state).is_multiple_of(2) { 1 } else { -1 };
    let jumps: [i64; COUNT] = std::array::from_fn(|_| {
        let least = 1_u64 << (next(&mut state) % DOUBLINGS);
        let size = i64::try_from(least + next(&mut state) % least).unwrap();
        sign = -sign;
        sign * size
    });
    println!("jumps of the clock: seed {seed}: {jumps:?} seconds");
    jumps
}

/// Kills the server at a point of each work; the next one starts with a clock that has jumped.
fn jumped(mut site: Site, jumps: &[(Work, &str, i64)]) {
    for (work, point, jump) in jumps {
        let prepared = work.prepare(&mut site);
        let known = Known::of(&site);
        let file = site.path("halted");
        let _ = fs::remove_file(&file);
        site.start_mortal(&[("TRIVAULT_HALT_AT", point), ("TRIVAULT_HALT_FILE", file.to_str().unwrap())]);
        let mut child = site.spawn(&prepared.begin);
        let begun = Instant::now();
        while !file.exists() {
            assert!(begun.elapsed() < PATIENCE, "{work}: {point} is not reached\n{}", site.gateway.log());
            thread::sleep(LOOK_EVERY);
        }
        let _ = child.kill();
        let _ = child.wait();
        site.gateway.kill();
        let orphans: Vec<Job> = site.jobs().into_iter().filter(|job| job.state == "running").collect();
        assert!(!orphans.is_empty(), "{work}: nothing ran at {point}");
        site.clock_offset += jump;
        site.start();
        taken_back(&site, &orphans, *jump);
        known.is_kept(&mut site, Some(*work), &prepared.before);
        aftermath::all_is_well(&mut site, &prepared);
    }
}

/// No run of the dead server counts as running for longer than it may. A machine on which looking itself takes long is given more time.
fn taken_back(site: &Site, orphans: &[Job], jump: i64) {
    let begun = Instant::now();
    let mut slowest_look = Duration::ZERO;
    loop {
        let elapsed = begun.elapsed();
        let jobs = site.jobs();
        slowest_look = slowest_look.max(begun.elapsed() - elapsed);
        let still_runs = |orphan: &&Job| {
            jobs.iter().any(|job| job.id == orphan.id && job.state == "running" && job.attempt == orphan.attempt)
        };
        let left: Vec<&Job> = orphans.iter().filter(still_runs).collect();
        if left.is_empty() {
            return;
        }
        assert!(
            elapsed < TAKEN_BACK_WITHIN + 3 * slowest_look,
            "{elapsed:?} after a jump of {jump} s {left:?} still run\n{}",
            site.gateway.log()
        );
        thread::sleep(LOOK_AT_JOBS_EVERY);
    }
}
