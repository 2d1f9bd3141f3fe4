//! A restore that dies at any step is undone or finished afterwards, and never in between.

use std::{
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use trivault_sources::{
    CaptureManifest, Conflict, Interrupted, PartReader, PartRestoreRequest, Progress, RandomRead, Result, SourceDriver,
    StoredNode, Warning,
    directory::DirectorySource,
    testing::{MemoryPart, MemoryReader},
};

use crate::{capture::Mounted, support::*};

/// A reader in whose hands the process "dies": it panics at the n-th thing that the restore tells it.
struct Mortal {
    inner: MemoryReader,
    left: AtomicU32,
}

impl Mortal {
    fn new(part: &Arc<MemoryPart>, steps: u32) -> Self {
        Self { inner: MemoryReader::new(part), left: AtomicU32::new(steps) }
    }

    fn step(&self) {
        if self.left.fetch_sub(1, Ordering::SeqCst) == 0 {
            panic!("the machine lost its power");
        }
    }
}

impl PartReader for Mortal {
    fn manifest(&self) -> &CaptureManifest {
        self.inner.manifest()
    }

    fn list(&self, path: &[&[u8]]) -> Result<Vec<StoredNode>> {
        self.inner.list(path)
    }

    fn open(&self, path: &[&[u8]]) -> Result<Box<dyn RandomRead>> {
        self.inner.open(path)
    }

    fn is_cancelled(&self) -> bool {
        false
    }

    fn progress(&self, _progress: Progress) {
        self.step();
    }

    fn warn(&self, _warning: Warning) {}

    fn log(&self, _line: &str) {
        self.step();
    }
}

/// Kills the restore at each of its steps in turn; `prepare` makes the target as it is before, and `judge` says what the
/// target must be once the restore was taken up again.
fn die_everywhere(
    place: &Place,
    driver: &DirectorySource,
    part: &Arc<MemoryPart>,
    request: &PartRestoreRequest,
    prepare: impl Fn(),
    judge: impl Fn(Interrupted, u32),
) {
    let mut ends = Vec::new();
    for step in 0.. {
        prepare();
        let reader = Mortal::new(part, step);
        let plan = driver.plan_restore(&MemoryReader::new(part), request).unwrap();
        if let Ok(outcome) = catch_unwind(AssertUnwindSafe(|| driver.restore(&reader, &plan))) {
            outcome.unwrap();
            break;
        }
        let found = driver.resume_restore(&plan).unwrap();
        judge(found, step);
        let again = driver.resume_restore(&plan).unwrap();
        judge(if request.conflict == Conflict::Replace { again } else { found }, step);
        ends.push(found);
    }
    let turn = ends.iter().position(|end| *end == Interrupted::Finished).unwrap_or(ends.len());
    assert!(ends[turn..].iter().all(|end| *end == Interrupted::Finished), "{ends:?}");
    assert!(turn > 0, "{ends:?}");
    println!("{} steps, turning point at {turn}; {:?}", ends.len(), place.names());
}

fn sample(place: &Place) -> Captured {
    for path in ["a", "b", "dir/c", "dir/deep/d", "missing/x"] {
        write(place.live().join(path), format!("backup {path}"));
    }
    capture(&place.driver())
}

fn damage(live: &Path) {
    for entry in fs::read_dir(live).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { fs::remove_dir_all(path).unwrap() } else { fs::remove_file(path).unwrap() }
    }
    write(live.join("a"), b"now");
    write(live.join("dir/c"), b"now");
    write(live.join("extra"), b"now");
}

fn silence() {
    std::panic::set_hook(Box::new(|info| {
        if !info.to_string().contains("lost its power") {
            eprintln!("{info}");
        }
    }));
}

#[test]
fn a_restore_to_a_new_path_leaves_all_or_nothing() {
    silence();
    let place = Place::new();
    let captured = sample(&place);
    let wanted = look(&place.live());
    let target = place.path("new/target");
    let prepare = || {
        let _ = fs::remove_dir_all(place.path("new"));
    };
    die_everywhere(&place, &place.driver(), &captured.part, &new_path(&target), prepare, |end, step| match end {
        Interrupted::NothingTouched => assert_eq!(place.names(), ["live"], "step {step}"),
        Interrupted::Finished => assert_eq!(look(&target), wanted, "step {step}"),
    });
}

#[test]
fn a_swap_leaves_the_old_or_the_new() {
    silence();
    let place = Place::new();
    let captured = sample(&place);
    let wanted = contents(&place.live());
    let prepare = || {
        let _ = fs::remove_dir_all(place.path("live.before-job1"));
        damage(&place.live());
    };
    prepare();
    let old = contents(&place.live());
    die_everywhere(
        &place,
        &place.driver(),
        &captured.part,
        &in_place(Conflict::Replace),
        prepare,
        |end, step| match end {
            Interrupted::NothingTouched => {
                assert_eq!(contents(&place.live()), old, "step {step}");
                assert_eq!(place.names(), ["live"], "step {step}");
            }
            Interrupted::Finished => {
                assert_eq!(contents(&place.live()), wanted, "step {step}");
                assert_eq!(contents(&place.path("live.before-job1")), old, "step {step}");
                assert_eq!(place.names(), ["live", "live.before-job1"], "step {step}");
            }
        },
    );
}

#[test]
fn a_swap_on_a_file_system_without_exchange_is_finished_from_its_moment_without_a_target() {
    let place = Place::new();
    let captured = sample(&place);
    let wanted = contents(&place.live());
    let reader = MemoryReader::new(&captured.part);
    let plan = place.driver().plan_restore(&reader, &in_place(Conflict::Replace)).unwrap();
    // The state between the two renames.
    fs::create_dir(place.path("copy")).unwrap();
    let copied =
        std::process::Command::new("cp").arg("-a").arg(place.live()).arg(place.path("live.trivault-job1")).status();
    assert!(copied.unwrap().success());
    fs::remove_dir(place.path("copy")).unwrap();
    fs::rename(place.live(), place.path("live.before-job1")).unwrap();
    for _ in 0..2 {
        assert_eq!(place.driver().resume_restore(&plan).unwrap(), Interrupted::Finished);
        assert_eq!(contents(&place.live()), wanted);
        assert_eq!(place.names(), ["live", "live.before-job1"]);
    }
}

#[test]
fn a_merge_adds_everything_or_nothing() {
    silence();
    for conflict in [Conflict::AddMissing, Conflict::UpdateDiffering] {
        let place = Place::new();
        let captured = sample(&place);
        let prepare = || damage(&place.live());
        prepare();
        let old = contents(&place.live());
        restore(&place.driver(), &captured.part, &in_place(conflict));
        let wanted = contents(&place.live());
        assert_ne!(old, wanted);
        die_everywhere(&place, &place.driver(), &captured.part, &in_place(conflict), prepare, |end, step| {
            let expected = if end == Interrupted::Finished { &wanted } else { &old };
            let found = contents(&place.live());
            // Between its end and the job's a merge says "nothing touched", and everything is there.
            assert!(found == *expected || found == wanted, "step {step}: {found:?}");
            assert_eq!(place.names(), ["live"], "step {step}");
        });
    }
}

#[test]
fn a_mount_point_s_entries_are_all_old_or_all_new() {
    silence();
    let place = Place::new();
    let live = place.live();
    let Some(_mounted) = Mounted::at(&live) else { return };
    let captured = sample(&place);
    let wanted = contents(&live);
    let prepare = || damage(&live);
    prepare();
    let old = contents(&live);
    die_everywhere(&place, &place.driver(), &captured.part, &in_place(Conflict::Replace), prepare, |end, step| {
        let (kept, found): (Vec<_>, Vec<_>) =
            contents(&live).into_iter().partition(|(path, _)| path.starts_with(".trivault-"));
        let found = found.into_iter().collect();
        match end {
            Interrupted::NothingTouched => assert!(kept.is_empty() && old == found, "step {step}"),
            Interrupted::Finished => {
                assert_eq!(wanted, found, "step {step}");
                let kept: Vec<String> = kept.into_iter().map(|(path, _)| path).collect();
                let names = ["a", "dir/c", "extra"].map(|name| format!(".trivault-before-job1/{name}"));
                assert_eq!(kept, names, "step {step}");
            }
        }
    });
}
