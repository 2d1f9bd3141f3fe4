//! Which backups of a repository stay and which go: a pure function of the backups, the rules and the clock.
//!
//! * A backup that has a date of its own is kept until then and goes afterwards; no rule looks at it.
//! * The others stay if any rule wants them. Rules that count choose among good backups only: a failed or lost one never
//!   takes the place of a good one.
//! * A backup that is being made stays. An unusable one stays for a while, so that people see it.
//! * The newest good backup never goes, whatever the rules and dates say.

use std::collections::HashSet;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

use crate::domain::{BackupState, Retention, RetentionCandidate, RetentionReason, Trigger, Verdict};

/// Verdicts in the order of `backups`, newest first or not. Two backups of the same instant are told apart by their ids.
pub fn decide(backups: &[RetentionCandidate], rules: &Retention, now: DateTime<Utc>) -> Vec<Verdict> {
    let mut newest_first: Vec<&RetentionCandidate> = backups.iter().collect();
    newest_first.sort_by_key(|backup| std::cmp::Reverse((backup.at, backup.id)));
    let mut counters = Counters::new(rules);
    let mut verdicts: Vec<Verdict> =
        newest_first.iter().map(|backup| verdict(backup, counters.reasons(backup, rules, now), rules, now)).collect();
    keep_last_good(&newest_first, &mut verdicts);
    let place = |id| backups.iter().position(|backup| backup.id == id);
    verdicts.sort_by_key(|verdict| place(verdict.id));
    verdicts
}

fn verdict(
    backup: &RetentionCandidate,
    wanted: Vec<RetentionReason>,
    rules: &Retention,
    now: DateTime<Utc>,
) -> Verdict {
    let keeps = |reason| (true, vec![reason]);
    let goes = |reason| (false, vec![reason]);
    let (keep, reasons) = match (backup.state, backup.keep_until) {
        (BackupState::Queued | BackupState::Running, _) => keeps(RetentionReason::InProgress),
        _ if !backup.is_good() && is_younger(backup, rules.unusable_for, now) => {
            keeps(RetentionReason::RecentlyUnusable)
        }
        (BackupState::Failed | BackupState::Cancelled | BackupState::Lost, _) => goes(RetentionReason::Unusable),
        (BackupState::Succeeded, Some(until)) if until > now => keeps(RetentionReason::OwnDate),
        (BackupState::Succeeded, Some(_)) => goes(RetentionReason::OwnDatePassed),
        (BackupState::Succeeded, None) if rules.keeps_everything() => keeps(RetentionReason::NoRule),
        (BackupState::Succeeded, None) if wanted.is_empty() => goes(RetentionReason::NotWanted),
        (BackupState::Succeeded, None) => (true, wanted),
    };
    Verdict { id: backup.id, keep, reasons }
}

/// Ages are counted to the end of the range of time, so that no length of a duration overflows.
fn is_younger(backup: &RetentionCandidate, age: std::time::Duration, now: DateTime<Utc>) -> bool {
    let end = TimeDelta::from_std(age).ok().and_then(|age| backup.at.checked_add_signed(age));
    end.is_none_or(|end| end > now)
}

fn keep_last_good(newest_first: &[&RetentionCandidate], verdicts: &mut [Verdict]) {
    let good = || newest_first.iter().zip(0..).filter(|(backup, _)| backup.is_good()).map(|(_, index)| index);
    if good().any(|index: usize| verdicts[index].keep) {
        return;
    }
    if let Some(last) = good().next() {
        verdicts[last].keep = true;
        verdicts[last].reasons = vec![RetentionReason::LastGood];
    }
}

/// A piece of the calendar: year, and the hour, day, week or month in it.
type Period = (i32, u32, u32);

/// How many places each counting rule has left. Fed newest first.
struct Counters {
    last: u32,
    manual: u32,
    calendar: Vec<Calendar>,
}

struct Calendar {
    reason: RetentionReason,
    left: u32,
    seen: HashSet<Period>,
    period: fn(DateTime<Tz>) -> Period,
}

impl Counters {
    fn new(rules: &Retention) -> Self {
        let calendar = [
            (RetentionReason::Hourly, rules.hourly, hour as fn(DateTime<Tz>) -> Period),
            (RetentionReason::Daily, rules.daily, day),
            (RetentionReason::Weekly, rules.weekly, week),
            (RetentionReason::Monthly, rules.monthly, month),
            (RetentionReason::Yearly, rules.yearly, year),
        ];
        Self {
            last: rules.last,
            manual: rules.manual.unwrap_or_default(),
            calendar: calendar
                .into_iter()
                .map(|(reason, left, period)| Calendar { reason, left, seen: HashSet::new(), period })
                .collect(),
        }
    }

    /// The rules that want this backup, which is older than all before it.
    fn reasons(&mut self, backup: &RetentionCandidate, rules: &Retention, now: DateTime<Utc>) -> Vec<RetentionReason> {
        let mut reasons = Vec::new();
        if !backup.is_good() || backup.keep_until.is_some() {
            return reasons;
        }
        if rules.manual.is_some() && backup.trigger == Trigger::Manual {
            if take(&mut self.manual) {
                reasons.push(RetentionReason::Manual);
            }
            return reasons;
        }
        if take(&mut self.last) {
            reasons.push(RetentionReason::Last);
        }
        let local = backup.at.with_timezone(&rules.zone);
        for rule in &mut self.calendar {
            if rule.left > 0 && rule.seen.insert((rule.period)(local)) {
                rule.left -= 1;
                reasons.push(rule.reason);
            }
        }
        if rules.within.is_some_and(|age| is_younger(backup, age, now)) {
            reasons.push(RetentionReason::Within);
        }
        reasons
    }
}

fn take(left: &mut u32) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(1);
    some
}

/// An hour that a clock change repeats counts once: the wall clock is what people mean.
fn hour(at: DateTime<Tz>) -> Period {
    (at.year(), at.ordinal(), at.hour())
}

fn day(at: DateTime<Tz>) -> Period {
    (at.year(), at.ordinal(), 0)
}

fn week(at: DateTime<Tz>) -> Period {
    let week = at.iso_week();
    (week.year(), week.week(), 0)
}

fn month(at: DateTime<Tz>) -> Period {
    (at.year(), at.month(), 0)
}

fn year(at: DateTime<Tz>) -> Period {
    (at.year(), 0, 0)
}

#[cfg(test)]
#[path = "retention_tests.rs"]
mod tests;
