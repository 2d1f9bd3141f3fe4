//! Looks at the schedule as a whole: says what is overdue, and brings back what a wrong clock has put far ahead.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, TimeDelta, Utc};

use crate::{
    domain::{Care, OverdueCare, RepositoryFilter, RepositoryId, Result, TaskStanding, Verified},
    schedule::{self, Success},
    service::{Inner, care_rhythm},
};

/// By how much a clock is put back without a word: what time servers correct.
const SILENT_JUMP: TimeDelta = TimeDelta::minutes(1);
/// By how much a run may lie further ahead than one that is counted from now. Nodes' clocks differ, and wall clocks repeat an hour.
const AHEAD_TOLERANCE: TimeDelta = TimeDelta::hours(2);
/// An overdue task is named again after the time between two of its runs, within these.
const SAID_AGAIN: (TimeDelta, TimeDelta) = (TimeDelta::hours(1), TimeDelta::days(1));

/// What this node remembers between two looks.
#[derive(Debug, Default)]
pub(crate) struct ScheduleWatch {
    /// The latest instant that the clock has shown, since it last went back.
    latest: Mutex<Option<DateTime<Utc>>>,
    /// What is overdue, and when it was last named.
    said: Mutex<HashMap<Overdue, DateTime<Utc>>>,
}

/// What can be overdue.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Overdue {
    Task(RepositoryId, String),
    Care(Verified, Care),
}

impl ScheduleWatch {
    /// Says so when the clock went back. Runs that there were do not come again: each is bound to its occurrence.
    pub(super) fn look_at_clock(&self, now: DateTime<Utc>) {
        let mut latest = locked(&self.latest);
        let seen = latest.unwrap_or(now);
        if seen - now > SILENT_JUMP {
            let seconds = (seen - now).num_seconds();
            tracing::warn!(
                clock.went_back_seconds = seconds,
                clock.now = %now,
                "the clock went back; what ran does not run again, and what is due from now on runs"
            );
            *latest = Some(now);
        } else {
            *latest = Some(seen.max(now));
        }
    }

    /// Whether something overdue is to be named now.
    fn is_to_be_said(&self, overdue: &Overdue, again_after: TimeDelta, now: DateTime<Utc>) -> bool {
        let mut said = locked(&self.said);
        let is_fresh = said.get(overdue).is_some_and(|at| *at <= now && now - *at < again_after);
        if !is_fresh {
            said.insert(overdue.clone(), now);
        }
        !is_fresh
    }

    /// What is no longer overdue; answers that.
    fn forget_all_but(&self, overdue: &HashSet<Overdue>) -> Vec<Overdue> {
        let mut said = locked(&self.said);
        let over = said.keys().filter(|known| !overdue.contains(*known)).cloned().collect();
        said.retain(|known, _| overdue.contains(known));
        over
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) async fn look_over(inner: &Inner) -> Result<()> {
    let repositories = inner.db.repositories(&RepositoryFilter::default()).await?;
    let standings = inner.standings(repositories, None).await?;
    for standing in &standings {
        bring_back(inner, standing).await?;
    }
    say_overdue(inner, &standings, &inner.overdue_care().await?);
    Ok(())
}

/// Every next run was once counted from an instant that had passed, and what is counted from a later one does not lie before it. So
/// a run beyond what is counted from now was written under a clock that has gone back since, and would be waited for in vain.
async fn bring_back(inner: &Inner, standing: &TaskStanding) -> Result<()> {
    let (now, rule, task) = (inner.clock.now(), &standing.task.schedule, standing.task.name.as_str());
    let Some(next_run) = standing.next_run else { return Ok(()) };
    let furthest = now.checked_add_signed(AHEAD_TOLERANCE).and_then(|now| schedule::next(rule, now));
    if furthest.is_none_or(|furthest| next_run <= furthest) {
        return Ok(());
    }
    let ran = inner.db.occurrences_after(standing.repository, task, now).await?;
    let earlier = schedule::upcoming(rule, now).take_while(|run| *run < next_run).find(|run| !ran.contains(run));
    let Some(earlier) = earlier else { return Ok(()) };
    if inner.db.set_next_run(standing.repository, task, next_run, Some(earlier)).await? {
        tracing::warn!(
            repository.name = standing.repository_name,
            task,
            was = %next_run,
            next_run = %earlier,
            "a task's next run was put off by a clock that has gone back since; it is brought back"
        );
    }
    Ok(())
}

fn say_overdue(inner: &Inner, standings: &[TaskStanding], care: &[OverdueCare]) {
    let mut overdue: HashSet<Overdue> = HashSet::new();
    for standing in standings.iter().filter(|standing| standing.overdue_since.is_some()) {
        let what = Overdue::Task(standing.repository, standing.task.name.clone());
        say_task(inner, &what, standing);
        overdue.insert(what);
    }
    for care in care {
        let what = Overdue::Care(care.of, care.care);
        say_care(inner, &what, care);
        overdue.insert(what);
    }
    for over in inner.schedule_watch.forget_all_but(&overdue) {
        match over {
            Overdue::Task(repository, task) => {
                tracing::info!(repository.id = %repository, task, "a scheduled task is no longer overdue");
            }
            Overdue::Care(of, care) => tracing::info!(?of, %care, "a check or prune is no longer overdue"),
        }
    }
}

fn say_task(inner: &Inner, what: &Overdue, standing: &TaskStanding) {
    let success = standing.last_success.map(|run| Success { due: run.due, began: run.began });
    let rule = &standing.task.schedule;
    let expected = schedule::expected_after(rule, standing.holds_since, success);
    let after = expected.and_then(|expected| schedule::next(rule, expected));
    let interval = expected.zip(after).map_or(SAID_AGAIN.1, |(expected, after)| after - expected);
    let again_after = interval.clamp(SAID_AGAIN.0, SAID_AGAIN.1);
    if inner.schedule_watch.is_to_be_said(what, again_after, inner.clock.now()) {
        tracing::warn!(
            repository.id = %standing.repository,
            repository.name = standing.repository_name,
            task = standing.task.name,
            last_run = ?standing.last_run.map(|run| run.state),
            last_success = standing.last_success.and_then(|run| run.ended).map(|at| at.to_string()),
            overdue_since = standing.overdue_since.map(|at| at.to_string()),
            "a scheduled task is overdue"
        );
    }
}

fn say_care(inner: &Inner, what: &Overdue, overdue: &OverdueCare) {
    let OverdueCare { care, of, store, name, last, overdue_since } = overdue;
    let every = care_rhythm(inner, *care).and_then(|every| TimeDelta::from_std(every).ok());
    let again_after = every.unwrap_or(SAID_AGAIN.1).clamp(SAID_AGAIN.0, SAID_AGAIN.1);
    if inner.schedule_watch.is_to_be_said(what, again_after, inner.clock.now()) {
        tracing::warn!(
            ?of,
            %name,
            store.id = %store,
            last = last.map(|at| at.to_string()),
            %overdue_since,
            "a {care} is overdue"
        );
    }
}
