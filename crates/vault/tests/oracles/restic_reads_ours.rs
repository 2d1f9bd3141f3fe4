//! What we write, as the stock restic sees it.

use crate::support::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use trivault_testkit::restic::Restic;
use trivault_testkit::s3::S3Server;
use trivault_testkit::trees::contents;
use trivault_vault::backend::{Backend, LocalBackend, ObjectBackend, S3Credentials, S3Location};
use trivault_vault::{Cutting, Id, LockMode, Password, VaultErrorKind};

fn restic(folder: &Path) -> Option<Restic> {
    Restic::new(folder.display().to_string(), PASSWORD)
}

fn snapshot_ids(restic: &Restic) -> Vec<String> {
    let listed: serde_json::Value = serde_json::from_slice(&restic.succeed(["snapshots", "--json"])).unwrap();
    listed.as_array().unwrap().iter().map(|snapshot| snapshot["id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_stream_of_every_cutting_passes_check_and_dump() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let vault = create(folder.path());
    for (number, cutting) in [Cutting::ContentDefined, Cutting::Pages, Cutting::AtMarks].into_iter().enumerate() {
        let bytes = text(number as u64, 9_000_000);
        let committed = capture_streams(&vault, &[("dump.sql", &bytes), ("empty", b""), ("one", b"1")], cutting);
        let id = committed.snapshot.to_hex();
        assert!(restic.succeed(["dump", &id, "/dump.sql"]) == bytes, "{cutting:?}");
        assert_eq!(restic.succeed(["dump", &id, "/empty"]), b"");
        assert_eq!(restic.succeed(["dump", &id, "/one"]), b"1");
    }
    restic.succeed(["check", "--read-data"]);
    assert_eq!(snapshot_ids(&restic).len(), 3);
}

#[test]
fn a_tree_is_restored_byte_by_byte_with_modes_and_times() {
    let folder = tempfile::tempdir().unwrap();
    let (source, target) = (folder.path().join("source"), folder.path().join("target"));
    make_tree(&source);
    let Some(restic) = restic(&folder.path().join("vault")) else { return };
    let vault = create(&folder.path().join("vault"));
    let committed = capture_folder(&vault, &source);
    restic.succeed(["check", "--read-data"]);
    restic.succeed(["restore", &committed.snapshot.to_hex(), "--target", target.to_str().unwrap()]);
    assert!(contents(&source).unwrap() == contents(&target).unwrap());
    for name in ["text", "deep/er", "empty"] {
        use std::os::unix::fs::MetadataExt;
        let (before, after) = (fs::metadata(source.join(name)).unwrap(), fs::metadata(target.join(name)).unwrap());
        assert_eq!(
            (before.mode(), before.mtime(), before.mtime_nsec()),
            (after.mode(), after.mtime(), after.mtime_nsec())
        );
    }
    let listed = String::from_utf8_lossy(&restic.succeed(["ls", "latest"])).into_owned();
    assert!(listed.contains("/deep/er/est/file"));
}

#[test]
fn after_forget_and_prune_by_restic_we_read_and_write_on() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let vault = create(folder.path());
    let (first, second) = (text(1, 6_000_000), text(2, 6_000_000));
    let gone = capture_streams(&vault, &[("dump.sql", &first)], Cutting::ContentDefined);
    // The second shares half of its blobs with the first, so that packs are used in part and must be written anew.
    let mixed = [&first[..3_000_000], &second[..3_000_000]].concat();
    capture_streams(&vault, &[("dump.sql", &mixed)], Cutting::ContentDefined);
    restic.succeed(["forget", "--keep-last", "1", "--prune", "--max-unused", "0"]);
    restic.succeed(["check", "--read-data"]);

    vault.refresh().unwrap();
    assert_eq!(vault.snapshot(&gone.snapshot).unwrap_err().kind(), &VaultErrorKind::Missing);
    assert!(read_file(&vault, &latest(&vault), &["dump.sql"]).unwrap() == mixed);
    // What was pruned is new again: nothing may be taken for stored that is not.
    let again = capture_streams(&vault, &[("dump.sql", &first)], Cutting::ContentDefined);
    assert!(restic.succeed(["dump", &again.snapshot.to_hex(), "/dump.sql"]) == first);
    restic.succeed(["check", "--read-data"]);
}

#[test]
fn a_prune_by_restic_between_our_opening_and_our_capture_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let vault = create(folder.path());
    let bytes = text(3, 4_000_000);
    capture_streams(&vault, &[("dump.sql", &bytes)], Cutting::ContentDefined);
    let snapshots = snapshot_ids(&restic);
    restic.succeed(["forget", &snapshots[0], "--prune"]);
    // No refresh here: the writer's own index still knows the blobs.
    let capture = begin(&vault, "/dump.sql");
    let mut root = capture.directory();
    let record = write_stream(&capture, &bytes, Cutting::ContentDefined).unwrap();
    let meta = trivault_vault::NodeMeta::synthetic(trivault_vault::NodeKind::File, Default::default());
    root.add_file(b"dump.sql", &meta, &record).unwrap();
    let root = root.finish().unwrap();
    match commit(capture, root) {
        Ok(committed) => assert!(restic.succeed(["dump", &committed.snapshot.to_hex(), "/dump.sql"]) == bytes),
        Err(error) => {
            assert!(snapshot_ids(&restic).is_empty(), "{error}");
            vault.refresh().unwrap();
            let again = capture_streams(&vault, &[("dump.sql", &bytes)], Cutting::ContentDefined);
            assert!(restic.succeed(["dump", &again.snapshot.to_hex(), "/dump.sql"]) == bytes);
        }
    }
    restic.succeed(["check", "--read-data"]);
}

#[test]
fn restic_rebuilds_an_index_that_was_lost() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let bytes = text(4, 3_000_000);
    capture_streams(&create(folder.path()), &[("dump.sql", &bytes)], Cutting::ContentDefined);
    for entry in fs::read_dir(folder.path().join("index")).unwrap() {
        fs::remove_file(entry.unwrap().path()).unwrap();
    }
    restic.succeed(["rebuild-index"]);
    restic.succeed(["check", "--read-data"]);
    let vault = open(folder.path(), PASSWORD).unwrap();
    assert!(read_file(&vault, &latest(&vault), &["dump.sql"]).unwrap() == bytes);
}

#[test]
fn keys_added_and_removed_by_either_side_open_or_do_not_open() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let vault = create(folder.path());
    let password_file = folder.path().join("new-password");
    fs::write(&password_file, "added by restic").unwrap();
    restic.succeed(["key", "add", "--new-password-file", password_file.to_str().unwrap()]);
    assert_eq!(open(folder.path(), "added by restic").unwrap().id(), vault.id());

    let ours = vault.add_key(&Password::new("added by us, ünïcode"), KDF).unwrap();
    let by_ours = Restic::new(folder.path().display().to_string(), "added by us, ünïcode").unwrap();
    by_ours.succeed(["check"]);
    vault.remove_key(&ours).unwrap();
    assert!(!by_ours.run(["snapshots"]).status.success());
    let refused = open(folder.path(), "added by us, ünïcode").unwrap_err();
    assert_eq!(refused.kind(), &VaultErrorKind::WrongPassword);
    restic.succeed(["check"]);
}

#[test]
fn tag_and_copy_keep_every_byte() {
    let folder = tempfile::tempdir().unwrap();
    let (from, to) = (folder.path().join("from"), folder.path().join("to"));
    let Some(restic) = restic(&from) else { return };
    let vault = create(&from);
    let bytes = text(5, 5_000_000);
    capture_streams(&vault, &[("dump.sql", &bytes)], Cutting::Pages);
    restic.succeed(["tag", "--add", "kept", "latest"]);
    assert!(latest(&vault).record.tags.contains(&"kept".to_owned()));
    let target = ["--repo2", from.to_str().unwrap(), "--repo", to.to_str().unwrap()];
    let with_second_password = |arguments: &[&str]| {
        let mut command = restic.command(target.iter().chain(arguments));
        let output = command.env("RESTIC_PASSWORD2", PASSWORD).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    with_second_password(&["init", "--copy-chunker-params"]);
    let into = ["--repo", from.to_str().unwrap(), "--repo2", to.to_str().unwrap(), "copy"];
    let output = restic.command(into).env("RESTIC_PASSWORD2", PASSWORD).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let copied = open(&to, PASSWORD).unwrap();
    assert!(read_file(&copied, &latest(&copied), &["dump.sql"]).unwrap() == bytes);
}

#[test]
fn locks_are_honoured_in_both_directions() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let vault = create(folder.path());
    capture_streams(&vault, &[("dump.sql", b"some bytes")], Cutting::ContentDefined);

    let shared = vault.lock(LockMode::Shared, Duration::ZERO).unwrap();
    restic.succeed(["snapshots"]);
    let refused = restic.run(["prune"]);
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("already locked"), "{refused:?}");
    shared.release().unwrap();
    restic.succeed(["prune"]);

    let exclusive = vault.lock(LockMode::Exclusive, Duration::ZERO).unwrap();
    assert!(!restic.run(["backup", "/etc/hostname"]).status.success());
    exclusive.release().unwrap();
    restic.succeed(["check"]);
    assert_eq!(fs::read_dir(folder.path().join("locks")).unwrap().count(), 0);
}

#[test]
fn several_captures_at_once_make_one_sound_vault() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let vault = create(folder.path());
    let streams: Vec<Vec<u8>> = (0..4).map(|number| text(number / 2, 5_000_000)).collect();
    let ids: Vec<Id> = std::thread::scope(|scope| {
        let threads: Vec<_> = streams
            .iter()
            .map(|bytes| {
                let vault = vault.clone();
                scope.spawn(move || capture_streams(&vault, &[("dump.sql", bytes)], Cutting::ContentDefined).snapshot)
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (id, bytes) in ids.iter().zip(&streams) {
        assert!(restic.succeed(["dump", &id.to_hex(), "/dump.sql"]) == *bytes);
    }
    restic.succeed(["check", "--read-data"]);
}

#[test]
fn a_vault_with_few_pack_folders_is_complete_to_restic() {
    let folder = tempfile::tempdir().unwrap();
    let Some(restic) = restic(folder.path()) else { return };
    let vault = create_on(Arc::new(LocalBackend::with_lazy_data_directories(folder.path())));
    let bytes = text(6, 100_000);
    capture_streams(&vault, &[("dump.sql", &bytes)], Cutting::ContentDefined);
    // Two open packs for data, one for trees.
    assert!(fs::read_dir(folder.path().join("data")).unwrap().count() <= 3);
    restic.succeed(["check", "--read-data"]);
    restic.backup_stream("theirs", &bytes);
    vault.refresh().unwrap();
    assert!(read_file(&vault, &latest(&vault), &["theirs"]).unwrap() == bytes);
}

#[test]
fn a_vault_in_s3_passes_check_and_dump() {
    let Some(server) = S3Server::start() else { return };
    server.make_bucket("vaults");
    let at = S3Location {
        endpoint: Some(server.endpoint()),
        credentials: Some(S3Credentials::new("test", "test")),
        allow_http: true,
        ..S3Location::new("vaults", "some/store/vault")
    };
    let backend = ObjectBackend::connect(&at).unwrap();
    let Some(restic) = Restic::new(backend.location(), PASSWORD) else { return };
    let vault = create_on(Arc::new(backend));
    let bytes = [text(7, 20_000_000), trivault_testkit::trees::noise(7, 20_000_000)].concat();
    capture_streams(&vault, &[("dump.sql", &bytes)], Cutting::ContentDefined);
    restic.succeed(["check", "--read-data"]);
    assert!(restic.succeed(["dump", "latest", "/dump.sql"]) == bytes);
    assert!(read_file(&vault, &latest(&vault), &["dump.sql"]).unwrap() == bytes);
    restic.backup_stream("theirs", &bytes[..3_000_000]);
    vault.refresh().unwrap();
    assert!(read_file(&vault, &latest(&vault), &["theirs"]).unwrap() == bytes[..3_000_000]);
    restic.succeed(["forget", "--keep-last", "1", "--group-by", "", "--prune"]);
    vault.refresh().unwrap();
    assert!(read_file(&vault, &latest(&vault), &["theirs"]).unwrap() == bytes[..3_000_000]);
}
