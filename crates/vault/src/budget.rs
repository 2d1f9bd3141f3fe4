//! One process-wide limit on the bytes that writers, readers and key derivations hold.
//!
//! Permits are granted first come, first served, so that a large request is not starved by small ones. The budget cannot deadlock
//! because of one rule: **whoever waits for a permit holds none that only it could release**. Writers keep it by handing a blob's permit
//! on with the blob, to threads that never wait for the budget; open packs, which hold permits until they are full, are written early
//! when somebody waits ([`Reclaim`]); readers never wait at all: they cache and read ahead only what the budget has left, and give it
//! back when somebody waits. Not counted is what each reader and writer has in hand: one group of blobs or one unfinished chunk.

use crate::error::{Result, VaultError};
use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};

/// Something that holds permits in store and can give them back soon.
pub(crate) trait Reclaim: Send + Sync {
    /// Somebody waits: let go of what can be let go. Must not block and must not ask for permits.
    fn reclaim(&self);
}

/// How often a waiter looks whether it has been cancelled, and asks again for stored permits.
const WAIT_STEP: Duration = Duration::from_millis(100);

/// A limit in bytes shared by everything that holds data in memory.
pub struct MemoryBudget {
    total: u64,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    free: u64,
    next_ticket: u64,
    waiting: VecDeque<u64>,
    stores: Vec<Weak<dyn Reclaim>>,
}

impl MemoryBudget {
    /// 160 MiB, the default of a process.
    pub const DEFAULT_BYTES: u64 = 160 << 20;

    /// A budget of `bytes`.
    pub fn new(bytes: u64) -> Arc<Self> {
        let state = State { free: bytes, next_ticket: 0, waiting: VecDeque::new(), stores: Vec::new() };
        Arc::new(Self { total: bytes, state: Mutex::new(state), changed: Condvar::new() })
    }

    /// The limit in bytes.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes that are held now.
    pub fn held(&self) -> u64 {
        self.total - self.state().free
    }

    /// Waits for `bytes`, asking holders of stored permits to let go. A request above the whole budget gets the whole budget.
    /// `is_cancelled` is looked at several times a second.
    pub(crate) fn acquire(self: &Arc<Self>, bytes: u64, is_cancelled: &dyn Fn() -> bool) -> Result<Permit> {
        let bytes = bytes.min(self.total);
        let mut state = self.state();
        if state.waiting.is_empty() && state.free >= bytes {
            state.free -= bytes;
            return Ok(self.permit(bytes));
        }
        let ticket = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(ticket);
        loop {
            if state.waiting.front() == Some(&ticket) && state.free >= bytes {
                state.waiting.pop_front();
                state.free -= bytes;
                self.changed.notify_all();
                return Ok(self.permit(bytes));
            }
            state.stores.retain(|store| store.strong_count() > 0);
            let stores: Vec<_> = state.stores.iter().filter_map(Weak::upgrade).collect();
            drop(state);
            for store in stores {
                store.reclaim();
            }
            let cancelled = is_cancelled();
            state = self.state();
            if cancelled {
                state.waiting.retain(|waiting| *waiting != ticket);
                self.changed.notify_all();
                return Err(VaultError::cancelled());
            }
            if state.waiting.front() == Some(&ticket) && state.free >= bytes {
                continue;
            }
            state = self.changed.wait_timeout(state, WAIT_STEP).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// `bytes` at once or not at all; never before somebody who waits.
    pub(crate) fn try_acquire(self: &Arc<Self>, bytes: u64) -> Option<Permit> {
        let mut state = self.state();
        if !state.waiting.is_empty() || state.free < bytes {
            return None;
        }
        state.free -= bytes;
        Some(self.permit(bytes))
    }

    /// Registers a holder of stored permits.
    pub(crate) fn register(&self, store: Weak<dyn Reclaim>) {
        let mut state = self.state();
        state.stores.retain(|store| store.strong_count() > 0);
        state.stores.push(store);
    }

    /// A permit for no bytes, for what is paid for otherwise.
    pub(crate) fn nothing(self: &Arc<Self>) -> Permit {
        self.permit(0)
    }

    fn permit(self: &Arc<Self>, bytes: u64) -> Permit {
        Permit { budget: Arc::clone(self), bytes }
    }

    fn release(&self, bytes: u64) {
        if bytes > 0 {
            self.state().free += bytes;
            self.changed.notify_all();
        }
    }

    /// A panic elsewhere leaves plain numbers behind, which stay true: the lock is taken over.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for MemoryBudget {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MemoryBudget({} of {} bytes held)", self.held(), self.total)
    }
}

/// The right to hold some bytes; given back on drop.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Arc<MemoryBudget>,
    bytes: u64,
}

impl Permit {
    /// Gives back what exceeds `bytes`.
    pub(crate) fn shrink(&mut self, bytes: u64) {
        if bytes < self.bytes {
            self.budget.release(self.bytes - bytes);
            self.bytes = bytes;
        }
    }

    /// Joins another permit of the same budget to this one.
    pub(crate) fn merge(&mut self, mut other: Permit) {
        self.bytes += std::mem::take(&mut other.bytes);
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    struct Stored(Mutex<Option<Permit>>);

    impl Reclaim for Stored {
        fn reclaim(&self) {
            self.0.lock().unwrap().take();
        }
    }

    #[test]
    fn a_request_for_more_than_the_whole_budget_gets_the_whole_budget() {
        let budget = MemoryBudget::new(100);
        let permit = budget.acquire(1000, &|| false).unwrap();
        assert_eq!(budget.held(), 100);
        assert!(budget.try_acquire(1).is_none());
        drop(permit);
        assert_eq!(budget.held(), 0);
    }

    #[test]
    fn a_waiter_gets_what_a_store_can_give_back() {
        let budget = MemoryBudget::new(100);
        let stored: Arc<dyn Reclaim> = Arc::new(Stored(Mutex::new(Some(budget.acquire(80, &|| false).unwrap()))));
        budget.register(Arc::downgrade(&stored));
        assert!(budget.try_acquire(50).is_none());
        budget.acquire(50, &|| false).unwrap();
    }

    #[test]
    fn a_large_request_is_served_before_later_small_ones() {
        let budget = MemoryBudget::new(100);
        let first = budget.acquire(60, &|| false).unwrap();
        let (sender, receiver) = mpsc::channel();
        let waiting = {
            let budget = Arc::clone(&budget);
            std::thread::spawn(move || sender.send(budget.acquire(90, &|| false).unwrap()).unwrap())
        };
        while budget.state().waiting.is_empty() {
            std::thread::yield_now();
        }
        assert!(budget.try_acquire(10).is_none(), "a later small request must not overtake");
        drop(first);
        let large = receiver.recv().unwrap();
        waiting.join().unwrap();
        assert_eq!(budget.held(), 90);
        drop(large);
    }

    #[test]
    fn a_cancelled_waiter_leaves_the_queue() {
        let budget = MemoryBudget::new(10);
        let held = budget.acquire(10, &|| false).unwrap();
        assert_eq!(budget.acquire(5, &|| true).unwrap_err().kind(), &crate::VaultErrorKind::Cancelled);
        drop(held);
        assert!(budget.try_acquire(10).is_some());
    }

    #[test]
    fn a_shrunk_permit_gives_back_the_difference() {
        let budget = MemoryBudget::new(10);
        let mut permit = budget.acquire(8, &|| false).unwrap();
        permit.shrink(3);
        permit.merge(budget.try_acquire(2).unwrap());
        assert_eq!(budget.held(), 5);
        drop(permit);
        assert_eq!(budget.held(), 0);
    }
}
