//! Backups that are made and restored.

use super::bench::{Bench, admin, contents, databases};
use crate::{capture::Tags, domain::*};

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_was_damaged_is_as_before_after_its_restore() {
    for database in databases() {
        let bench = Bench::with(|options| options.database = database).await;
        let source = bench.directory("photos").await;
        let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
        let backup = bench.back_up(&repository).await;
        assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(backup.job).await);
        let part = &backup.parts[0];
        assert_eq!((part.state, backup.kind), (BackupState::Succeeded, BackupKind::Full));
        assert!(part.snapshot.is_some() && part.download_size.is_some() && part.stored_size.unwrap() > 300_000);
        let job = bench.job(backup.job).await;
        assert_eq!((job.state, job.percent, job.attempt), (JobState::Succeeded, 100, 1));
        let steps: Vec<&str> = job.steps.iter().map(|step| step.name.as_str()).collect();
        assert_eq!(steps, ["validate", "capture", "verify", "commit", "clean_up"]);
        assert!(job.steps.iter().all(|step| step.state == StepState::Succeeded));

        let place = bench.path("photos");
        let before = contents(&place);
        std::fs::write(place.join("hello.txt"), b"damaged").unwrap();
        std::fs::remove_dir_all(place.join("below")).unwrap();
        let restored = bench.restore(bench.restore_request(&backup, RestoreInto::InPlace)).await;
        assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
        assert_eq!(contents(&place), before);
        bench.engine.shutdown(std::time::Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_restored_beside_as_a_new_source() {
    let bench = Bench::new().await;
    let path = bench.path("shop.sqlite");
    make_database(&path);
    let source = bench.source("shop", "sqlite", &path).await;
    let repository = bench.repository("daily", SourceSelection::All).await;
    let backup = bench.back_up(&repository).await;
    assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(backup.job).await);
    let into = RestoreInto::NewSource("shop-copy".into());
    let restored = bench.restore(bench.restore_request(&backup, into)).await;
    assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
    let copy = bench.engine.inner().db.source_named("shop-copy").await.unwrap().unwrap();
    assert_ne!(copy.id, source.id);
    assert_eq!(std::fs::read(&copy.config.location).unwrap().len(), std::fs::read(&path).unwrap().len());
    let again = bench.restore_request(&backup, RestoreInto::NewSource("shop-copy".into()));
    let again = bench.engine.start_restore(&admin(), again).await;
    assert_eq!(again.unwrap_err().code, ErrorCode::AlreadyExists(Noun::Source));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_s3_keeps_backups_under_sealed_credentials() {
    let Some(server) = trivault_testkit::s3::S3Server::start() else { return };
    server.make_bucket("backups");
    let mut bench = Bench::new().await;
    let new = NewStore {
        name: "cloud".into(),
        location: StoreLocation::S3 {
            bucket: "backups".into(),
            prefix: "trivault".into(),
            region: None,
            endpoint: Some(server.endpoint()),
            path_style: true,
            allow_http: true,
        },
        credentials: Some(StoreCredentials {
            access_key: "key".into(),
            secret_key: SecretText::new("a-secret-of-the-cloud"),
            session_token: None,
        }),
        is_default: false,
        managed: false,
    };
    bench.store = bench.engine.create_store(&admin(), new).await.unwrap();
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let mut request = bench.request(&repository);
    let backup = bench.back_up_as(request.clone()).await;
    assert_eq!(backup.state, BackupState::Succeeded, "{}", bench.log(backup.job).await);
    request.passcode = Some(SecretText::new("correct horse"));
    let protected = bench.back_up_as(request).await;
    assert_eq!(protected.state, BackupState::Succeeded, "{}", bench.log(protected.job).await);
    let before = contents(&bench.path("photos"));
    std::fs::remove_dir_all(bench.path("photos/below")).unwrap();
    let restored = bench.restore(bench.restore_request(&backup, RestoreInto::InPlace)).await;
    assert_eq!(restored.state, JobState::Succeeded, "{}", bench.log(restored.id).await);
    assert_eq!(contents(&bench.path("photos")), before);
    for id in [protected.id, backup.id] {
        let job = bench.engine.delete_backup(&admin(), id, vec![]).await.unwrap();
        let job = bench.ended(job.id).await;
        assert_eq!(job.state, JobState::Succeeded, "{}", bench.log(job.id).await);
    }
    let secret = b"a-secret-of-the-cloud";
    for (name, bytes) in contents(&bench.path("data")) {
        assert!(!bytes.windows(secret.len()).any(|window| window == secret), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_backup_stores_only_what_changed() {
    let bench = Bench::new().await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let first = bench.back_up(&repository).await;
    std::fs::write(bench.path("photos/new.txt"), b"new").unwrap();
    let second = bench.back_up(&repository).await;
    assert_eq!(second.kind, BackupKind::Incremental);
    assert!(second.point > first.point);
    assert!(second.stored_size() < 20_000, "{} bytes", second.stored_size());
    let mut full = bench.request(&repository);
    full.full = true;
    assert_eq!(bench.back_up_as(full).await.kind, BackupKind::Full);
}

/// A small database.
fn make_database(path: &std::path::Path) {
    let connection = rusqlite::Connection::open(path).unwrap();
    connection
        .execute_batch(
            "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, picture BLOB);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
             INSERT INTO item SELECT i, 'item ' || i, randomblob(100) FROM n;",
        )
        .unwrap();
}

struct Names;

impl Namer for Names {
    fn names(&self, object: NewObject<'_>, random: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal> {
        let mut byte = [0];
        random(&mut byte);
        let name = match object {
            NewObject::Backup { repository, point, .. } => format!("{} of {}", repository.name, point.timestamp()),
            NewObject::Part { source, .. } => format!("{}, part", source.name),
            NewObject::Source(_)
            | NewObject::Store(_)
            | NewObject::Repository(_)
            | NewObject::User(_)
            | NewObject::Job(_) => return vec![],
        };
        vec![Proposal { namespace: "test.name".into(), name, number_if_taken: true }]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_carries_the_names_of_its_backup_and_part() {
    let bench = Bench::with(|options| options.namers = vec![std::sync::Arc::new(Names)]).await;
    let source = bench.directory("photos").await;
    let repository = bench.repository("daily", SourceSelection::One(source.id)).await;
    let backup = bench.back_up(&repository).await;
    let inner = bench.engine.inner();
    let row = inner.db.server_vault(bench.store.id).await.unwrap().unwrap();
    let store = inner.db.store_row(bench.store.id).await.unwrap().unwrap();
    let vault = inner.storage.server_vault(&store, &row).unwrap();
    let snapshot = vault.snapshot(&backup.parts[0].snapshot.as_ref().unwrap().parse().unwrap()).unwrap();
    assert_eq!(snapshot.record.hostname, "photos");
    assert!(snapshot.record.paths[0].starts_with("/daily-") && snapshot.record.paths[0].ends_with("/photos"));
    let tags = Tags::of(&snapshot.record.tags).unwrap();
    assert_eq!(tags.get("backup"), Some(backup.id.to_string().as_str()));
    assert_eq!(tags.get("kind"), Some("full"));
    let names: Vec<&str> = tags.all("name").collect();
    let point = backup.point.unwrap().timestamp();
    assert_eq!(names, ["part test.name photos, part".to_owned(), format!("backup test.name daily of {point}")]);
    assert!(!snapshot.record.tags[0].contains(','));
}
