//! Which backups of a repository stay and which go: a pure function of the backups, the rules and the clock.
//!
//! * A backup that has a date of its own is kept until then and goes afterwards; no rule looks at it.
//! * The others stay if any rule wants them. Rules that count choose among good backups only: a failed or lost one never
//!   takes the place of a good one.
//! * A backup that is damaged takes no place, and stays as long as it would if it were whole: it may be healed, and nobody deletes it for
//!   its damage.
//! * A backup that is being made stays. An unusable one stays for a while, so that people see it.
//! * One of which only parts were made or are left takes no place either, and stays as long as it would if it were whole: they may be the
//!   only ones of their sources.
//! * A backup that is being deleted takes no place: it is not there when it would be needed. One that is being read goes later.
//! * The newest good backup never goes, whatever the rules and dates say.

use std::collections::HashSet;

use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
use chrono_tz::Tz;

use crate::domain::{BackupState, CandidateUse, Retention, RetentionCandidate, RetentionReason, Trigger, Verdict};

/// Verdicts in the order of `backups`, newest first or not. Two backups of the same instant are told apart by their ids.
pub fn decide(backups: &[RetentionCandidate], rules: &Retention, now: DateTime<Utc>) -> Vec<Verdict> {
    let mut newest_first: Vec<&RetentionCandidate> = backups.iter().collect();
    newest_first.sort_by_key(|backup| std::cmp::Reverse((backup.at, backup.id)));
    let mut counters = Counters::new(rules);
    let mut verdicts: Vec<Verdict> =
        newest_first.iter().map(|backup| verdict(backup, counters.reasons(backup, rules, now), rules, now)).collect();
    keep_last_good(&newest_first, &mut verdicts);
    keep_what_is_read(&newest_first, &mut verdicts);
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
        _ if backup.in_use == Some(CandidateUse::Removed) => goes(RetentionReason::BeingDeleted),
        (BackupState::Failed | BackupState::Cancelled | BackupState::Lost, _) if !backup.restorable => {
            let since = backup.lost_at.unwrap_or(backup.at);
            match is_younger(since, rules.unusable_for, now) {
                true => keeps(RetentionReason::RecentlyUnusable),
                false => goes(RetentionReason::Unusable),
            }
        }
        (_, Some(until)) if until > now => keeps(RetentionReason::OwnDate),
        (_, Some(_)) => goes(RetentionReason::OwnDatePassed),
        (_, None) if rules.keeps_everything() => keeps(RetentionReason::NoRule),
        (_, None) if wanted.is_empty() => goes(RetentionReason::NotWanted),
        (_, None) => (true, wanted),
    };
    Verdict { id: backup.id, keep, reasons }
}

/// Ages are counted to the end of the range of time, so that no length of a duration overflows.
fn is_younger(at: DateTime<Utc>, age: std::time::Duration, now: DateTime<Utc>) -> bool {
    let end = TimeDelta::from_std(age).ok().and_then(|age| at.checked_add_signed(age));
    end.is_none_or(|end| end > now)
}

/// Of the good ones, and of all that were finished: one that is damaged would be the last good one if it were whole.
fn keep_last_good(newest_first: &[&RetentionCandidate], verdicts: &mut [Verdict]) {
    let newest_if_none_stays = |verdicts: &[Verdict], counts: fn(&RetentionCandidate) -> bool| {
        let mut such = newest_first.iter().zip(0..).filter(|(backup, _)| counts(backup)).map(|(_, index)| index);
        let newest: usize = such.next()?;
        (!verdicts[newest].keep && !such.any(|index| verdicts[index].keep)).then_some(newest)
    };
    let last_good = newest_if_none_stays(verdicts, RetentionCandidate::is_good);
    let last_finished = newest_if_none_stays(verdicts, RetentionCandidate::is_finished);
    let flaw = |index: usize| match newest_first[index].damaged {
        true => RetentionReason::Damaged,
        false => RetentionReason::Incomplete,
    };
    for (index, reason) in [(last_finished, last_finished.map(flaw)), (last_good, Some(RetentionReason::LastGood))] {
        if let (Some(index), Some(reason)) = (index, reason) {
            verdicts[index].keep = true;
            verdicts[index].reasons = vec![reason];
        }
    }
}

/// Last of all: that it stays for now helps no other one to go.
fn keep_what_is_read(newest_first: &[&RetentionCandidate], verdicts: &mut [Verdict]) {
    for (backup, verdict) in newest_first.iter().zip(verdicts) {
        if !verdict.keep && backup.in_use == Some(CandidateUse::Read) {
            *verdict = Verdict { id: backup.id, keep: true, reasons: vec![RetentionReason::InUse] };
        }
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
        if !backup.is_finished() || backup.keep_until.is_some() {
            return reasons;
        }
        // One that is damaged or incomplete looks for a place like the others, and leaves it to the next.
        let counts = backup.is_good();
        if rules.manual.is_some() && backup.trigger == Trigger::Manual {
            if take(&mut self.manual, counts) {
                reasons.push(RetentionReason::Manual);
            }
            return with_flaws(reasons, backup);
        }
        if take(&mut self.last, counts) {
            reasons.push(RetentionReason::Last);
        }
        let local = backup.at.with_timezone(&rules.zone);
        for rule in &mut self.calendar {
            let period = (rule.period)(local);
            if rule.seen.contains(&period) || !take(&mut rule.left, counts) {
                continue;
            }
            if counts {
                rule.seen.insert(period);
            }
            reasons.push(rule.reason);
        }
        if rules.within.is_some_and(|age| is_younger(backup.at, age, now)) {
            reasons.push(RetentionReason::Within);
        }
        with_flaws(reasons, backup)
    }
}

/// Whether there is a place; it is taken by those that count.
fn take(left: &mut u32, counts: bool) -> bool {
    let some = *left > 0;
    *left = left.saturating_sub(u32::from(counts));
    some
}

/// The reasons, with why it counts for nothing where there are any.
fn with_flaws(mut reasons: Vec<RetentionReason>, backup: &RetentionCandidate) -> Vec<RetentionReason> {
    if !reasons.is_empty() {
        reasons.extend(backup.damaged.then_some(RetentionReason::Damaged));
        reasons.extend((backup.state != BackupState::Succeeded).then_some(RetentionReason::Incomplete));
    }
    reasons
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
