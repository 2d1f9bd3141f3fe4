//! Definitions, by `pg_restore`: those before the rows, and those after them.

use std::collections::BTreeSet;

use crate::{
    Result,
    postgresql::{
        dump::{self, Entry, Section},
        tools::Tools,
    },
};

use super::{
    choice::Choice,
    plan::Details,
    run::Run,
    tool::{self, Archive},
};

/// What only moves rows; we move them ourselves.
const ROWS: [&str; 3] = ["TABLE DATA", "BLOBS", "SEQUENCE SET"];
/// The archive as a file that the program may open several times.
const INPUT: &str = "/proc/self/fd/0";

/// Schemas, types, functions, tables.
pub(super) fn before_rows(archive: &dump::Archive, choice: &Choice) -> dump::Archive {
    archive.with_entries(|entry| choice.has_entry(entry.dump_id) && is_before(entry))
}

/// Indexes, constraints, triggers, and all that goes with a thing of any time: privileges (an owner may have taken from itself
/// the right to fill its table), comments, labels.
pub(super) fn after_rows(archive: &dump::Archive, choice: &Choice) -> dump::Archive {
    archive.with_entries(|entry| choice.has_entry(entry.dump_id) && !is_before(entry) && !moves_rows(entry))
}

/// Version 1.16 has the making of large objects among the rows; in earlier ones it stands where it belongs.
fn is_before(entry: &Entry) -> bool {
    entry.section == Section::PreData || entry.description == "BLOB METADATA"
}

/// What gives the schema public, which is there already, its owner.
pub(super) fn makes_public(entry: &Entry) -> bool {
    entry.description == "SCHEMA" && entry.tag == "public"
}

/// The same, or its privileges or comment, which its database's owner may set.
pub(super) fn is_about_public(entry: &Entry) -> bool {
    makes_public(entry) || entry.tag == "SCHEMA public"
}

fn moves_rows(entry: &Entry) -> bool {
    ROWS.iter().any(|kind| entry.description == **kind)
}

/// Carries out the definitions of an archive; the later ones with several sessions.
pub(super) fn make(
    run: &Run<'_>,
    tools: &Tools,
    archive: &dump::Archive,
    details: &Details,
    jobs: usize,
) -> Result<()> {
    let mut arguments = options(details);
    let toc = archive.without_data();
    if jobs > 1 {
        arguments.push(format!("--jobs={jobs}"));
        arguments.push(INPUT.to_owned());
    }
    tool::restore(run, tools, &arguments, Archive::Bytes(&toc))
}

/// What the plan decided to leave out.
pub(super) fn options(details: &Details) -> Vec<String> {
    let mut options = Vec::new();
    if details.without_owners {
        options.extend(["--no-owner".to_owned(), "--no-privileges".to_owned()]);
    }
    if details.without_tablespaces {
        options.push("--no-tablespaces".to_owned());
    }
    options
}

/// `setval` of the wanted sequences, as `pg_dump` wrote it.
pub(super) fn sequence_values<'a>(archive: &'a dump::Archive, choice: &'a Choice) -> impl Iterator<Item = &'a str> {
    archive
        .entries
        .iter()
        .filter(|entry| entry.description == "SEQUENCE SET" && choice.has_entry(entry.dump_id))
        .filter_map(|entry| entry.definition.as_ref()?.as_str())
}

/// Numbers of entries that stand for something, not settings of the archive itself.
pub(super) fn things(archive: &dump::Archive) -> BTreeSet<i32> {
    archive.entries.iter().filter(|entry| !entry.is_setting()).map(|entry| entry.dump_id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An archive of the fuzz target's corpus; three large objects, of which one has a comment and one an owner of its own.
    fn objects(major: u32) -> dump::Archive {
        let file = format!("{}/fuzz/corpus/archive/{major}-objects.pgdmp", env!("CARGO_MANIFEST_DIR"));
        dump::Archive::read(&mut std::fs::read(file).unwrap().as_slice()).unwrap()
    }

    fn kinds(archive: &dump::Archive) -> Vec<&str> {
        archive.entries.iter().map(|entry| entry.description.as_str().unwrap_or_default()).collect()
    }

    fn all() -> Choice {
        Choice { entries: None, tables: Vec::new(), large_objects: true, rows: None, notes: Vec::new() }
    }

    /// Bytes are written into large objects that exist, so whatever makes one comes before the rows: in each version of the
    /// format, though 1.16 counts it among the data.
    #[test]
    fn large_objects_are_made_before_their_bytes_come() {
        for (major, making, moving) in [(15, "BLOB", "BLOBS"), (16, "BLOB", "BLOBS"), (18, "BLOB METADATA", "BLOBS")] {
            let archive = objects(major);
            let made = |kinds: &[&str]| kinds.iter().filter(|kind| **kind == making).count();
            let (before, after) = (before_rows(&archive, &all()), after_rows(&archive, &all()));
            let (before, after) = (kinds(&before), kinds(&after));
            assert!(made(&before) > 0, "{major}: {before:?}");
            assert_eq!((made(&before), made(&after)), (made(&kinds(&archive)), 0), "{major}: {after:?}");
            assert!(kinds(&archive).contains(&moving), "{major}");
            assert!(!before.contains(&moving) && !after.contains(&moving), "{major}");
            assert!(after.contains(&"COMMENT"), "{major}: {after:?}");
        }
    }
}
