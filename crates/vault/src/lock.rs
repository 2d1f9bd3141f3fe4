//! restic's lock files: who works on a vault, and whether others may at the same time.
//!
//! Several readers and adders share a vault, who removes has it alone, but for readers and adders of the same installation. The protocol is restic's: look, write an own lock, wait a moment,
//! look again. It is advisory and has a small window on stores that list late, which is why nothing is ever removed in one step.

use crate::{
    backend::FileKind,
    core::{Core, lock as guard},
    crypto::fill_random,
    error::{Result, VaultError, VaultErrorKind},
    id::Id,
    lock_refresh::Refresher,
    snapshot::go_time,
    unpacked,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// Between writing the own lock and looking again, on stores that may list late.
const SETTLE: Duration = Duration::from_millis(200);
/// A lock not refreshed for this long is stale; restic's figure.
const STALE: TimeDelta = TimeDelta::minutes(30);
/// First and longest pause between two tries to get a lock.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));
/// How often who waits looks whether it is to go on.
const LOOK: Duration = Duration::from_millis(100);

/// Whether others may hold a lock at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockMode {
    /// For reading and for adding.
    Shared,
    /// For removing. Captures and readers of the same installation (lock files with the same host name) are borne all the same: they and
    /// a prune heed each other by other means, see [`crate::Vault::prune`].
    Exclusive,
}

/// What a lock file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockInfo {
    /// Name of the file.
    pub id: Id,
    /// When it was last refreshed.
    pub time: DateTime<Utc>,
    /// Whether it excludes all others.
    pub exclusive: bool,
    /// Host of its holder.
    pub hostname: String,
    /// User of its holder.
    pub username: String,
    /// Process of its holder.
    pub pid: u32,
}

#[derive(Serialize, Deserialize)]
struct WireLock {
    time: DateTime<Utc>,
    #[serde(default)]
    exclusive: bool,
    #[serde(default)]
    hostname: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    pid: u32,
}

/// Ids of the locks that this process holds through one vault.
pub(crate) type HeldLocks = Arc<Mutex<HashSet<Id>>>;

/// A held lock; a thread of its own refreshes it every five minutes. Removed by [`Lock::release`], or on drop.
#[derive(Debug)]
pub struct Lock {
    refresher: Option<Refresher>,
}

impl Lock {
    pub(crate) fn take(
        core: &Arc<Core>,
        held: &HeldLocks,
        mode: LockMode,
        wait: Duration,
        is_cancelled: &dyn Fn() -> bool,
    ) -> Result<Self> {
        let deadline = Instant::now() + wait;
        let mut pause = RETRY.0;
        loop {
            match try_take(core, held, mode) {
                Ok(id) => {
                    let refresher = Refresher::start(Arc::clone(core), Arc::clone(held), mode, id)?;
                    return Ok(Self { refresher: Some(refresher) });
                }
                Err(error) if matches!(error.kind(), VaultErrorKind::Locked { .. }) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(error);
                    }
                    rest(jittered(pause)?.min(left), is_cancelled)?;
                    pause = (pause * 2).min(RETRY.1);
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Name of the lock file now; each refresh gives it a new one.
    pub fn id(&self) -> Id {
        self.refresher.as_ref().map_or(Id::from_bytes([0; 32]), Refresher::id)
    }

    /// `false` when it could not be refreshed for 22 minutes: the holder must stop writing.
    pub fn is_alive(&self) -> bool {
        self.refresher.as_ref().is_some_and(Refresher::is_alive)
    }

    /// Whether the lock still protects what its holder has written, asked of the store itself: to be called right before
    /// something is written that relies on it.
    ///
    /// # Errors
    /// `StoreUnavailable` when it could not be refreshed for 22 minutes, or when somebody has removed its file, after which
    /// a prune may have removed more.
    pub fn check(&self) -> Result<()> {
        self.refresher.as_ref().map_or(Ok(()), Refresher::check)
    }

    #[cfg(test)]
    pub(crate) fn refresh_now(&self) -> Result<()> {
        self.refresher.as_ref().map_or(Ok(()), Refresher::refresh_now)
    }

    /// Removes the lock file.
    pub fn release(mut self) -> Result<()> {
        self.refresher.take().map_or(Ok(()), Refresher::stop)
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.refresher.take().map(Refresher::stop) {
            tracing::warn!(error = %error, "a lock file could not be removed; it will be stale in 30 minutes");
        }
    }
}

/// Waits, unless it is cancelled meanwhile.
fn rest(time: Duration, is_cancelled: &dyn Fn() -> bool) -> Result<()> {
    let until = Instant::now() + time;
    loop {
        if is_cancelled() {
            return Err(VaultError::cancelled());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(LOOK));
    }
}

/// Between half and one and a half times the pause: two that met each other shall not meet again and again.
fn jittered(pause: Duration) -> Result<Duration> {
    let mut byte = [0];
    fill_random(&mut byte)?;
    Ok(pause / 2 + pause * u32::from(byte[0]) / 255)
}

fn try_take(core: &Core, held: &HeldLocks, mode: LockMode) -> Result<Id> {
    check_conflict(core, mode, None)?;
    let id = write(core, held, mode)?;
    if !core.backend.lists_at_once() {
        std::thread::sleep(SETTLE);
    }
    check_conflict(core, mode, Some(&id)).inspect_err(|_| {
        if let Err(error) = remove(core, held, &id) {
            tracing::warn!(vault.id = %core.id, error = %error, "a lock file could not be removed");
        }
    })?;
    Ok(id)
}

fn check_conflict(core: &Core, mode: LockMode, own: Option<&Id>) -> Result<()> {
    let conflicts = |lock: &LockInfo| match (mode, lock.exclusive) {
        (LockMode::Shared, false) => false,
        (LockMode::Exclusive, true) => true,
        (LockMode::Shared, true) | (LockMode::Exclusive, false) => lock.hostname != core.options.lock_host,
    };
    let conflict = list(core)?.into_iter().find(|lock| own != Some(&lock.id) && conflicts(lock));
    let Some(LockInfo { time, hostname, username, pid, .. }) = conflict else { return Ok(()) };
    let by = format!("{username}@{hostname} (process {pid})");
    let sentence = format!("the vault at {} is in use by {by} since {}", core.backend.location(), go_time(&time));
    let error = VaultError::new(VaultErrorKind::Locked { by, since: time }, sentence);
    Err(if Utc::now() - time > STALE {
        error.with_hint("that lock is stale; if nobody works on the vault, remove it with `restic unlock`")
    } else {
        error.with_hint("try again when that work is done")
    })
}

/// Writes a lock file of this process.
pub(crate) fn write(core: &Core, held: &HeldLocks, mode: LockMode) -> Result<Id> {
    let lock = WireLock {
        time: Utc::now(),
        exclusive: mode == LockMode::Exclusive,
        hostname: core.options.lock_host.clone(),
        username: core.options.lock_user.clone(),
        pid: std::process::id(),
    };
    let json = serde_json::to_vec(&lock)
        .map_err(|error| VaultError::internal("a lock cannot be written").with_source(error))?;
    let (id, stored) = unpacked::encode(&core.key, &json)?;
    guard(held).insert(id);
    core.backend.write(FileKind::Lock, &id.to_hex(), &stored).inspect_err(|_| {
        guard(held).remove(&id);
    })?;
    Ok(id)
}

/// Removes a lock file of this process.
pub(crate) fn remove(core: &Core, held: &HeldLocks, id: &Id) -> Result<()> {
    core.backend.remove(FileKind::Lock, &id.to_hex())?;
    guard(held).remove(id);
    Ok(())
}

/// All locks. An empty file is the trace of a crash and none; an unreadable one might be anybody's and is an error.
pub(crate) fn list(core: &Core) -> Result<Vec<LockInfo>> {
    let unlock = |error: VaultError| {
        error.with_hint("if nobody works on the vault, remove it with `restic unlock --remove-all`")
    };
    read_all(core)?.into_iter().map(|lock| lock.map_err(unlock)).collect()
}

/// Every lock file as it is; fails only where the store does.
fn read_all(core: &Core) -> Result<Vec<Result<LockInfo>>> {
    let mut locks = Vec::new();
    for entry in core.backend.list(FileKind::Lock)? {
        let Some(id) = entry.name.parse::<Id>().ok().filter(|_| entry.length > 0) else { continue };
        let lock = read(core, &id);
        match lock.as_ref().map_err(VaultError::kind) {
            // Released or refreshed since it was listed.
            Err(VaultErrorKind::Missing) => {}
            Ok(_) | Err(VaultErrorKind::Damaged | VaultErrorKind::Unsupported) => locks.push(lock),
            Err(_) => return Err(lock.err().unwrap_or_else(|| VaultError::internal("a lock was read and failed"))),
        }
    }
    Ok(locks)
}

fn read(core: &Core, id: &Id) -> Result<LockInfo> {
    let json = unpacked::read(&*core.backend, &core.key, FileKind::Lock, id)?;
    let WireLock { time, exclusive, hostname, username, pid } = serde_json::from_slice(&json)
        .map_err(|error| VaultError::damaged(format!("lock {id} cannot be understood")).with_source(error))?;
    Ok(LockInfo { id: *id, time, exclusive, hostname, username, pid })
}

/// Locks of this installation that nobody holds any more: not refreshed for 30 minutes, or of this node and of a process that is gone.
pub(crate) fn own_stale(core: &Core, held: &HeldLocks, now: DateTime<Utc>) -> Result<Vec<LockInfo>> {
    let locks = read_all(core)?;
    let held = guard(held).clone();
    // One that cannot be read cannot be told to be ours.
    let own = locks
        .into_iter()
        .filter_map(Result::ok)
        .filter(|lock| lock.hostname == core.options.lock_host && !held.contains(&lock.id));
    let is_stale = |lock: &LockInfo| {
        now - lock.time > STALE || (lock.username == core.options.lock_user && !is_other_living_process(lock.pid))
    };
    Ok(own.filter(is_stale).collect())
}

/// Whether another process of this machine has that number. Our own number in a lock that we do not hold is a former process's.
fn is_other_living_process(pid: u32) -> bool {
    let number = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    pid != std::process::id()
        && number.is_some_and(|pid| rustix::process::test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}
