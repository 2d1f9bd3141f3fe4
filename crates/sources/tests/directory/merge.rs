//! Adding to what is there: nothing is deleted, and nothing outside the target is touched.

use std::{fs, os::unix::fs::MetadataExt};

use trivault_sources::{Conflict, PartRestoreRequest, Selection};

use crate::support::*;

fn sample(place: &Place) -> Captured {
    for path in ["same", "changed", "missing", "dir/same", "dir/missing", "gone/a/b"] {
        write(place.live().join(path), format!("backup {path}"));
    }
    fs::hard_link(place.live().join("same"), place.live().join("same-link")).unwrap();
    std::os::unix::fs::symlink("same", place.live().join("symlink")).unwrap();
    set_mode(&place.live().join("dir/same"), 0o640);
    set_mode(&place.live().join("dir"), 0o750);
    capture(&place.driver())
}

fn damage(place: &Place) {
    let live = place.live();
    write(live.join("changed"), b"now");
    fs::remove_file(live.join("missing")).unwrap();
    fs::remove_file(live.join("dir/missing")).unwrap();
    fs::remove_file(live.join("same-link")).unwrap();
    fs::remove_dir_all(live.join("gone")).unwrap();
    write(live.join("extra"), b"extra");
    write(live.join("dir/extra"), b"extra");
    fs::remove_file(live.join("symlink")).unwrap();
    std::os::unix::fs::symlink("elsewhere", live.join("symlink")).unwrap();
    set_mode(&live.join("dir/same"), 0o600);
    set_mode(&live.join("dir"), 0o700);
}

#[test]
fn adding_what_is_missing_leaves_what_exists() {
    let place = Place::new();
    let captured = sample(&place);
    damage(&place);
    let (outcome, _) = restore(&place.driver(), &captured.part, &in_place(Conflict::AddMissing));
    let found = contents(&place.live());
    assert_eq!(found["changed"], "now");
    assert_eq!(found["extra"], "extra");
    assert_eq!(found["dir/extra"], "extra");
    for path in ["same", "missing", "dir/missing", "gone/a/b"] {
        assert_eq!(found[path], format!("backup {path}"));
    }
    assert_eq!(fs::read_link(place.live().join("symlink")).unwrap().to_str(), Some("elsewhere"));
    assert_eq!(fs::metadata(place.live().join("dir")).unwrap().mode() & 0o777, 0o700);
    let inode = |name: &str| fs::metadata(place.live().join(name)).unwrap().ino();
    assert_eq!(inode("same"), inode("same-link"), "a missing name is a name of the file that is there");
    assert_eq!(outcome.items, 4);
    assert!(outcome.kept_aside.is_empty());
    assert_eq!(place.names(), ["live"]);

    let (again, _) = restore(&place.driver(), &captured.part, &in_place(Conflict::AddMissing));
    assert_eq!(again.items, 0);
}

#[test]
fn updating_overwrites_what_differs_and_deletes_nothing() {
    let place = Place::new();
    let captured = sample(&place);
    let mut wanted = look(&place.live());
    damage(&place);
    // The same size and time as in the backup, and another content.
    let path = place.live().join("same");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    write(&path, b"backuP same");
    fs::File::options().write(true).open(&path).unwrap().set_modified(modified).unwrap();

    restore(&place.driver(), &captured.part, &in_place(Conflict::UpdateDiffering));
    let mut found = look(&place.live());
    assert!(found.remove(&b"extra"[..]).is_some() && found.remove(&b"dir/extra"[..]).is_some());
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, seen) in &mut wanted {
        assert_eq!(found.get(path), Some(&*seen), "{}", text(path));
    }
    assert_eq!(place.names(), ["live"]);

    let before = look(&place.live());
    let (again, _) = restore(&place.driver(), &captured.part, &in_place(Conflict::UpdateDiffering));
    assert_eq!(again.items, 0, "nothing differs any more");
    assert_eq!(look(&place.live()), before);
}

#[test]
fn a_selection_updates_only_what_it_names() {
    let place = Place::new();
    let captured = sample(&place);
    damage(&place);
    let selection = Selection { include: vec!["dir".to_owned()], ..Selection::default() };
    let request = PartRestoreRequest { selection, ..in_place(Conflict::UpdateDiffering) };
    restore(&place.driver(), &captured.part, &request);
    let found = contents(&place.live());
    assert_eq!(found["dir/missing"], "backup dir/missing");
    assert!(!found.contains_key("missing") && found["changed"] == "now");
}

#[test]
fn links_in_the_target_lead_nowhere() {
    let place = Place::new();
    write(place.live().join("dir/file"), b"backup");
    write(place.live().join("plain"), b"backup");
    let captured = capture(&place.driver());
    for conflict in [Conflict::AddMissing, Conflict::UpdateDiffering] {
        fs::remove_dir_all(place.live()).unwrap();
        fs::create_dir_all(place.live()).unwrap();
        write(place.path("outside/file"), b"precious");
        write(place.path("outside/plain"), b"precious");
        std::os::unix::fs::symlink("../outside", place.live().join("dir")).unwrap();
        std::os::unix::fs::symlink("../outside/plain", place.live().join("plain")).unwrap();
        let (_, warnings) = restore(&place.driver(), &captured.part, &in_place(conflict));
        assert_eq!(warnings[0].code, "type_differs");
        let outside = contents(&place.path("outside"));
        assert!(outside.len() == 2 && outside.values().all(|content| content == "precious"), "{outside:?}");
        let plain = fs::symlink_metadata(place.live().join("plain")).unwrap();
        assert_eq!(plain.is_file(), conflict == Conflict::UpdateDiffering, "the link itself is what was replaced");
        fs::remove_dir_all(place.path("outside")).unwrap();
    }
}

#[test]
fn directories_and_files_never_take_each_other_s_place() {
    let place = Place::new();
    write(place.live().join("was a file"), b"backup");
    write(place.live().join("was a directory/inside"), b"backup");
    let captured = capture(&place.driver());
    fs::remove_file(place.live().join("was a file")).unwrap();
    write(place.live().join("was a file/now inside"), b"now");
    fs::remove_dir_all(place.live().join("was a directory")).unwrap();
    write(place.live().join("was a directory"), b"now");
    let before = look(&place.live());
    let (_, warnings) = restore(&place.driver(), &captured.part, &in_place(Conflict::UpdateDiffering));
    assert_eq!((warnings[0].code.as_str(), warnings[0].count), ("type_differs", 2));
    let mut after = look(&place.live());
    after.insert(Vec::new(), before[&Vec::new()].clone());
    assert_eq!(after, before);
}
