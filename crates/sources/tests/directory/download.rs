//! The download: what `tar -xzf` makes of it, and any range of it.

use std::{
    fs,
    process::{Command, Stdio},
    sync::Arc,
};

use trivault_sources::{
    PartReader, RandomRead, SourceDriver, Timestamp,
    testing::{MemoryReader, MemorySink, MemoryStore},
};

use crate::support::*;

fn open(place: &Place, captured: &Captured) -> (Arc<MemoryReader>, Box<dyn RandomRead>) {
    let reader = Arc::new(MemoryReader::new(&captured.part));
    let part: Arc<dyn PartReader> = reader.clone();
    let download = place.driver().download(part, "stem", Timestamp::default()).unwrap();
    (reader, download)
}

fn read_all(download: &mut dyn RandomRead, piece: usize) -> Vec<u8> {
    let mut bytes = vec![0; download.length() as usize];
    let mut at = 0;
    while at < bytes.len() {
        let end = bytes.len().min(at + piece);
        let read = download.read_at(at as u64, &mut bytes[at..end]).unwrap();
        assert!(read > 0);
        at += read;
    }
    bytes
}

/// The download of `captured` has the recorded length, passes `gzip -t`, and unpacks to the stored contents.
pub fn check(place: &Place, captured: &Captured) -> Vec<u8> {
    let (_, mut download) = open(place, captured);
    let recorded = captured.part.manifest().download.as_ref().unwrap().length;
    assert_eq!(download.length(), recorded);
    let bytes = read_all(download.as_mut(), 1 << 20);
    let mut beyond = [0; 10];
    assert_eq!(download.read_at(recorded, &mut beyond).unwrap(), 0);
    let archive = place.path("download.tar.gz");
    fs::write(&archive, &bytes).unwrap();
    let tested = Command::new("gzip").arg("-t").arg(&archive).output().unwrap();
    assert!(tested.status.success(), "{}", text(&tested.stderr));
    let listed = Command::new("tar").arg("-tzf").arg(&archive).stdout(Stdio::null()).output().unwrap();
    assert!(listed.status.success() && listed.stderr.is_empty(), "{}", text(&listed.stderr));
    fs::remove_file(archive).unwrap();
    bytes
}

#[test]
fn tar_unpacks_what_was_captured() {
    let place = Place::new();
    let with_attributes = furnish(&place.live());
    write(place.live().join("x".repeat(120)).join("y".repeat(200)).join("z".repeat(255)), b"long");
    std::os::unix::fs::symlink("t".repeat(300), place.live().join("long link")).unwrap();
    set_time(&place.live(), 1_400_000_000, 6);
    let captured = capture(&place.driver());
    let bytes = check(&place, &captured);
    fs::write(place.path("d.tar.gz"), bytes).unwrap();
    fs::create_dir(place.path("out")).unwrap();
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-pxzf"]);
    let done = tar.arg(place.path("d.tar.gz")).arg("-C").arg(place.path("out")).env("LC_ALL", "C").output().unwrap();
    assert!(done.status.success(), "{}", text(&done.stderr));
    let mut wanted = look(&place.live());
    let mut found = look(&place.path("out"));
    for seen in wanted.values_mut().chain(found.values_mut()) {
        // A header has whole seconds.
        seen.modified.1 = 0;
        if !with_attributes {
            seen.attributes.clear();
        }
    }
    // tar rounds a time before 1970 its own way and sets no attributes on links and the like.
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>());
    for (path, seen) in &wanted {
        assert_eq!(found.get(path), Some(seen), "{}", text(path));
    }
}

#[test]
fn every_range_has_the_bytes_of_the_whole() {
    let place = Place::new();
    furnish(&place.live());
    for file in 0..700 {
        write(place.live().join(format!("many/{file}")), vec![file as u8; file]);
    }
    write(place.live().join("q"), vec![5; 70_000]);
    let captured = capture(&place.driver());
    let whole = check(&place, &captured);
    let (_, mut download) = open(&place, &captured);
    assert_eq!(read_all(download.as_mut(), 4097), whole);

    let length = whole.len();
    let mut offsets =
        vec![0, 1, 9, 10, 11, 14, 15, 16, length - 1, length - 8, length - 9, length - 1024 - 14, length / 2];
    // Around the borders of gzip's blocks, and of tar's blocks at the begin and end.
    for block in 1..4 {
        let border = 10 + block * 65540;
        offsets.extend([border - 1, border, border + 1, border + 4, border + 5, border + 6]);
    }
    offsets.extend((0..300).map(|step| step * (length / 300)));
    for (turn, offset) in offsets.into_iter().enumerate() {
        for size in [1, 2, 513, 70_000] {
            // Backwards and forwards through one handle, and now and then through a new one.
            if turn % 50 == 0 {
                download = open(&place, &captured).1;
            }
            let mut buffer = vec![0; size];
            let read = download.read_at(offset as u64, &mut buffer).unwrap();
            assert_eq!(read, size.min(length - offset));
            assert!(buffer[..read] == whole[offset..offset + read], "{offset} {size}");
        }
    }
}

#[test]
fn a_range_is_found_without_reading_what_lies_before_it() {
    let place = Place::new();
    for file in 0..3000 {
        write(place.live().join(format!("{:02}/{file}", file % 50)), vec![1; 2000]);
    }
    let captured = capture(&place.driver());
    let (reader, mut download) = open(&place, &captured);
    let before = reader.bytes_read();
    let mut buffer = [0; 100];
    download.read_at(download.length() - 2_000_000, &mut buffer).unwrap();
    let read = reader.bytes_read() - before;
    assert!(read < 120_000, "{read} bytes were read for 100");
}

#[test]
fn two_captures_of_the_same_state_have_the_same_download() {
    let place = Place::new();
    furnish(&place.live());
    let (one, two) = (capture(&place.driver()), capture(&place.driver()));
    assert_eq!(one.part.manifest().download, two.part.manifest().download);
    assert!(check(&place, &one) == check(&place, &two));
}

#[test]
fn a_damaged_store_is_reported_and_never_a_panic() {
    let place = Place::new();
    write(place.live().join("file"), vec![3; 100_000]);
    let store = MemoryStore::new();
    let captured = capture_into(&place.driver(), MemorySink::new(&store)).unwrap();
    let (_, mut download) = open(&place, &captured);
    store.lose_everything();
    let mut buffer = [0; 100];
    assert!(download.read_at(5000, &mut buffer).is_err());
}
