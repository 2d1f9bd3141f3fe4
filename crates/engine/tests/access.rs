//! Log-ins, tokens and limited credentials, through the engine's use cases.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::Arc;

use chrono::TimeDelta;
use trivault_engine::*;
use trivault_sources::SourceConfig;
use uuid::Uuid;

struct Scene {
    engine: Engine,
    clock: Arc<ManualClock>,
    admin: Caller,
    folder: tempfile::TempDir,
}

impl Scene {
    async fn open() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::new(chrono::Utc::now()));
        let mut options = EngineOptions::new(folder.path().join("data"));
        options.clock = clock.clone();
        let engine = Engine::open(options).await.unwrap();
        let console = Principal {
            user: UserId(Uuid::nil()),
            name: "console".into(),
            role: Role::Admin,
            scope: Scope::Everything,
            token: None,
        };
        let console = Caller { principal: console, via: "test", request_id: "request-1".into() };
        engine.create_user(&console, "mira", &"correct horse".to_owned().into(), Role::Admin).await.unwrap();
        let principal = engine.authenticate_password("mira", &secret("correct horse"), "local").await.unwrap();
        let admin = caller(principal);
        Self { engine, clock, admin, folder }
    }

    /// A backup, enqueued, of a new source; its part.
    async fn part(&self, name: &str) -> (SourceId, RepositoryId, PartId) {
        let (engine, admin) = (&self.engine, &self.admin);
        let location = self.folder.path().join(name);
        std::fs::create_dir_all(&location).unwrap();
        let config = SourceConfig {
            kind: "directory".into(),
            location: location.to_str().unwrap().into(),
            options: serde_json::Map::new(),
            never_capture: Vec::new(),
            secret: None,
        };
        let source = NewSource { name: name.into(), config, managed: false };
        let source = engine.create_source(admin, source).await.unwrap().id;
        let repository = NewRepository {
            owner: "test",
            name: name.into(),
            store: None,
            sources: SourceSelection::One(source),
            plan: None,
            retention: None,
            aliases: Vec::new(),
            attributes: Vec::new(),
        };
        let repository = engine.create_repository(admin, repository).await.unwrap().id;
        let request = StartBackup {
            repository,
            trigger: Trigger::Manual,
            task: None,
            full: false,
            description: String::new(),
            keep_until: None,
            passcode: None,
            aliases: Vec::new(),
            attributes: Vec::new(),
            job_attributes: Vec::new(),
        };
        let started = engine.start_backup(admin, request).await.unwrap();
        (source, repository, started.backup.parts[0].id)
    }

    async fn with_store(self) -> Self {
        let path = self.folder.path().join("store").to_str().unwrap().to_owned();
        let store = NewStore {
            name: "default".into(),
            location: StoreLocation::Local { path },
            credentials: None,
            is_default: true,
            managed: false,
        };
        self.engine.create_store(&self.admin, store).await.unwrap();
        self
    }

    async fn issue(&self, caller: &Caller, scope: Scope, minutes: i64) -> Result<Bearer> {
        let bearer = NewBearer {
            audience: "dbaas",
            scope,
            lifetime: TimeDelta::minutes(minutes),
            claims: vec![("app", "my-app".into())],
        };
        self.engine.issue_bearer(caller, bearer).await
    }

    async fn verified(&self, bearer: &Bearer) -> Result<VerifiedBearer> {
        self.engine.verify_bearer("dbaas", bearer.secret.expose()).await
    }

    /// Whoever comes with this bearer.
    async fn with(&self, bearer: &Bearer) -> Caller {
        caller(self.verified(bearer).await.unwrap().principal)
    }

    async fn log_in(&self, password: &str) -> Result<Principal> {
        self.engine.authenticate_password("mira", &secret(password), "peer").await
    }
}

fn caller(principal: Principal) -> Caller {
    Caller { principal, via: "test", request_id: "request-2".into() }
}

fn secret(text: &str) -> SecretText {
    SecretText::new(text)
}

fn code<T>(answer: Result<T>) -> Option<ErrorCode> {
    answer.err().map(|error| error.code)
}

#[tokio::test]
async fn unknown_users_and_wrong_passwords_get_the_same_answer() {
    let scene = Scene::open().await;
    let wrong = scene.log_in("wrong horse").await.unwrap_err();
    let unknown = scene.engine.authenticate_password("nobody", &secret("wrong horse"), "peer").await.unwrap_err();
    assert_eq!((wrong.code, &wrong.sentence), (unknown.code, &unknown.sentence));
    assert_eq!(wrong.code, ErrorCode::Unauthenticated);
    let odd = scene.engine.authenticate_password("mi\0ra", &secret("x"), "peer").await;
    assert_eq!(code(odd), Some(ErrorCode::Unauthenticated));
    assert_eq!(scene.log_in("correct horse").await.unwrap(), scene.admin.principal);
}

#[tokio::test]
async fn after_ten_failures_a_peer_waits_a_minute_but_a_remembered_password_passes() {
    let scene = Scene::open().await;
    for _ in 0..10 {
        assert_eq!(code(scene.log_in("wrong horse").await), Some(ErrorCode::Unauthenticated));
    }
    assert_eq!(code(scene.log_in("wrong horse").await), Some(ErrorCode::Throttled));
    // Verified when the scene was opened, and remembered since.
    assert!(scene.log_in("correct horse").await.is_ok());
    scene.clock.advance(TimeDelta::minutes(6));
    assert!(scene.log_in("correct horse").await.is_ok());
    // Its success forgot the failures.
    assert_eq!(code(scene.log_in("wrong horse").await), Some(ErrorCode::Unauthenticated));
}

#[tokio::test]
async fn a_throttled_peer_is_refused_even_with_the_right_password() {
    let scene = Scene::open().await;
    scene.clock.advance(TimeDelta::minutes(6));
    for _ in 0..10 {
        assert_eq!(code(scene.log_in("wrong horse").await), Some(ErrorCode::Unauthenticated));
    }
    assert_eq!(code(scene.log_in("correct horse").await), Some(ErrorCode::Throttled));
    let elsewhere = scene.engine.authenticate_password("mira", &secret("correct horse"), "elsewhere").await;
    assert!(elsewhere.is_ok());
}

#[tokio::test]
async fn a_changed_password_or_a_barred_user_counts_at_once() {
    let scene = Scene::open().await;
    scene.engine.set_password(&scene.admin, "mira", &secret("battery staple")).await.unwrap();
    assert_eq!(code(scene.log_in("correct horse").await), Some(ErrorCode::Unauthenticated));
    assert!(scene.log_in("battery staple").await.is_ok());
    scene.engine.change_user(&scene.admin, "mira", None, Some(true)).await.unwrap();
    assert_eq!(code(scene.log_in("battery staple").await), Some(ErrorCode::Unauthenticated));
    let again = scene.engine.create_user(&scene.admin, "mira", &secret("correct horse"), Role::Reader).await;
    assert_eq!(code(again), Some(ErrorCode::AlreadyExists(Noun::User)));
}

#[tokio::test]
async fn a_bearer_dies_with_whatever_it_descends_from() {
    let scene = Scene::open().await.with_store().await;
    let (source, _, part) = scene.part("photos").await;
    let (api, text) =
        scene.engine.create_api_token(&scene.admin, "dbaas", "ci", "tk-us-", Some(TimeDelta::hours(3))).await.unwrap();
    let from_api = caller(scene.engine.authenticate_api_token("dbaas", &text).await.unwrap());
    let first = scene.issue(&from_api, Scope::Everything, 60).await.unwrap();
    let addon = scene.issue(&scene.with(&first).await, Scope::Source(source), 60).await.unwrap();
    let link = scene.issue(&scene.with(&addon).await, Scope::Download(part), 100).await.unwrap();
    let found = scene.verified(&link).await.unwrap();
    assert_eq!((found.principal.scope, found.claims), (Scope::Download(part), vec![("app".into(), "my-app".into())]));
    assert_eq!(
        code(scene.engine.verify_bearer("arcgis", link.secret.expose()).await),
        Some(ErrorCode::Unauthenticated)
    );

    // A barred user's tokens rest.
    scene.engine.change_user(&scene.admin, "mira", None, Some(true)).await.unwrap();
    assert_eq!(code(scene.verified(&link).await), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(scene.engine.authenticate_api_token("dbaas", &text).await), Some(ErrorCode::Unauthenticated));
    scene.engine.change_user(&scene.admin, "mira", None, Some(false)).await.unwrap();
    assert!(scene.verified(&link).await.is_ok());

    // The bearers end after an hour; the link that was given with them lives out its own time.
    scene.clock.advance(TimeDelta::minutes(60));
    assert_eq!(code(scene.verified(&first).await), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(scene.verified(&addon).await), Some(ErrorCode::Unauthenticated));
    assert!(scene.verified(&link).await.is_ok());

    // Revoked at the root, all of it is dead.
    scene.engine.revoke_token(&scene.admin, api.id).await.unwrap();
    assert_eq!(code(scene.verified(&link).await), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(scene.engine.authenticate_api_token("dbaas", &text).await), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(scene.engine.revoke_token(&scene.admin, api.id).await), Some(ErrorCode::NotFound(Noun::Token)));
}

#[tokio::test]
async fn an_api_token_ends_with_what_it_made_when_its_time_is_over() {
    let scene = Scene::open().await;
    let lifetime = Some(TimeDelta::minutes(10));
    let (_, text) = scene.engine.create_api_token(&scene.admin, "dbaas", "ci", "tk-us-", lifetime).await.unwrap();
    let from_api = caller(scene.engine.authenticate_api_token("dbaas", &text).await.unwrap());
    let bearer = scene.issue(&from_api, Scope::Everything, 60).await.unwrap();
    scene.clock.advance(TimeDelta::minutes(10));
    assert_eq!(code(scene.engine.authenticate_api_token("dbaas", &text).await), Some(ErrorCode::Unauthenticated));
    assert_eq!(code(scene.verified(&bearer).await), Some(ErrorCode::Unauthenticated));
    for lifetime in [TimeDelta::zero(), TimeDelta::seconds(-1), TimeDelta::MAX] {
        let odd = scene.engine.create_api_token(&scene.admin, "dbaas", "ci", "tk-us-", Some(lifetime)).await;
        assert_eq!(code(odd), Some(ErrorCode::InvalidInput));
    }
}

#[tokio::test]
async fn a_use_of_an_api_token_is_noted_once_a_minute() {
    let scene = Scene::open().await;
    let (_, text) = scene.engine.create_api_token(&scene.admin, "dbaas", "ci", "tk-us-", None).await.unwrap();
    let first = scene.engine.now();
    let last_used = async || {
        scene.engine.authenticate_api_token("dbaas", &text).await.unwrap();
        scene.engine.api_tokens(&scene.admin, "dbaas").await.unwrap()[0].last_used_at
    };
    assert_eq!(last_used().await, Some(first));
    scene.clock.advance(TimeDelta::seconds(59));
    assert_eq!(last_used().await, Some(first));
    scene.clock.advance(TimeDelta::seconds(1));
    assert_eq!(last_used().await, Some(first + TimeDelta::minutes(1)));
}

#[tokio::test]
async fn a_credential_of_one_source_reaches_nothing_of_another() {
    let scene = Scene::open().await.with_store().await;
    let (own, own_repository, own_part) = scene.part("photos").await;
    let (other, other_repository, other_part) = scene.part("letters").await;
    let bearer = scene.issue(&scene.admin, Scope::Source(own), 60).await.unwrap();
    let limited = scene.with(&bearer).await;
    let engine = &scene.engine;

    assert!(scene.issue(&limited, Scope::Download(own_part), 5).await.is_ok());
    for scope in [Scope::Download(other_part), Scope::Source(other), Scope::Everything] {
        assert_eq!(code(scene.issue(&limited, scope, 5).await), Some(ErrorCode::Forbidden), "{scope:?}");
    }
    assert_eq!(code(engine.create_api_token(&limited, "dbaas", "x", "tk-", None).await), Some(ErrorCode::Forbidden));
    assert_eq!(engine.sources(&limited).await.unwrap().len(), 1);
    assert_eq!(code(engine.source(&limited, other).await), Some(ErrorCode::Forbidden));
    assert_eq!(engine.repositories(&limited, RepositoryFilter::default()).await.unwrap().len(), 1);
    assert!(engine.pause_repository(&limited, own_repository).await.is_ok());
    assert_eq!(code(engine.repository(&limited, other_repository).await), Some(ErrorCode::Forbidden));
    assert_eq!(code(engine.pause_repository(&limited, other_repository).await), Some(ErrorCode::Forbidden));
    assert_eq!(code(engine.attach_plan(&limited, other_repository, None).await), Some(ErrorCode::Forbidden));
    assert_eq!(engine.backups(&limited, BackupFilter::default()).await.unwrap().len(), 1);
    assert_eq!(code(engine.backup_of_part(&limited, other_part).await), Some(ErrorCode::NotFound(Noun::Backup)));
    assert_eq!(code(engine.users(&limited).await), Some(ErrorCode::Forbidden));

    let link = scene.issue(&scene.admin, Scope::Download(own_part), 5).await.unwrap();
    let link = scene.with(&link).await;
    assert!(engine.backup_of_part(&link, own_part).await.is_ok());
    assert_eq!(code(engine.backup_of_part(&link, other_part).await), Some(ErrorCode::NotFound(Noun::Backup)));
    assert_eq!(code(engine.backups(&link, BackupFilter::default()).await), Some(ErrorCode::Forbidden));
    assert_eq!(code(scene.issue(&link, Scope::Source(own), 5).await), Some(ErrorCode::Forbidden));
}

#[tokio::test]
async fn a_plan_that_serves_others_is_not_changed_by_a_limited_credential() {
    let scene = Scene::open().await.with_store().await;
    let (own, own_repository, _) = scene.part("photos").await;
    let (_, other_repository, _) = scene.part("letters").await;
    let plan = |builtin: bool| NewPlan {
        owner: "test",
        name: "nightly".into(),
        description: None,
        builtin,
        tasks: vec![PlanTask {
            name: "at two".into(),
            kind: JobKind::Backup,
            schedule: Schedule {
                rule: Rule::HoursOfDay { hours: vec![2] },
                zone: chrono_tz::Europe::Paris,
                start_now: false,
            },
            full: false,
            merge_window: None,
            verify: None,
        }],
        attributes: Vec::new(),
    };
    let (engine, admin) = (&scene.engine, &scene.admin);
    let limited = scene.with(&scene.issue(admin, Scope::Source(own), 60).await.unwrap()).await;
    let put = engine.put_plan(&limited, plan(false)).await.unwrap();
    engine.attach_plan(&limited, own_repository, Some(put.id)).await.unwrap();
    assert_eq!(engine.scheduled_tasks(&limited, own_repository).await.unwrap().len(), 1);
    assert_eq!(engine.put_plan(&limited, plan(false)).await.unwrap().id, put.id);
    engine.attach_plan(admin, other_repository, Some(put.id)).await.unwrap();
    assert_eq!(code(engine.put_plan(&limited, plan(false)).await), Some(ErrorCode::Forbidden));
    engine.reconcile_builtin_plans(vec![plan(true)]).await.unwrap();
    assert_eq!(code(engine.put_plan(admin, plan(false)).await), Some(ErrorCode::Forbidden));
}
