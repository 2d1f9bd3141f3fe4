//! Random schedules around the clock changes of several zones, against the reference.

use std::{collections::BTreeSet, sync::LazyLock};

use chrono::{DateTime, TimeDelta, TimeZone as _, Utc, Weekday};
use chrono_tz::Tz;
use proptest::prelude::*;

use super::{
    following, latest, local, next,
    reference::{self, DayMeaning, Meaning},
};
use crate::domain::{Bounds, Cron, CronStyle, Rule, Schedule, TimeOfDay, Unit};

const ZONES: [Tz; 9] = [
    Tz::UTC,
    Tz::Europe__Berlin,
    Tz::America__New_York,
    Tz::Australia__Lord_Howe,
    Tz::Pacific__Apia,
    Tz::Asia__Kolkata,
    Tz::America__Santiago,
    Tz::America__Nuuk,
    Tz::Africa__Casablanca,
];
/// Minutes that the reference walks ahead.
const HORIZON: i32 = 9 * 24 * 60;
/// Days that are looked at one by one: after them the calendar of weekdays and leap days has come round.
const CALENDAR: usize = 29 * 366;

/// Hours in which a clock of the zone changes, 2005 to 2035.
static CHANGES: LazyLock<Vec<(Tz, DateTime<Utc>)>> = LazyLock::new(|| {
    let begin = Utc.with_ymd_and_hms(2005, 1, 1, 0, 0, 0).unwrap();
    let hours = || (0..30 * 366 * 24).map(|hour| begin + TimeDelta::hours(hour));
    let of_zone = |zone| {
        let changes = hours().zip(hours().skip(1));
        changes
            .filter(move |(one, two)| local::offset(zone, *one) != local::offset(zone, *two))
            .map(move |(one, _)| (zone, one))
    };
    ZONES.into_iter().flat_map(of_zone).collect()
});

fn place() -> impl Strategy<Value = (Tz, DateTime<Utc>)> {
    let near =
        (any::<proptest::sample::Index>(), -5 * 1440..1440_i64, 0..60_i64).prop_map(|(index, minutes, seconds)| {
            let (zone, change) = *index.get(&CHANGES);
            (zone, change + TimeDelta::minutes(minutes) + TimeDelta::seconds(seconds))
        });
    let anywhere = (proptest::sample::select(ZONES.to_vec()), 1_100_000_000..2_000_000_000_i64)
        .prop_map(|(zone, seconds)| (zone, DateTime::from_timestamp(seconds, 0).unwrap()));
    prop_oneof![4 => near, 1 => anywhere]
}

fn time() -> impl Strategy<Value = Option<TimeOfDay>> {
    // Around the hours at which clocks change.
    let hour = prop_oneof![3 => 0..4_u8, 1 => 0..24_u8, 1 => Just(23)];
    proptest::option::weighted(0.8, (hour, 0..60_u8).prop_map(|(hour, minute)| TimeOfDay { hour, minute }))
}

fn weekday() -> impl Strategy<Value = Weekday> {
    (0..7_u8).prop_map(|day| Weekday::try_from(day).unwrap())
}

fn numbers(most: u32) -> impl Strategy<Value = Vec<u32>> {
    proptest::collection::btree_set(0..most, 1..4).prop_map(|set: BTreeSet<u32>| set.into_iter().collect())
}

fn days() -> impl Strategy<Value = DayMeaning> {
    prop_oneof![
        6 => Just(DayMeaning::Every),
        1 => numbers(31).prop_map(|days| DayMeaning::OfMonth(days.into_iter().map(|day| day + 1).collect())),
        2 => proptest::collection::vec(weekday(), 1..4).prop_map(DayMeaning::OfWeek),
        1 => (weekday(), 1..6_u32).prop_map(|(day, nth)| DayMeaning::Nth(day, nth)),
        1 => weekday().prop_map(DayMeaning::LastWeekday),
        1 => (0..31_u32).prop_map(DayMeaning::BeforeLast),
        1 => (1..32_u32).prop_map(DayMeaning::Nearest),
        1 => Just(DayMeaning::LastWorkday),
    ]
}

fn list(numbers: &[u32]) -> String {
    numbers.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// As Quartz writes it.
fn written(meaning: &Meaning) -> String {
    let Meaning { minutes, hours, days } = meaning;
    let (month, week) = day_fields(days);
    let hours = if hours.len() == 24 { "*".to_owned() } else { list(hours) };
    format!("0 {} {hours} {month} * {week}", list(minutes))
}

/// Day of the month and day of the week, as Quartz writes them.
fn day_fields(days: &DayMeaning) -> (String, String) {
    let number = |day: &Weekday| day.num_days_from_sunday() + 1;
    match days {
        DayMeaning::Every => ("*".to_owned(), "?".to_owned()),
        DayMeaning::OfMonth(days) => (list(days), "?".to_owned()),
        DayMeaning::OfWeek(days) => ("?".to_owned(), list(&days.iter().map(number).collect::<Vec<_>>())),
        DayMeaning::Nth(day, nth) => ("?".to_owned(), format!("{}#{nth}", number(day))),
        DayMeaning::LastWeekday(day) => ("?".to_owned(), format!("{}L", number(day))),
        DayMeaning::BeforeLast(days) => (format!("L-{days}"), "?".to_owned()),
        DayMeaning::Nearest(day) => (format!("{day}W"), "?".to_owned()),
        DayMeaning::LastWorkday => ("LW".to_owned(), "?".to_owned()),
    }
}

/// Days of a year that an expression wants, with the expression but for its time.
#[derive(Debug)]
struct Dates {
    style: CronStyle,
    fields: String,
    months: Vec<u32>,
    /// One of them suffices.
    days: Vec<DayMeaning>,
}

fn dates() -> impl Strategy<Value = Dates> {
    let months = || prop_oneof![1 => Just((1..13).collect::<Vec<u32>>()), 1 => numbers(12).prop_map(|set| set.iter().map(|month| month + 1).collect()), 1 => Just(vec![2])];
    let quartz = (months(), days()).prop_map(|(months, days)| {
        let (of_month, of_week) = day_fields(&days);
        Dates {
            style: CronStyle::Quartz,
            fields: format!("{of_month} {} {of_week}", list(&months)),
            months,
            days: vec![days],
        }
    });
    let of_month = numbers(31).prop_map(|days| days.iter().map(|day| day + 1).collect::<Vec<u32>>());
    let unix =
        (months(), of_month, proptest::collection::vec(weekday(), 1..3)).prop_map(|(months, of_month, of_week)| {
            let week: Vec<u32> = of_week.iter().map(Weekday::num_days_from_sunday).collect();
            let fields = format!("{} {} {}", list(&of_month), list(&months), list(&week));
            Dates {
                style: CronStyle::Unix,
                fields,
                months,
                days: vec![DayMeaning::OfMonth(of_month), DayMeaning::OfWeek(of_week)],
            }
        });
    prop_oneof![2 => quartz, 1 => unix]
}

fn cron() -> impl Strategy<Value = (Rule, Option<Meaning>)> {
    let hours = prop_oneof![2 => numbers(5), 2 => numbers(24), 1 => Just((0..24).collect::<Vec<u32>>())];
    (numbers(60), hours, days()).prop_map(|(minutes, hours, days)| {
        let meaning = Meaning { minutes, hours, days };
        let cron = Cron::parse(&written(&meaning), CronStyle::Quartz).unwrap();
        (Rule::Cron { cron, bounds: Bounds::default() }, Some(meaning))
    })
}

fn rule() -> impl Strategy<Value = (Rule, Option<Meaning>)> {
    let unit = proptest::sample::select(vec![Unit::Minutes, Unit::Hours, Unit::Days, Unit::Weeks]);
    let every = (1..8_u32, unit, time()).prop_map(|(count, unit, at)| Rule::Every { count, unit, at });
    let each = (1..3_u32, weekday(), time()).prop_map(|(count, weekday, at)| Rule::Weekday { count, weekday, at });
    let hours = proptest::collection::btree_set(0..24_u8, 1..4)
        .prop_map(|hours| Rule::HoursOfDay { hours: hours.into_iter().collect() });
    let plain = prop_oneof![3 => every, 1 => each, 1 => hours].prop_map(|rule| (rule, None));
    prop_oneof![1 => plain, 1 => cron()]
}

/// Whether the series does not depend on where one stands in it.
fn is_of_calendar(rule: &Rule) -> bool {
    matches!(rule, Rule::HoursOfDay { .. } | Rule::Cron { .. })
}

/// Without a time of day a base within a repeated hour is carried over as it is shown, which is not in the order of instants.
fn keeps_order(rule: &Rule) -> bool {
    !matches!(rule, Rule::Every { unit: Unit::Days | Unit::Weeks, at: None, .. } | Rule::Weekday { at: None, .. })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2500, max_shrink_iters: 200, ..ProptestConfig::default() })]

    #[test]
    fn the_next_run_is_the_one_that_a_walk_along_the_wall_clock_finds((zone, base) in place(), (rule, meaning) in rule()) {
        let schedule = Schedule { rule, zone, start_now: false };
        let found = next(&schedule, base).unwrap();
        prop_assert!(found > base, "{found} is not after {base}");
        match reference::next(&schedule.rule, meaning.as_ref(), zone, base, HORIZON) {
            Some(expected) => prop_assert_eq!(found, expected, "{:?} from {}", schedule, base.with_timezone(&zone)),
            None => prop_assert!(found > base + TimeDelta::minutes(i64::from(HORIZON)), "{found} is too early"),
        }
    }

    #[test]
    fn months_leap_days_and_ends_of_months_are_those_of_a_walk_through_the_calendar(
        dates in dates(), seconds in 1_000_000_000..1_900_000_000_i64, hour in 0..24_u32, minute in 0..60_u32,
    ) {
        let base = DateTime::from_timestamp(seconds, 0).unwrap();
        let is_wanted = |day: &chrono::NaiveDate| {
            dates.months.contains(&chrono::Datelike::month(day)) && dates.days.iter().any(|days| days.includes(*day))
        };
        let mut walk = base.date_naive().iter_days().take(CALENDAR).filter(is_wanted);
        let expected = walk.by_ref().map(|day| day.and_hms_opt(hour, minute, 0).unwrap().and_utc()).find(|at| *at > base);
        let second = if dates.style == CronStyle::Quartz { "0 " } else { "" };
        let text = format!("{second}{minute} {hour} {}", dates.fields);
        match Cron::parse(&text, dates.style) {
            Ok(cron) => {
                let schedule = Schedule { rule: Rule::Cron { cron, bounds: Bounds::default() }, zone: Tz::UTC, start_now: false };
                prop_assert_eq!(next(&schedule, base), expected, "{} from {}", text, base);
            }
            Err(refused) => prop_assert_eq!(expected, None, "{} is refused: {}", text, refused),
        }
    }

    #[test]
    fn later_bases_have_later_runs_and_nothing_lies_between(
        (zone, base) in place(), (rule, _) in rule(), ahead in 1..20_000_i64, part in 0..1000_i32,
    ) {
        let schedule = Schedule { rule, zone, start_now: false };
        let found = next(&schedule, base).unwrap();
        let again = next(&schedule, found).unwrap();
        prop_assert!(again > found);
        if keeps_order(&schedule.rule) {
            prop_assert!(next(&schedule, base + TimeDelta::minutes(ahead)).unwrap() >= found);
        }
        let between = base + (found - base) * part / 1000;
        if is_of_calendar(&schedule.rule) {
            prop_assert_eq!(next(&schedule, between).unwrap(), found, "from {}", between);
        }
        // What was missed is passed over to the first of the series that is ahead.
        let now = base + TimeDelta::minutes(ahead);
        let (mut missed, mut expected) = (None, found);
        while expected <= now {
            missed = Some(expected);
            expected = next(&schedule, expected).unwrap();
        }
        prop_assert_eq!(following(&schedule, base, now), Some(expected));
        if let Some(missed) = missed {
            prop_assert_eq!(latest(&schedule, found, now), missed);
        }
    }
}
