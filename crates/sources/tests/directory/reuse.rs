//! The previous backup: what did not change is not read again, and what might have changed is.

use std::{
    fs,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::json;
use trivault_sources::{
    Timestamp,
    directory::DirectorySource,
    testing::{Event, MemoryPart, MemorySink, MemoryStore},
};

use crate::support::*;

/// Captures on top of `previous`; gives the names of the files that were read.
fn capture_again(
    driver: &DirectorySource,
    store: &Arc<MemoryStore>,
    previous: &Arc<MemoryPart>,
) -> (Captured, Vec<String>) {
    let read = Arc::new(Mutex::new(Vec::new()));
    let sink = MemorySink::new(store).previous(previous).listen({
        let read = Arc::clone(&read);
        move |event| {
            if let Event::Begin(path) = event
                && path[0] == b"data"
            {
                read.lock().unwrap().push(text(&path[1..].join(&b'/')));
            }
        }
    });
    let captured = capture_into(driver, sink).unwrap();
    let read = read.lock().unwrap().clone();
    (captured, read)
}

/// A time well after every file of a test was made, so that none of them is "racy".
fn later() -> Timestamp {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp { seconds: now.as_secs() as i64 + 10, nanoseconds: 0 }
}

fn first(place: &Place, store: &Arc<MemoryStore>) -> Captured {
    capture_into(&place.driver(), MemorySink::new(store).captured_at(later())).unwrap()
}

#[test]
fn unchanged_files_are_not_read_again_and_the_backup_is_the_same() {
    let place = Place::new();
    furnish(&place.live());
    let store = MemoryStore::new();
    let one = first(&place, &store);
    let (two, read) = capture_again(&place.driver(), &store, &one.part);
    assert!(read.is_empty(), "{read:?}");
    assert_eq!(two.detail("reused"), two.detail("files"));
    let (left, right) = (one.part.manifest(), two.part.manifest());
    assert_eq!((left.size, left.items, &left.inventory), (right.size, right.items, &right.inventory));
    assert_eq!(left.download, right.download, "checksums come from the previous layout");
    crate::download::check(&place, &two);
    restore(&place.driver(), &two.part, &new_path(&place.path("back")));
    assert_eq!(look(&place.path("back")), look(&place.live()));
}

#[test]
fn only_what_changed_is_read() {
    let place = Place::new();
    for name in ["a", "b/c", "b/d", "e"] {
        write(place.live().join(name), name);
    }
    let store = MemoryStore::new();
    let one = first(&place, &store);
    write(place.live().join("b/d"), b"other");
    write(place.live().join("b/b-new"), b"new");
    fs::remove_file(place.live().join("a")).unwrap();
    // Same size and time, as `cp --preserve` over a file leaves it: the change time tells.
    let metadata = fs::metadata(place.live().join("e")).unwrap();
    write(place.live().join("e"), b"E");
    fs::File::options()
        .write(true)
        .open(place.live().join("e"))
        .unwrap()
        .set_modified(metadata.modified().unwrap())
        .unwrap();
    let (two, read) = capture_again(&place.driver(), &store, &one.part);
    assert_eq!(read, ["b/b-new", "b/d", "e"]);
    assert_eq!(two.bytes("e"), b"E");
    assert_eq!(two.bytes("b/c"), b"b/c");
    crate::download::check(&place, &two);
}

#[test]
fn change_time_and_inode_can_be_ignored() {
    let place = Place::new();
    write(place.live().join("file"), b"content");
    let store = MemoryStore::new();
    let one = first(&place, &store);
    set_mode(&place.live().join("file"), 0o600);
    let (_, read) = capture_again(&place.driver(), &store, &one.part);
    assert_eq!(read, ["file"]);
    let (two, read) = capture_again(&place.driver_with(json!({"ignore_ctime": true})), &store, &one.part);
    assert!(read.is_empty());
    assert_eq!(two.part.meta(&[b"data", b"file"]).unwrap().mode, 0o600);

    let metadata = fs::metadata(place.live().join("file")).unwrap();
    fs::copy(place.live().join("file"), place.live().join("copy")).unwrap();
    fs::rename(place.live().join("copy"), place.live().join("file")).unwrap();
    fs::File::options()
        .write(true)
        .open(place.live().join("file"))
        .unwrap()
        .set_modified(metadata.modified().unwrap())
        .unwrap();
    let (_, read) = capture_again(&place.driver_with(json!({"ignore_ctime": true})), &store, &one.part);
    assert_eq!(read, ["file"]);
    let options = json!({"ignore_ctime": true, "ignore_inode": true});
    let (_, read) = capture_again(&place.driver_with(options), &store, &one.part);
    assert!(read.is_empty());
}

#[test]
fn a_file_modified_right_before_or_during_the_previous_capture_is_read_again() {
    let place = Place::new();
    for name in ["old", "racy", "young"] {
        write(place.live().join(name), name);
    }
    let begun = later();
    set_time(&place.live().join("old"), begun.seconds - 3, 0);
    set_time(&place.live().join("racy"), begun.seconds - 1, 0);
    set_time(&place.live().join("young"), begun.seconds + 1, 0);
    let store = MemoryStore::new();
    let one = capture_into(&place.driver(), MemorySink::new(&store).captured_at(begun)).unwrap();
    let (_, read) = capture_again(&place.driver(), &store, &one.part);
    assert_eq!(read, ["racy", "young"]);
}

#[test]
fn further_names_and_moved_first_names_of_a_file_need_no_reading() {
    let place = Place::new();
    write(place.live().join("b"), b"content");
    fs::hard_link(place.live().join("b"), place.live().join("c")).unwrap();
    fs::hard_link(place.live().join("b"), place.path("outside")).unwrap();
    let store = MemoryStore::new();
    let one = first(&place, &store);
    // The first name goes; the link count and with it the change time differ, so that only ignoring them avoids a read.
    fs::remove_file(place.live().join("b")).unwrap();
    let (two, read) = capture_again(&place.driver_with(json!({"ignore_ctime": true})), &store, &one.part);
    assert!(read.is_empty(), "{read:?}");
    assert_eq!(two.bytes("c"), b"content");
    crate::download::check(&place, &two);
}

#[test]
fn a_new_file_among_thousands_adds_little_to_the_stored_layout() {
    let place = Place::new();
    for directory in 0..20 {
        for file in 0..200 {
            write(place.live().join(format!("{directory}/{file}")), b"");
        }
    }
    let store = MemoryStore::new();
    let one = first(&place, &store);
    let before = store.stored_bytes();
    write(place.live().join("7/new"), b"");
    let layout = Arc::new(AtomicU64::new(0));
    let sink = MemorySink::new(&store).previous(&one.part).listen({
        let layout = Arc::clone(&layout);
        move |event| {
            if let Event::Write { path, stream_bytes, .. } = event
                && path[0] == b"layout"
            {
                layout.store(*stream_bytes, Ordering::SeqCst);
            }
        }
    });
    capture_into(&place.driver(), sink).unwrap();
    let (added, whole) = (store.stored_bytes() - before, layout.load(Ordering::SeqCst));
    println!("layout of 4000 files: {whole} bytes, {added} of them new");
    assert!(added < whole / 4, "{added} of {whole}");
}
