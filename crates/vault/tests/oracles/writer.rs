//! Good and damaged vaults of the second writer: each is read, or its damage is told.

use crate::support::*;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use trivault_testkit::trees::contents;
use trivault_testkit::writer::{PASSWORD, Vaults, make};
use trivault_vault::{LockMode, Result, VaultError, VaultErrorKind};

/// Reads everything of a vault: all snapshots with all their files, as pairs of path and content.
fn read_all(folder: &Path) -> Result<BTreeMap<String, Vec<u8>>> {
    let vault = open(folder, PASSWORD)?;
    let list = vault.snapshots()?;
    if let Some(damaged) = list.damaged.into_iter().next() {
        return Err(damaged.error);
    }
    let mut found = BTreeMap::new();
    for snapshot in &list.snapshots {
        found.extend(read_tree(&vault, snapshot)?);
    }
    Ok(found)
}

fn files(found: BTreeMap<String, Vec<u8>>) -> Vec<(String, Vec<u8>)> {
    found.into_iter().filter(|(name, _)| !name.ends_with('/') && !name.ends_with(" ->")).collect()
}

fn expected(vaults: &Vaults, scenario: &str) -> Vec<(String, Vec<u8>)> {
    contents(&vaults.expected(scenario)).unwrap().into_iter().filter(|(name, _)| !name.ends_with('/')).collect()
}

/// The vault is read, every file byte by byte.
fn assert_read(scenario: &str) {
    let Some(vaults) = make(&[scenario]) else { return };
    let found = read_all(&vaults.vault(scenario)).unwrap_or_else(|error| panic!("{scenario}: {error}"));
    assert!(files(found) == expected(&vaults, scenario), "{scenario}: other bytes");
}

/// Reading ends in an error of one of these kinds, with a sentence. Files that were read before it are right.
fn assert_told(scenario: &str, kinds: &[VaultErrorKind]) -> Option<VaultError> {
    let vaults = make(&[scenario])?;
    let error = match read_all(&vaults.vault(scenario)) {
        Ok(_) => panic!("{scenario}: the damage was not told"),
        Err(error) => error,
    };
    assert!(kinds.contains(error.kind()), "{scenario}: {:?}: {error}", error.kind());
    assert!(!error.sentence().is_empty() && !error.sentence().contains(PASSWORD));
    Some(error)
}

macro_rules! good_vaults {
    ($($name:ident => $scenario:literal),+ $(,)?) => { $(#[test] fn $name() { assert_read($scenario); })+ };
}

good_vaults! {
    a_plain_vault_is_read => "plain",
    irregular_chunks_and_names_are_read => "irregular",
    frames_without_their_size_and_with_a_checksum_are_read => "frames-without-size",
    an_index_in_plain_json_is_read => "index-in-plain-json",
    old_and_future_fields_of_an_index_are_passed_over => "index-with-old-fields",
    a_pack_that_two_indexes_name_is_read => "pack-in-two-indexes",
    blobs_that_lie_in_two_packs_are_read => "blobs-in-two-packs",
    a_pack_of_both_kinds_of_blobs_is_read => "mixed-pack",
    a_pack_that_no_index_names_does_no_harm => "pack-in-no-index",
    files_of_others_do_no_harm => "foreign-files",
    trees_out_of_order_with_unknown_fields_are_read => "loose-trees",
    empty_blobs_are_read => "empty-blob",
    unknown_fields_of_the_config_do_no_harm => "extra-config-fields",
    a_second_key_of_another_cost_does_no_harm => "second-key-with-other-cost",
    broken_key_files_do_not_hide_the_good_one => "broken-key-files",
    key_files_that_ask_for_the_impossible_do_not_hide_the_good_one => "greedy-key-files",
    a_polynomial_that_restic_cannot_cut_with_does_not_matter_for_reading => "small-polynomial",
    an_empty_lock_does_no_harm => "lock-empty",
    a_shared_lock_of_another_host_does_not_keep_us_from_reading => "locked-shared",
}

macro_rules! told_vaults {
    ($($name:ident => $scenario:literal: $($kind:ident),+);+ $(;)?) => {
        $(#[test] fn $name() { assert_told($scenario, &[$(VaultErrorKind::$kind),+]); })+
    };
}

told_vaults! {
    a_future_version_is_refused => "version-three": Unsupported;
    a_vault_with_nothing_but_broken_keys_is_told => "only-broken-keys": Damaged;
    an_empty_master_key_is_refused => "zero-master-key": Damaged;
    a_file_without_its_list_of_blobs_is_told => "content-null": Damaged;
    a_file_whose_size_is_not_that_of_its_blobs_is_told => "wrong-size": Damaged;
    a_name_with_a_slash_is_told => "slash-in-name": Damaged;
    a_name_of_two_dots_is_told => "dots-as-name": Damaged;
    an_index_that_lacks_part_of_a_pack_is_told => "part-of-a-pack-in-the-index": Damaged, Missing;
    a_wrong_plain_length_in_the_index_is_told => "wrong-plain-length-in-the-index": Damaged;
    enormous_numbers_in_the_index_are_told => "enormous-numbers-in-the-index": Damaged;
    negative_numbers_in_the_index_are_told => "negative-numbers-in-the-index": Damaged;
    a_frame_that_unpacks_to_far_more_than_its_blob_is_told => "bomb": Damaged;
    a_lost_index_is_told => "index-lost": Damaged, Missing;
    a_damaged_index_is_told => "index-damaged": Damaged;
    an_index_of_unknown_encoding_is_told => "index-of-unknown-encoding": Unsupported, Damaged;
    a_flipped_bit_in_a_tree_is_told => "tree-pack-flipped": Damaged;
    a_tree_pack_that_was_cut_is_told => "tree-pack-one-byte-short": Damaged;
    a_flipped_bit_in_a_data_pack_is_told => "data-pack-flipped": Damaged;
    a_data_pack_that_was_cut_is_told => "data-pack-short": Damaged;
    a_lost_data_pack_is_told => "data-pack-lost": Missing, Damaged;
    blobs_that_were_exchanged_are_told => "blobs-swapped": Damaged;
    a_tree_that_is_no_json_is_told => "tree-is-not-json": Damaged;
    a_tree_of_wrong_types_is_told => "tree-of-wrong-types": Damaged;
    a_lost_tree_is_told => "subtree-missing": Damaged, Missing;
    a_folder_without_a_tree_is_told => "folder-without-tree": Damaged;
    a_damaged_config_is_told => "config-damaged": Damaged;
    a_lost_config_is_told => "config-lost": NoVault, Damaged, Missing;
}

#[test]
fn a_reducible_polynomial_is_told_or_does_not_matter() {
    // restic refuses it for every command; our reader has no use for the polynomial.
    let Some(vaults) = make(&["reducible-polynomial"]) else { return };
    match read_all(&vaults.vault("reducible-polynomial")) {
        Ok(found) => assert!(files(found) == expected(&vaults, "reducible-polynomial")),
        Err(error) => assert_eq!(error.kind(), &VaultErrorKind::Damaged),
    }
}

#[test]
fn a_name_that_comes_twice_gives_the_right_file_or_is_told() {
    let Some(vaults) = make(&["duplicate-names"]) else { return };
    match read_all(&vaults.vault("duplicate-names")) {
        Ok(found) => assert_eq!(found.len(), 1),
        Err(error) => assert_eq!(error.kind(), &VaultErrorKind::Damaged),
    }
}

#[test]
fn with_too_many_keys_the_vault_opens_or_says_that_none_of_those_tried_fits() {
    let Some(vaults) = make(&["too-many-keys"]) else { return };
    match read_all(&vaults.vault("too-many-keys")) {
        Ok(found) => assert!(files(found) == expected(&vaults, "too-many-keys")),
        Err(error) => assert_eq!(error.kind(), &VaultErrorKind::WrongPassword),
    }
}

#[test]
fn the_wrong_password_is_told_apart_from_damage() {
    let Some(vaults) = make(&["plain"]) else { return };
    let error = open(&vaults.vault("plain"), "not it").unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::WrongPassword);
    assert!(!error.to_string().contains("not it"));
}

#[test]
fn damaged_snapshots_are_listed_beside_the_good_one() {
    let Some(vaults) = make(&["snapshot-damaged"]) else { return };
    let vault = open(&vaults.vault("snapshot-damaged"), PASSWORD).unwrap();
    let list = vault.snapshots().unwrap();
    assert_eq!((list.snapshots.len(), list.damaged.len()), (1, 4));
    for damaged in &list.damaged {
        assert!(
            matches!(damaged.error.kind(), VaultErrorKind::Damaged | VaultErrorKind::Unsupported),
            "{}",
            damaged.error
        );
        assert!(vault.snapshot(&damaged.id).is_err());
    }
    let found = read_tree(&vault, &list.snapshots[0]).unwrap();
    assert!(files(found) == expected(&vaults, "snapshot-damaged"));
}

#[test]
fn whole_files_beside_a_damaged_one_are_still_read() {
    let Some(vaults) = make(&["subtree-missing"]) else { return };
    let vault = open(&vaults.vault("subtree-missing"), PASSWORD).unwrap();
    let snapshot = latest(&vault);
    let bytes = read_file(&vault, &snapshot, &["dump.sql"]).unwrap();
    assert!(bytes == expected(&vaults, "subtree-missing")[0].1);
    assert!(read_file(&vault, &snapshot, &["folder", "x"]).is_err());
}

#[test]
fn locks_of_other_hosts_are_honoured_however_old() {
    let Some(vaults) = make(&["locked-shared", "locked-exclusive", "lock-empty"]) else { return };
    let lock = |scenario: &str, mode| open(&vaults.vault(scenario), PASSWORD).unwrap().lock(mode, Duration::ZERO);
    let holder = |error: VaultError| match error.kind() {
        VaultErrorKind::Locked { by, .. } => by.clone(),
        other => panic!("{other:?}: {error}"),
    };
    assert!(holder(lock("locked-shared", LockMode::Exclusive).unwrap_err()).starts_with("somebody@elsewhere"));
    assert!(holder(lock("locked-exclusive", LockMode::Shared).unwrap_err()).starts_with("somebody@elsewhere"));
    lock("locked-shared", LockMode::Shared).unwrap().release().unwrap();
    lock("lock-empty", LockMode::Exclusive).unwrap().release().unwrap();
}

#[test]
fn an_unreadable_lock_keeps_us_from_removing_but_is_no_panic() {
    let Some(vaults) = make(&["lock-unreadable"]) else { return };
    let vault = open(&vaults.vault("lock-unreadable"), PASSWORD).unwrap();
    assert!(read_tree(&vault, &latest(&vault)).is_ok());
    if let Ok(lock) = vault.lock(LockMode::Shared, Duration::ZERO) {
        lock.release().unwrap();
    }
}
