//! Keeps a lock fresh from a thread of its own, whatever the data path is waiting for.

use crate::{
    backend::FileKind,
    core::{Core, lock as guard},
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    interrupt::Interrupt,
    lock::{self, HeldLocks, LockMode},
};
use std::{
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant, SystemTime},
};

/// A new lock file is written this often; restic's figure.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// After a refresh that failed.
const RETRY: Duration = Duration::from_secs(30);
/// A lock that could not be refreshed for so long no longer protects; others take it for stale after 30 minutes.
const ALIVE: Duration = Duration::from_secs(22 * 60);

/// The refreshing thread of one lock.
pub(crate) struct Refresher {
    shared: Arc<Shared>,
    thread: JoinHandle<()>,
}

struct Shared {
    core: Arc<Core>,
    held: HeldLocks,
    mode: LockMode,
    state: Mutex<State>,
    stopped: Condvar,
}

struct State {
    id: Id,
    refreshed: Refreshed,
    /// Former lock files that could not be removed yet.
    left_over: Vec<Id>,
    stop: bool,
    /// Of who waits for the end of the thread.
    ending: Option<Interrupt>,
}

/// When the lock file was last written, on two clocks: the first stands still while the machine sleeps, the second may be set.
struct Refreshed(Instant, SystemTime);

impl Refreshed {
    fn now() -> Self {
        Self(Instant::now(), SystemTime::now())
    }

    fn is_recent(&self) -> bool {
        let Self(instant, time) = self;
        // A clock that was set back says nothing; the other one counts.
        instant.elapsed() < ALIVE && time.elapsed().map_or(true, |elapsed| elapsed < ALIVE)
    }
}

impl Refresher {
    pub fn start(core: Arc<Core>, held: HeldLocks, mode: LockMode, id: Id) -> Result<Self> {
        let state = State { id, refreshed: Refreshed::now(), left_over: Vec::new(), stop: false, ending: None };
        let shared = Arc::new(Shared { core, held, mode, state: Mutex::new(state), stopped: Condvar::new() });
        let copy = Arc::clone(&shared);
        match std::thread::Builder::new().name("vault-lock".to_owned()).spawn(move || copy.run_until_called_off()) {
            Ok(thread) => Ok(Self { shared, thread }),
            Err(error) => {
                lock::remove(&shared.core, &shared.held, &id)?;
                Err(VaultError::internal("the machine gives no more threads").with_source(error))
            }
        }
    }

    /// Name of the lock file now.
    pub fn id(&self) -> Id {
        guard(&self.shared.state).id
    }

    /// Whether the last refresh is recent enough.
    pub fn is_alive(&self) -> bool {
        guard(&self.shared.state).refreshed.is_recent()
    }

    /// Whether the last refresh is recent enough and its file is there.
    pub fn check(&self) -> Result<()> {
        loop {
            if !self.is_alive() {
                let sentence =
                    "the lock in the vault could not be refreshed for 22 minutes, so that others take it for stale";
                return Err(VaultError::new(VaultErrorKind::StoreUnavailable, sentence));
            }
            // Not held over the question: a heartbeat asks for the state too.
            let id = self.id();
            match self.shared.core.backend.length(FileKind::Lock, &id.to_hex()) {
                // A refresh took the file away meanwhile, and wrote another one before.
                Err(error) if *error.kind() == VaultErrorKind::Missing && self.id() != id => {}
                Err(error) if *error.kind() == VaultErrorKind::Missing => {
                    let sentence = "somebody removed the lock from the vault while it was written to";
                    return Err(VaultError::new(VaultErrorKind::StoreUnavailable, sentence)
                        .with_hint("do not use `restic unlock --remove-all` while backups run")
                        .with_source(error));
                }
                answer => return answer.map(drop),
            }
        }
    }

    /// Refreshes without waiting for the time.
    #[cfg(test)]
    pub fn refresh_now(&self) -> Result<()> {
        self.shared.refresh()
    }

    /// Ends the thread and removes the lock file.
    pub fn stop(self) -> Result<()> {
        Interrupt::tidying(|| self.end())
    }

    fn end(self) -> Result<()> {
        {
            let mut state = guard(&self.shared.state);
            state.stop = true;
            // A refresh under way is waited for as long as its end would be, and no longer.
            state.ending = Interrupt::current();
        }
        self.shared.stopped.notify_all();
        // The thread does not panic; if it did, the lock file is removed all the same.
        let _ = self.thread.join();
        {
            let mut state = guard(&self.shared.state);
            let id = state.id;
            state.left_over.push(id);
        }
        self.shared.remove_left_over()
    }
}

impl Shared {
    /// The thread belongs to nobody until somebody waits for its end.
    fn run_until_called_off(self: Arc<Self>) {
        let shared = Arc::clone(&self);
        let is_called_off = move || {
            let ending = guard(&shared.state).ending.clone();
            ending.is_some_and(|ending| ending.is_due()).then_some(Duration::MAX)
        };
        Interrupt::new(is_called_off).scope(|| self.run());
    }

    fn run(&self) {
        let mut pause = REFRESH;
        loop {
            let state = guard(&self.state);
            let waited = self.stopped.wait_timeout_while(state, pause, |state| !state.stop);
            if waited.unwrap_or_else(PoisonError::into_inner).0.stop {
                return;
            }
            pause = match self.refresh() {
                Ok(()) => REFRESH,
                Err(error) => {
                    tracing::warn!(vault.id = %self.core.id, error = %error, "a lock could not be refreshed");
                    RETRY
                }
            };
        }
    }

    /// Writes a new lock file, then removes the old one: at no moment there is none.
    fn refresh(&self) -> Result<()> {
        let new = lock::write(&self.core, &self.held, self.mode)?;
        {
            let mut state = guard(&self.state);
            state.refreshed = Refreshed::now();
            let old = std::mem::replace(&mut state.id, new);
            state.left_over.push(old);
        }
        self.remove_left_over()
    }

    /// Removes former lock files; what fails is tried again at the next refresh and at the end.
    fn remove_left_over(&self) -> Result<()> {
        let left_over = guard(&self.state).left_over.clone();
        for id in left_over {
            lock::remove(&self.core, &self.held, &id)?;
            guard(&self.state).left_over.retain(|left| *left != id);
        }
        Ok(())
    }
}

impl fmt::Debug for Refresher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Refresher({})", self.id())
    }
}
