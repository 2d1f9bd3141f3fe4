//! Reading several small files at once: on S3 the waiting dominates.

use crate::error::Result;
use crate::interrupt::{Interrupt, within};
use std::sync::{
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

/// Requests under way at the same time.
const READERS: usize = 4;

/// Calls `read` for every item on a few threads and `take` for every answer on this one, in no particular order. Ends early when `take`
/// fails.
pub(crate) fn read_each<T: Sync, R: Send>(
    items: &[T],
    read: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(&T, R) -> Result<()>,
) -> Result<()> {
    if let [item] = items {
        return take(item, read(item));
    }
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::sync_channel(READERS);
    let interrupt = Interrupt::current();
    std::thread::scope(|scope| {
        for _ in 0..READERS.min(items.len()) {
            let (sender, next, read, interrupt) = (sender.clone(), &next, &read, interrupt.clone());
            let read_on = move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if sender.send((item, read(item))).is_err() {
                        return;
                    }
                }
            };
            scope.spawn(move || within(interrupt, read_on));
        }
        drop(sender);
        // Taken by value: when this returns early, the receiver goes and the readers stop.
        receiver.into_iter().try_for_each(|(item, answer)| take(item, answer))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VaultError;

    #[test]
    fn every_item_is_read_once_and_a_failure_ends_the_reading() {
        for count in [0_u64, 1, 3, 1000] {
            let items: Vec<u64> = (0..count).collect();
            let mut sum = 0;
            let add = |_: &u64, double| {
                sum += double;
                Ok(())
            };
            read_each(&items, |item| item * 2, add).unwrap();
            assert_eq!(sum, count * count.saturating_sub(1));
            let stop = |_: &u64, ()| Err(VaultError::cancelled());
            assert_eq!(read_each(&items, |_| (), stop).is_err(), count > 0);
        }
    }
}
