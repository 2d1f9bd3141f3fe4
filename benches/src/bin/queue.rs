//! The queue on SQLite and on a PostgreSQL that flushes its commits: enqueues, claims and ends beside graphile_worker on the same
//! server, the cost of a claim in a long history, lists, and how soon an idle worker begins.
//!
//! `cargo build --release --workspace && (cd benches/graphile && cargo build --release) && target/release/queue
//!  [--jobs 5000] [--finished 1000000] [--queued 100000] [--graphile benches/graphile/target/release/trivault-bench-graphile]`

use std::{
    path::Path,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use trivault_benches::{
    measure::median,
    queue::{Place, durable_server, job},
};
use trivault_engine::{
    Caller, DatabaseLocation, Engine, EngineOptions, JobFilter, JobId, NewSource, NewStore, Principal, Role, Scope,
    SecretText, SourceConfig, StartBackup, StoreLocation, Trigger, UserId,
    db::{ClaimLimits, Database, Finish},
};
use uuid::Uuid;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Jobs that run at once, on our side and the peer's.
const CONCURRENCY: usize = 8;
/// Claims that are timed one by one.
const TIMED: usize = 200;

fn argument(name: &str) -> Option<String> {
    std::env::args().skip_while(|argument| argument != name).nth(1)
}

fn count(name: &str, default: u64) -> u64 {
    argument(name).and_then(|value| value.parse().ok()).unwrap_or(default)
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let (jobs, finished, queued) = (count("--jobs", 5_000), count("--finished", 1_000_000), count("--queued", 100_000));
    let folder = tempfile::tempdir()?;
    let server = durable_server();

    println!("{jobs} jobs that do nothing, {CONCURRENCY} at a time, flushed commits");
    for on_postgres in [false, true] {
        for needs in [false, true] {
            let place = match (on_postgres, &server) {
                (false, _) => Place::sqlite(folder.path()).await?,
                (true, Some(server)) => Place::postgres(server).await?,
                (true, None) => continue,
            };
            let what = if needs { "with a backup's four needs" } else { "without needs" };
            let enqueued = enqueue_all(&place.db, jobs, needs).await?;
            let run = run_all(&place.db, jobs).await?;
            println!(
                "{:10} {what:26}: {enqueued:8.0} enqueues/s (100 callers)   {run:8.0} claimed and ended/s",
                place.name
            );
            if let (true, false, Some(url)) = (on_postgres, needs, &place.url) {
                peer(url, jobs);
            }
        }
    }

    println!("a claim, and a list of 50, with {finished} finished and {queued} queued jobs");
    for on_postgres in [false, true] {
        let make = async || match (on_postgres, &server) {
            (false, _) => Place::sqlite(folder.path()).await.map(Some),
            (true, Some(server)) => Place::postgres(server).await.map(Some),
            (true, None) => Ok(None),
        };
        let (Some(empty), Some(full)) = (make().await?, make().await?) else { continue };
        // The empty one has as many queued as are claimed.
        empty.fill(server.as_ref(), 1, TIMED as u64 * 2)?;
        full.fill(server.as_ref(), finished, queued)?;
        let (small, large) = (claim_cost(&empty.db).await?, claim_cost(&full.db).await?);
        println!(
            "{:10} claim: median {:.3} ms beside an empty table's {:.3} ms: {:.2} times (aim: at most 1.5)",
            full.name,
            large * 1e3,
            small * 1e3,
            large / small
        );
        let filter =
            JobFilter { repository: Some(full.a_repository().await?), limit: Some(50), ..JobFilter::default() };
        let mut times = Vec::new();
        for _ in 0..TIMED {
            let begin = Instant::now();
            assert_eq!(full.db.jobs(&filter).await?.len(), 50);
            times.push(begin.elapsed().as_secs_f64());
        }
        println!(
            "{:10} newest 50 jobs of one repository: median {:.3} ms (aim: under 5)",
            full.name,
            median(times) * 1e3
        );
    }

    println!("from the answer to an enqueue until an idle worker has begun the job");
    dispatch(folder.path(), DatabaseLocation::default(), "SQLite", 5.0).await?;
    if let Some(server) = &server {
        let url = SecretText::new(server.create_database());
        dispatch(folder.path(), DatabaseLocation::Postgres(url), "PostgreSQL", 10.0).await?;
    }
    Ok(())
}

/// Per second, by 100 callers at once.
async fn enqueue_all(db: &Database, jobs: u64, needs: bool) -> Outcome<f64> {
    let begin = Instant::now();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..100 {
        let db = db.clone();
        let share = jobs / 100 + u64::from(caller < jobs % 100);
        callers.spawn(async move {
            for _ in 0..share {
                db.enqueue(&job(chrono::Utc::now(), needs)).await?;
            }
            Ok::<(), trivault_engine::Error>(())
        });
    }
    while let Some(caller) = callers.join_next().await {
        caller??;
    }
    Ok(jobs as f64 / begin.elapsed().as_secs_f64())
}

/// As the engine's dispatcher does: claims for all free workers at once, each ends its job by itself.
async fn run_all(db: &Database, jobs: u64) -> Outcome<f64> {
    let workers = Arc::new(tokio::sync::Semaphore::new(CONCURRENCY));
    let limits = ClaimLimits { per_node: Some(CONCURRENCY as u32), ..ClaimLimits::default() };
    let mut runs = tokio::task::JoinSet::new();
    let (begin, mut begun) = (Instant::now(), 0);
    while begun < jobs {
        let mut free = vec![Arc::clone(&workers).acquire_owned().await?];
        while let Ok(worker) = Arc::clone(&workers).try_acquire_owned() {
            free.push(worker);
        }
        let now = chrono::Utc::now();
        let until = now + chrono::TimeDelta::minutes(1);
        let claimed = db.claim_some(Uuid::from_u128(1), now, until, &limits, free.len()).await?;
        begun += claimed.len() as u64;
        for (claimed, worker) in claimed.into_iter().zip(free) {
            let db = db.clone();
            runs.spawn(async move {
                let finish =
                    Finish { state: trivault_engine::JobState::Succeeded, failure: None, delete_backup: false };
                let ended = db.finish(claimed.run, &finish, chrono::Utc::now()).await;
                drop(worker);
                ended
            });
        }
    }
    while let Some(run) = runs.join_next().await {
        run??;
    }
    Ok(jobs as f64 / begin.elapsed().as_secs_f64())
}

/// graphile_worker on the same server, in the same database: a row for each of its set-ups, which benches/graphile describes.
fn peer(url: &str, jobs: u64) {
    let program =
        argument("--graphile").unwrap_or_else(|| "benches/graphile/target/release/trivault-bench-graphile".to_owned());
    let arguments = [url.to_owned(), jobs.to_string(), CONCURRENCY.to_string()];
    match std::process::Command::new(&program).args(arguments).output() {
        Ok(output) => {
            for line in String::from_utf8_lossy(&output.stdout).lines() {
                let (seconds, name) = line.split_once(' ').unwrap_or((line, "graphile_worker"));
                let seconds: f64 = seconds.parse().unwrap_or(f64::NAN);
                println!("{:10} {name:62}  {:8.0} claimed and ended/s", "", jobs as f64 / seconds);
            }
            if !output.status.success() {
                println!("graphile_worker failed: {}", String::from_utf8_lossy(&output.stderr));
            }
        }
        Err(error) => println!("graphile_worker is left out: {program}: {error} (see benches/graphile)"),
    }
}

/// Seconds of one claim, median; what was claimed runs on, as many as a node has workers.
async fn claim_cost(db: &Database) -> Outcome<f64> {
    let limits = ClaimLimits { per_node: Some(4), per_store: Some(4), per_source: Some(2) };
    let mut times = Vec::new();
    let mut running = std::collections::VecDeque::new();
    for _ in 0..TIMED {
        let now = chrono::Utc::now();
        let begin = Instant::now();
        let claimed = db.claim(Uuid::from_u128(1), now, now + chrono::TimeDelta::minutes(1), &limits).await?;
        times.push(begin.elapsed().as_secs_f64());
        running.push_back(claimed.ok_or("nothing was claimed")?.run);
        if running.len() >= 3
            && let Some(run) = running.pop_front()
        {
            let finish = Finish { state: trivault_engine::JobState::Succeeded, failure: None, delete_backup: false };
            db.finish(run, &finish, now).await?;
        }
    }
    Ok(median(times))
}

/// A whole engine with idle workers; the begin is what a job's first step sees.
async fn dispatch(folder: &Path, database: DatabaseLocation, name: &str, aim_ms: f64) -> Outcome<()> {
    let begun: Arc<Mutex<std::collections::HashMap<JobId, Instant>>> = Arc::default();
    let seen = Arc::clone(&begun);
    let data = folder.join(format!("data-{name}"));
    let mut options = EngineOptions {
        server: true,
        database,
        observer: Some(Arc::new(move |point: &trivault_engine::Point<'_>| {
            if let (Ok(mut seen), Some((job, _))) = (seen.lock(), point.run) {
                seen.entry(job).or_insert_with(Instant::now);
            }
        })),
        ..EngineOptions::new(&data)
    };
    // What no wake-up brings would be seen as half a minute.
    options.poll = Duration::from_secs(30);
    let engine = Engine::open(options).await?;
    let principal = Principal {
        user: UserId(Uuid::nil()),
        name: "bench".to_owned(),
        role: Role::Admin,
        scope: Scope::Everything,
        token: None,
    };
    let caller = Caller { principal, via: "bench", request_id: String::new() };
    let path = folder.join(format!("store-{name}")).display().to_string();
    let location = StoreLocation::Local { path };
    let store = NewStore { name: "main".to_owned(), location, credentials: None, is_default: true, managed: false };
    let store = engine.create_store(&caller, store).await?;
    let live = folder.join(format!("live-{name}"));
    std::fs::create_dir(&live)?;
    let config = SourceConfig {
        kind: "directory".to_owned(),
        location: live.display().to_string(),
        options: Default::default(),
        never_capture: Vec::new(),
        secret: None,
    };
    let source = engine.create_source(&caller, NewSource { name: "live".to_owned(), config, managed: false }).await?;
    let repository = repository(&engine, &caller, source.id, store.id).await?;
    engine.start_workers().await?;
    let mut times = Vec::new();
    for _ in 0..40 {
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
        let started = engine.start_backup(&caller, request).await?;
        let answered = Instant::now();
        engine.wait_for_job(&caller, started.job.id, Duration::from_secs(60)).await?;
        let began = begun.lock().map_err(|_| "poisoned")?.get(&started.job.id).copied().ok_or("it did not begin")?;
        times.push(began.saturating_duration_since(answered).as_secs_f64());
    }
    engine.shutdown(Duration::from_secs(5)).await;
    println!("{name:10} median {:.2} ms (aim: under {aim_ms})", median(times) * 1e3);
    Ok(())
}

async fn repository(
    engine: &Engine,
    caller: &Caller,
    source: trivault_engine::SourceId,
    store: trivault_engine::StoreId,
) -> Outcome<trivault_engine::RepositoryId> {
    let new = trivault_engine::NewRepository {
        owner: "bench",
        name: "bench".to_owned(),
        store: Some(store),
        sources: trivault_engine::SourceSelection::One(source),
        plan: None,
        retention: None,
        aliases: Vec::new(),
        attributes: Vec::new(),
    };
    Ok(engine.create_repository(caller, new).await?.id)
}
