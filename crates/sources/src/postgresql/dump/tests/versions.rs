//! Archives of the versions that the `pg_dump` at hand does not write.

use std::path::Path;

use super::{
    putting_together::{all, digest, new_database, reader, restore},
    *,
};
use crate::RandomRead;
use crate::postgresql::dump::header::Version;

/// A file of the fuzz target's corpus, which the `pg_dump` of that version wrote.
fn corpus(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/archive");
    std::fs::read(folder.join(name)).unwrap()
}

fn read(name: &str) -> Archive {
    Archive::read(&mut corpus(name).as_slice()).unwrap()
}

#[test]
fn each_version_says_how_its_data_are_compressed() {
    for (major, minor) in [(15, 14), (16, 15), (18, 16)] {
        let archive = read(&format!("{major}-rows.pgdmp"));
        assert_eq!(archive.header.version, Version { major: 1, minor, revision: 0 });
        assert!(!archive.header.is_compressed());
        assert!(archive.header.tool_version.as_ref().unwrap().lossy().starts_with(&major.to_string()));
        assert_eq!(archive.header.database.as_ref().unwrap().as_str(), Some("rows"));
        let bytes = corpus(&format!("{major}-compressed.pgdmp"));
        let mut rest = bytes.as_slice();
        let compressed = Archive::read(&mut rest).unwrap();
        assert!(compressed.header.is_compressed());
        assert!(matches!(Splitter::new(rest, &compressed), Err(DumpError::Malformed(_))));
    }
    let table = |archive: &Archive| archive.entries.iter().find(|entry| entry.description == "TABLE").unwrap().clone();
    assert_eq!(table(&read("16-rows.pgdmp")).relation_kind, None);
    let kind = table(&read("18-rows.pgdmp")).relation_kind.unwrap();
    assert!([b'r', b'p'].map(i32::from).contains(&kind), "{kind}");
}

#[test]
fn offsets_are_known_of_a_dump_that_went_into_a_file() {
    for major in [15, 16, 18] {
        let bytes = corpus(&format!("{major}-placed.pgdmp"));
        let archive = Archive::read(&mut bytes.as_slice()).unwrap();
        for entry in archive.entries.iter().filter(|entry| entry.had_dumper) {
            let Offset::At(position) = entry.offset else { panic!("{:?}", entry.offset) };
            let found = &bytes[position as usize..][..6];
            assert_eq!(found, [&[1][..], &framing::integer(entry.dump_id)].concat());
        }
        let toc = Archive::read(&mut archive.without_data().as_slice()).unwrap();
        assert!(toc.entries.iter().all(|entry| entry.offset == Offset::NoData));
    }
}

#[test]
fn names_that_are_not_utf8_stay_as_they_are() {
    for (file, expected) in [("latin1", &b"stra\xdfe"[..]), ("ascii", b"\xff\xfe")] {
        let archive = read(&format!("16-{file}.pgdmp"));
        let table = archive.entries.iter().find(|entry| entry.is_table_data()).unwrap();
        assert_eq!((table.tag.as_bytes(), table.tag.as_str()), (expected, None));
        assert!(table.tag.lossy().contains('\u{fffd}'));
    }
}

#[test]
fn large_objects_come_in_groups_from_version_1_16_on() {
    let groups = read("16-objects.pgdmp").large_object_groups().unwrap();
    assert_eq!(groups.iter().map(|group| &group.oids).collect::<Vec<_>>(), [&None]);
    let archive = read("18-objects.pgdmp");
    let groups = archive.large_object_groups().unwrap();
    let oids: Vec<_> = groups.iter().map(|group| group.oids.clone().unwrap()).collect();
    assert_eq!(oids, [vec![4001, 3_000_000_000], vec![4002]]);
    let entry = |index: usize| archive.entry(groups[index].dump_id).unwrap();
    assert!(entry(0).is_large_objects() && entry(1).is_large_objects());
    let mut unlisted = archive.clone();
    for entry in &mut unlisted.entries {
        entry.dependencies.clear();
    }
    assert!(matches!(unlisted.large_object_groups(), Err(DumpError::Malformed(_))));
}

#[test]
fn archives_of_all_versions_are_put_together_with_the_same_content() {
    for major in [15, 16, 18] {
        for name in ["empty", "rows", "objects", "latin1", "ascii"] {
            let original = corpus(&format!("{major}-{name}.pgdmp"));
            let part = stored::split(&original);
            let mut assembled = Assembled::open(reader(&part)).unwrap();
            let bytes = all(&mut assembled);
            assert_eq!(assembled.crc32(), crc32fast::hash(&bytes));
            assert_eq!(assembled.length(), bytes.len() as u64);
            // Taken apart once more: the same streams, whatever the pieces were.
            let again = stored::split(&bytes);
            let streams = |part: &crate::testing::MemoryPart| {
                let mut details = part.manifest().details.clone();
                details["tables"].as_array_mut().unwrap().sort_by_key(|table| table["dump_id"].as_i64());
                details
            };
            assert_eq!(streams(&part), streams(&again), "{major}-{name}");
        }
    }
}

#[test]
fn the_real_pg_restore_takes_older_versions_as_we_write_them() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = everything(server);
    let bytes = dumped(server, &database);
    let toc = Archive::read(&mut bytes.as_slice()).unwrap().to_bytes().len();
    for minor in [12, 13] {
        let mut archive = Archive::read(&mut bytes.as_slice()).unwrap();
        archive.header.version.minor = minor;
        for entry in &mut archive.entries {
            entry.table_access_method = None;
        }
        let older = [&archive.to_bytes()[..], &bytes[toc..]].concat();
        assert_eq!(Archive::read(&mut older.as_slice()).unwrap(), archive);
        let restored = new_database(server);
        restore(server, &restored, &older, &[]);
        assert_eq!(digest(server, &restored), digest(server, &database));
    }
}

#[test]
fn what_pg_dump_would_not_write_is_refused_with_a_sentence() {
    let good = corpus("15-rows.pgdmp");
    let refused = |change: &dyn Fn(&mut Vec<u8>), sentence: &str| {
        let mut bytes = good.clone();
        change(&mut bytes);
        assert_eq!(Archive::read(&mut bytes.as_slice()).unwrap_err().to_string(), sentence);
    };
    refused(&|bytes| bytes.clear(), "This is not a PostgreSQL archive in the custom format.");
    refused(&|bytes| bytes[0] = b'p', "This is not a PostgreSQL archive in the custom format.");
    refused(&|bytes| bytes[6] = 17, "Version 1.17.0 of PostgreSQL's custom archive format is not known.");
    refused(&|bytes| bytes[6] = 11, "Version 1.11.0 of PostgreSQL's custom archive format is not known.");
    refused(&|bytes| bytes[5] = 2, "Version 2.14.0 of PostgreSQL's custom archive format is not known.");
    let odd = "The PostgreSQL archive is not as it should be: ";
    refused(&|bytes| bytes[10] = 3, &format!("{odd}it is in the directory or tar format."));
    refused(&|bytes| bytes[8] = 8, &format!("{odd}its integers and offsets do not have 4 and 8 bytes."));
    refused(&|bytes| bytes[11] = 7, &format!("{odd}an integer is not written as pg_dump writes it."));
    refused(&|bytes| bytes.truncate(40), &format!("{odd}it ends too early."));
    let database = 5 + 6 + 5 + 7 * 5;
    let huge = |bytes: &mut Vec<u8>| bytes[database..database + 5].copy_from_slice(&[0, 255, 255, 255, 127]);
    refused(&huge, &format!("{odd}its table of contents has more than 256 MiB."));
}
