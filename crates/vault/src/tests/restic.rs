//! The stock restic reads what we write. (The wider suite of oracles is in `crates/vault/tests`.)

use super::scene::*;
use crate::{NodeKind, NodeMeta, Timestamp};
use std::{path::Path, process::Command};

pub fn restic(vault: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new("restic");
    command.arg("--no-cache").arg("-r").arg(vault).args(arguments).env("RESTIC_PASSWORD", PASSWORD);
    let output = command.output().expect("the stock restic must be installed: apt-get install restic");
    let text = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "restic {arguments:?}: {text}");
    text
}

#[test]
fn stock_restic_checks_and_restores_what_we_wrote() {
    let scene = Scene::new();
    let dump = rows(1, 5_000_000);
    let capture = begin(&scene.vault, None);
    let mut inner = capture.directory();
    inner.add_file(b"dump.sql", &file_meta(), &stream(&capture, &dump, CONTENT_DEFINED).unwrap()).unwrap();
    inner.add_file(b"empty", &file_meta(), &stream(&capture, b"", CONTENT_DEFINED).unwrap()).unwrap();
    let link = NodeMeta::synthetic(NodeKind::Symlink(b"dump.sql".to_vec()), Timestamp::default());
    inner.add_special(b"link", &link).unwrap();
    inner.add_file(b"name\xff", &file_meta(), &stream(&capture, b"odd", CONTENT_DEFINED).unwrap()).unwrap();
    let inner = inner.finish().unwrap();
    let mut root = capture.directory();
    root.add_directory(b"data", &directory_meta(), inner).unwrap();
    let root = root.finish().unwrap();
    let committed = commit(capture, root).unwrap();

    let checked = restic(&scene.path(), &["check", "--read-data"]);
    assert!(checked.contains("no errors were found"), "{checked}");
    assert!(!checked.contains("not referenced in any index"), "{checked}");
    let target = scene.directory.path().join("restored");
    restic(&scene.path(), &["restore", &committed.snapshot.to_hex(), "--target", target.to_str().unwrap()]);
    assert_eq!(std::fs::read(target.join("data/dump.sql")).unwrap(), dump);
    assert_eq!(std::fs::read(target.join("data/empty")).unwrap(), b"");
    assert_eq!(std::fs::read_link(target.join("data/link")).unwrap(), Path::new("dump.sql"));
    let odd: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"name\xff");
    assert_eq!(std::fs::read(target.join("data").join(odd)).unwrap(), b"odd");
    assert!(files_below(&scene.path()).iter().all(|path| !path.file_name().unwrap().to_string_lossy().contains("tmp")));
}

#[test]
fn we_restore_what_stock_restic_wrote() {
    let scene = Scene::new();
    let source = scene.directory.path().join("source");
    std::fs::create_dir_all(source.join("deep/er")).unwrap();
    let content = [noise(3, 3_000_000), rows(4, 3_000_000)].concat();
    std::fs::write(source.join("deep/er/file"), &content).unwrap();
    std::fs::write(source.join("small"), b"small").unwrap();
    restic(&scene.path(), &["backup", source.to_str().unwrap()]);
    let vault = scene.reopened();
    let list = vault.snapshots().unwrap();
    assert!(list.damaged.is_empty());
    let reader = vault.reader(&list.snapshots[0]).unwrap();
    let path: Vec<Vec<u8>> = source.to_str().unwrap().split('/').skip(1).map(|part| part.as_bytes().to_vec()).collect();
    let below = |rest: &[&'static str]| {
        let mut path: Vec<&[u8]> = path.iter().map(Vec::as_slice).collect();
        path.extend(rest.iter().map(|part| part.as_bytes()));
        read_all(&reader, &path).unwrap()
    };
    assert_eq!(below(&["deep", "er", "file"]), content);
    assert_eq!(below(&["small"]), b"small");
}
