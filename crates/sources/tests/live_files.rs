//! A directory with a live database inside, captured while the same server captures that database.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    fs,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use support::{Database, EVERYTHING};
use trivault_sources::{
    SourceConfig, open,
    testing::{Event, MemorySink, MemoryStore, suite::captures},
};

#[test]
fn the_directory_waits_for_the_database_so_that_no_lock_is_lost() {
    let database = Database::new(EVERYTHING);
    fs::write(database.beside("aaa"), b"read before the database").unwrap();
    let directory = SourceConfig {
        kind: "directory".into(),
        location: database.path.parent().unwrap().to_str().unwrap().into(),
        ..database.config()
    };
    let order = Arc::new(Mutex::new(Vec::new()));
    let (arrived, at_the_database) = mpsc::channel();
    let (begin, begun) = mpsc::channel();
    thread::scope(|scope| {
        let (seen, of_directory) = (Arc::clone(&order), Arc::clone(&order));
        scope.spawn(move || {
            begun.recv().unwrap();
            let sink = MemorySink::new(&MemoryStore::new()).listen(move |event| match event {
                Event::Finish(path) if path.ends_with(&[b"aaa".to_vec()]) => arrived.send(()).unwrap(),
                Event::Begin(path) if path.ends_with(&[b"app.db".to_vec()]) => {
                    of_directory.lock().unwrap().push("directory reads the file");
                }
                _ => {}
            });
            captures(open(&directory).unwrap().as_ref(), sink);
        });
        let waited = Mutex::new((begin, at_the_database));
        let sink = MemorySink::new(&MemoryStore::new()).listen(move |event| match event {
            Event::Begin(_) => {
                let (begin, at_the_database) = &*waited.lock().unwrap();
                begin.send(()).unwrap();
                at_the_database.recv().unwrap();
            }
            Event::Finish(_) => seen.lock().unwrap().push("database is captured"),
            Event::Enter(_) | Event::Write { .. } => {}
        });
        captures(database.driver().as_ref(), sink);
    });
    assert_eq!(*order.lock().unwrap(), ["database is captured", "directory reads the file"]);
}
