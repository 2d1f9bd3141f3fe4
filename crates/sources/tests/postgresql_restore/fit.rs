//! Whether a backup fits onto the server: its locale, its size.

use trivault_sources::{ErrorKind, PartRestorePlan, Result, testing::MemoryReader};

use crate::support::{Database, falsified, new_database};

fn planned(source: &Database, change: impl FnOnce(&mut serde_json::Value)) -> Result<PartRestorePlan> {
    let part = falsified(source, change);
    let plan = source.driver().plan_restore(&MemoryReader::new(&part), &new_database("never"));
    assert!(!source.exists("never") && !source.exists("never__tv_j1"), "a plan touches nothing");
    plan
}

#[test]
fn a_locale_that_the_server_lacks_is_refused_before_anything_is_touched() {
    let Some(source) = Database::new("locales", "CREATE TABLE t (id int)") else { return };
    for field in ["collate", "ctype"] {
        let error = planned(&source, |details| details["database"][field] = "xx_YY.UTF-8".into()).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        assert!(error.sentence.contains("no locale xx_YY.UTF-8") && error.hint.is_some(), "{error}");
    }
    let error = planned(&source, |details| {
        details["database"]["collate"] = "xx_YY.ISO-8859-1".into();
        details["database"]["encoding"] = "LATIN1".into();
    });
    // Whether the locale lacks or only fits another encoding cannot be told there; nothing is refused that might work.
    error.unwrap();
    let known =
        |name: &'static str| move |details: &mut serde_json::Value| details["database"]["collate"] = name.into();
    for name in ["C", "POSIX", ""] {
        planned(&source, known(name)).unwrap();
    }
    let version: u32 = source.admin("SHOW server_version_num").trim().parse().unwrap();
    let icu = planned(&source, |details| details["database"]["locale_provider"] = "i".into());
    assert_eq!(icu.is_ok(), version >= 150_000, "{icu:?}");
    let built_in = planned(&source, |details| details["database"]["locale_provider"] = "b".into());
    assert_eq!(built_in.map_err(|error| error.kind).err(), (version < 170_000).then_some(ErrorKind::Unsupported));
}

#[test]
fn a_disk_that_is_too_small_is_refused_before_anything_is_touched() {
    let Some(source) = Database::new("sizes", "CREATE TABLE t (id int)") else { return };
    let huge = 1_u64 << 60;
    let error = planned(&source, |details| {
        details["database"]["size"] = huge.into();
        details["tables"][0]["length"] = huge.into();
    })
    .unwrap_err();
    assert_eq!(error.kind, ErrorKind::Full);
    assert!(error.sentence.starts_with("The restore needs 1024.0 PiB, and the server's disk has "), "{error}");
    // Dead rows and indexes may have made the source that large.
    let plan = planned(&source, |details| details["database"]["size"] = huge.into()).unwrap();
    assert!(plan.steps.iter().any(|step| step.starts_with("Warning: the server's disk has ")), "{:?}", plan.steps);
    let plan = planned(&source, |_| ()).unwrap();
    let said = |what: &str| plan.steps.iter().any(|step| step.starts_with(what));
    assert!(said("Takes about ") && !said("Warning"), "{:?}", plan.steps);
}
