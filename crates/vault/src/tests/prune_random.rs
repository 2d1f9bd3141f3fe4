//! Backups, forgets, prunes and crashes in random order, by us and by the stock restic: no byte that a kept snapshot needs is ever lost.
//!
//! Captures and prunes die anywhere, and leave their lock files. restic's exclusive commands are tried at any time: beside an open capture
//! they must be refused, and what a crash has left must not mislead them.
//!
//! `TRIVAULT_PRUNE_SECONDS` makes it run longer than its 30 seconds, `TRIVAULT_PRUNE_SEED` runs one story alone.

use super::{
    prune::{assert_sound, start},
    restic::restic,
    scene::*,
};
use crate::{
    Capture, CheckOptions, Id, Lock, LockMode, PRUNE_POINTS, Password, PruneOptions, ReadSubset, Result, Vault,
};
use chrono::{DateTime, TimeDelta, Utc};
use std::{
    collections::BTreeMap,
    io::Write,
    path::Path,
    process::{Command, Output, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

const STEPS: usize = 24;

struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % sides.max(1)
    }
}

/// What a snapshot must give back: file names and contents.
type Files = Vec<(String, Vec<u8>)>;

struct Held {
    capture: Capture,
    root: Id,
    files: Files,
    began: DateTime<Utc>,
    lock: Lock,
}

/// How often things happened, over all stories.
#[derive(Clone, Copy, Debug, Default)]
struct Seen {
    dead_captures: u32,
    dead_prunes: u32,
    /// Exclusive commands of restic that an open capture's lock has kept out.
    kept_out: u32,
    /// Exclusive commands of restic after a prune that died.
    after_a_crash: u32,
}

struct Story {
    scene: Scene,
    dice: Dice,
    now: DateTime<Utc>,
    kept: BTreeMap<Id, Files>,
    held: Option<Held>,
    /// A prune crashed, so that the stock restic may complain until the next one.
    crashed: bool,
    /// What the test is worth.
    seen: Seen,
    log: Vec<String>,
}

impl Story {
    fn files(&mut self) -> Files {
        let count = 1 + self.dice.roll(4);
        (0..count).map(|number| (format!("f{number}"), noise(self.dice.roll(14) as u64, 120_000))).collect()
    }

    /// A vault as this or another node has it open.
    fn vault(&mut self) -> Vault {
        if self.dice.roll(2) == 0 { self.scene.vault.clone() } else { self.scene.reopened() }
    }

    fn begin(&mut self) {
        let (vault, files) = (self.vault(), self.files());
        let lock = vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
        let capture = begin(&vault, None);
        let mut root = capture.directory();
        for (name, content) in &files {
            root.add_file(name.as_bytes(), &file_meta(), &stream(&capture, content, CONTENT_DEFINED).unwrap()).unwrap();
        }
        let root = root.finish().unwrap();
        self.held = Some(Held { capture, root, files, began: self.now, lock });
    }

    fn commit(&mut self) {
        let Some(Held { capture, root, files, lock, .. }) = self.held.take() else { return };
        let committed = commit(capture, root).unwrap();
        self.kept.insert(committed.snapshot, files);
        lock.release().unwrap();
    }

    /// A capture whose process dies, at the latest when it would have committed; its lock file stays.
    fn crash_capture(&mut self) {
        let files = self.files();
        let store = Dying::new(backend(&self.scene.path()), self.dice.roll(9) as i64);
        let vault = Vault::open(store.clone(), &Password::new(PASSWORD), super::scene::options()).unwrap();
        let lock = vault.lock(LockMode::Shared, Duration::ZERO);
        let commits = self.dice.roll(3) == 0;
        let work = || -> Result<()> {
            let capture = vault.capture(draft(), None, Arc::new(Events::default()))?;
            let mut root = capture.directory();
            for (name, content) in &files {
                root.add_file(name.as_bytes(), &file_meta(), &stream(&capture, content, CONTENT_DEFINED)?)?;
            }
            let root = root.finish()?;
            if commits {
                commit(capture, root)?;
            }
            store.die();
            Ok(())
        };
        let result = work();
        store.die();
        drop(lock);
        self.log.push(format!("  capture dies, commits {commits}: {result:?}"));
        self.seen.dead_captures += 1;
        // Of its last step, nobody heard the answer.
        let listed = self.scene.reopened().snapshots().unwrap().snapshots;
        if let Some(new) = listed.iter().find(|snapshot| !self.kept.contains_key(&snapshot.id)) {
            assert!(commits, "{result:?}");
            self.kept.insert(new.id, files);
        }
    }

    /// Removes the lock files of what has died, as a server does from time to time.
    fn unlock_dead(&self) {
        let open = self.held.as_ref().map(|held| held.lock.id());
        let vault = self.scene.reopened();
        let stale = vault.own_stale_locks().unwrap();
        let dead: Vec<Id> = stale.iter().map(|lock| lock.id).filter(|id| Some(*id) != open).collect();
        vault.remove_locks(&dead).unwrap();
    }

    fn forget(&mut self) {
        let place = self.dice.roll(self.kept.len());
        let Some(id) = self.kept.keys().nth(place).copied() else { return };
        self.scene.vault.forget(&id).unwrap();
        self.kept.remove(&id);
    }

    fn prune(&mut self, may_die: bool) {
        self.unlock_dead();
        let allowed = if may_die { self.dice.roll(12) as i64 } else { i64::MAX };
        let options = PruneOptions {
            oldest_writer: self.held.as_ref().map(|held| held.began),
            tolerated_unused: [0.0, 0.05, 0.5][self.dice.roll(3)],
            max_repack_bytes: [None, Some(300_000)][self.dice.roll(2)],
            lock_wait: Duration::ZERO,
            ..PruneOptions::new(self.now)
        };
        let store = Dying::new(backend(&self.scene.path()), allowed);
        let vault = Vault::open(store.clone(), &Password::new(PASSWORD), super::scene::options()).unwrap();
        let at = PRUNE_POINTS[self.dice.roll(PRUNE_POINTS.len())];
        // In the middle of it, a capture may end or a snapshot may go.
        let meddles = self.dice.roll(3) > 0;
        let commits = self.dice.roll(2) == 0;
        let result = {
            let story = &mut *self;
            let meddling = Meddling::new(at, move || match (meddles, commits) {
                (true, true) => story.commit(),
                (true, false) => story.forget(),
                _ => {}
            });
            vault.prune(&options, &meddling)
        };
        self.log.push(format!(
            "  prune {allowed} {at} meddles {meddles} commits {commits}: {:?}",
            result.as_ref().map(|report| report.plan.clone())
        ));
        drop(vault);
        if result.is_err() {
            assert!(store.is_dead(), "{:?}", result.err());
            self.crashed = true;
            self.seen.dead_prunes += 1;
        } else {
            self.crashed = false;
        }
    }

    fn restic_backup(&mut self) {
        self.unlock_dead();
        let content = noise(self.dice.roll(14) as u64, 150_000);
        let mut child = Command::new("restic")
            .args([
                "--no-cache",
                "-q",
                "-r",
                self.scene.path().to_str().unwrap(),
                "backup",
                "--stdin",
                "--stdin-filename",
                "f0",
            ])
            .env("RESTIC_PASSWORD", PASSWORD)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(&content).unwrap();
        assert!(child.wait().unwrap().success());
        let known: Vec<Id> = self.kept.keys().copied().collect();
        for snapshot in self.scene.vault.snapshots().unwrap().snapshots {
            if !known.contains(&snapshot.id) {
                self.kept.insert(snapshot.id, vec![("f0".to_owned(), content.clone())]);
            }
        }
    }

    /// Those of restic's commands that want the vault for themselves.
    fn restic_alone(&mut self) {
        let place = self.dice.roll(self.kept.len());
        let some = self.kept.keys().nth(place).map(Id::to_hex);
        let exclusive: Vec<&str> = match (self.dice.roll(3), &some) {
            (0, _) => vec!["rebuild-index"],
            (1, Some(some)) => vec!["forget", some, "--prune"],
            _ => vec!["prune"],
        };
        if self.held.is_some() {
            return self.is_kept_out(&exclusive);
        }
        if self.crashed {
            return self.after_a_crash(&exclusive);
        }
        self.unlock_dead();
        restic(&self.scene.path(), &["unlock"]);
        restic(&self.scene.path(), &exclusive);
        if exclusive[0] == "forget" {
            self.kept.retain(|id, _| Some(id.to_hex()) != some);
        }
    }

    /// Beside an open capture, whose lock is no stale one.
    fn is_kept_out(&mut self, exclusive: &[&str]) {
        let path = self.scene.path();
        let files = || ["data", "index", "snapshots"].map(|folder| files_below(&path.join(folder)));
        let before = files();
        restic(&path, &["unlock"]);
        let output = run_restic(&path, exclusive);
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(!output.status.success() && said.contains("locked"), "{exclusive:?} beside an open capture: {said}");
        assert!(files() == before, "{exclusive:?} was refused and has changed something");
        self.seen.kept_out += 1;
    }

    /// Where a prune died. restic may fail at what it finds; nothing that is kept may go.
    fn after_a_crash(&mut self, exclusive: &[&str]) {
        let path = self.scene.path();
        restic(&path, &["unlock", "--remove-all"]);
        let rebuilds = self.dice.roll(2) == 0;
        if rebuilds {
            let rebuilt = run_restic(&path, &["rebuild-index"]).status;
            self.log.push(format!("  rebuild-index after a crash: {rebuilt}"));
        }
        let output = run_restic(&path, exclusive);
        self.log.push(format!("  restic {exclusive:?} after a crash, rebuilds {rebuilds}: {}", output.status));
        let left: Vec<Id> = self.scene.reopened().snapshots().unwrap().snapshots.iter().map(|found| found.id).collect();
        let may_go = |id: &Id| exclusive[0] == "forget" && exclusive[1] == id.to_hex();
        let lost: Vec<&Id> = self.kept.keys().filter(|id| !left.contains(id) && !may_go(id)).collect();
        assert!(lost.is_empty(), "{exclusive:?} has removed {lost:?}");
        self.kept.retain(|id, _| left.contains(id));
        self.seen.after_a_crash += 1;
    }

    fn step(&mut self) {
        let hours = self.dice.roll(16) as i64;
        self.now += TimeDelta::hours(hours);
        let dice = self.dice.roll(23);
        self.log.push(format!("{dice} at {}", self.now));
        match dice {
            0..=3 if self.held.is_none() => self.begin(),
            0..=5 => {
                if self.held.is_none() {
                    self.begin();
                }
                self.commit();
            }
            6..=8 => self.forget(),
            9..=12 => self.prune(false),
            13..=15 => self.prune(true),
            16..=17 => self.restic_backup(),
            18..=19 => self.crash_capture(),
            _ => self.restic_alone(),
        }
    }

    fn assert_kept(&self) {
        let vault = self.scene.reopened();
        let found: Vec<Id> = vault.snapshots().unwrap().snapshots.iter().map(|snapshot| snapshot.id).collect();
        assert_eq!(found.len(), self.kept.len());
        for (id, files) in &self.kept {
            let reader = vault.reader(&vault.snapshot(id).unwrap()).unwrap();
            for (name, content) in files {
                assert!(read_all(&reader, &[name.as_bytes()]).unwrap() == *content, "{id} {name}");
            }
        }
        let report = vault.check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
        assert!(report.is_sound(), "{report:?}");
    }
}

/// Prints how a story went when it ends badly.
struct Tell<'a>(u64, &'a mut Story);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("TRIVAULT_PRUNE_SEED={}\n{}", self.0, self.1.log.join("\n"));
        }
    }
}

fn run_restic(vault: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new("restic");
    command.args(["--no-cache", "-r"]).arg(vault).args(arguments).env("RESTIC_PASSWORD", PASSWORD);
    command.stdin(Stdio::null()).output().unwrap()
}

fn tell(seed: u64) -> Seen {
    let mut story = Story {
        scene: Scene::new(),
        dice: Dice(seed.wrapping_mul(7919).wrapping_add(1)),
        now: start(),
        kept: BTreeMap::new(),
        held: None,
        crashed: false,
        seen: Seen::default(),
        log: Vec::new(),
    };
    let tell = Tell(seed, &mut story);
    let story = &mut *tell.1;
    for step in 0..STEPS {
        story.step();
        story.assert_kept();
        if step % 8 == 7 && !story.crashed && story.held.is_none() {
            story.unlock_dead();
            assert_sound(&story.scene.path());
        }
    }
    story.commit();
    story.prune(false);
    story.commit();
    story.assert_kept();
    assert_sound(&story.scene.path());
    // Whatever happened: without snapshots nothing is left.
    while !story.kept.is_empty() {
        story.forget();
    }
    for _ in 0..3 {
        story.now += TimeDelta::hours(30);
        let options = PruneOptions { tolerated_unused: 0.0, ..PruneOptions::new(story.now) };
        story.scene.vault.prune(&options, &Calm).unwrap();
    }
    assert!(files_below(&story.scene.path().join("data")).is_empty());
    assert!(files_below(&story.scene.path().join("index")).is_empty());
    story.seen
}

#[test]
fn in_random_stories_no_byte_of_a_kept_snapshot_is_lost() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    if let Some(seed) = number("TRIVAULT_PRUNE_SEED") {
        eprintln!("{:?}", tell(seed));
        return;
    }
    let (began, limit) = (Instant::now(), Duration::from_secs(number("TRIVAULT_PRUNE_SECONDS").unwrap_or(30)));
    let (mut seed, mut all) = (0, Seen::default());
    while seed < 8 || began.elapsed() < limit {
        let seen = tell(seed);
        all.dead_captures += seen.dead_captures;
        all.dead_prunes += seen.dead_prunes;
        all.kept_out += seen.kept_out;
        all.after_a_crash += seen.after_a_crash;
        seed += 1;
    }
    eprintln!("{seed} stories in {:?}: {all:?}", began.elapsed());
    let Seen { dead_captures, dead_prunes, kept_out, after_a_crash } = all;
    assert!(dead_captures > 0 && dead_prunes > 0 && kept_out > 0 && after_a_crash > 0, "{all:?}");
}
