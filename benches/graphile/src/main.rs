//! How long graphile_worker takes for jobs that do nothing: `trivault-bench-graphile URL JOBS CONCURRENCY` prints a line for each
//! [`SetUp`], its seconds and its name. Each has its own tables, and each job is durable as PostgreSQL's settings say.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use graphile_worker::{
    DbExecutor, DbParams, IntoTaskHandlerResult, JobSpec, LocalQueueConfig, TaskHandler, WorkerContext, WorkerOptions,
};
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// What each gives up is said as 0.14.1 has it. In all of them a claim has no end: the jobs that a dead process had claimed stay
/// locked until another worker's `worker_recovery` (off by default; five minutes without a heartbeat) or an operator's
/// `force_unlock_workers` frees them.
#[derive(Clone, Copy)]
enum SetUp {
    /// `run_once`: one stream claims one job after another, completions are one by one. It never looks at a local queue. A dead
    /// process leaves as many jobs locked as ran at once.
    Once,
    /// `run`, as a worker that stays: each slot claims and completes its jobs by itself. Nothing more is given up.
    Slots,
    /// One statement claims up to 100 jobs into its memory. Those that wait there are locked too: no other worker takes
    /// them, and what comes later with a higher priority waits behind them. Those that wait for five minutes go back, and so
    /// do all at an orderly shutdown; both are done by the process itself: when it dies they stay locked like those that ran.
    LocalQueue,
    /// Moreover a job counts as ended for its slot as soon as its completion is in a channel, which is emptied every five
    /// milliseconds. What is in it when the process dies is lost: those jobs stay locked, and once freed they run again. A
    /// statement that fails is logged and not repeated: its jobs have run and stay locked.
    BatchedCompletion,
}

const SET_UPS: [(SetUp, &str); 4] = [
    (SetUp::Once, "graphile_worker"),
    (SetUp::Slots, "graphile_worker, each slot claims"),
    (SetUp::LocalQueue, "graphile_worker, local queue"),
    (SetUp::BatchedCompletion, "graphile_worker, local queue and batched completion"),
];

/// Its local queue may stall: `schedule_fetch` reads the mode and then waits, and a `notify_waiters` in between is lost.
const LIMIT: Duration = Duration::from_secs(600);

#[derive(Deserialize, Serialize)]
struct Nothing {
    full: bool,
}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, context: WorkerContext) -> impl IntoTaskHandlerResult {
        if let Some(ran) = context.get_ext::<Arc<Semaphore>>() {
            ran.add_permits(1);
        }
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() -> Outcome<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, jobs, concurrency] = arguments.as_slice() else {
        return Err("trivault-bench-graphile URL JOBS CONCURRENCY".into());
    };
    for (set_up, name) in SET_UPS {
        let seconds = seconds(url, jobs.parse()?, concurrency.parse()?, set_up).await?;
        println!("{seconds} {name}");
    }
    Ok(())
}

/// From the worker's begin until the last job is gone from its table.
async fn seconds(url: &str, jobs: u32, concurrency: usize, set_up: SetUp) -> Outcome<f64> {
    let ran = Arc::new(Semaphore::new(0));
    let all = Arc::clone(&ran);
    let options = WorkerOptions::default()
        .concurrency(concurrency)
        .schema(format!("graphile_worker_{}", set_up as u8))
        .define_job::<Nothing>()
        .add_extension(ran)
        // Once all have run: it then waits for the completions that are under way or in its channel.
        .shutdown_signal(async move {
            drop(all.acquire_many(jobs).await);
        })
        .database_url(url)
        .max_pg_conn(12);
    let options = match set_up {
        SetUp::Once => options,
        // What was queued before it began is claimed at polls only, one job a slot; by default it polls once a second.
        SetUp::Slots => options.poll_interval(Duration::from_millis(1)),
        SetUp::LocalQueue => options.local_queue(LocalQueueConfig::default()),
        // As its documentation's worker for throughput.
        SetUp::BatchedCompletion => {
            options.local_queue(LocalQueueConfig::default()).complete_job_batch_delay(Duration::from_millis(5))
        }
    };
    let worker = options.init().await?;
    let queue = worker.create_utils();
    for _ in 0..jobs {
        queue.add_job(Nothing { full: false }, JobSpec::default()).await?;
    }
    let begin = Instant::now();
    let work = async {
        match set_up {
            SetUp::Once => worker.run_once().await,
            SetUp::Slots | SetUp::LocalQueue | SetUp::BatchedCompletion => worker.run().await,
        }
    };
    tokio::time::timeout(LIMIT, work).await??;
    let seconds = begin.elapsed().as_secs_f64();
    let unended = format!("SELECT 1 FROM {}", worker.schema().private_table("jobs"));
    match worker.database().fetch_all(&unended, DbParams::new()).await?.len() {
        0 => Ok(seconds),
        unended => Err(format!("{unended} jobs have not ended").into()),
    }
}
