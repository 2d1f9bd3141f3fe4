//! Round trips.

use super::scene::*;
use crate::{Cutting, FileOptions, NodeKind, NodeMeta, Timestamp, VaultErrorKind, VerifyOptions};
use sha2::{Digest, Sha256};
use std::sync::Arc;

#[test]
fn streams_of_every_cutting_come_back_byte_by_byte() {
    let scene = Scene::new();
    let content = [rows(1, 1_500_000), noise(2, 1_500_000), vec![0; 700_000], rows(3, 33)].concat();
    for cutting in [Cutting::ContentDefined, Cutting::Pages, Cutting::AtMarks] {
        let capture = begin(&scene.vault, None);
        let mut writer = capture.file(FileOptions { cutting, whole_digest: true }).unwrap();
        for piece in content.chunks(12_345) {
            writer.write(piece).unwrap();
            writer.cut().unwrap();
        }
        let record = writer.finish().unwrap();
        assert_eq!(record.length, content.len() as u64);
        assert_eq!(record.sha256, Some(Sha256::digest(&content).into()));
        assert_eq!(record.crc32, Some(crc32fast::hash(&content)));
        let mut root = capture.directory();
        root.add_file(b"stream", &file_meta(), &record).unwrap();
        let root = root.finish().unwrap();
        let committed = commit(capture, root).unwrap();
        assert!(committed.verified_blobs > 0);
        for vault in [&scene.vault, &scene.reopened()] {
            assert_eq!(read_all(&reader(vault, &committed), &[b"stream"]).unwrap(), content);
        }
    }
}

#[test]
fn zeros_are_stored_once_and_come_back_in_their_places() {
    let scene = Scene::new();
    for cutting in [Cutting::ContentDefined, Cutting::Pages, Cutting::AtMarks] {
        let capture = begin(&scene.vault, None);
        let mut writer = capture.file(FileOptions { cutting, whole_digest: true }).unwrap();
        let mut expected = Vec::new();
        for (bytes, zeros) in
            [(5_usize, 3_000_000_usize), (100_000, 10), (70_000, 5_000_001), (0, 1), (16_384, 1 << 21)]
        {
            let part = noise(bytes as u64, bytes);
            writer.write(&part).unwrap();
            writer.write_zeros(zeros as u64).unwrap();
            expected.extend_from_slice(&part);
            expected.resize(expected.len() + zeros, 0);
        }
        let record = writer.finish().unwrap();
        assert_eq!(record.crc32, Some(crc32fast::hash(&expected)));
        assert_eq!(record.sha256, Some(Sha256::digest(&expected).into()));
        let mut root = capture.directory();
        root.add_file(b"sparse", &file_meta(), &record).unwrap();
        let root = root.finish().unwrap();
        let committed = commit(capture, root).unwrap();
        assert!(committed.summary.data_added < 3_500_000, "{}", committed.summary.data_added);
        assert_eq!(read_all(&reader(&scene.vault, &committed), &[b"sparse"]).unwrap(), expected);
    }
}

#[test]
fn reads_at_any_offset_give_the_right_bytes() {
    let scene = Scene::new();
    let content = [noise(1, 4_000_000), rows(2, 3_000_000)].concat();
    let committed = capture_files(&scene.vault, &[(b"f", &content)]).unwrap();
    let reader = reader(&scene.vault, &committed);
    let mut file = reader.open(&reader.node(&[b"f"]).unwrap()).unwrap();
    let mut buffer = vec![0; 300_000];
    let mut offset = 17_u64;
    for step in 0..200_u64 {
        let length = (step * 7919 % 300_000) as usize;
        let count = file.read_at(offset, &mut buffer[..length]).unwrap();
        let start = (offset as usize).min(content.len());
        let expected = &content[start..(start + length).min(content.len())];
        assert_eq!(&buffer[..count], expected, "at {offset}");
        // Sometimes on from here, sometimes far away.
        offset = if step % 3 == 0 {
            offset + count as u64
        } else {
            offset.wrapping_mul(6_364_136_223_846_793_005) % 7_100_000
        };
    }
    assert_eq!(file.read_at(u64::MAX, &mut buffer).unwrap(), 0);
    assert_eq!(file.read_at(7_000_000, &mut buffer).unwrap(), 0);
}

#[test]
fn a_tree_with_every_kind_of_node_comes_back() {
    let scene = Scene::new();
    let capture = begin(&scene.vault, None);
    let time = Timestamp { seconds: -5, nanoseconds: 999_999_999 };
    let special = |kind| NodeMeta { uid: 7, gid: 8, user: "u<>".to_owned(), ..NodeMeta::synthetic(kind, time) };
    let mut meta = special(NodeKind::File);
    meta.extended_attributes =
        vec![(b"user.note".to_vec(), b"\x00\xff".to_vec()), (b"user.empty".to_vec(), Vec::new())];
    meta.mode = 0o6755;
    let record = stream(&capture, b"shared content", CONTENT_DEFINED).unwrap();
    let mut inner = capture.directory();
    inner.add_file(b"linked\xfe\xff", &NodeMeta { links: 2, inode: 9, device: 3, ..meta.clone() }, &record).unwrap();
    let inner = inner.finish().unwrap();
    let mut root = capture.directory();
    root.add_directory(b"a \"quoted\" \\ name\n", &directory_meta(), inner).unwrap();
    root.add_special(b"b", &special(NodeKind::Fifo)).unwrap();
    root.add_special(b"c", &special(NodeKind::Symlink(b"/to/\xff".to_vec()))).unwrap();
    root.add_special(b"d", &special(NodeKind::BlockDevice(2049))).unwrap();
    root.add_file(b"e", &meta, &stream(&capture, b"", CONTENT_DEFINED).unwrap()).unwrap();
    root.add_file(b"f", &meta, &record).unwrap();
    assert!(root.add_file(b"e", &meta, &record).is_err());
    assert!(root.add_special(b"g", &meta).is_err());
    let root = root.finish().unwrap();
    let committed = commit(capture, root).unwrap();

    let reader = reader(&scene.reopened(), &committed);
    let nodes = reader.list(&[]).unwrap();
    let names: Vec<&[u8]> = nodes.iter().map(|node| node.name.as_slice()).collect();
    assert_eq!(names, [&b"a \"quoted\" \\ name\n"[..], b"b", b"c", b"d", b"e", b"f"]);
    assert_eq!(nodes[1].meta, special(NodeKind::Fifo));
    assert_eq!(nodes[2].meta, special(NodeKind::Symlink(b"/to/\xff".to_vec())));
    assert_eq!(nodes[3].meta, special(NodeKind::BlockDevice(2049)));
    assert_eq!(nodes[5].meta, NodeMeta { size: 14, ..meta.clone() });
    let linked = reader.node(&[b"a \"quoted\" \\ name\n", b"linked\xfe\xff"]).unwrap();
    assert_eq!((linked.meta.device, linked.meta.inode, linked.meta.links), (3, 9, 2));
    assert_eq!(linked.content, nodes[5].content);
    assert_eq!(read_all(&reader, &[b"e"]).unwrap(), b"");
    assert_eq!(reader.node(&[b"nowhere"]).unwrap_err().kind(), &VaultErrorKind::Missing);
    assert_eq!(reader.list(&[b"f"]).unwrap_err().kind(), &VaultErrorKind::Missing);
    assert!(reader.open(&nodes[1]).is_err());
}

#[test]
fn a_directory_of_many_small_files_comes_back() {
    let scene = Scene::new();
    let files: Vec<(Vec<u8>, Vec<u8>)> = (0..3000_u64)
        .map(|number| (format!("{number:05}").into_bytes(), rows(number, (number % 700) as usize)))
        .collect();
    let borrowed: Vec<(&[u8], &[u8])> = files.iter().map(|(name, content)| (&name[..], &content[..])).collect();
    let committed = capture_files(&scene.vault, &borrowed).unwrap();
    assert_eq!(committed.summary.total_files_processed, 3000);
    let packs = files_below(&scene.path().join("data")).len();
    assert!(packs <= 3, "small files share packs, there are {packs}");
    let reader = reader(&scene.reopened(), &committed);
    assert_eq!(reader.list(&[]).unwrap().len(), 3000);
    for (name, content) in &files {
        assert_eq!(&read_all(&reader, &[name]).unwrap(), content);
    }
    // Forwards with gaps, backwards, and from several threads at once.
    for step in (0..3000).step_by(7).chain((0..3000).rev().step_by(11)) {
        assert_eq!(&read_all(&reader, &[&files[step].0]).unwrap(), &files[step].1);
    }
    std::thread::scope(|scope| {
        for part in files.chunks(1000) {
            let reader = reader.clone();
            scope.spawn(move || {
                part.iter().for_each(|(name, content)| assert_eq!(&read_all(&reader, &[name]).unwrap(), content))
            });
        }
    });
}

#[test]
fn unchanged_content_is_not_stored_again() {
    let scene = Scene::new();
    let content = noise(5, 3_000_000);
    let first = capture_files(&scene.vault, &[(b"f", &content)]).unwrap();
    assert!(first.summary.data_added >= 3_000_000 && first.summary.data_added_packed >= 3_000_000);
    let again = capture_files(&scene.vault, &[(b"f", &content)]).unwrap();
    assert_eq!((again.summary.data_added, again.summary.data_blobs), (0, 0));
    let reopened = capture_files(&scene.reopened(), &[(b"g", &content)]).unwrap();
    assert_eq!(reopened.summary.data_blobs, 0);
    assert_eq!(scene.vault.snapshots().unwrap().snapshots.len(), 3);
}

#[test]
fn a_file_of_the_previous_snapshot_is_taken_over_unread() {
    let scene = Scene::new();
    let content = noise(6, 500_000);
    let first = capture_files(&scene.vault, &[(b"f", &content)]).unwrap();
    let previous = scene.vault.snapshot(&first.snapshot).unwrap();
    let capture = begin(&scene.vault, Some(&previous));
    assert!(capture.previous_node(&[b"other"]).unwrap().is_none());
    let node = capture.previous_node(&[b"f"]).unwrap().unwrap();
    let record = capture.reuse(&node).unwrap().unwrap();
    let mut wrong = node.clone();
    wrong.meta.size += 1;
    assert!(capture.reuse(&wrong).unwrap().is_none());
    wrong.content = Arc::new(vec![crate::Id::of(b"gone")]);
    assert!(capture.reuse(&wrong).unwrap().is_none());
    let mut root = capture.directory();
    root.add_file(b"renamed", &file_meta(), &record).unwrap();
    let root = root.finish().unwrap();
    let second = commit(capture, root).unwrap();
    assert_eq!(second.summary.files_unmodified, 1);
    let snapshot = scene.vault.snapshot(&second.snapshot).unwrap();
    assert_eq!(snapshot.record.parent, Some(first.snapshot));
    assert_eq!(read_all(&reader(&scene.vault, &second), &[b"renamed"]).unwrap(), content);
}

#[test]
fn a_guard_that_refuses_leaves_no_snapshot() {
    let scene = Scene::new();
    let capture = begin(&scene.vault, None);
    let root = capture.directory().finish().unwrap();
    let mut refuse = || Err(crate::VaultError::cancelled());
    let error = capture.commit(root, &mut refuse, VerifyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), &VaultErrorKind::Cancelled);
    assert!(scene.vault.snapshots().unwrap().snapshots.is_empty());
}

#[test]
fn a_forgotten_snapshot_is_gone_and_forgetting_it_again_succeeds() {
    let scene = Scene::new();
    let committed = capture_files(&scene.vault, &[(b"f", b"x")]).unwrap();
    scene.vault.forget(&committed.snapshot).unwrap();
    scene.vault.forget(&committed.snapshot).unwrap();
    assert_eq!(scene.vault.snapshot(&committed.snapshot).unwrap_err().kind(), &VaultErrorKind::Missing);
}

#[test]
fn the_index_cache_may_be_used_lost_or_broken() {
    let scene = Scene::new();
    let content = noise(8, 300_000);
    let committed = capture_files(&scene.vault, &[(b"f", &content)]).unwrap();
    let cache = scene.directory.path().join("cache");
    let with_cache = || {
        let options = crate::VaultOptions { cache_directory: Some(cache.clone()), ..options() };
        crate::Vault::open(backend(&scene.path()), &crate::Password::new(PASSWORD), options).unwrap()
    };
    let read = |vault: &crate::Vault| assert_eq!(read_all(&reader(vault, &committed), &[b"f"]).unwrap(), content);
    let vault = with_cache();
    vault.spill_index_now();
    read(&vault);
    let run = files_below(&cache).pop().unwrap();
    let vault = with_cache();
    read(&vault);
    std::fs::write(&run, b"broken").unwrap();
    read(&with_cache());
    std::fs::remove_dir_all(&cache).unwrap();
    read(&with_cache());
    assert_eq!(capture_files(&with_cache(), &[(b"f", &content)]).unwrap().summary.data_blobs, 0);
}
