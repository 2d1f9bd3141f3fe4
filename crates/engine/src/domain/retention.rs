//! Which backups may go.

use std::time::Duration;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};

use super::{BackupId, BackupState, Trigger};

/// What a repository keeps. Every rule that wants a backup keeps it; counts of 0 and `None` want nothing. With no rule at
/// all, everything without a date of its own is kept. `crate::retention` applies it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The newest backups.
    #[serde(default)]
    pub last: u32,
    /// The newest backup of each of the last hours that have one; likewise days, ISO weeks, months and years.
    #[serde(default)]
    pub hourly: u32,
    #[serde(default)]
    pub daily: u32,
    #[serde(default)]
    pub weekly: u32,
    #[serde(default)]
    pub monthly: u32,
    #[serde(default)]
    pub yearly: u32,
    /// Everything younger than this.
    #[serde(default)]
    pub within: Option<Duration>,
    /// Backups that a person asked for: `None` treats them like all others; a number keeps that many of the newest,
    /// whatever their age, and no other rule looks at them.
    #[serde(default)]
    pub manual: Option<u32>,
    /// How long failed, cancelled and lost backups stay in the list.
    pub unusable_for: Duration,
    /// In which hours, days, weeks, months and years are meant.
    pub zone: Tz,
}

impl Retention {
    /// Unusable backups stay a week in the list.
    pub const UNUSABLE_FOR: Duration = Duration::from_secs(7 * 24 * 3600);

    /// Keeps everything that is usable and has no date of its own.
    pub fn everything(zone: Tz) -> Self {
        Self {
            last: 0,
            hourly: 0,
            daily: 0,
            weekly: 0,
            monthly: 0,
            yearly: 0,
            within: None,
            manual: None,
            unusable_for: Self::UNUSABLE_FOR,
            zone,
        }
    }

    /// Whether no rule chooses among usable backups.
    pub fn keeps_everything(&self) -> bool {
        let Self { last, hourly, daily, weekly, monthly, yearly, within, manual, unusable_for: _, zone: _ } = self;
        [last, hourly, daily, weekly, monthly, yearly].into_iter().all(|count| *count == 0)
            && within.is_none()
            && manual.is_none()
    }
}

/// What retention looks at of a backup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionCandidate {
    pub id: BackupId,
    /// When it was made.
    pub at: DateTime<Utc>,
    pub state: BackupState,
    pub trigger: Trigger,
    /// Its own date; rules have no say about a backup that has one.
    pub keep_until: Option<DateTime<Utc>>,
    /// Verification found it damaged: it takes no good one's place, and does not go for it.
    pub damaged: bool,
    /// At least one of its parts can be restored, as far as is known.
    pub restorable: bool,
    /// Since when none of it can, where that came later than the backup.
    pub lost_at: Option<DateTime<Utc>>,
    /// What a queued or running job does with it.
    pub in_use: Option<CandidateUse>,
}

/// What a job does with a backup that was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CandidateUse {
    /// It is restored or downloaded: it stays until that is over.
    Read,
    /// It is deleted or folded into another: nothing may count on it.
    Removed,
}

impl RetentionCandidate {
    /// Over, and of some use: all of it, or parts of one that failed, was cancelled, or has lost others.
    pub fn is_finished(&self) -> bool {
        let is_over = !matches!(self.state, BackupState::Queued | BackupState::Running);
        is_over && self.restorable && self.in_use != Some(CandidateUse::Removed)
    }

    /// Restorable as a whole, as far as is known.
    pub fn is_good(&self) -> bool {
        self.is_finished() && self.state == BackupState::Succeeded && !self.damaged
    }
}

/// What becomes of one backup, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Verdict {
    pub id: BackupId,
    pub keep: bool,
    /// Every rule that keeps it, or the one reason why it goes.
    pub reasons: Vec<RetentionReason>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RetentionReason {
    /// Kept: it is being made.
    InProgress,
    /// Kept: its own date has not come.
    OwnDate,
    /// Kept: the repository has no rule.
    NoRule,
    Last,
    Hourly,
    Daily,
    Weekly,
    Monthly,
    Yearly,
    Within,
    /// Kept: one of the newest that a person asked for.
    Manual,
    /// Kept, and counted for nothing: not all of it was made or is left, and it would be kept if it were whole.
    Incomplete,
    /// Kept: failed, cancelled or lost, and young enough to be shown.
    RecentlyUnusable,
    /// Kept, and counted for nothing: it is damaged, and would be kept if it were not.
    Damaged,
    /// Kept: all other good backups would be gone.
    LastGood,
    /// Kept by this pass, for a job reads it; a later one lets it go.
    InUse,
    /// Goes: a job deletes it already.
    BeingDeleted,
    /// Goes: its own date has passed.
    OwnDatePassed,
    /// Goes: no rule wants it.
    NotWanted,
    /// Goes: failed, cancelled or lost, and shown long enough.
    Unusable,
}

impl RetentionReason {
    /// For a person: "kept: newest of its day".
    pub fn sentence(self) -> &'static str {
        match self {
            Self::InProgress => "kept: it is being made",
            Self::OwnDate => "kept: its own date has not come",
            Self::NoRule => "kept: the repository keeps everything",
            Self::Last => "kept: one of the newest",
            Self::Hourly => "kept: newest of its hour",
            Self::Daily => "kept: newest of its day",
            Self::Weekly => "kept: newest of its week",
            Self::Monthly => "kept: newest of its month",
            Self::Yearly => "kept: newest of its year",
            Self::Within => "kept: young enough",
            Self::Manual => "kept: one of the newest that were asked for by hand",
            Self::RecentlyUnusable => "kept: unusable, shown for a while",
            Self::Damaged => "kept: damaged, takes no good one's place",
            Self::Incomplete => "kept: parts of it can be restored, takes no good one's place",
            Self::LastGood => "kept: it is the last good one",
            Self::InUse => "goes later: a job reads it now",
            Self::BeingDeleted => "goes: it is being deleted",
            Self::OwnDatePassed => "goes: its own date has passed",
            Self::NotWanted => "goes: no rule wants it",
            Self::Unusable => "goes: unusable, and shown long enough",
        }
    }
}
