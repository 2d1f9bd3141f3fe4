//! Threads that read ahead. They come when there is work and go when there has been none for a while.

use crate::{
    core::lock,
    interrupt::{Interrupt, within},
};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    time::Duration,
};

/// A thread without work leaves after this time.
const IDLE: Duration = Duration::from_secs(5);

type Task = Box<dyn FnOnce() + Send>;

/// A few threads that run tasks in the order they were given.
pub(crate) struct ReadPool {
    shared: Arc<Shared>,
    limit: usize,
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    tasks: VecDeque<Task>,
    threads: usize,
    idle: usize,
    closed: bool,
}

impl ReadPool {
    pub fn new(limit: usize) -> Self {
        Self { shared: Arc::default(), limit }
    }

    /// Runs a task on a thread of the pool; where the machine gives no thread, at once.
    pub fn run(&self, task: Task) {
        let interrupt = Interrupt::current();
        let task: Task = Box::new(move || within(interrupt, task));
        let mut state = lock(&self.shared.state);
        state.tasks.push_back(task);
        if state.tasks.len() > state.idle && state.threads < self.limit {
            let shared = Arc::clone(&self.shared);
            match std::thread::Builder::new().name("vault-read".to_owned()).spawn(move || shared.work()) {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                Err(_) => {
                    let task = state.tasks.pop_back();
                    drop(state);
                    task.into_iter().for_each(|task| task());
                    return;
                }
            }
        }
        self.shared.changed.notify_one();
    }
}

impl Shared {
    fn work(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some(task) = state.tasks.pop_front() {
                drop(state);
                task();
                state = lock(&self.state);
                continue;
            }
            if state.closed {
                break;
            }
            state.idle += 1;
            let (woken, waited) = self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner);
            state = woken;
            state.idle -= 1;
            if waited.timed_out() && state.tasks.is_empty() {
                break;
            }
        }
        state.threads -= 1;
    }
}

impl Drop for ReadPool {
    fn drop(&mut self) {
        let mut state = lock(&self.shared.state);
        state.closed = true;
        state.tasks.clear();
        drop(state);
        self.shared.changed.notify_all();
    }
}

impl fmt::Debug for ReadPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "ReadPool(at most {} threads)", self.limit)
    }
}
