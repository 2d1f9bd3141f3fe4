//! Holds runs at known points.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex},
    time::{Duration, Instant},
};

use crate::{JobId, Observer};

const LIMIT: Duration = Duration::from_secs(60);

/// A point at which one attempt of jobs is held until it is let go.
#[derive(Default)]
pub(crate) struct Gate {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Points at which attempts wait: held until the gate is opened.
    closed: Vec<(String, u32)>,
    arrived: HashMap<(String, u32), Vec<JobId>>,
}

impl Gate {
    /// Closed for one attempt at one point.
    pub(crate) fn closed(point: &str, attempt: u32) -> Arc<Self> {
        let gate = Self::default();
        gate.state.lock().unwrap().closed.push((point.to_owned(), attempt));
        Arc::new(gate)
    }

    /// Closed from now on, for what comes later.
    pub(crate) fn close(&self, point: &str, attempt: u32) {
        self.state.lock().unwrap().closed.push((point.to_owned(), attempt));
    }

    pub(crate) fn observer(self: &Arc<Self>) -> Observer {
        let gate = Arc::clone(self);
        Arc::new(move |point| {
            if let Some((job, attempt)) = point.run {
                gate.pass(point.name, job, attempt);
            }
        })
    }

    fn pass(&self, point: &str, job: JobId, attempt: u32) {
        let key = (point.to_owned(), attempt);
        let mut state = self.state.lock().unwrap();
        state.arrived.entry(key.clone()).or_default().push(job);
        self.changed.notify_all();
        let begun = Instant::now();
        while state.closed.contains(&key) {
            assert!(begun.elapsed() < LIMIT, "nobody opened the gate at {point}");
            state = self.changed.wait_timeout(state, Duration::from_millis(100)).unwrap().0;
        }
    }

    /// Waits until so many runs have come to the point.
    pub(crate) async fn arrived(&self, point: &str, attempt: u32, count: usize) {
        let begun = Instant::now();
        let key = (point.to_owned(), attempt);
        while self.state.lock().unwrap().arrived.get(&key).map_or(0, Vec::len) < count {
            assert!(begun.elapsed() < LIMIT, "nobody came to {point}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) fn open(&self) {
        self.state.lock().unwrap().closed.clear();
        self.changed.notify_all();
    }
}
