//! Restores to a new place and in place of what is there.

use std::{fs, os::unix::fs::MetadataExt};

use serde_json::json;
use trivault_sources::{Conflict, ErrorKind, PartRestoreRequest, Selection, SourceDriver, testing::MemoryReader};

use crate::{capture::Mounted, support::*};

fn sample(place: &Place) -> Captured {
    for (path, content) in [
        ("root.json", r#"{"who": "root"}"#),
        ("eu/berlin.json", r#"{"city": "Berlin"}"#),
        ("eu/paris.json", r#"{"city": "Paris"}"#),
        ("eu/fr/lyon.json", r#"{"city": "Lyon"}"#),
        ("us/boston.json", r#"{"city": "Boston"}"#),
        ("us/raw.bin", "city"),
    ] {
        write(place.live().join(path), content);
    }
    write(place.live().join("us/not text"), b"\xff\xfe city");
    fs::create_dir(place.live().join("eu/empty")).unwrap();
    capture(&place.driver())
}

#[test]
fn a_new_path_may_be_missing_or_empty_and_its_parents_are_made() {
    let place = Place::new();
    let captured = sample(&place);
    let wanted = look(&place.live());
    fs::create_dir(place.path("empty")).unwrap();
    for target in ["fresh", "empty", "some/where/deep"] {
        let (outcome, _) = restore(&place.driver(), &captured.part, &new_path(&place.path(target)));
        assert_eq!(look(&place.path(target)), wanted);
        assert!(outcome.kept_aside.is_empty());
        assert_eq!(outcome.bytes_written, captured.part.manifest().size);
    }
    assert_eq!(place.names(), ["empty", "fresh", "live", "some"]);
    assert_eq!(fs::read_dir(place.path("some/where")).unwrap().count(), 1);
}

#[test]
fn replacing_in_place_swaps_and_keeps_what_was_there() {
    let place = Place::new();
    let captured = sample(&place);
    let wanted = look(&place.live());
    fs::remove_dir_all(place.live().join("eu")).unwrap();
    write(place.live().join("us/boston.json"), b"damaged");
    write(place.live().join("later"), b"made after the backup");
    let damaged = look(&place.live());

    let reader = MemoryReader::new(&captured.part);
    let plan = place.driver().plan_restore(&reader, &in_place(Conflict::Replace)).unwrap();
    let (live, before) = (place.live(), place.path("live.before-job1"));
    assert_eq!(
        plan.steps,
        [
            format!(
                "Writes {} bytes to {}.",
                captured.part.manifest().size,
                place.path("live.trivault-job1").display()
            ),
            format!("Exchanges it with {} in one step.", live.display()),
            format!(
                "Keeps what was there as {}; programs that have files of it open go on using those.",
                before.display()
            ),
        ]
    );
    assert_eq!(plan.temporary, [place.path("live.trivault-job1")]);
    assert_eq!(look(&live), damaged, "a plan touches nothing");

    let outcome = place.driver().restore(&reader, &plan).unwrap();
    assert_eq!(look(&live), wanted);
    assert_eq!(look(&before), damaged);
    assert_eq!(outcome.kept_aside, [before]);
    assert_eq!(place.names(), ["live", "live.before-job1"]);
}

#[test]
fn a_source_that_is_gone_is_made_again_in_place() {
    let place = Place::new();
    let captured = sample(&place);
    let wanted = look(&place.live());
    fs::remove_dir_all(place.live()).unwrap();
    restore(&place.driver(), &captured.part, &in_place(Conflict::Replace));
    assert_eq!(look(&place.live()), wanted);
}

#[test]
fn a_source_that_is_reached_through_a_link_is_replaced_behind_it() {
    let place = Place::new();
    let captured = sample(&place);
    let wanted = look(&place.live());
    fs::create_dir(place.path("elsewhere")).unwrap();
    fs::rename(place.live(), place.path("elsewhere/real")).unwrap();
    std::os::unix::fs::symlink("elsewhere/real", place.live()).unwrap();
    write(place.live().join("root.json"), b"damaged");
    restore(&place.driver(), &captured.part, &in_place(Conflict::Replace));
    assert!(fs::symlink_metadata(place.live()).unwrap().is_symlink());
    assert_eq!(look(&place.path("elsewhere/real")), wanted);
}

#[test]
fn a_mount_point_is_replaced_entry_by_entry() {
    let place = Place::new();
    let live = place.live();
    let Some(_mounted) = Mounted::at(&live) else { return };
    let captured = sample(&place);
    set_mode(&live, 0o750);
    let captured_again = capture(&place.driver());
    assert_eq!(captured.part.manifest().items, captured_again.part.manifest().items);
    let wanted = look(&live);
    let device = fs::metadata(&live).unwrap().dev();
    fs::remove_dir_all(live.join("eu")).unwrap();
    write(live.join("us/boston.json"), b"damaged");
    write(live.join("later"), b"made after the backup");
    set_mode(&live, 0o777);

    let reader = MemoryReader::new(&captured_again.part);
    let plan = place.driver().plan_restore(&reader, &in_place(Conflict::Replace)).unwrap();
    assert!(
        plan.steps.iter().any(|step| step.contains("one by one, because it cannot be renamed")),
        "{:?}",
        plan.steps
    );
    let outcome = place.driver().restore(&reader, &plan).unwrap();
    let before = live.join(".trivault-before-job1");
    assert_eq!(outcome.kept_aside, std::slice::from_ref(&before));
    assert_eq!(contents(&before)["us/boston.json"], "damaged");
    assert_eq!(contents(&before)["later"], "made after the backup");
    fs::remove_dir_all(before).unwrap();
    set_time(&live, wanted[&Vec::new()].modified.0, wanted[&Vec::new()].modified.1);
    assert_eq!(look(&live), wanted);
    assert_eq!(fs::metadata(&live).unwrap().dev(), device);
}

fn picked(place: &Place, captured: &Captured, selection: Selection) -> Vec<String> {
    let target = place.path("picked");
    let request = PartRestoreRequest { selection, ..new_path(&target) };
    restore(&place.driver(), &captured.part, &request);
    let paths = look(&target).into_keys().map(|path| text(&path)).collect();
    fs::remove_dir_all(target).unwrap();
    paths
}

#[test]
fn scopes_collections_names_and_values_pick_files() {
    let place = Place::new();
    let captured = sample(&place);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let pick = |include: &[&str], exclude: &[&str], keys: Option<&str>, values: Option<&str>| {
        let selection = Selection {
            include: names(include),
            exclude: names(exclude),
            keys: keys.map(str::to_owned),
            values: values.map(str::to_owned),
            key_range: None,
        };
        picked(&place, &captured, selection)
    };
    assert_eq!(
        pick(&["eu"], &[], None, None),
        ["", "eu", "eu/berlin.json", "eu/empty", "eu/fr", "eu/fr/lyon.json", "eu/paris.json"]
    );
    assert_eq!(pick(&["eu.fr"], &[], None, None), ["", "eu", "eu/fr", "eu/fr/lyon.json"]);
    assert_eq!(pick(&["eu._default", "_default"], &[], Some("^[br]"), None), ["", "eu", "eu/berlin.json", "root.json"]);
    assert_eq!(pick(&[], &["eu", "us"], None, None), ["", "root.json"]);
    assert_eq!(
        pick(&[], &[], None, Some("city|Berlin")),
        ["", "eu", "eu/berlin.json", "eu/fr", "eu/fr/lyon.json", "eu/paris.json", "us", "us/boston.json", "us/raw.bin"]
    );
}

#[test]
fn a_failing_store_and_a_cancelled_job_leave_nothing() {
    let place = Place::new();
    sample(&place);
    write(place.live().join("large"), vec![1; 3 * 1024 * 1024]);
    write(place.live().join("us/zero"), b"");
    let captured = capture(&place.driver());
    fs::remove_file(place.live().join("root.json")).unwrap();
    let damaged = look(&place.live());
    for request in [
        new_path(&place.path("new/deep")),
        in_place(Conflict::Replace),
        in_place(Conflict::AddMissing),
        in_place(Conflict::UpdateDiffering),
    ] {
        for at in [0, 1, 20, 100, 1_000_000, 3 * 1024 * 1024] {
            let broken = MemoryReader::new(&captured.part).fail_at(at);
            // Adding what is missing reads no more than that, and may have ended before.
            if let Err(error) = run(&place.driver(), &broken, &request) {
                assert_eq!(error.kind, ErrorKind::Store);
                assert_eq!(look(&place.live()), damaged);
            } else {
                assert_eq!(request.conflict, Conflict::AddMissing);
                fs::remove_file(place.live().join("root.json")).unwrap();
                set_time(&place.live(), damaged[&Vec::new()].modified.0, damaged[&Vec::new()].modified.1);
            }
            let cancelled = MemoryReader::new(&captured.part).cancel_at(at);
            if let Err(error) = run(&place.driver(), &cancelled, &request) {
                assert_eq!(error.kind, ErrorKind::Cancelled);
            } else {
                assert_eq!(request.conflict, Conflict::AddMissing);
                fs::remove_file(place.live().join("root.json")).unwrap();
                set_time(&place.live(), damaged[&Vec::new()].modified.0, damaged[&Vec::new()].modified.1);
            }
            assert_eq!(look(&place.live()), damaged);
            assert_eq!(place.names(), ["live"]);
        }
    }
}

#[test]
fn a_target_that_is_replaced_meanwhile_is_left_alone() {
    let place = Place::new();
    let captured = sample(&place);
    let reader = MemoryReader::new(&captured.part);
    for conflict in [Conflict::Replace, Conflict::UpdateDiffering] {
        let plan = place.driver().plan_restore(&reader, &in_place(conflict)).unwrap();
        fs::rename(place.live(), place.path("old")).unwrap();
        write(place.live().join("theirs"), b"x");
        let error = place.driver().restore(&reader, &plan).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Conflict);
        assert_eq!(contents(&place.live()).len(), 1);
        assert_eq!(place.names(), ["live", "old"]);
        fs::remove_dir_all(place.live()).unwrap();
        fs::rename(place.path("old"), place.live()).unwrap();
    }
}

#[test]
fn what_is_left_out_of_backups_is_mentioned_in_the_plan() {
    let place = Place::new();
    let captured = sample(&place);
    let driver = place.driver_with(json!({"exclude": "*.tmp"}));
    let plan = driver.plan_restore(&MemoryReader::new(&captured.part), &in_place(Conflict::Replace)).unwrap();
    assert!(plan.steps.last().unwrap().contains("leaves out of its backups is then only in"), "{:?}", plan.steps);
}
