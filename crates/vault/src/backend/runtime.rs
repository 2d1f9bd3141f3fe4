//! The bridge from blocking calls to object_store's futures.
//!
//! One small runtime serves all stores of the process and is never dropped: dropping a runtime inside another one panics, and a backend
//! may be let go anywhere. Futures are spawned and waited for over a channel, so that a call is right on any thread that may block.

use crate::error::{Result, VaultError};
use std::future::Future;
use std::sync::{OnceLock, mpsc};
use tokio::runtime::{Builder, Runtime};

/// Threads of the runtime: requests are mostly waiting, and the checksums run on the caller's threads.
const WORKER_THREADS: usize = 2;

static RUNTIME: OnceLock<Runtime> = OnceLock::new();

fn runtime() -> Result<&'static Runtime> {
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime);
    }
    let fresh = Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .thread_name("trivault-s3")
        .enable_all()
        .build()
        .map_err(|error| VaultError::internal("the threads for S3 cannot be started").with_source(error))?;
    // Of two first callers one loses and lets its runtime go in the background, which is allowed on every thread.
    if let Err(second) = RUNTIME.set(fresh) {
        second.shutdown_background();
    }
    RUNTIME.get().ok_or_else(|| VaultError::internal("the threads for S3 cannot be started"))
}

/// Runs a future to its end and blocks the calling thread until then.
pub(super) fn block_on<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    runtime()?.spawn(async move {
        // The receiver waits below; it cannot be gone.
        let _ = sender.send(future.await);
    });
    receiver.recv().map_err(|error| VaultError::internal("a request to S3 broke off").with_source(error))
}

#[cfg(test)]
mod tests {
    use super::block_on;

    #[test]
    fn a_blocking_call_works_on_a_blocking_thread_of_another_runtime() {
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = other.block_on(async { tokio::task::spawn_blocking(|| block_on(async { 42 })).await.unwrap() });
        assert_eq!(answer.unwrap(), 42);
    }
}
