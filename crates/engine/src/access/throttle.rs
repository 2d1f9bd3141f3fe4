//! Failed log-ins slow down the next ones. Successful log-ins are never slowed down, and clear what failed before.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

/// Failures that are free: some clients make four for one wrong password.
const FREE: usize = 10;
/// Failures count so long; with more than the free ones, further log-ins are refused until they have aged.
const WINDOW: TimeDelta = TimeDelta::minutes(1);
/// Pairs of address and name that are watched.
const MOST: usize = 10_000;

/// Times of failed log-ins, by address and name.
type Failures = HashMap<(String, String), Vec<DateTime<Utc>>>;

#[derive(Default)]
pub(crate) struct Throttle {
    failures: Mutex<Failures>,
}

impl Throttle {
    pub(crate) fn is_closed(&self, peer: &str, name: &str, now: DateTime<Utc>) -> bool {
        let failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        let recent =
            failures.get(&key(peer, name)).map_or(0, |times| times.iter().filter(|at| **at + WINDOW > now).count());
        recent >= FREE
    }

    pub(crate) fn failed(&self, peer: &str, name: &str, now: DateTime<Utc>) {
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        if failures.len() >= MOST {
            failures.retain(|_, times| times.last().is_some_and(|at| *at + WINDOW > now));
        }
        let key = key(peer, name);
        if failures.len() >= MOST && !failures.contains_key(&key) {
            // A flood of names: what is watched stays watched, and each password still costs its hash.
            return;
        }
        let times = failures.entry(key).or_default();
        times.retain(|at| *at + WINDOW > now);
        times.push(now);
    }

    pub(crate) fn succeeded(&self, peer: &str, name: &str) {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).remove(&key(peer, name));
    }
}

fn key(peer: &str, name: &str) -> (String, String) {
    (peer.to_owned(), name.chars().take(64).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_failures_are_free_and_the_eleventh_waits_for_the_first_to_age() {
        let throttle = Throttle::default();
        let start = DateTime::<Utc>::UNIX_EPOCH;
        for second in 0..10 {
            let now = start + TimeDelta::seconds(second);
            assert!(!throttle.is_closed("peer", "mira", now));
            throttle.failed("peer", "mira", now);
        }
        assert!(throttle.is_closed("peer", "mira", start + TimeDelta::seconds(10)));
        assert!(!throttle.is_closed("peer", "other", start + TimeDelta::seconds(10)));
        assert!(!throttle.is_closed("elsewhere", "mira", start + TimeDelta::seconds(10)));
        assert!(!throttle.is_closed("peer", "mira", start + TimeDelta::seconds(60)));
        throttle.succeeded("peer", "mira");
        assert!(!throttle.is_closed("peer", "mira", start + TimeDelta::seconds(10)));
    }

    #[test]
    fn two_wrong_passwords_sent_four_times_each_close_nothing() {
        let throttle = Throttle::default();
        for _ in 0..8 {
            throttle.failed("peer", "mira", DateTime::<Utc>::UNIX_EPOCH);
        }
        assert!(!throttle.is_closed("peer", "mira", DateTime::<Utc>::UNIX_EPOCH));
    }

    #[test]
    fn a_flood_of_names_fills_no_memory() {
        let throttle = Throttle::default();
        let start = DateTime::<Utc>::UNIX_EPOCH;
        for number in 0..MOST + 5 {
            throttle.failed("peer", &number.to_string(), start);
        }
        assert_eq!(throttle.failures.lock().unwrap().len(), MOST);
        throttle.failed("peer", &"x".repeat(100_000), start + WINDOW);
        let failures = throttle.failures.lock().unwrap();
        assert!(failures.len() == 1 && failures.keys().all(|(_, name)| name.len() == 64));
    }
}
