//! Each thing that a database can hold (sources.md section 2c).

use trivault_sources::testing::MemorySink;
use trivault_sources::testing::suite::captures;

use crate::support::{Database, table};

#[test]
fn a_table_with_a_key_comes_back_row_by_row() {
    let script = "CREATE TABLE acct (id int PRIMARY KEY, owner text, balance numeric);
        INSERT INTO acct SELECT n, 'owner ' || n, n * 1.5 FROM generate_series(1, 20000) n;
        CREATE VIEW rich AS SELECT * FROM acct WHERE balance > 1000;";
    let Some(database) = Database::new(script) else { return };
    let part = database.capture();
    assert_eq!(table(&part, "public.acct")["order"], "key");
    assert_eq!(table(&part, "public.acct")["rows"], 20_000);
    assert!(table(&part, "public.acct")["blocks"].as_u64().unwrap() > 5);
    database.assert_same(&part);
}

#[test]
fn a_database_without_tables_is_a_database() {
    let Some(database) = Database::new("CREATE SCHEMA empty") else { return };
    database.assert_same(&database.capture());
}

#[test]
fn a_second_capture_of_the_same_rows_adds_nothing_but_the_table_of_contents() {
    let script = "CREATE TABLE acct (id int PRIMARY KEY, owner text);
        INSERT INTO acct SELECT n, md5(n::text) FROM generate_series(1, 50000) n;
        CREATE TABLE keyless AS SELECT md5(n::text) AS word FROM generate_series(1, 20000) n;";
    let Some(database) = Database::new(script) else { return };
    let first = database.capture();
    let stored = database.store.stored_bytes();
    let second = database.capture_after(&first);
    let contents = second.manifest().streams["toc.pgdmp"].length;
    assert!(database.store.stored_bytes() - stored <= contents, "nothing but the table of contents is new");
    // Also when the statistics have become others meanwhile, and with another number of connections.
    database.run("ANALYZE");
    let sink = MemorySink::new(&database.store).previous(&second);
    let driver = database.driver_with(&database.url, serde_json::json!({"workers": 5}));
    captures(driver.as_ref(), sink);
    assert!(database.store.stored_bytes() - stored <= 2 * contents, "nothing but the table of contents is new");
}
