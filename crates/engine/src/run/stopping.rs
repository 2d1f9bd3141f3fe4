//! Why a run shall stop, and since when.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use trivault_vault::Interrupt;

/// How long a run that is handed back may still wait for its stores: what it has stored by then the next attempt need not store again.
const HANDING_BACK: Duration = Duration::from_secs(1);

/// The wishes that a run stops. Apart from the run's context, because what a vault keeps of a run must not keep its passcode.
#[derive(Default)]
pub(super) struct Stopping {
    cancelled: AtomicBool,
    lost: AtomicBool,
    handing_back: AtomicBool,
    /// Of the first of them, by a clock that nobody sets.
    since: OnceLock<Instant>,
}

impl Stopping {
    pub(super) fn cancel(&self) {
        self.ask(&self.cancelled);
    }

    pub(super) fn lose(&self) {
        self.ask(&self.lost);
    }

    pub(super) fn hand_back(&self) {
        self.ask(&self.handing_back);
    }

    fn ask(&self, wish: &AtomicBool) {
        self.since.get_or_init(Instant::now);
        wish.store(true, Ordering::SeqCst);
    }

    pub(super) fn was_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::SeqCst)
    }

    pub(super) fn was_lost(&self) -> bool {
        self.lost.load(Ordering::SeqCst)
    }

    pub(super) fn is_handing_back(&self) -> bool {
        self.handing_back.load(Ordering::SeqCst)
    }

    pub(super) fn should_stop(&self) -> bool {
        self.was_cancelled() || self.was_lost() || self.is_handing_back()
    }

    /// The same for whoever waits for a store.
    pub(super) fn interrupt(self: &Arc<Self>) -> Interrupt {
        let stopping = Arc::clone(self);
        Interrupt::new(move || {
            let since = stopping.since.get().filter(|_| stopping.should_stop())?.elapsed();
            match stopping.was_cancelled() || stopping.was_lost() {
                true => Some(since),
                false => since.checked_sub(HANDING_BACK),
            }
        })
    }
}
