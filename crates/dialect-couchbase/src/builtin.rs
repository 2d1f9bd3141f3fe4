//! The plans that are shipped. Their names and behaviour are documented; no body is printed anywhere.

use chrono::Weekday;
use chrono_tz::Tz;
use trivault_engine::{JobKind, MergeWindow, NewPlan, PlanTask, Rule, Schedule, TimeOfDay, Unit};

use crate::NAME;

pub fn plans(zone: Tz) -> Vec<NewPlan> {
    let tasks = Tasks { zone };
    vec![
        plan(
            "_daily_backups",
            "This plan does a backup every day (full on Monday) and merges at the end of the week and every four weeks",
            tasks.daily(),
        ),
        plan(
            "_hourly_backups",
            "This plan does a backup every hour and merges every 6 hours, at the end of the week and every four weeks",
            tasks.hourly(),
        ),
        plan(
            "_daily_full_backups_with_incrementals",
            "This plan does a full backup every day, an incremental every hour and a prune every day",
            tasks.daily_full(),
        ),
        plan(
            "_weekly_full_backups_with_incrementals",
            "This plan does a full backup every week, an incremental every six hours and a prune every day",
            tasks.weekly_full(),
        ),
    ]
}

fn plan(name: &str, description: &str, tasks: Vec<PlanTask>) -> NewPlan {
    NewPlan {
        owner: NAME,
        name: name.to_owned(),
        description: Some(description.to_owned()),
        builtin: true,
        tasks,
        attributes: Vec::new(),
    }
}

struct Tasks {
    zone: Tz,
}

fn at(hour: u8, minute: u8) -> Option<TimeOfDay> {
    Some(TimeOfDay { hour, minute })
}

fn every(count: u32, unit: Unit, at: Option<TimeOfDay>) -> Rule {
    Rule::Every { count, unit, at }
}

fn each(weekday: Weekday, at: Option<TimeOfDay>) -> Rule {
    Rule::Weekday { count: 1, weekday, at }
}

impl Tasks {
    fn task(&self, kind: JobKind, name: &str, rule: Rule) -> PlanTask {
        let schedule = Schedule { rule, zone: self.zone, start_now: false };
        PlanTask { name: name.to_owned(), kind, schedule, full: false, merge_window: None, verify: None }
    }

    fn full(&self, name: &str, rule: Rule) -> PlanTask {
        PlanTask { full: true, ..self.incremental(name, rule) }
    }

    fn incremental(&self, name: &str, rule: Rule) -> PlanTask {
        self.task(JobKind::Backup, name, rule)
    }

    fn merge(&self, name: &str, rule: Rule, offset_end: u32) -> PlanTask {
        let window = MergeWindow { offset_start: 0, offset_end };
        PlanTask { merge_window: Some(window), ..self.task(JobKind::Merge, name, rule) }
    }

    fn prune_daily(&self) -> PlanTask {
        self.task(JobKind::Prune, "prune_daily", every(1, Unit::Days, at(23, 45)))
    }

    fn daily(&self) -> Vec<PlanTask> {
        let evening = at(22, 0);
        vec![
            self.full("backup_monday_full", each(Weekday::Mon, evening)),
            self.incremental("backup_tuesday", each(Weekday::Tue, evening)),
            self.incremental("backup_wednesday", each(Weekday::Wed, evening)),
            self.incremental("backup_thursday", each(Weekday::Thu, evening)),
            self.incremental("backup_friday", each(Weekday::Fri, evening)),
            self.incremental("backup_saturday", each(Weekday::Sat, evening)),
            self.incremental("backup_sunday", each(Weekday::Sun, evening)),
            self.merge("merge_week", each(Weekday::Sun, at(23, 20)), 6),
            self.merge("merge_4_weeks", every(28, Unit::Days, at(23, 40)), 27),
        ]
    }

    fn hourly(&self) -> Vec<PlanTask> {
        vec![
            self.incremental("backup_hourly", every(1, Unit::Hours, at(0, 0))),
            self.merge("merge_every_6_hours", every(6, Unit::Hours, at(0, 30)), 0),
            self.merge("merge_week", each(Weekday::Sun, at(23, 40)), 7),
            self.merge("merge_month", every(28, Unit::Days, at(0, 20)), 28),
        ]
    }

    fn daily_full(&self) -> Vec<PlanTask> {
        vec![
            self.full("backup_full_daily", every(1, Unit::Days, at(0, 0))),
            self.incremental("backup_incremental_hourly", every(1, Unit::Hours, at(0, 30))),
            self.prune_daily(),
        ]
    }

    fn weekly_full(&self) -> Vec<PlanTask> {
        vec![
            self.full("backup_full_weekly", each(Weekday::Sun, at(0, 0))),
            self.incremental("backup_incremental_6_hours", every(6, Unit::Hours, at(0, 30))),
            self.prune_daily(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Datelike, TimeDelta, Timelike, Utc};
    use trivault_engine::{Plan, PlanId, schedule};

    use super::*;
    use crate::mapping::plans::plan_to_wire;

    #[test]
    fn the_shipped_plans_are_answered_as_the_dialect_file_writes_them() {
        let shown: Vec<_> = plans(Tz::UTC)
            .into_iter()
            .map(|NewPlan { owner, name, description, builtin, tasks, attributes }| {
                let at = chrono::DateTime::UNIX_EPOCH;
                let id = PlanId(uuid::Uuid::nil());
                let owner = owner.to_owned();
                plan_to_wire(Plan {
                    id,
                    owner,
                    name,
                    description,
                    builtin,
                    tasks,
                    attributes,
                    created_at: at,
                    updated_at: at,
                })
            })
            .collect();
        let expected: serde_json::Value = serde_json::from_str(include_str!("../fixtures/default_plans.json")).unwrap();
        assert_eq!(serde_json::to_value(shown).unwrap(), expected);
    }

    /// The wall clock of the zone, minute by minute from `at` on, until it shows what is wanted.
    fn walk(zone: Tz, mut at: DateTime<Utc>, wanted: impl Fn(DateTime<Tz>) -> bool) -> DateTime<Utc> {
        while !wanted(at.with_timezone(&zone)) {
            at += TimeDelta::minutes(1);
        }
        at
    }

    /// When a run comes after the one of `base`, read off the manual's words.
    fn slow_next(rule: &Rule, zone: Tz, base: DateTime<Utc>) -> DateTime<Utc> {
        let date = |at: DateTime<Tz>| at.date_naive();
        let today = date(base.with_timezone(&zone));
        let shows = |at: DateTime<Tz>, time: Option<TimeOfDay>| {
            time.is_some_and(|time| (at.hour(), at.minute()) == (time.hour.into(), time.minute.into()))
        };
        let whole = base.with_second(0).unwrap();
        match rule {
            Rule::Every { count, unit: Unit::Hours, at } => {
                let minute = u32::from(at.unwrap().minute);
                walk(zone, base + TimeDelta::hours(i64::from(*count)), |at| at.minute() == minute)
            }
            Rule::Every { count, unit: Unit::Days, at } => {
                let day = (0..*count).fold(today, |day, _| day.succ_opt().unwrap());
                walk(zone, whole, |now| date(now) == day && shows(now, *at))
            }
            Rule::Weekday { count: 1, weekday, at } => {
                walk(zone, whole, |now| date(now) > today && now.weekday() == *weekday && shows(now, *at))
            }
            other => panic!("no shipped plan has the rule {other:?}"),
        }
    }

    #[test]
    fn each_task_of_the_shipped_plans_runs_for_two_years_when_the_manual_says() {
        // Friday morning, as in the manual's example: `_daily_backups` begins with `backup_saturday`.
        let attached: DateTime<Utc> = "2026-01-02T07:00:41Z".parse().unwrap();
        let zone = Tz::Europe__Berlin;
        let two_years = attached + TimeDelta::days(731);
        for plan in plans(zone) {
            let mut firsts = Vec::new();
            for task in &plan.tasks {
                let mut due = attached;
                let mut runs = 0;
                while due < two_years {
                    let expected = slow_next(&task.schedule.rule, zone, due);
                    let found = schedule::next(&task.schedule, due);
                    assert_eq!(found, Some(expected), "{} {} after {due}", plan.name, task.name);
                    if runs == 0 {
                        firsts.push((expected, task.name.as_str()));
                    }
                    due = expected;
                    runs += 1;
                }
                assert!(runs >= 26, "{} {} ran {runs} times", plan.name, task.name);
            }
            if plan.name == "_daily_backups" {
                assert_eq!(firsts.iter().min().unwrap().1, "backup_saturday");
            }
        }
    }
}
