//! Files that change, grow, shrink, vanish or are replaced while they are read.

use std::{
    fs,
    os::unix::fs::FileExt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
};

use trivault_sources::testing::{Event, MemorySink, MemoryStore};

use crate::support::*;

const MEBIBYTE: usize = 1024 * 1024;

/// Captures with `change` called each time when the file `victim` has begun to be read; it is told how often that was.
fn capture_with(place: &Place, victim: &'static str, change: impl Fn(u32) + Send + Sync + 'static) -> Captured {
    let begun = AtomicU32::new(0);
    let sink = MemorySink::new(&MemoryStore::new()).listen(move |event| {
        if let Event::Begin(path) = event
            && path.last().is_some_and(|name| name == victim.as_bytes())
        {
            change(begun.fetch_add(1, Ordering::SeqCst));
        }
    });
    capture_into(&place.driver(), sink).unwrap()
}

#[test]
fn a_file_that_changes_once_is_read_again_and_is_whole() {
    let place = Place::new();
    let path = place.live().join("file");
    write(&path, vec![1; 2 * MEBIBYTE]);
    let captured = capture_with(&place, "file", move |time| {
        if time == 0 {
            write(&path, vec![2; 2 * MEBIBYTE]);
        }
    });
    assert!(captured.warnings.is_empty(), "{:?}", captured.warnings);
    assert_eq!(captured.bytes("file"), vec![2; 2 * MEBIBYTE]);
}

#[test]
fn a_change_in_the_same_instant_as_the_last_one_is_seen() {
    let place = Place::new();
    let path = place.live().join("file");
    for round in 0..20_u8 {
        write(&path, vec![round; 1000]);
        let (changed, content) = (path.clone(), vec![round + 100; 1000]);
        let captured = capture_with(&place, "file", move |time| {
            if time == 0 {
                fs::File::options().write(true).open(&changed).unwrap().write_all_at(&content, 0).unwrap();
            }
        });
        assert_eq!(captured.bytes("file"), vec![round + 100; 1000]);
    }
}

#[test]
fn a_file_that_changes_each_time_is_kept_with_a_warning() {
    let place = Place::new();
    let path = place.live().join("log");
    write(&path, b"line\n");
    write(place.live().join("other"), b"steady");
    let captured = capture_with(&place, "log", move |time| {
        write(&path, format!("line\n{time}\n"));
    });
    let warning = captured.warning("changed_during_read").unwrap();
    assert_eq!(warning.count, 1);
    assert!(warning.sentence.contains("`log`"), "{warning:?}");
    assert_eq!(captured.detail("changed_during_read")[0], "log");
    assert_eq!(captured.bytes("other"), b"steady");
}

#[test]
fn a_file_that_shrinks_each_time_has_its_true_length_everywhere() {
    let place = Place::new();
    let path = place.live().join("file");
    write(&path, vec![1; 3 * MEBIBYTE]);
    let captured = capture_with(&place, "file", move |time| {
        fs::File::options().write(true).open(&path).unwrap().set_len(MEBIBYTE as u64 - u64::from(time)).unwrap();
    });
    assert_eq!(captured.codes(), ["changed_during_read"]);
    let stored = captured.bytes("file").len();
    assert_eq!(captured.part.manifest().size, stored as u64);
    assert_eq!(stored, MEBIBYTE - 1);
    crate::download::check(&place, &captured);
}

#[test]
fn a_growing_file_is_read_to_the_length_it_had() {
    let place = Place::new();
    let path = place.live().join("log");
    write(&path, vec![1; MEBIBYTE]);
    let captured = capture_with(&place, "log", move |_| {
        let file = fs::File::options().append(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, &vec![1; MEBIBYTE]).unwrap();
    });
    assert_eq!(captured.codes(), ["changed_during_read"]);
    assert_eq!(captured.bytes("log").len(), 2 * MEBIBYTE);
}

#[test]
fn a_file_that_is_replaced_by_a_rename_is_the_new_one() {
    let place = Place::new();
    let (path, beside) = (place.live().join("file"), place.path("beside"));
    write(&path, vec![1; MEBIBYTE]);
    let captured = capture_with(&place, "file", move |time| {
        if time == 0 {
            write(&beside, vec![2; MEBIBYTE]);
            fs::rename(&beside, &path).unwrap();
        }
    });
    assert!(captured.warnings.is_empty(), "{:?}", captured.warnings);
    assert_eq!(captured.bytes("file"), vec![2; MEBIBYTE]);
}

#[test]
fn a_file_that_becomes_something_else_is_captured_as_that() {
    let place = Place::new();
    let path = place.live().join("file");
    write(&path, vec![1; MEBIBYTE]);
    let captured = capture_with(&place, "file", move |_| {
        fs::remove_file(&path).unwrap();
        write(path.join("inside"), b"x");
    });
    assert_eq!(captured.bytes("file/inside"), b"x");
}

#[test]
fn vanished_files_and_directories_are_counted_and_named() {
    let place = Place::new();
    let live = place.live();
    for path in ["a/first", "b/second", "c/sub/third", "d"] {
        write(live.join(path), b"x");
    }
    let captured = capture_with(&place, "first", move |_| {
        fs::remove_dir_all(live.join("b")).unwrap();
        fs::remove_file(live.join("d")).unwrap();
    });
    let warning = captured.warning("vanished").unwrap();
    assert_eq!(warning.count, 2);
    assert!(warning.sentence.contains("`b`"), "{warning:?}");
    assert!(captured.has("c/sub/third") && !captured.has("d"));
}

#[test]
fn a_directory_that_is_moved_during_the_walk_loses_nothing_else() {
    let place = Place::new();
    let live = place.live();
    let deep: String = (0..100).map(|level| format!("{level}/")).collect();
    write(live.join(&deep).join("bottom"), b"x");
    write(live.join("0/1/z-late"), b"x");
    write(live.join("z-last"), b"x");
    let captured = capture_with(&place, "bottom", move |time| {
        if time == 0 {
            fs::rename(live.join("0/1"), live.join("moved")).unwrap();
        }
    });
    assert!(captured.has("0/1/2/3") && captured.has("z-last"));
    assert!(captured.has("0/1/z-late"), "it is read through the handle, wherever it is now");
}

/// Bytes that follow one another and are the same.
fn runs(content: &[u8]) -> Vec<(u8, usize)> {
    content.chunk_by(|left, right| left == right).map(|run| (run[0], run.len())).collect()
}

/// True for what a file holds at some instant while a writer puts one generation over the other from its begin on: one
/// generation, or the next one in front of it. A writer may rest in between for as long as the machine is busy, and no
/// look at the file tells. What was read at different instants has a newer generation behind an older one, or several.
fn is_one_instant(content: &[u8]) -> bool {
    match runs(content)[..] {
        [_] => true,
        [(newer, _), (older, _)] => newer == older.wrapping_add(1),
        _ => false,
    }
}

#[test]
fn a_mixture_of_instants_is_told_from_an_instant() {
    assert!(is_one_instant(&[7, 7, 7]) && is_one_instant(&[8, 7, 7]) && is_one_instant(&[0, 255]));
    for mixture in [&[7, 8][..], &[9, 7], &[8, 7, 8], &[9, 8, 7], &[255, 0]] {
        assert!(!is_one_instant(mixture), "{mixture:?}");
    }
}

#[test]
fn what_a_writer_rewrites_all_the_time_is_of_one_instant_or_marked() {
    const LENGTH: usize = 256 * 1024;
    let place = Place::new();
    let path = place.live().join("hot");
    write(&path, vec![0; LENGTH]);
    write(place.live().join("cold"), vec![42; LENGTH]);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (path, stop) = (path.clone(), Arc::clone(&stop));
        move || {
            let file = fs::File::options().write(true).open(path).unwrap();
            for generation in 0..u64::MAX {
                if stop.load(Ordering::SeqCst) {
                    return generation;
                }
                let content = vec![generation as u8; LENGTH];
                for (index, piece) in content.chunks(4096).enumerate() {
                    file.write_all_at(piece, index as u64 * 4096).unwrap();
                }
                std::thread::yield_now();
            }
            0
        }
    });
    let (mut unmarked, mut marked) = (0, 0);
    for _ in 0..30 {
        let captured = capture(&place.driver());
        let content = captured.bytes("hot");
        assert_eq!(content.len(), LENGTH);
        if captured.warning("changed_during_read").is_some() {
            marked += 1;
        } else {
            assert!(is_one_instant(&content), "a mixture of instants that was not marked: {:?}", runs(&content));
            unmarked += 1;
        }
        assert_eq!(captured.bytes("cold"), vec![42; LENGTH]);
    }
    stop.store(true, Ordering::SeqCst);
    let generations = writer.join().unwrap();
    println!("{generations} generations; {unmarked} captures of one instant, {marked} marked");
}
