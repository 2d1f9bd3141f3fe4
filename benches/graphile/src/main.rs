//! How many jobs that do nothing graphile_worker runs per second: `trivault-bench-graphile URL JOBS CONCURRENCY` prints seconds.
//!
//! As its own documentation sets it up: no local queue, completions one by one; each job is durable as PostgreSQL's settings say.

use std::time::Instant;

use graphile_worker::{IntoTaskHandlerResult, JobSpec, TaskHandler, WorkerContext, WorkerOptions};
use serde::{Deserialize, Serialize};

#[derive(Deserialize, Serialize)]
struct Nothing {
    full: bool,
}

impl TaskHandler for Nothing {
    const IDENTIFIER: &'static str = "nothing";

    async fn run(self, _context: WorkerContext) -> impl IntoTaskHandlerResult {
        Ok::<(), String>(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, jobs, concurrency] = arguments.as_slice() else {
        return Err("trivault-bench-graphile URL JOBS CONCURRENCY".into());
    };
    let jobs: usize = jobs.parse()?;
    let worker = WorkerOptions::default()
        .concurrency(concurrency.parse()?)
        .schema("graphile_worker")
        .define_job::<Nothing>()
        .database_url(url)
        .max_pg_conn(12)
        .init()
        .await?;
    let queue = worker.create_utils();
    for _ in 0..jobs {
        queue.add_job(Nothing { full: false }, JobSpec::default()).await?;
    }
    let begin = Instant::now();
    worker.run_once().await?;
    println!("{}", begin.elapsed().as_secs_f64());
    Ok(())
}
