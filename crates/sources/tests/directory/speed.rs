//! How long many small files take. Prints figures; asserts only what a defect would break.

use std::{fs, time::Instant};

use trivault_sources::{
    Timestamp,
    testing::{MemorySink, MemoryStore},
};

use crate::support::*;

#[test]
fn fifty_thousand_small_files_are_captured_and_taken_over() {
    const DIRECTORIES: usize = 500;
    const FILES: usize = 100;
    let place = Place::new();
    for directory in 0..DIRECTORIES {
        let path = place.live().join(format!("{directory:03}"));
        fs::create_dir(&path).unwrap();
        for file in 0..FILES {
            fs::write(path.join(format!("file-{file:03}.txt")), format!("{directory} {file} ").repeat(40)).unwrap();
        }
    }
    let store = MemoryStore::new();
    let later = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs() as i64 + 10;
    let sink = MemorySink::new(&store).captured_at(Timestamp { seconds: later, nanoseconds: 0 });
    let begun = Instant::now();
    let first = capture_into(&place.driver(), sink).unwrap();
    let full = begun.elapsed();
    let begun = Instant::now();
    let second = capture_into(&place.driver(), MemorySink::new(&store).previous(&first.part)).unwrap();
    let again = begun.elapsed();
    let begun = Instant::now();
    restore(&place.driver(), &second.part, &new_path(&place.path("back")));
    let restored = begun.elapsed();
    println!(
        "50 000 files: captured in {full:?}, again unchanged in {again:?}, restored in {restored:?} (in-memory store)"
    );
    assert_eq!(second.detail("reused"), (DIRECTORIES * FILES) as u64);
    assert_eq!(first.part.manifest().download, second.part.manifest().download);
    assert_eq!(contents(&place.path("back")).len(), DIRECTORIES * FILES);
}
