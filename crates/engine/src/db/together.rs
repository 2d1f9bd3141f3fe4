//! Writes that come at the same time share one transaction, and so one flush to disk: what is enqueued, and how runs end.
//!
//! A caller is answered when its write is durable, as if it had been alone. One that is refused is undone alone: the others are written
//! again without it. A caller that goes away meanwhile changes nothing.

use std::{
    collections::VecDeque,
    panic::AssertUnwindSafe,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures_util::FutureExt as _;
use tokio::sync::oneshot;

use super::{Pools, failure::engine_error, prelude::*};

/// Writes of one transaction: enough to make the flush cheap, few enough that the first does not wait long for the last.
const MOST_TOGETHER: usize = 64;
/// Transactions at a time. SQLite has one writer; PostgreSQL flushes those of several connections at once.
const SQLITE_LANES: usize = 1;
const POSTGRES_LANES: usize = 3;

/// What can be written together with others.
pub(super) enum Write {
    Enqueue(Box<Enqueue>),
    Finish { run: Run, finish: Box<Finish>, now: DateTime<Utc> },
}

pub(super) enum Written {
    Enqueued(Enqueued),
    Finished(Fenced<()>),
}

type Waiting = (Write, oneshot::Sender<Result<Written>>);

/// The writes that wait for a transaction.
#[derive(Default)]
pub(super) struct Together(Mutex<State>);

#[derive(Default)]
struct State {
    waiting: VecDeque<Waiting>,
    lanes: usize,
}

impl Together {
    fn state(&self) -> MutexGuard<'_, State> {
        // A panic elsewhere leaves whole entries behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a transaction of several writes did not come to its end.
enum Broken {
    /// Nothing was written.
    Applying(Error),
    /// Nobody knows.
    Committing(Error),
}

impl Database {
    pub(super) async fn write_together(&self, write: Write) -> Result<Written> {
        let (answer, answered) = oneshot::channel();
        let lanes = match &*self.pools {
            Pools::Sqlite(_) => SQLITE_LANES,
            Pools::Postgres(_) => POSTGRES_LANES,
        };
        let opens_lane = {
            let mut state = self.together.state();
            state.waiting.push_back((write, answer));
            let opens = state.lanes < lanes;
            state.lanes += usize::from(opens);
            opens
        };
        if opens_lane {
            // A task of its own: a caller that goes away must not take the others' writes with it.
            tokio::spawn(self.clone().write_waiting());
        }
        answered.await.unwrap_or_else(|_| Err(Error::internal("A write ended in a defect of Trivault.")))
    }

    /// One lane: transaction after transaction until nothing waits.
    async fn write_waiting(self) {
        loop {
            let batch: Vec<Waiting> = {
                let mut state = self.together.state();
                let count = state.waiting.len().min(MOST_TOGETHER);
                if count == 0 {
                    state.lanes -= 1;
                    return;
                }
                state.waiting.drain(..count).collect()
            };
            // A defect in one batch ends that batch (its callers are told so), not the lane.
            if AssertUnwindSafe(self.write_batch(batch)).catch_unwind().await.is_err() {
                tracing::error!("a write to the metadata database ended in a defect");
            }
        }
    }

    async fn write_batch(&self, batch: Vec<Waiting>) {
        let (writes, answers): (Vec<Write>, Vec<_>) = batch.into_iter().unzip();
        let told: Vec<Result<Written>> = match self.write_all(&writes).await {
            Ok(written) => written.into_iter().map(Ok).collect(),
            Err(Broken::Applying(error)) if writes.len() == 1 => vec![Err(error)],
            // One of them is refused, or two nodes stood in each other's way: each for itself now.
            Err(Broken::Applying(_)) => {
                let mut told = Vec::new();
                for write in &writes {
                    let alone = self.write_all(std::slice::from_ref(write)).await;
                    told.push(match alone {
                        Ok(mut written) => written.pop().ok_or_else(|| Error::internal("A write has no answer.")),
                        Err(Broken::Applying(error) | Broken::Committing(error)) => Err(error),
                    });
                }
                told
            }
            Err(Broken::Committing(error)) => {
                let copy = |error: &Error| Error {
                    code: error.code,
                    sentence: error.sentence.clone(),
                    hint: error.hint.clone(),
                    source: None,
                };
                let mut told: Vec<_> = writes.iter().skip(1).map(|_| Err(copy(&error))).collect();
                told.push(Err(error));
                told
            }
        };
        for (answer, told) in answers.into_iter().zip(told) {
            // Who asked may be gone.
            let _ = answer.send(told);
        }
    }

    async fn write_all(&self, writes: &[Write]) -> Result<Vec<Written>, Broken> {
        match &*self.pools {
            Pools::Sqlite(pools) => write_all_sqlite(pools, writes).await,
            // Nobody knows what became of them.
            Pools::Postgres(pool) => {
                let written = tokio::time::timeout(self.patience, write_all_postgres(pool, writes)).await;
                written.unwrap_or_else(|_| Err(Broken::Committing(engine_error(sqlx::Error::PoolTimedOut))))
            }
        }
    }
}

#[duplicate_item(
    write_all          Tx           Pool;
    [write_all_sqlite]   [SqliteTx]   [super::tx::SqlitePools];
    [write_all_postgres] [PostgresTx] [super::tx::PostgresPool];
)]
async fn write_all(pool: &Pool, writes: &[Write]) -> Result<Vec<Written>, Broken> {
    let mut tx = Tx::begin_write(pool).await.map_err(|error| Broken::Applying(error.into()))?;
    let mut written = Vec::with_capacity(writes.len());
    for write in writes {
        let one = match write {
            Write::Enqueue(request) => tx.enqueue(request).await.map(Written::Enqueued),
            Write::Finish { run, finish, now } => tx.finish(*run, finish, *now).await.map(Written::Finished),
        };
        written.push(one.map_err(|error| Broken::Applying(error.into()))?);
    }
    tx.commit().await.map_err(|error| Broken::Committing(error.into()))?;
    Ok(written)
}
