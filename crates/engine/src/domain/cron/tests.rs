use chrono::NaiveDate;

use super::*;

fn unix(text: &str) -> Cron {
    Cron::parse(text, CronStyle::Unix).unwrap()
}

fn quartz(text: &str) -> Cron {
    Cron::parse(text, CronStyle::Quartz).unwrap()
}

/// Days of a month that the expression has.
fn days(cron: &Cron, year: i32, month: u32) -> Vec<u32> {
    let day = |day| NaiveDate::from_ymd_opt(year, month, day);
    (1..=31).filter(|number| day(*number).is_some_and(|day| cron.has_day(day))).collect()
}

#[test]
fn minutes_and_hours_are_lists_ranges_and_steps() {
    let times = |text: &str| unix(text).times().collect::<Vec<_>>();
    assert_eq!(times("0 3 * * *"), [(3, 0)]);
    assert_eq!(times("5,35 */12 * * *"), [(0, 5), (0, 35), (12, 5), (12, 35)]);
    assert_eq!(times("50-59/5 1-2 * * *"), [(1, 50), (1, 55), (2, 50), (2, 55)]);
    assert_eq!(times("0 20/2 * * *"), [(20, 0), (22, 0)]);
    assert_eq!(times("0 22-2/2 * * *"), [(0, 0), (2, 0), (22, 0)], "a range may run over midnight");
    assert_eq!(unix("* * * * *").times().count(), 1440);
    assert!(unix("7 * * * *").is_hourly() && !unix("7 0-22 * * *").is_hourly());
    assert_eq!(quartz("0 /20 4 ? * *").times().collect::<Vec<_>>(), [(4, 0), (4, 20), (4, 40)]);
}

#[test]
fn weekdays_are_numbered_as_their_style_says() {
    // June 2026 begins on a Monday.
    for (cron, expected) in [
        (unix("0 0 * * 1"), vec![1, 8, 15, 22, 29]),
        (unix("0 0 * * 0"), vec![7, 14, 21, 28]),
        (unix("0 0 * * 7"), vec![7, 14, 21, 28]),
        (unix("0 0 * * sun"), vec![7, 14, 21, 28]),
        (unix("0 0 * * 5-7"), vec![5, 6, 7, 12, 13, 14, 19, 20, 21, 26, 27, 28]),
        (unix("0 0 * * FRI-MON/3"), vec![1, 5, 8, 12, 15, 19, 22, 26, 29]),
        (quartz("0 0 4 ? * 7"), vec![6, 13, 20, 27]),
        (quartz("0 0 4 ? * 1"), vec![7, 14, 21, 28]),
        (quartz("0 0 4 ? * 0"), vec![7, 14, 21, 28]),
        (quartz("0 0 4 ? * 2-6/2"), vec![1, 3, 5, 8, 10, 12, 15, 17, 19, 22, 24, 26, 29]),
        (quartz("0 0 4 ? * L"), vec![6, 13, 20, 27]),
    ] {
        assert_eq!(days(&cron, 2026, 6), expected, "{}", cron.expression());
    }
    assert_eq!(days(&unix("0 0 * * 0-7"), 2026, 6).len(), 30);
}

#[test]
fn nth_last_and_nearest_days_are_found_in_their_month() {
    for (cron, year, month, expected) in [
        (quartz("0 0 4 ? * 2#1"), 2026, 6, vec![1]),
        (quartz("0 0 4 ? * MON#5"), 2026, 6, vec![29]),
        (quartz("0 0 4 ? * MON#5"), 2026, 7, vec![]),
        (quartz("0 0 4 ? * 6L"), 2026, 6, vec![26]),
        (unix("0 0 * * 5L"), 2026, 6, vec![26]),
        (quartz("0 0 4 L * ?"), 2028, 2, vec![29]),
        (quartz("0 0 4 L-3 * ?"), 2026, 6, vec![27]),
        (quartz("0 0 4 LW * ?"), 2026, 5, vec![29]),
        (quartz("0 0 4 LW * ?"), 2026, 8, vec![31]),
        (quartz("0 0 4 15W * ?"), 2026, 8, vec![14]),
        (quartz("0 0 4 16W * ?"), 2026, 8, vec![17]),
        (quartz("0 0 4 1W * ?"), 2026, 8, vec![3]),
        (quartz("0 0 4 31W * ?"), 2026, 5, vec![29]),
        (quartz("0 0 4 31W * ?"), 2026, 6, vec![]),
        (quartz("0 0 4 1,L,10-30/10 * ?"), 2026, 6, vec![1, 10, 20, 30]),
    ] {
        assert_eq!(days(&cron, year, month), expected, "{} in {year}-{month}", cron.expression());
    }
}

#[test]
fn of_two_day_fields_one_suffices_in_crontab_unless_one_begins_with_a_star() {
    assert_eq!(days(&unix("0 0 13 * 5"), 2026, 6), [5, 12, 13, 19, 26]);
    assert_eq!(days(&unix("0 0 */2 * 5"), 2026, 6), [5, 19]);
    assert_eq!(days(&unix("0 0 13 * *"), 2026, 6), [13]);
    let both = Cron::parse("0 0 4 13 * 6", CronStyle::Quartz).unwrap_err();
    assert!(both.sentence.contains("day of month is `13`") && both.sentence.contains("day of week is `6`"), "{both}");
}

#[test]
fn what_never_comes_or_is_not_understood_is_refused_with_the_fields_name() {
    for (text, style, part) in [
        ("0 0 30 2 *", CronStyle::Unix, "never comes"),
        ("0 0 31 4,6,9,11 *", CronStyle::Unix, "never comes"),
        ("0 0 0 31W 6 ?", CronStyle::Quartz, "never comes"),
        ("0 0 0 L-29 2 ?", CronStyle::Quartz, "never comes"),
        ("60 0 * * *", CronStyle::Unix, "The minute of the cron expression is not understood: `60`"),
        ("0 24 * * *", CronStyle::Unix, "The hour of"),
        ("0 0 0 * *", CronStyle::Unix, "The day of month of"),
        ("0 0 32 * *", CronStyle::Unix, "The day of month of"),
        ("0 0 1 13 *", CronStyle::Unix, "The month of"),
        ("0 0 * * 8", CronStyle::Unix, "The day of week of"),
        ("0 0 * * MON#6", CronStyle::Unix, "The day of week of"),
        ("0 0 * * L", CronStyle::Unix, "L needs a weekday"),
        ("0 0 5C * ?", CronStyle::Unix, "C stands for a calendar"),
        ("*/0 0 * * *", CronStyle::Unix, "The minute of"),
        ("*/61 0 * * *", CronStyle::Unix, "The minute of"),
        ("1,,2 0 * * *", CronStyle::Unix, "nothing stands beside a comma"),
        ("? 0 * * *", CronStyle::Unix, "The minute of"),
        ("-5 0 * * *", CronStyle::Unix, "The minute of"),
        ("0 0 1,? * *", CronStyle::Unix, "? stands alone"),
        ("0 0 * *", CronStyle::Unix, "has 4 fields; it must have five"),
        ("0 0 0 * * *", CronStyle::Unix, "has 6 fields"),
        ("", CronStyle::Unix, "has 0 fields"),
        ("30 0 4 ? * 7", CronStyle::Quartz, "The second of"),
        ("0 0 4 ? * 7 2026", CronStyle::Quartz, "has 7 fields; it must have six"),
        ("@often", CronStyle::Unix, "has 1 fields"),
        ("0 0 1-\u{fc} * *", CronStyle::Unix, "The day of month of"),
    ] {
        let error = Cron::parse(text, style).unwrap_err();
        assert_eq!(error.code, crate::ErrorCode::InvalidInput);
        assert!(error.sentence.contains(part), "{text}: {error}");
    }
    assert!(Cron::parse(&"0,".repeat(600), CronStyle::Unix).is_err());
}

#[test]
fn leap_days_and_fifth_sundays_of_february_do_come() {
    assert_eq!(days(&unix("0 0 29 2 *"), 2028, 2), [29]);
    assert_eq!(days(&quartz("0 0 0 ? 2 1#5"), 2032, 2), [29]);
}

#[test]
fn fields_given_one_by_one_make_the_expression_and_are_read_again_from_it() {
    let fields = CronFields { minute: "0", hour: " 4", day_of_month: "?", month: "*", day_of_week: "7" };
    let cron = Cron::from_fields(fields).unwrap();
    assert_eq!(cron.expression(), "0 0 4 ? * 7");
    let kept = serde_json::to_string(&cron).unwrap();
    assert_eq!(kept, r#"{"expression":"0 0 4 ? * 7","style":"quartz"}"#);
    assert_eq!(serde_json::from_str::<Cron>(&kept).unwrap(), cron);
    assert_eq!(unix("@weekly").expression(), "0 0 * * 0");
}
