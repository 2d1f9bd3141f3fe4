//! How an engine is opened.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use chrono_tz::Tz;
use trivault_vault::backend::S3Patience;

use crate::{
    clock::{Clock, SystemClock},
    domain::{Namer, SecretText},
    point::Observer,
    schedule::Grace,
    secrets::ServerKey,
};

/// Where the metadata lives.
#[derive(Clone, Debug)]
pub enum DatabaseLocation {
    /// A SQLite file; relative ones lie in the data directory.
    Sqlite(PathBuf),
    /// `postgresql://user:password@host/database`
    Postgres(SecretText),
}

impl Default for DatabaseLocation {
    fn default() -> Self {
        Self::Sqlite(PathBuf::from("metadata.sqlite"))
    }
}

/// Where the server key comes from.
#[derive(Clone, Debug, Default)]
pub enum ServerKeyLocation {
    /// `server.key` in the data directory, made at the first start.
    #[default]
    DataDirectory,
    /// A file that must exist.
    File(PathBuf),
    /// Given by the caller (from an environment reference).
    Given(ServerKey),
}

/// How often failed work is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts of a backup or forget in all, the first included.
    pub attempts: u32,
    /// Wait before the second attempt; doubled for each further one.
    pub first_wait: Duration,
    pub longest_wait: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { attempts: 3, first_wait: Duration::from_secs(5), longest_wait: Duration::from_secs(600) }
    }
}

impl RetryPolicy {
    /// The wait after attempt number `attempt` (1 is the first).
    pub fn wait_after(&self, attempt: u32) -> Duration {
        let doubled = 2_u32.saturating_pow(attempt.saturating_sub(1).min(16));
        self.first_wait.saturating_mul(doubled).min(self.longest_wait)
    }

    /// As [`RetryPolicy::wait_after`], shortened by up to a half: what failed together does not come back together. `chance` is
    /// any number.
    pub fn spread_wait_after(&self, attempt: u32, chance: u8) -> Duration {
        let wait = self.wait_after(attempt);
        wait - wait / 512 * u32::from(chance)
    }
}

/// What the server does by itself for its vaults. A rhythm of `None` is switched off.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CareOptions {
    /// At most so often, a vault from which backups were forgotten is pruned.
    pub prune_every: Option<Duration>,
    /// How long a pack that nothing needs any more stays before it is deleted: longer than any backup takes.
    pub keep_marked: Duration,
    /// Share of unused bytes that a prune leaves in packs that are used otherwise, 0 to 1.
    pub tolerated_unused: f64,
    /// Most bytes that one prune moves into new packs.
    pub max_repack_bytes: Option<u64>,
    /// How often a vault's structure is checked.
    pub structure_every: Option<Duration>,
    /// How often a share of a vault's data is read.
    pub data_every: Option<Duration>,
    /// Into how many shares the data is divided; each day has its own. 1 to 256.
    pub data_shares: u32,
    /// How often the newest good backups of a repository are read back whole.
    pub restore_every: Option<Duration>,
}

impl Default for CareOptions {
    fn default() -> Self {
        const DAY: Duration = Duration::from_secs(24 * 3600);
        Self {
            prune_every: Some(DAY),
            keep_marked: DAY,
            tolerated_unused: 0.05,
            max_repack_bytes: None,
            structure_every: Some(DAY),
            data_every: Some(DAY),
            data_shares: 30,
            restore_every: Some(7 * DAY),
        }
    }
}

/// Everything that an engine is told when it is opened.
#[derive(Clone)]
pub struct EngineOptions {
    /// Made with mode 0700 when it is not there.
    pub data_directory: PathBuf,
    /// A server has its data directory alone; commands use it beside a server.
    pub server: bool,
    pub database: DatabaseLocation,
    /// How long one use of a metadata database on the network may take before its connection is given up.
    pub database_patience: Duration,
    pub server_key: ServerKeyLocation,
    /// A person's name for this node.
    pub node_name: String,
    pub clock: Arc<dyn Clock>,
    /// How long a worker's right to run a job lasts without a heartbeat.
    pub lease: Duration,
    /// Jobs that run at once on this node.
    pub workers: usize,
    /// Jobs of one store, and of one source, that run at once on all nodes together; `None`: as many as there are workers.
    pub jobs_per_store: Option<u32>,
    pub jobs_per_source: Option<u32>,
    /// Bytes that all writers and readers of vaults hold at most.
    pub memory_budget: u64,
    /// 1 to 19.
    pub zstd_level: i32,
    /// The zone in which plans without one are meant.
    pub zone: Tz,
    pub retry: RetryPolicy,
    /// Limits of time of S3 stores, by the store's name; others have the default.
    pub s3_patience: BTreeMap<String, S3Patience>,
    pub care: CareOptions,
    /// How long after its time a scheduled backup or verification may still succeed before it is overdue.
    pub overdue_grace: Grace,
    /// How often workers and reconcilers look for work that no wake-up told them of.
    pub poll: Duration,
    /// Told of each step that begins or ends and of each other point, before the work goes on: tests stop it at a known place so.
    pub observer: Option<Observer>,
    /// One for each dialect: how new objects are called on its wire.
    pub namers: Vec<Arc<dyn Namer>>,
}

impl EngineOptions {
    /// Defaults for a data directory.
    pub fn new(data_directory: impl Into<PathBuf>) -> Self {
        Self {
            data_directory: data_directory.into(),
            server: false,
            database: DatabaseLocation::default(),
            database_patience: Duration::from_secs(60),
            server_key: ServerKeyLocation::default(),
            node_name: "trivault".to_owned(),
            clock: Arc::new(SystemClock),
            lease: Duration::from_secs(60),
            workers: 2,
            jobs_per_store: None,
            jobs_per_source: None,
            memory_budget: trivault_vault::MemoryBudget::DEFAULT_BYTES,
            zstd_level: 2,
            zone: Tz::UTC,
            retry: RetryPolicy::default(),
            s3_patience: BTreeMap::new(),
            care: CareOptions::default(),
            overdue_grace: Grace::Proportional,
            poll: Duration::from_secs(1),
            observer: None,
            namers: Vec::new(),
        }
    }
}

impl std::fmt::Debug for EngineOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("EngineOptions")
            .field("data_directory", &self.data_directory)
            .field("node_name", &self.node_name)
            .field("lease", &self.lease)
            .field("workers", &self.workers)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_up_to_their_limit() {
        let policy = RetryPolicy::default();
        let waits: Vec<u64> = [1, 2, 3, 7, 8, u32::MAX].map(|attempt| policy.wait_after(attempt).as_secs()).to_vec();
        assert_eq!(waits, [5, 10, 20, 320, 600, 600]);
    }

    #[test]
    fn waits_are_spread_over_their_second_half() {
        let policy = RetryPolicy::default();
        let waits: Vec<Duration> = (0..=255).map(|chance| policy.spread_wait_after(2, chance)).collect();
        assert!(waits.iter().all(|wait| (5.0..=10.0).contains(&wait.as_secs_f64())));
        assert!(waits.is_sorted_by(|one, next| one > next), "each chance has a wait of its own");
    }
}
