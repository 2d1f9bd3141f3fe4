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
        PlanTask { name: name.to_owned(), kind, schedule, full: false, merge_window: None }
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
    use trivault_engine::{Plan, PlanId};

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
}
