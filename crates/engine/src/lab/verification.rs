//! Damage in a store: found, marked, healed by the next backup, and no longer marked.

use std::{path::PathBuf, sync::Arc};

use chrono::TimeDelta;
use chrono_tz::Tz;
use trivault_vault::backend::{FileKind, LocalRoot, StoreRoot};

use super::{
    bench::{Bench, admin, contents, databases},
    gate::Gate,
};
use crate::{
    ManualClock,
    db::{AuditEntry, ClaimLimits, Enqueue, Finish, Labels, NewJob, VerificationRow},
    domain::*,
};

fn vault_folder(bench: &Bench) -> PathBuf {
    bench.path("store").join("vault")
}

fn packs(bench: &Bench) -> Vec<String> {
    let vault = LocalRoot::new(bench.path("store")).unwrap().vault("vault").unwrap();
    let mut names: Vec<String> = vault.list(FileKind::Pack).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    names
}

/// Changes some bytes in the middle of a pack's first blob.
fn damage(bench: &Bench, pack: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = vault_folder(bench).join("data").join(&pack[..2]).join(pack);
    let mut bytes = std::fs::read(&path).unwrap();
    for byte in &mut bytes[40..60] {
        *byte ^= 0x55;
    }
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::write(&path, bytes).unwrap();
}

/// Every pack.
pub(super) fn damage_all(bench: &Bench) {
    for pack in packs(bench) {
        damage(bench, &pack);
    }
}

async fn vault(bench: &Bench) -> VaultId {
    bench.engine.inner().db.server_vault(bench.store.id).await.unwrap().unwrap().vault.id
}

async fn verify(bench: &Bench, request: StartVerify) -> Job {
    let job = bench.engine.start_verify(&admin(), request).await.unwrap();
    bench.ended(job.id).await
}

async fn verify_all(bench: &Bench) -> Job {
    verify(bench, StartVerify::Vault { vault: vault(bench).await, read: ReadShare::All }).await
}

/// Which of these backups are marked.
async fn marked(bench: &Bench, backups: &[&Backup]) -> Vec<bool> {
    let ids: Vec<BackupId> = backups.iter().map(|backup| backup.id).collect();
    let damage = bench.engine.damage_of(&ids).await.unwrap();
    backups.iter().map(|backup| damage.contains_key(&backup.parts[0].id)).collect()
}

/// The pack that the second of two backups has added for its content.
struct Scene {
    bench: Bench,
    clock: Arc<ManualClock>,
    repository: Repository,
    old: Backup,
    new: Backup,
    /// Holds content that only the newer backup needs.
    pack: String,
}

impl Scene {
    async fn with(change: impl FnOnce(&mut crate::EngineOptions)) -> Self {
        let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
        let own = clock.clone();
        let bench = Bench::with(|options| {
            options.clock = own;
            change(options);
        })
        .await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let old = bench.back_up(&repository).await;
        let before = packs(&bench);
        clock.advance(TimeDelta::hours(1));
        std::fs::write(bench.path("photos/new"), trivault_testkit::trees::noise(9, 700_000)).unwrap();
        let new = bench.back_up(&repository).await;
        let folder = vault_folder(&bench);
        let size = |pack: &String| std::fs::metadata(folder.join("data").join(&pack[..2]).join(pack)).unwrap().len();
        let pack = packs(&bench).into_iter().filter(|pack| !before.contains(pack)).max_by_key(size).unwrap();
        Self { bench, clock, repository, old, new, pack }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn damage_marks_the_backups_that_need_it_spares_the_good_ones_and_is_healed_by_the_next_backup() {
    for database in databases() {
        let scene = Scene::with(|options| options.database = database).await;
        let Scene { bench, clock, repository, old, new, pack } = &scene;
        assert_eq!(verify_all(bench).await.state, JobState::Succeeded);
        damage(bench, pack);
        let job = verify_all(bench).await;
        let log = bench.log(job.id).await;
        assert_eq!((job.state, job.attempt), (JobState::Failed, 1), "{log}");
        let failure = job.failure.unwrap();
        assert_eq!(
            (failure.code.as_str(), failure.sentence.as_str()),
            ("damaged", "1 of 2 stored copies of sources are damaged.")
        );
        assert!(log.contains(pack.as_str()) && log.contains("photos/data/new"), "{log}");
        assert!(job.warnings.iter().any(|warning| warning.code.starts_with("damaged")));
        assert_eq!(marked(bench, &[old, new]).await, [false, true]);

        // Retention counts on the older one, and does not let the damaged one go for its damage.
        let rules = Retention { last: 1, ..Retention::everything(Tz::UTC) };
        let preview = bench.engine.preview_retention(&admin(), repository.id, Some(rules)).await.unwrap();
        assert!(preview.iter().all(|(_, verdict)| verdict.keep), "{preview:?}");
        assert!(preview[1].0.damaged && !preview[0].0.damaged);
        let range = StartMerge {
            repository: repository.id,
            task: None,
            range: MergeRange::EVERYTHING,
            zone: Tz::UTC,
            as_of: None,
            job_attributes: vec![],
        };
        let merge = bench.engine.start_merge(&admin(), range).await.unwrap();
        assert_eq!(bench.ended(merge.id).await.failure.unwrap().code, "not_ready");

        clock.advance(TimeDelta::hours(1));
        let healing = bench.back_up(repository).await;
        assert_eq!(healing.state, BackupState::Succeeded, "{}", bench.log(healing.job).await);
        let job = verify_all(bench).await;
        assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        assert!(bench.log(job.id).await.contains("whole again"));
        assert_eq!(marked(bench, &[old, new, &healing]).await, [false, false, false]);
        let before = contents(&bench.path("photos"));
        std::fs::remove_dir_all(bench.path("photos")).unwrap();
        let restored = bench.restore(bench.restore_request(new, RestoreInto::InPlace)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
        assert_eq!(contents(&bench.path("photos")), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_test_finds_damage_that_no_structure_shows_and_has_the_vault_read() {
    let scene = Scene::with(|_| {}).await;
    let Scene { bench, repository, old, new, pack, .. } = &scene;
    let whole = verify(bench, StartVerify::Repository(repository.id)).await;
    assert_eq!(whole.state, JobState::Succeeded, "{}", bench.log(whole.id).await);
    assert!(whole.progress.bytes_read >= 1_000_000, "{:?}", whole.progress);
    damage(bench, pack);
    let structure = StartVerify::Vault { vault: vault(bench).await, read: ReadShare::None };
    assert_eq!(verify(bench, structure).await.state, JobState::Succeeded, "nothing is missing");
    // The process has read these bytes a moment ago and may still know them; another one has not.
    bench.engine.inner().storage.let_go(vault(bench).await);
    let job = verify(bench, StartVerify::Repository(repository.id)).await;
    let log = bench.log(job.id).await;
    assert_eq!(job.failure.unwrap().code, "damaged", "{log}");
    assert!(log.contains("reads the whole vault"), "{log}");
    let filter = JobFilter { kinds: vec![JobKind::Verify], ..JobFilter::default() };
    for job in bench.engine.jobs(&admin(), filter).await.unwrap() {
        bench.ended(job.id).await;
    }
    assert_eq!(marked(bench, &[old, new]).await, [false, true]);
    // The newest good one of the source is the older now.
    let job = verify(bench, StartVerify::Repository(repository.id)).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_a_passcode_is_compared_at_rest_and_read_back_with_it() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let mut request = bench.request(&repository);
    request.passcode = Some(SecretText::new("correct horse"));
    let backup = bench.back_up_as(request).await;
    let vault = backup.parts[0].vault.unwrap();
    let at_rest = || StartVerify::Vault { vault, read: ReadShare::All };
    assert_eq!(verify(&bench, at_rest()).await.state, JobState::Succeeded);
    let refused = StartVerify::Backup { backup: backup.id, passcode: None };
    let refused = bench.engine.start_verify(&admin(), refused).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::PasscodeRequired);
    let wrong = StartVerify::Backup { backup: backup.id, passcode: Some(SecretText::new("wrong horse")) };
    assert_eq!(bench.engine.start_verify(&admin(), wrong).await.unwrap_err().code, ErrorCode::WrongPasscode);
    let right = StartVerify::Backup { backup: backup.id, passcode: Some(SecretText::new("correct horse")) };
    let job = verify(&bench, right).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);

    let row = bench.engine.inner().db.vault_row(vault).await.unwrap().unwrap();
    let data = bench.path("store").join(&row.vault.path).join("data");
    let folder = std::fs::read_dir(data).unwrap().next().unwrap().unwrap().path();
    let pack = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    std::fs::remove_file(&pack).unwrap();
    std::fs::write(&pack, b"something else").unwrap();
    let job = verify(&bench, at_rest()).await;
    assert_eq!(job.failure.unwrap().code, "damaged", "{}", bench.log(job.id).await);
    assert_eq!(marked(&bench, &[&backup]).await, [true]);
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_run_by_themselves_in_their_rhythm_and_say_when_they_last_did() {
    for database in databases() {
        let scene = Scene::with(|options| {
            options.database = database;
            options.care.data_shares = 1;
        })
        .await;
        let Scene { bench, clock, .. } = &scene;
        let status = || async { bench.engine.verify_status(&admin()).await.unwrap() };
        let levels: Vec<_> = status().await.iter().map(|it| (it.level, it.succeeded_at)).collect();
        assert_eq!(levels, VerifyLevel::ALL.map(|level| (level, None)), "never verified is a state of its own");
        bench.engine.reconcile().await.unwrap();
        let filter = || JobFilter { kinds: vec![JobKind::Verify], ..JobFilter::default() };
        assert_eq!(bench.engine.jobs(&admin(), filter()).await.unwrap(), []);

        clock.advance(TimeDelta::hours(49));
        assert!(status().await[0].overdue && !status().await[2].overdue);
        for _ in 0..2 {
            bench.engine.reconcile().await.unwrap();
            for job in bench.engine.jobs(&admin(), filter()).await.unwrap() {
                let job = bench.ended(job.id).await;
                assert_eq!((job.state, job.via.as_str()), (JobState::Succeeded, "scheduler"));
            }
        }
        let jobs = bench.engine.jobs(&admin(), filter()).await.unwrap();
        assert_eq!(jobs.len(), 1, "one check does the structure and the data");
        assert_eq!(status().await[0].succeeded_at, Some(bench.engine.now()));
        assert!(status().await.iter().all(|it| !it.overdue));

        clock.advance(TimeDelta::days(7));
        for _ in 0..2 {
            bench.engine.reconcile().await.unwrap();
        }
        let jobs = bench.engine.jobs(&admin(), filter()).await.unwrap();
        assert_eq!(jobs.len(), 3, "and one for the repository, once a week");
        for job in jobs {
            assert_eq!(bench.ended(job.id).await.state, JobState::Succeeded, "{}", bench.log(job.id).await);
        }
        let rows = bench.engine.inner().db.verifications().await.unwrap();
        let concluded = |rows: &Vec<VerificationRow>| rows.iter().all(|row| row.concluded_at.is_some());
        assert!(rows.len() == 2 && rows.values().all(concluded));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_check_ends_within_two_seconds_and_another_one_waits_for_none() {
    let gate = Gate::closed("check", 1);
    let observer = gate.observer();
    let scene = Scene::with(|options| options.observer = Some(observer)).await;
    let bench = &scene.bench;
    let request = || async { StartVerify::Vault { vault: vault(bench).await, read: ReadShare::All } };
    let job = bench.engine.start_verify(&admin(), request().await).await.unwrap();
    gate.arrived("check", 1, 1).await;
    let refused = bench.engine.start_verify(&admin(), request().await).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::InUse(Noun::Vault));
    // A backup goes on beside it.
    assert_eq!(bench.back_up(&scene.repository).await.state, BackupState::Succeeded);
    bench.engine.cancel_job(&admin(), job.id).await.unwrap();
    gate.open();
    let asked = std::time::Instant::now();
    assert_eq!(bench.ended(job.id).await.state, JobState::Cancelled);
    assert!(asked.elapsed() < std::time::Duration::from_secs(2));
}

/// As a process that has read nothing of it yet.
async fn forget_what_was_read(bench: &Bench) {
    bench.engine.inner().storage.let_go(vault(bench).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_restored_as_far_as_it_can_be_read_and_the_job_says_so() {
    let scene = Scene::with(|_| {}).await;
    let Scene { bench, old, new, .. } = &scene;
    // Marked by a check, and healed behind its back: all of it can be read.
    mark(bench, new, "photos/data/new from byte 0 on, 700000 bytes: cannot be read.").await;
    let into = RestoreInto::NewPath(bench.path("beside").to_str().unwrap().into());
    let job = bench.restore(bench.restore_request(new, into)).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    let warning = &job.warnings[0];
    assert_eq!((job.warnings.len(), warning.code.as_str()), (1, "damaged_backup"));
    let id = new.id.to_string();
    assert!(warning.sentence.contains(&id) && warning.sentence.contains("cannot be read. What can be"), "{warning:?}");
    assert!(bench.log(job.id).await.contains(&warning.sentence));
    assert_eq!(contents(&bench.path("beside")), contents(&bench.path("photos")));
    let whole = RestoreInto::NewPath(bench.path("older").to_str().unwrap().into());
    let job = bench.restore(bench.restore_request(old, whole)).await;
    assert_eq!((job.state, job.warnings.len()), (JobState::Succeeded, 0), "another backup is nobody's concern");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_that_cannot_read_names_the_damaged_backup_and_the_newest_sound_one() {
    let scene = Scene::with(|_| {}).await;
    let Scene { bench, clock, repository, old, new, pack } = &scene;
    clock.advance(TimeDelta::hours(1));
    let newest = bench.back_up(repository).await;
    damage(bench, pack);
    let place = |name: &str| RestoreInto::NewPath(bench.path(name).to_str().unwrap().into());
    for (round, name) in ["unknown", "known"].into_iter().enumerate() {
        forget_what_was_read(bench).await;
        let job = bench.restore(bench.restore_request(new, place(name))).await;
        let failure = job.failure.clone().unwrap();
        assert_eq!((job.state, failure.code.as_str()), (JobState::Failed, "damaged"), "{}", bench.log(job.id).await);
        let title = |backup: &Backup| {
            format!("The backup of photos of {} ({})", backup.point.unwrap().format("%Y-%m-%d %H:%M:%SZ"), backup.id)
        };
        assert!(failure.sentence.starts_with(&format!("{} is damaged and", title(new))), "{failure:?}");
        // Until the vault was read, the newer one that needs the same bytes is held for good.
        let sound = if round == 0 { &newest } else { old };
        let other = format!("{} is the newest that is not known to be damaged.", title(sound));
        assert!(failure.sentence.ends_with(&other), "{failure:?}");
        assert!(!bench.path(name).exists(), "what could not be read whole is not left half");
        assert_eq!(job.warnings.iter().filter(|warning| warning.code == "damaged_backup").count(), round);
        // What the failed restore has started reads the vault, and marks all that need the pack.
        let filter = JobFilter { kinds: vec![JobKind::Verify], ..JobFilter::default() };
        for job in bench.engine.jobs(&admin(), filter).await.unwrap() {
            bench.ended(job.id).await;
        }
        assert_eq!(marked(bench, &[old, new, &newest]).await, [false, true, true]);
    }
    let damaged = bench.engine.damaged_backups(&admin()).await.unwrap();
    assert_eq!(damaged[&repository.id], [new.id, newest.id]);
    let job = bench.restore(bench.restore_request(old, place("older"))).await;
    assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
}

/// As a check marks it.
async fn mark(bench: &Bench, backup: &Backup, sentence: &str) {
    let (db, now) = (&bench.engine.inner().db, bench.engine.now());
    let mut job = bench.job(backup.job).await;
    job.id = JobId(uuid::Uuid::now_v7());
    (job.kind, job.backup, job.state, job.attempt, job.finished_at) =
        (JobKind::Verify, None, JobState::Queued, 0, None);
    let job = NewJob {
        job,
        params: serde_json::Value::Null,
        scopes: vec![],
        priority: 0,
        // Nobody else claims it.
        not_before: None,
        retry_limit: 0,
        held_by: Some(HOLDER),
        alone_in: None,
    };
    let id = job.job.id;
    let audit = AuditEntry::of(&admin(), now, "test", None);
    let enqueue = Enqueue { job, backup: None, labels: Labels::default(), occurrence: None, audit };
    db.enqueue(&enqueue).await.unwrap();
    let until = now + TimeDelta::minutes(1);
    let run = db.claim(HOLDER, now, until, &ClaimLimits::default()).await.unwrap().unwrap().run;
    assert_eq!(run.job, id);
    let damage =
        PartDamage { part: backup.parts[0].id, seen_by: VerifyLevel::Data, found_at: now, sentence: sentence.into() };
    assert!(db.mark_damaged(run, &damage, now).await.unwrap().held().unwrap());
    let finish = Finish { state: JobState::Failed, failure: None, delete_backup: false };
    db.finish(run, &finish, now).await.unwrap().held().unwrap();
}

/// A node that runs nothing.
const HOLDER: uuid::Uuid = uuid::Uuid::from_u128(7);

/// Nothing can be put back that is nowhere any more: the mark stays, and the next backup is sound.
#[tokio::test(flavor = "multi_thread")]
async fn the_mark_stays_where_the_source_no_longer_has_the_bytes() {
    let scene = Scene::with(|_| {}).await;
    let Scene { bench, clock, repository, old, new, pack } = &scene;
    damage(bench, pack);
    assert_eq!(verify_all(bench).await.state, JobState::Failed);
    std::fs::remove_file(bench.path("photos/new")).unwrap();
    clock.advance(TimeDelta::hours(1));
    let next = bench.back_up(repository).await;
    assert_eq!(next.state, BackupState::Succeeded, "{}", bench.log(next.job).await);
    let job = verify_all(bench).await;
    assert_eq!(job.failure.unwrap().code, "damaged", "{}", bench.log(job.id).await);
    assert_eq!(marked(bench, &[old, new, &next]).await, [false, true, false]);
    let restored = bench.restore(bench.restore_request(&next, RestoreInto::InPlace)).await;
    assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_damaged_copy_of_a_database_is_healed_by_its_next_backup() {
    let clock = Arc::new(ManualClock::new("2026-01-01T10:00:00Z".parse().unwrap()));
    let bench = Bench::with(|options| options.clock = clock.clone()).await;
    let place = bench.path("app.db");
    let rows = "CREATE TABLE t (i INTEGER PRIMARY KEY, a BLOB);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400) INSERT INTO t SELECT i, randomblob(3000) FROM n;";
    rusqlite::Connection::open(&place).unwrap().execute_batch(rows).unwrap();
    let source = bench.source("app", "sqlite", &place).await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let first = bench.back_up(&repository).await;
    assert_eq!(first.state, BackupState::Succeeded, "{}", bench.log(first.job).await);
    let folder = vault_folder(&bench);
    let size = |pack: &String| std::fs::metadata(folder.join("data").join(&pack[..2]).join(pack)).unwrap().len();
    let largest = packs(&bench).into_iter().max_by_key(size).unwrap();
    damage(&bench, &largest);
    bench.engine.inner().storage.let_go(vault(&bench).await);
    assert_eq!(verify_all(&bench).await.failure.unwrap().code, "damaged");
    assert_eq!(marked(&bench, &[&first]).await, [true]);
    clock.advance(TimeDelta::hours(1));
    let second = bench.back_up(&repository).await;
    assert_eq!(second.state, BackupState::Succeeded, "{}", bench.log(second.job).await);
    let job = verify_all(&bench).await;
    assert_eq!(marked(&bench, &[&first, &second]).await, [false, false], "{}", bench.log(job.id).await);
    let before = std::fs::read(&place).unwrap();
    for backup in [&first, &second] {
        let restored = bench.restore(bench.restore_request(backup, RestoreInto::InPlace)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
        assert!(std::fs::read(&place).unwrap() == before, "the restored database differs");
    }
}
