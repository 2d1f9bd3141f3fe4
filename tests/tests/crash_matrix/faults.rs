//! Faults beside kills: a database that is cut off, a full disk, a clock that jumps. The same promises are looked at afterwards.
//!
//! What the store does wrong (503, torn connections, silence) is in [`crate::store_faults`].

use std::{
    fs::{self, File},
    io::Write as _,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use trivault_testkit::{
    postgres::{PostgresServer, Variant},
    proxy::{Cut, CuttingProxy},
    require::skipped,
};

use crate::{
    aftermath,
    cells::{next, seed},
    ground::{Ground, Metadata, Place},
    promises::Known,
    site::{Site, Sources},
    work::Work,
};

/// Pieces of work whose database connections are cut.
const ROUNDS: u32 = 8;
/// Requests to the database among which the first cut falls.
const FIRST_CUT_WITHIN: u64 = 60;
/// Cuts of one round.
const CUTS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(120);
const HOUR: i64 = 3600;

#[test]
fn a_database_that_is_cut_off_before_or_after_an_effect_costs_no_job_and_no_backup() {
    let variant = Variant { tcp: true, ..Variant::default() };
    let Some(server) = PostgresServer::own(&variant) else { return };
    server.query("postgres", "CREATE DATABASE trivault");
    let proxy = CuttingProxy::start(SocketAddr::from((Ipv4Addr::LOCALHOST, server.port())));
    let metadata = |port: u16| format!("[database]\nurl = \"postgresql://postgres@127.0.0.1:{port}/trivault\"\n");
    let metadata = [metadata(proxy.address().port()), metadata(server.port())];
    let ground = Ground { metadata: Metadata::Postgres, place: Place::Folder };
    let Some(mut site) = Site::with(ground, Sources::Files, [&metadata[0], &metadata[1]], |_| {}) else { return };
    let mut state = seed();
    println!("cut database: seed {state}");
    let kinds =
        [Work::Backup, Work::ReplaceTree, Work::Forget, Work::PruneMarks, Work::VerifyBackups, Work::ReplaceDatabase];
    for round in 0..ROUNDS {
        let work = kinds[round as usize % kinds.len()];
        let prepared = work.prepare(&mut site);
        let known = Known::of(&site);
        let made = proxy.made();
        let mut at = next(&mut state) % FIRST_CUT_WITHIN;
        for _ in 0..CUTS {
            let cut = if next(&mut state).is_multiple_of(2) { Cut::BeforeEffect } else { Cut::AfterEffect };
            proxy.cut_after(at, cut);
            at += 1 + next(&mut state) % 20;
        }
        // The request itself may be what is cut off: then it was refused, or done without an answer.
        let output = site.spawn(&prepared.begin).wait_with_output().unwrap();
        let begun = Instant::now();
        while proxy.made() == made && begun.elapsed() < Duration::from_secs(2) {
            thread::sleep(Duration::from_millis(20));
        }
        proxy.heal();
        known.is_kept(&mut site, Some(work), &prepared.before);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        println!("{work}: {} cuts; {}", proxy.made() - made, said.lines().last().unwrap_or_default());
        aftermath::sources(&site, work, &prepared);
        aftermath::all_is_well(&mut site, &prepared);
    }
}

/// Tests that mount something run inside name spaces of their own, where this user may.
fn in_name_spaces_of_its_own(test: &str) {
    if skipped("namespaces") {
        return;
    }
    let may = Command::new("unshare").args(["-Urm", "true"]).output().is_ok_and(|output| output.status.success());
    assert!(
        may,
        "{test} needs name spaces, and this machine does not allow `unshare -Urm`: run it where it is allowed, or leave such tests out \
         with TRIVAULT_TEST_SKIP=namespaces"
    );
    let output = Command::new("unshare")
        .arg("-Urm")
        .arg(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "--nocapture", test])
        .output()
        .unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
}

fn mount(folder: &Path, mebibytes: u32, more: &str) {
    let status = Command::new("mount")
        .args(["-t", "tmpfs", "-o", &format!("{more}size={mebibytes}m"), "tmpfs"])
        .arg(folder)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn a_store_on_a_full_disk_fails_with_a_reason_and_works_again_when_there_is_room() {
    in_name_spaces_of_its_own("faults::full_store");
}

#[test]
#[ignore = "run by the test above"]
fn full_store() {
    let mut site = Site::with(Ground::ALL[0], Sources::Files, ["", ""], |folder| {
        let store = folder.join("store");
        fs::create_dir(&store).unwrap();
        mount(&store, 32, "");
    })
    .unwrap();
    let store = site.path("store");
    let ballast = fill(&store.join("ballast"));
    for _ in 0..3 {
        site.change();
        let before = site.state();
        let known = Known::of(&site);
        let _ = site.spawn(&Site::begin_backup()).wait();
        // It is tried again after some seconds, and then again: with room in between it would come to a good end.
        let begun = Instant::now();
        let job = loop {
            let jobs = site.jobs();
            let job = jobs.into_iter().find(|job| !known.has_job(&job.id));
            if let Some(job) = job.filter(|job| job.is_over() || (job.state == "queued" && job.attempt > 0)) {
                break job;
            }
            assert!(begun.elapsed() < PATIENCE, "{}", site.gateway.log());
            thread::sleep(Duration::from_millis(50));
        };
        let log = site.succeed(&["jobs", "log", &job.id]);
        assert!(log.contains("full"), "{job:?}\n{log}");
        fs::remove_file(&ballast).unwrap();
        // What the queue has not given up comes to a good end.
        let work = (!job.is_over()).then_some(Work::Backup);
        known.is_kept(&mut site, work, &before);
        let prepared = Work::VerifyBackups.prepare(&mut site);
        aftermath::all_is_well(&mut site, &prepared);
        fill(&ballast);
    }
}

#[test]
fn a_data_directory_on_a_full_disk_refuses_work_and_works_again_when_there_is_room() {
    in_name_spaces_of_its_own("faults::full_data_directory");
}

#[test]
#[ignore = "run by the test above"]
fn full_data_directory() {
    let mut site = Site::with(Ground::ALL[0], Sources::Files, ["", ""], |folder| {
        let data = folder.join("data");
        fs::create_dir(&data).unwrap();
        mount(&data, 32, "mode=0700,");
    })
    .unwrap();
    let data = site.path("data");
    site.start_mortal(&[]);
    site.change();
    let before = site.state();
    let known = Known::of(&site);
    let ballast = fill(&data.join("ballast"));
    let output = site.spawn(&Site::begin_backup()).wait_with_output().unwrap();
    println!("a backup on a full data directory: {}", String::from_utf8_lossy(&output.stdout));
    // Leases cannot be extended while nothing can be written.
    thread::sleep(3 * crate::site::LEASE);
    fs::remove_file(&ballast).unwrap();
    known.is_kept(&mut site, Some(Work::Backup), &before);
    let prepared = Work::VerifyBackups.prepare(&mut site);
    aftermath::all_is_well(&mut site, &prepared);
}

/// A file that takes all the room there is.
fn fill(path: &Path) -> std::path::PathBuf {
    let mut file = File::create(path).unwrap();
    let piece = vec![0_u8; 64 << 10];
    while file.write_all(&piece).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    path.to_owned()
}

#[test]
fn a_clock_that_jumps_while_a_job_runs_and_the_server_is_killed_leaves_no_job_running() {
    let Some(site) = Site::new(Ground::ALL[0], Sources::Files) else { return };
    let jumps = [HOUR, -HOUR, 30 * 24 * HOUR, -24 * HOUR];
    jumped(site, &jumps.map(|jump| (Work::Backup, "backup/written", jump)));
}

#[test]
fn a_clock_that_jumps_leaves_no_job_running_either_where_the_metadata_and_the_store_are_on_servers() {
    let Some(site) = Site::new(Ground::ALL[3], Sources::Files) else { return };
    let month = 30 * 24 * HOUR;
    let jumps = [
        (Work::Backup, "backup/written", -HOUR),
        (Work::Forget, "forget/removed", month),
        (Work::PruneMarks, "prune/prune index removed", -24 * HOUR),
    ];
    jumped(site, &jumps);
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
            thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let _ = child.wait();
        site.gateway.kill();
        site.clock_offset += jump;
        site.start();
        known.is_kept(&mut site, Some(*work), &prepared.before);
        aftermath::all_is_well(&mut site, &prepared);
    }
}
