//! Disks that are full while work is done, or nearly: the store's, the data directory's, that of a restore's new place. The same promises
//! are looked at when there is room again.
//!
//! Each disk is a file system in memory, which these tests mount inside name spaces of their own.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Child, Command},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use trivault_testkit::require::skipped;

use crate::{
    aftermath,
    cells::{next, seed},
    ground::Ground,
    promises::Known,
    site::{Begin, Job, Site, Sources},
    work::{NewPlace, Prepared, Work},
};

const DISK_MEBIBYTES: u32 = 32;
/// What is left of a disk that is nearly full is less than this: some of the works below need more, some less.
const MOST_ROOM_BYTES: u64 = 400 << 10;
/// One in so many disks has nothing left at all.
const NO_ROOM_ONE_IN: u64 = 4;
/// How long a data directory stays full: longer than the lease of a job that cannot say any more that it runs.
const FULL_FOR: Duration = Duration::from_secs(12);
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// One of these is in the sentence of everything that has no room: "The store at /srv is full (...)", "no space left on device", "... has
/// 12 bytes of free space; the restore needs ...", "The restore needs 61 KiB, and `/srv` has 4 KiB left."
const NO_ROOM: [&str; 3] = ["is full", "space", " left."];
/// Also where it is the metadata that have no room, and of a job whose lease ran out meanwhile.
const NO_ROOM_FOR_METADATA: [&str; 2] = ["metadata database", "in the middle of this job"];

/// What has a disk of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Disk {
    Store,
    Data,
    NewPlace,
}

impl Disk {
    fn folder(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Data => "data",
            Self::NewPlace => "elsewhere",
        }
    }

    /// Whether a sentence says that it is this disk that is full.
    fn is_blamed_by(self, sentence: &str) -> bool {
        let more: &[&str] = if self == Self::Data { &NO_ROOM_FOR_METADATA } else { &[] };
        NO_ROOM.iter().chain(more).any(|words| sentence.contains(words))
    }
}

#[test]
fn a_full_store_or_new_place_is_named_and_costs_nothing_when_there_is_room_again() {
    in_name_spaces_of_its_own("full_disks::full_store");
}

#[test]
#[ignore = "run by the test above"]
fn full_store() {
    let mut site = site_with_disks(&[Disk::Store, Disk::NewPlace]);
    let mut state = seed();
    println!("full store: seed {state}");
    assert!(was_refused(&mut site, Work::Backup, Disk::Store, 0), "a backup stores something where there is no room");
    let restore = if next(&mut state).is_multiple_of(2) { Work::RestoreTree } else { Work::RestoreDatabase };
    for (work, disk) in [
        (Work::PruneMarks, Disk::Store),
        (Work::RestoreTree, Disk::Store),
        (restore, Disk::NewPlace),
        (Work::Backup, Disk::Store),
    ] {
        was_refused(&mut site, work, disk, room(&mut state));
    }
}

#[test]
fn a_full_data_directory_refuses_work_with_a_word_and_costs_nothing_when_there_is_room_again() {
    in_name_spaces_of_its_own("full_disks::full_data_directory");
}

#[test]
#[ignore = "run by the test above"]
fn full_data_directory() {
    let mut site = site_with_disks(&[Disk::Data]);
    let mut state = seed();
    println!("full data directory: seed {state}");
    assert!(was_refused(&mut site, Work::Backup, Disk::Data, 0), "a job is written down where there is no room");
    for work in [Work::PruneMarks, Work::RestoreTree, Work::Backup] {
        was_refused(&mut site, work, Disk::Data, room(&mut state));
    }
}

/// Bytes that a disk has left.
fn room(state: &mut u64) -> u64 {
    if next(state).is_multiple_of(NO_ROOM_ONE_IN) { 0 } else { next(state) % MOST_ROOM_BYTES }
}

/// Does the work while a disk has so many bytes left, makes room again and looks at everything. Answers whether the work could not be done
/// before there was room.
///
/// # Panics
/// When something is refused or fails and does not say that the disk is full, and at the first promise that is not kept.
fn was_refused(site: &mut Site, work: Work, disk: Disk, room: u64) -> bool {
    let mut prepared = work.prepare(site);
    if disk == Disk::NewPlace {
        into(&mut prepared, site.path(disk.folder()).join("new"));
    }
    let known = Known::of(site);
    if disk == Disk::Data {
        empty_journal(site);
    }
    let ballast = fill(&site.path(disk.folder()), room);
    println!("{work}: {room} bytes are left to {disk:?}");
    let mut child = site.spawn(&prepared.begin);
    let met = match disk {
        Disk::Data => {
            outlast_a_lease(&mut child);
            None
        }
        Disk::Store | Disk::NewPlace => met(site, &known, work, &mut child),
    };
    let unfinished_job = met.as_ref().filter(|job| job.state != "succeeded");
    if let Some(job) = unfinished_job {
        let log = site.succeed(&["jobs", "log", &job.id]);
        assert!(disk.is_blamed_by(&log), "{work}: {job:?}\n{log}");
    }
    fs::remove_file(&ballast).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    // What the queue has not given up comes to a good end.
    let goes_on = unfinished_job.is_some_and(|job| !job.is_over());
    let jobs = known.is_kept(site, goes_on.then_some(work), &prepared.before);
    for job in jobs.iter().filter(|job| job.state == "failed") {
        assert!(job.failure.as_deref().is_some_and(|failure| disk.is_blamed_by(failure)), "{work}: {job:?}");
    }
    let job = own(jobs, &known, work);
    println!("{work}: {} {job:?}; {}", output.status, said.lines().last().unwrap_or_default());
    assert!(job.is_some() || disk.is_blamed_by(&said), "{work}: no job, and no word why: {said}");
    let found = aftermath::sources(site, work, &prepared);
    println!("{work}: {found}");
    let is_done = job.is_some_and(|job| job.state == "succeeded");
    assert!(!is_done || found != "nothing was made", "{work} is said to be done");
    aftermath::all_is_well(site, &prepared);
    if disk == Disk::NewPlace {
        nothing_unfinished_is_left(&site.path(disk.folder()));
    }
    unfinished_job.is_some() || !is_done
}

/// A job that has begun cannot say any more that it runs: its lease runs out. A command that has ended with an error has no job to wait for.
fn outlast_a_lease(child: &mut Child) {
    let begun = Instant::now();
    while begun.elapsed() < FULL_FOR && child.try_wait().unwrap().is_none_or(|status| status.success()) {
        thread::sleep(LOOK_EVERY);
    }
}

/// The work's job when it has come to its end, or has failed and waits for another attempt. Where there is none, whoever asked has been
/// answered.
fn met(site: &Site, known: &Known, work: Work, child: &mut Child) -> Option<Job> {
    let begun = Instant::now();
    loop {
        let is_answered = child.try_wait().unwrap().is_some();
        match own(site.jobs(), known, work) {
            Some(job) if job.is_over() || (job.state == "queued" && job.attempt > 0) => return Some(job),
            None if is_answered => return None,
            Some(_) | None => {}
        }
        assert!(begun.elapsed() < PATIENCE, "{work} does not end\n{}", site.gateway.log());
        thread::sleep(LOOK_EVERY);
    }
}

/// The job of the work itself: the oldest of its kind that is new.
fn own(jobs: Vec<Job>, known: &Known, work: Work) -> Option<Job> {
    jobs.into_iter().rfind(|job| !known.has_job(&job.id) && Some(job.kind.as_str()) == work.kind())
}

/// A restore to this place, instead of one beside the sources.
fn into(prepared: &mut Prepared, place: PathBuf) {
    let Begin::Command(arguments) = &mut prepared.begin else { panic!("a restore is begun by a command") };
    // That of `--to` is the last one.
    *arguments.last_mut().unwrap() = place.to_str().unwrap().to_owned();
    prepared.new_place = Some(NewPlace::Path(place));
}

fn nothing_unfinished_is_left(folder: &Path) {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let left: Vec<String> = names.filter(|name| name.contains(".trivault-")).collect();
    assert!(left.is_empty(), "{left:?} are left beside the new place");
}

// --- Disks

fn site_with_disks(disks: &[Disk]) -> Site {
    let prepare = |folder: &Path| {
        for disk in disks {
            let at = folder.join(disk.folder());
            fs::create_dir(&at).unwrap();
            mount(&at);
        }
    };
    Site::with(Ground::ALL[0], Sources::Files, ["", ""], prepare).unwrap()
}

/// For this user alone, as the data directory has to be.
fn mount(folder: &Path) {
    let options = format!("mode=0700,size={DISK_MEBIBYTES}m");
    let status = Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder).status().unwrap();
    assert!(status.success());
}

/// Makes a file that takes all the room there is, but so many bytes.
fn fill(folder: &Path, room: u64) -> PathBuf {
    let path = folder.join("ballast");
    let mut file = File::create(&path).unwrap();
    let piece = vec![0_u8; 64 << 10];
    while file.write_all(&piece).is_ok() {}
    while file.write_all(&[0]).is_ok() {}
    let taken = file.metadata().unwrap().len();
    file.set_len(taken.saturating_sub(room)).unwrap();
    path
}

/// The metadata's write-ahead log takes no room until something is written: otherwise it would go over what stood there before, and a full
/// disk would not be noticed.
fn empty_journal(site: &Site) {
    let connection = Connection::open(site.path("data/trivault.db")).unwrap();
    connection.busy_timeout(Duration::from_secs(1)).unwrap();
    let begun = Instant::now();
    loop {
        let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        if !is_busy {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "somebody always reads");
        thread::sleep(LOOK_EVERY);
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
    println!("{said}");
}
