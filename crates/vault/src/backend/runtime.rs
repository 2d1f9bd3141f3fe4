//! The bridge from blocking calls to object_store's futures.
//!
//! One small runtime serves all stores of the process and is never dropped: dropping a runtime inside another one panics, and a backend
//! may be let go anywhere. Futures are spawned and waited for over a channel, so that a call is right on any thread that may block.

use crate::error::{Result, VaultError};
use crate::interrupt;
use std::future::Future;
use std::sync::OnceLock;
use std::sync::mpsc::{self, RecvTimeoutError};
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

/// Runs a future to its end and blocks the calling thread until then, unless the thread's work is called off: then the future is dropped
/// wherever it is.
///
/// # Errors
/// `Cancelled` in that case.
pub(super) fn block_on<T: Send + 'static>(future: impl Future<Output = T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = mpsc::sync_channel(1);
    let task = runtime()?.spawn(async move {
        // Nobody waits any more for what was called off.
        let _ = sender.send(future.await);
    });
    loop {
        match receiver.recv_timeout(interrupt::LOOK) {
            Ok(answer) => return Ok(answer),
            Err(RecvTimeoutError::Timeout) => interrupt::check().inspect_err(|_| task.abort())?,
            Err(error) => return Err(VaultError::internal("a request to S3 broke off").with_source(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::block_on;
    use crate::{Interrupt, VaultErrorKind};
    use std::time::{Duration, Instant};

    #[test]
    fn a_blocking_call_works_on_a_blocking_thread_of_another_runtime() {
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let answer = other.block_on(async { tokio::task::spawn_blocking(|| block_on(async { 42 })).await.unwrap() });
        assert_eq!(answer.unwrap(), 42);
    }

    #[test]
    fn a_request_that_is_never_answered_is_given_up_when_its_work_is_called_off() {
        struct Dropped(std::sync::mpsc::Sender<()>);
        impl Drop for Dropped {
            fn drop(&mut self) {
                self.0.send(()).unwrap();
            }
        }
        let begin = Instant::now();
        let wish = Interrupt::new(move || (begin.elapsed() > Duration::from_millis(150)).then_some(Duration::ZERO));
        let (sender, dropped) = std::sync::mpsc::channel();
        let held = Dropped(sender);
        let never = async move {
            let _held = held;
            std::future::pending::<()>().await;
        };
        let error = wish.scope(|| block_on(never)).unwrap_err();
        assert_eq!(error.kind(), &VaultErrorKind::Cancelled);
        dropped.recv_timeout(Duration::from_secs(10)).expect("what was asked for is let go of");
    }

    #[test]
    fn what_is_answered_at_once_is_answered_also_to_work_that_is_called_off() {
        let wish = Interrupt::new(|| Some(Duration::from_secs(60)));
        assert_eq!(wish.scope(|| block_on(async { 42 })).unwrap(), 42);
    }
}
