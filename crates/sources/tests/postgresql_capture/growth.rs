//! What a later capture adds, and what many tables cost.

use std::{process::Command, time::Instant};

use serde_json::json;
use trivault_sources::testing::{MemorySink, MemoryStore, suite::captures};

use crate::support::{Database, table};

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
    let driver = database.driver_with(&database.url, json!({"workers": 5}));
    captures(driver.as_ref(), sink);
    assert!(database.store.stored_bytes() - stored <= 2 * contents, "nothing but the table of contents is new");
}

#[test]
fn rows_that_are_added_or_changed_in_one_place_cost_little_more_than_themselves() {
    let script = "CREATE TABLE acct (id int PRIMARY KEY, owner text);
        INSERT INTO acct SELECT n, md5(n::text) || md5((n + 1)::text) FROM generate_series(1, 200000) n;
        CREATE TABLE keyless AS SELECT n, md5(n::text) AS word FROM generate_series(1, 200000) n;";
    let Some(database) = Database::new(script) else { return };
    let first = database.capture();
    let stored = database.store.stored_bytes();
    database.run(
        "INSERT INTO acct SELECT n, md5(n::text) || md5((n + 1)::text) FROM generate_series(200001, 202000) n;
         INSERT INTO keyless SELECT n, md5(n::text) FROM generate_series(200001, 202000) n;",
    );
    let second = database.capture_after(&first);
    let share = (database.store.stored_bytes() - stored) as f64 / stored as f64;
    assert!(share < 0.02, "1 % of the rows added {:.2} %", share * 100.0);
    let stored = database.store.stored_bytes();
    database.run("UPDATE acct SET owner = upper(owner) WHERE id BETWEEN 100001 AND 102000");
    let third = database.capture_after(&second);
    let share = (database.store.stored_bytes() - stored) as f64 / stored as f64;
    assert!(share < 0.02, "1 % of the rows, changed, added {:.2} %", share * 100.0);
    database.assert_same(&third);
}

/// Bigger than what is read in key order in any case, so that statistics decide.
#[test]
fn a_large_table_is_read_in_ranges_that_stay() {
    let script = "CREATE TABLE sorted (id bigint PRIMARY KEY, word text);
        INSERT INTO sorted SELECT n, repeat(md5(n::text), 8) FROM generate_series(1, 300000) n;
        CREATE TABLE mixed (id uuid PRIMARY KEY, word text);
        INSERT INTO mixed SELECT md5(n::text)::uuid, repeat(md5(n::text), 8) FROM generate_series(1, 300000) n; ANALYZE;";
    let Some(database) = Database::new(script) else { return };
    let first = database.capture();
    let (sorted, mixed) = (table(&first, "public.sorted"), table(&first, "public.mixed"));
    assert_eq!((&sorted["order"], &mixed["order"]), (&json!("key"), &json!("physical")));
    assert!(sorted["ranges"].as_array().unwrap().len() >= 2, "{}", sorted["borders"]);
    let stored = database.store.stored_bytes();
    database.run("INSERT INTO sorted SELECT n, 'x' FROM generate_series(300001, 300100) n; ANALYZE");
    let sink = MemorySink::new(&database.store).previous(&first);
    let second = captures(database.driver_with(&database.url, json!({"workers": 1})).as_ref(), sink);
    assert_eq!(table(&second, "public.sorted")["borders"], sorted["borders"]);
    assert!(database.store.stored_bytes() - stored < 300_000);
    database.assert_same(&second);
    // Rows that lie in the order of the key by now would be read in it, had they not been read otherwise before.
    database.run("DROP TABLE sorted; CLUSTER mixed USING mixed_pkey; ANALYZE");
    let third = database.capture_after(&second);
    assert_eq!(table(&third, "public.mixed")["order"], "physical");
    assert_eq!(table(&database.capture(), "public.mixed")["order"], "key");
}

/// The time is printed, not judged: the machine of a test is nobody's promise.
#[test]
fn ten_thousand_empty_tables_are_captured() {
    let Some(database) = Database::new("") else { return };
    // In portions, for each table is a lock until the transaction ends.
    for portion in 0..10 {
        database.run(&format!(
            "DO $$ BEGIN FOR n IN {}..{} LOOP EXECUTE format('CREATE TABLE empty_%s (id int PRIMARY KEY, word text)', n); \
             END LOOP; END $$",
            portion * 1000 + 1,
            portion * 1000 + 1000
        ));
    }
    database.run("INSERT INTO empty_77 VALUES (1, 'not empty')");
    let began = Instant::now();
    let output = Command::new("pg_dump")
        .args(["-Fc", "-Z0", "--no-sync", "-f", "/dev/null", "-d", &database.url])
        .output()
        .unwrap();
    let pg_dump = began.elapsed();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let began = Instant::now();
    let part = captures(database.driver().as_ref(), MemorySink::new(&MemoryStore::new()));
    let manifest = serde_json::to_string(part.manifest()).unwrap().len();
    eprintln!("10000 tables: pg_dump {pg_dump:.1?}, capture {:.1?}, manifest {manifest} bytes", began.elapsed());
    assert_eq!(part.manifest().items, 1);
    assert!(manifest < 8_000_000);
    assert_eq!(part.manifest().details["tables"].as_array().unwrap().len(), 10_000);
}

/// The server has room for fewer locks than there are tables: some are locked when they are read.
#[test]
fn more_tables_than_locks_are_captured() {
    let Some(database) = Database::new("") else { return };
    for portion in 0..3 {
        database.run(&format!(
            "DO $$ BEGIN FOR n IN {}..{} LOOP EXECUTE format('CREATE TABLE small_%s AS SELECT %s AS n', n, n); \
             END LOOP; END $$",
            portion * 1000 + 1,
            portion * 1000 + 1000
        ));
    }
    let sink = MemorySink::new(&database.store);
    let began = Instant::now();
    let manifest = database.driver().capture(&sink).unwrap();
    eprintln!("3000 small tables: {:.1?}", began.elapsed());
    assert_eq!(manifest.items, 3000);
    assert!(sink.lines().iter().any(|line| line.contains("no room for more")), "{:?}", sink.lines());
    let part = sink.into_part(manifest);
    assert_eq!(part.bytes(&[b"data", b"public.small_2999", b"0000.copy"]).unwrap(), b"2999\n");
}
