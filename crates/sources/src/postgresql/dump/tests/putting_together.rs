use std::{fs, sync::Arc};

use proptest::prelude::*;

use super::{stored, *};
use crate::{
    ErrorKind, PartReader, RandomRead, SourceConfig, Timestamp,
    postgresql::{
        KIND,
        layout::{Captured, How},
    },
    testing::{MemoryPart, MemoryReader},
};

pub fn reader(part: &Arc<MemoryPart>) -> Arc<dyn PartReader> {
    Arc::new(MemoryReader::new(part))
}

pub fn all(archive: &mut dyn RandomRead) -> Vec<u8> {
    let mut bytes = vec![0; archive.length() as usize + 1];
    let read = archive.read_at(0, &mut bytes).unwrap();
    assert_eq!(read as u64, archive.length(), "the length is not what was said");
    bytes.truncate(read);
    bytes
}

/// A file for `pg_restore`.
pub fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), bytes).unwrap();
    file
}

pub fn restore(server: &PostgresServer, database: &str, archive: &[u8], arguments: &[&str]) {
    let file = file(archive);
    let mut command = program(server, "pg_restore");
    command.args(["--exit-on-error", "-d", database]).args(arguments).arg(file.path());
    output(command);
}

pub fn new_database(server: &PostgresServer) -> String {
    name(&server.create_database()).to_owned()
}

pub fn sql(server: &PostgresServer, database: &str, statement: &str) -> String {
    server.query(database, statement)
}

/// Definitions as text, without the word that `pg_dump` makes up each time.
fn schema(server: &PostgresServer, database: &str) -> String {
    let mut command = program(server, "pg_dump");
    command.args(["-s", "--restrict-key=x", "-d", database]);
    String::from_utf8(output(command)).unwrap()
}

/// Number and sum of the rows of each table, of sequences and of large objects.
pub fn digest(server: &PostgresServer, database: &str) -> Vec<String> {
    // Made by the server, for a name has a line break in it.
    let statements = sql(
        server,
        database,
        "SELECT string_agg(CASE relkind WHEN 'S' THEN format('SELECT %L, last_value, is_called FROM %1$s', c) \
         ELSE format('SELECT %L, count(*), sum(hashtextextended(t::text, 0)) FROM %1$s t', c) END, ';' ORDER BY c::text) \
         FROM (SELECT oid::regclass AS c, relkind FROM pg_class WHERE relkind IN ('r', 'm', 'S') AND relnamespace NOT IN \
         (SELECT oid FROM pg_namespace WHERE nspname ~ '^pg_' OR nspname = 'information_schema')) AS tables",
    );
    let objects = "SELECT oid, md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid";
    [statements.as_str(), objects].map(|statement| sql(server, database, statement)).to_vec()
}

fn assert_same(server: &PostgresServer, database: &str, restored: &str) {
    assert_eq!(schema(server, restored), schema(server, database));
    assert_eq!(digest(server, restored), digest(server, database));
}

/// The SQL that `pg_restore` makes of an archive.
fn plain(archive: &[u8]) -> Vec<u8> {
    let file = file(archive);
    let mut command = Command::new("pg_restore");
    command.args(["--restrict-key=x", "-f", "-"]).arg(file.path());
    output(command)
}

#[test]
fn an_archive_put_together_is_restored_by_two_workers_and_everything_is_the_same() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = everything(server);
    let original = dumped(server, &database);
    let part = stored::split(&original);
    let archive = all(&mut Assembled::open(reader(&part)).unwrap());
    assert_eq!(plain(&archive), plain(&original), "pg_restore reads something else than pg_dump wrote");
    let restored = new_database(server);
    restore(server, &restored, &archive, &["-j2"]);
    assert_same(server, &database, &restored);
    let listed = file(&archive);
    let mut command = Command::new("pg_restore");
    command.arg("--list").arg(listed.path());
    let list = String::from_utf8(output(command)).unwrap();
    assert_eq!(list.matches(" TABLE DATA ").count(), 6);
    assert!(list.contains("Compression: 0"));
}

#[test]
fn one_table_and_one_schema_are_restored_of_an_archive_put_together() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = everything(server);
    let archive = all(&mut Assembled::open(reader(&stored::split(&dumped(server, &database)))).unwrap());
    let one = new_database(server);
    restore(server, &one, &archive, &["-n", "public", "-t", "loose"]);
    assert_eq!(sql(server, &one, "SELECT count(*) FROM pg_tables WHERE schemaname !~ '^(pg_|inf)'").trim(), "1");
    let rows = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM public.loose t";
    assert_eq!(sql(server, &one, rows), sql(server, &database, rows));
    let app = new_database(server);
    // What lies outside of the schema and is changed by it.
    sql(server, &app, "CREATE SCHEMA app; CREATE PUBLICATION news");
    restore(server, &app, &archive, &["-n", "app"]);
    let rows = "SELECT (SELECT sum(hashtextextended(t::text, 0)) FROM app.people t), (SELECT count(*) FROM app.orders)";
    assert_eq!(sql(server, &app, rows), sql(server, &database, rows));
}

#[test]
fn a_selection_with_what_it_needs_is_an_archive_of_its_own_that_reads_nothing_else() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = everything(server);
    let part = stored::split(&dumped(server, &database));
    let reader = MemoryReader::new(&part);
    let archive = Archive::of_part(&reader).unwrap();
    let read = reader.bytes_read();
    let chosen: Vec<i32> =
        archive.entries.iter().filter(|entry| entry.tag == "orders_new").map(|entry| entry.dump_id).collect();
    let needed = archive.closure(&chosen);
    let selection = archive.with_entries(|entry| needed.contains(&entry.dump_id));
    let captured = Captured::of(part.manifest()).unwrap();
    let bytes = all(&mut Assembled::new(&reader, &selection, &captured).unwrap());
    assert!(reader.bytes_read() - read < 100_000, "rows of other tables were read");
    let restored = new_database(server);
    restore(server, &restored, &bytes, &["-j2"]);
    let rows = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM app.orders_new t";
    assert_eq!(sql(server, &restored, rows), sql(server, &database, rows));
    let missing = sql(server, &restored, "SELECT to_regclass('public.loose') IS NULL");
    assert_eq!(missing.trim(), "t");
}

#[test]
fn definitions_without_data_are_restored_before_and_after_rows_that_come_otherwise() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = everything(server);
    let archive = Archive::read(&mut dumped(server, &database).as_slice()).unwrap();
    let toc = archive.without_data();
    let restored = new_database(server);
    restore(server, &restored, &toc, &["--section=pre-data"]);
    let copy = "COPY public.loose TO STDOUT";
    let mut command = program(server, "psql");
    command.args(["-X", "-q", "-d", &database, "-c", copy]);
    let rows = file(&output(command));
    let mut command = program(server, "psql");
    let copy_in = format!("\\copy public.loose FROM '{}'", rows.path().display());
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &restored, "-c", &copy_in]);
    output(command);
    let list: String = archive
        .entries
        .iter()
        .filter(|entry| entry.description == "SEQUENCE SET")
        .map(|entry| format!("{};\n", entry.dump_id))
        .collect();
    let list = file(list.as_bytes());
    restore(server, &restored, &toc, &["-L", list.path().to_str().unwrap()]);
    restore(server, &restored, &toc, &["--section=post-data", "-j2"]);
    assert_eq!(schema(server, &restored), schema(server, &database));
    for rows in [
        "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM public.loose t",
        "SELECT last_value, is_called FROM app.numbers",
    ] {
        assert_eq!(sql(server, &restored, rows), sql(server, &database, rows));
    }
}

#[test]
fn any_piece_of_an_archive_is_the_same_as_when_it_is_read_in_order() {
    let Some(server) = PostgresServer::shared() else { return };
    let part = stored::split(&dumped(server, &everything(server)));
    let mut archive = Assembled::open(reader(&part)).unwrap();
    let whole = all(&mut archive);
    assert_eq!(archive.crc32(), crc32fast::hash(&whole));
    assert_eq!(archive.read_at(whole.len() as u64, &mut [0]).unwrap(), 0);
    let length = whole.len();
    let archive = std::cell::RefCell::new(archive);
    proptest!(|(offset in 0..length, count in 1_usize..600_000)| {
        let mut piece = vec![0; count];
        let read = archive.borrow_mut().read_at(offset as u64, &mut piece).unwrap();
        prop_assert_eq!(read, count.min(length - offset));
        prop_assert!(piece[..read] == whole[offset..offset + read], "{} bytes at {}", count, offset);
    });
}

fn driver(server: &PostgresServer) -> Box<dyn crate::SourceDriver> {
    let location = format!("postgresql:///postgres?host={}&user=postgres", server.socket_folder().display());
    crate::open(&SourceConfig {
        kind: KIND.into(),
        location,
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: None,
    })
    .unwrap()
}

#[test]
fn the_download_is_a_tar_with_the_archive_alone_and_as_long_as_it_was_said() {
    let Some(server) = PostgresServer::shared() else { return };
    let original = dumped(server, &everything(server));
    for part in [stored::split(&original), stored::whole(&original)] {
        let archive = all(&mut Assembled::open(reader(&part)).unwrap());
        let modified = Timestamp { seconds: 1_700_000_000, nanoseconds: 5 };
        let mut download = driver(server).download(reader(&part), "2024_shop", modified).unwrap();
        let bytes = all(download.as_mut());
        assert_eq!(bytes.len() as u64, part.manifest().download.as_ref().unwrap().length);
        let mut tail = vec![0; 100_000];
        assert_eq!(download.read_at(bytes.len() as u64 - 70_000, &mut tail).unwrap(), 70_000);
        assert!(tail[..70_000] == bytes[bytes.len() - 70_000..]);
        let (packed, unpacked) = (file(&bytes), tempfile::tempdir().unwrap());
        let mut command = Command::new("tar");
        command.arg("-xvzf").arg(packed.path()).arg("-C").arg(unpacked.path());
        assert_eq!(output(command), b"2024_shop.pgsql\n");
        assert!(fs::read(unpacked.path().join("2024_shop.pgsql")).unwrap() == archive);
    }
    let whole = stored::whole(&original);
    assert!(all(&mut Assembled::open(reader(&whole)).unwrap()) == original);
}

#[test]
fn sql_is_made_of_a_part_while_it_passes_and_gives_the_same_database() {
    let Some(server) = PostgresServer::shared() else { return };
    let database = everything(server);
    let part = stored::split(&dumped(server, &database));
    let mut script = Vec::new();
    driver(server).export_sql(reader(&part), &mut script).unwrap();
    let script = file(&script);
    let restored = new_database(server);
    let mut command = program(server, "psql");
    command.args(["-X", "-q", "-v", "ON_ERROR_STOP=1", "-d", &restored, "-f"]).arg(script.path());
    output(command);
    assert_same(server, &database, &restored);
}

/// Takes some bytes, then has no room left.
struct Narrow(usize);

impl std::io::Write for Narrow {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0 = self.0.checked_sub(bytes.len()).ok_or(std::io::ErrorKind::StorageFull)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn sql_that_cannot_be_completed_is_an_error_that_names_its_cause() {
    let Some(server) = PostgresServer::shared() else { return };
    let part = stored::split(&dumped(server, &everything(server)));
    let full = driver(server).export_sql(reader(&part), &mut Narrow(1_000_000)).unwrap_err();
    assert_eq!(full.kind, ErrorKind::Full);
    let broken: Arc<dyn PartReader> = Arc::new(MemoryReader::new(&part).fail_at(1_500_000));
    let error = driver(server).export_sql(broken, &mut std::io::sink()).unwrap_err();
    assert_eq!((error.kind, error.sentence.as_str()), (ErrorKind::Store, "The store broke (injected by a test)."));
    let stopped: Arc<dyn PartReader> = Arc::new(MemoryReader::new(&part).cancel_at(1_000_000));
    let error = driver(server).export_sql(stopped, &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    let nonsense = stored::whole(b"PGDMP\x01\x63\x00 of a time to come");
    let error = driver(server).export_sql(reader(&nonsense), &mut std::io::sink()).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Invalid);
    assert!(error.sentence.contains("unsupported version (1.99)"), "{}", error.sentence);
}

#[test]
fn an_archive_is_refused_where_the_manifest_does_not_fit_it() {
    let Some(server) = PostgresServer::shared() else { return };
    let part = stored::split(&dumped(server, &everything(server)));
    let memory = MemoryReader::new(&part);
    let archive = Archive::of_part(&memory).unwrap();
    let good = Captured::of(part.manifest()).unwrap();
    let refused = |change: &dyn Fn(&mut Captured)| {
        let mut captured = good.clone();
        change(&mut captured);
        let error = match Assembled::new(&memory, &archive, &captured) {
            Ok(mut assembled) => {
                let mut bytes = vec![0; assembled.length() as usize];
                assembled.read_at(0, &mut bytes).unwrap_err()
            }
            Err(error) => error,
        };
        assert_eq!(error.kind, ErrorKind::Store, "{error}");
    };
    refused(&|captured| drop(captured.tables.pop()));
    refused(&|captured| captured.large_objects = None);
    refused(&|captured| captured.large_objects.as_mut().unwrap().entries[0].length += 1);
    let large = good.tables.iter().position(|table| table.ranges.len() > 1).unwrap();
    refused(&|captured| captured.tables[large].ranges[1].length += 1);
    refused(&|captured| captured.tables[large].ranges[1].length -= 1);
    refused(&|captured| captured.tables[large].ranges[1].stream = "0099.copy".into());
    refused(&|captured| captured.tables[large].ranges.iter_mut().for_each(|range| range.length = u64::MAX));
    refused(&|captured| captured.large_objects.as_mut().unwrap().entries[0].length = u64::MAX);
    assert!(measure(&stored::captured(How::Whole), None).is_err());
}
