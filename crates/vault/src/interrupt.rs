//! The wish that the work of a thread stops, heard also where it waits for a store.
//!
//! Reading and writing block, and a store that falls silent answers after minutes or never. Whoever runs work that can be called off
//! says so for the thread with [`Interrupt::scope`]; every request to a store far away that is waited for inside looks there several times
//! a second, and is given up when it is called off. What becomes of a request that was given up is not known, as after a crash.
//!
//! Threads that work for others take the wish of the one that they work for with them.

use crate::error::{Result, VaultError};
use std::{
    cell::RefCell,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError},
    time::Duration,
};

/// How often a wait looks whether it is called off. A request that is answered sooner is never given up.
pub(crate) const LOOK: Duration = Duration::from_millis(100);
/// How long after the wish to stop the last things may still take: listing what was stored, removing lock files.
const TIDYING: Duration = Duration::from_millis(800);

/// Answers since when the work is to stop; `None` while it may go on. Asked several times a second, from any thread.
type Asked = dyn Fn() -> Option<Duration> + Send + Sync;

/// A wish to stop.
#[derive(Clone)]
pub struct Interrupt {
    asked: Arc<Asked>,
    /// How long the wish is not heeded.
    patience: Duration,
}

thread_local! {
    static CURRENT: RefCell<Option<Interrupt>> = const { RefCell::new(None) };
}

impl Interrupt {
    /// `asked` answers since when the work is to stop. Must be cheap and must not block.
    pub fn new(asked: impl Fn() -> Option<Duration> + Send + Sync + 'static) -> Self {
        Self { asked: Arc::new(asked), patience: Duration::ZERO }
    }

    /// The wish that this thread's work heeds, for a thread that works for it.
    pub fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Runs work on this thread that heeds this wish.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        within(Some(self.clone()), work)
    }

    /// Runs the last things of some work, which may take a moment longer than the work itself.
    pub fn tidying<T>(work: impl FnOnce() -> T) -> T {
        within(Self::current().map(Self::patient), work)
    }

    pub(crate) fn patient(self) -> Self {
        Self { patience: TIDYING, ..self }
    }

    /// Whether the work is called off.
    pub(crate) fn is_due(&self) -> bool {
        (self.asked)().is_some_and(|since| since >= self.patience)
    }
}

impl fmt::Debug for Interrupt {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Interrupt").field("patience", &self.patience).finish_non_exhaustive()
    }
}

/// Runs work that heeds this wish, or none.
pub(crate) fn within<T>(interrupt: Option<Interrupt>, work: impl FnOnce() -> T) -> T {
    /// Puts back what was there, after a panic too.
    struct Before(Option<Interrupt>);

    impl Drop for Before {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }

    let _before = Before(CURRENT.replace(interrupt));
    work()
}

/// Fails when the work of this thread is called off.
pub(crate) fn check() -> Result<()> {
    match Interrupt::current().is_some_and(|interrupt| interrupt.is_due()) {
        true => Err(VaultError::cancelled()),
        false => Ok(()),
    }
}

/// Locks a mutex that others may hold while they wait for a store.
///
/// # Errors
/// `Cancelled` when this thread's work is called off meanwhile.
pub fn lock_unless_interrupted<T>(mutex: &Mutex<T>) -> Result<MutexGuard<'_, T>> {
    const STEP: Duration = Duration::from_millis(10);
    if Interrupt::current().is_none() {
        return Ok(mutex.lock().unwrap_or_else(PoisonError::into_inner));
    }
    loop {
        match mutex.try_lock() {
            Ok(guard) => return Ok(guard),
            Err(TryLockError::Poisoned(poisoned)) => return Ok(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => check()?,
        }
        std::thread::sleep(STEP);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VaultErrorKind;

    #[test]
    fn a_wish_counts_inside_its_scope_only_and_the_last_things_have_a_moment_longer() {
        let wish = |since| Interrupt::new(move || since);
        let is_called_off = || check().is_err_and(|error| *error.kind() == VaultErrorKind::Cancelled);
        assert!(!is_called_off());
        wish(Some(Duration::ZERO)).scope(|| {
            assert!(is_called_off());
            Interrupt::tidying(|| assert!(!is_called_off()));
            wish(None).scope(|| assert!(!is_called_off()));
            assert!(is_called_off(), "the outer wish is back");
            let passed_on = Interrupt::current();
            std::thread::scope(|scope| {
                let there = scope.spawn(|| within(passed_on, || check().is_err()));
                assert!(there.join().unwrap());
                assert!(!scope.spawn(|| check().is_err()).join().unwrap(), "other threads know nothing of it");
            });
        });
        wish(Some(TIDYING)).scope(|| Interrupt::tidying(|| assert!(is_called_off())));
        let panicked = std::panic::catch_unwind(|| wish(Some(TIDYING)).scope(|| panic!("on purpose")));
        assert!(panicked.is_err() && !is_called_off());
    }

    #[test]
    fn who_waits_for_a_mutex_is_called_off() {
        let mutex = Mutex::new(());
        let (mutex, held) = (&mutex, mutex.lock().unwrap());
        let refused = std::thread::scope(|scope| {
            let wish = Interrupt::new(|| Some(Duration::ZERO));
            scope.spawn(move || wish.scope(|| lock_unless_interrupted(mutex).is_err())).join().unwrap()
        });
        assert!(refused);
        drop(held);
        assert!(lock_unless_interrupted(mutex).is_ok());
    }
}
