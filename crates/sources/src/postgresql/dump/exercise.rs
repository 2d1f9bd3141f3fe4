//! What must hold of any bytes that claim to be an archive.

use super::{Archive, Entry, Event, Splitter};

/// Reads `bytes` as an archive with its data, in all ways there are. For the fuzz target and the tests.
///
/// # Panics
/// When something is accepted and not written back as it was, or does not fit together.
pub fn exercise_archive(bytes: &[u8]) {
    let mut rest = bytes;
    let Ok(archive) = Archive::read(&mut rest) else { return };
    let toc = archive.to_bytes();
    assert!(bytes.starts_with(&toc), "an archive is not written as it was read");
    assert_eq!(toc.len() + rest.len(), bytes.len(), "more was read than the table of contents");
    exercise_selections(&archive);
    let Ok(mut splitter) = Splitter::new(rest, &archive) else { return };
    let (mut given, mut inside) = (0, None);
    loop {
        match splitter.next_event() {
            Ok(Event::DataBegin(dump_id) | Event::LargeObjectsBegin(dump_id)) => {
                assert!(inside.replace(dump_id).is_none(), "a block begins in another");
                assert!(archive.entry(dump_id).is_some_and(|entry| entry.had_dumper), "a block of no entry");
            }
            Ok(Event::Bytes(bytes)) => {
                assert!(inside.is_some() && !bytes.is_empty(), "bytes outside of a block");
                given += bytes.len();
            }
            Ok(Event::DataEnd) => assert!(inside.take().is_some(), "a block ends that did not begin"),
            Ok(Event::End) => {
                assert!(inside.is_none(), "the end in a block");
                break;
            }
            Err(_) => break,
        }
    }
    assert!(given <= rest.len(), "more was given out than there is");
}

fn exercise_selections(archive: &Archive) {
    let again = |bytes: &[u8]| Archive::read(&mut &bytes[..]).ok();
    assert!(again(&archive.without_data()).is_some_and(|found| found.entries.len() == archive.entries.len()));
    let _ = archive.large_object_groups();
    let tables: Vec<i32> =
        archive.entries.iter().filter(|entry| entry.is_table_data()).map(|entry| entry.dump_id).collect();
    let needed = archive.closure(&tables);
    assert!(tables.iter().all(|table| needed.contains(table)), "a selection lacks what was selected");
    let selection = archive.with_entries(|entry| needed.contains(&entry.dump_id));
    let present = |dump_id: &i32| selection.entry(*dump_id).is_some();
    let whole = |entry: &Entry| entry.dependencies.iter().all(present);
    // Quadratic, so only for what a person could have written.
    assert!(selection.entries.len() > 500 || selection.entries.iter().all(whole), "a selection needs what it lacks");
    assert_eq!(again(&selection.to_bytes()).as_ref(), Some(&selection), "a selection is not written as it is");
}
