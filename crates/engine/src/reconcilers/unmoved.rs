//! What should move and has not for a while, by a clock that nobody sets.
//!
//! What nodes write about themselves carries their clocks' time. Clocks differ from node to node, are corrected by hours, and stand still
//! while a machine sleeps: an instant that is over by this node's clock says nothing by itself about the one who wrote it.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Values that somebody renews while he lives, with since when each has been seen as it is.
#[derive(Debug)]
pub(crate) struct Unmoved<T> {
    seen: Mutex<HashMap<T, Instant>>,
}

impl<T> Default for Unmoved<T> {
    fn default() -> Self {
        Self { seen: Mutex::default() }
    }
}

impl<T: Copy + Eq + Hash> Unmoved<T> {
    /// All there are now, in their order, with how long each has been the same. What is not among them is forgotten.
    pub(crate) fn look(&self, found: Vec<T>, now: Instant) -> Vec<(T, Duration)> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::take(&mut *seen);
        let rested = |value: T| {
            (value, now.duration_since(*seen.entry(value).or_insert(before.get(&value).copied().unwrap_or(now))))
        };
        found.into_iter().map(rested).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stays_the_same_rests() {
        let (watch, begun) = (Unmoved::default(), Instant::now());
        let look = |found: &[u8], after: u64| -> Vec<(u8, u64)> {
            let looked = watch.look(found.to_vec(), begun + Duration::from_secs(after));
            looked.into_iter().map(|(value, rested)| (value, rested.as_secs())).collect()
        };
        assert_eq!(look(&[1, 5], 0), [(1, 0), (5, 0)]);
        assert_eq!(look(&[2, 5], 29), [(2, 0), (5, 29)], "the first has moved");
        assert_eq!(look(&[2, 5], 59), [(2, 30), (5, 59)]);
        assert_eq!(look(&[5], 60), [(5, 60)]);
        assert_eq!(look(&[2], 61), [(2, 0)], "it was gone meanwhile");
    }
}
