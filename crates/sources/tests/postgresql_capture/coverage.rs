//! Each thing that a database can hold (sources.md section 2c).

use std::fs;

use trivault_sources::{ErrorKind, Severity, testing::MemorySink};

use crate::support::{Database, archive, as_user, digests, driver, refusal, table};

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
    let part = database.capture();
    assert_eq!(part.manifest().items, 0);
    database.assert_same(&part);
}

#[test]
fn every_form_of_table_and_column_comes_back() {
    let script = "CREATE TABLE generated (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, a int,
            twice int GENERATED ALWAYS AS (a * 2) STORED);
        INSERT INTO generated (a) SELECT n FROM generate_series(1, 500) n;
        CREATE TABLE parted (day date, n int, PRIMARY KEY (n, day)) PARTITION BY RANGE (day);
        CREATE TABLE parted_old (n int, gone int, day date); ALTER TABLE parted_old DROP COLUMN gone;
        ALTER TABLE parted_old ALTER n SET NOT NULL, ALTER day SET NOT NULL;
        ALTER TABLE parted ATTACH PARTITION parted_old FOR VALUES FROM ('2000-01-01') TO ('2020-01-01');
        CREATE TABLE parted_new PARTITION OF parted FOR VALUES FROM ('2020-01-01') TO ('2040-01-01');
        INSERT INTO parted SELECT date '2015-01-01' + n, n FROM generate_series(1, 4000) n;
        CREATE TABLE parent (a int); CREATE TABLE child (b int) INHERITS (parent);
        INSERT INTO parent SELECT n FROM generate_series(1, 10) n; INSERT INTO child VALUES (11, 12), (13, 14);
        CREATE UNLOGGED TABLE unlogged (a text); INSERT INTO unlogged VALUES ('here');
        CREATE TABLE no_columns (); INSERT INTO no_columns DEFAULT VALUES; INSERT INTO no_columns DEFAULT VALUES;
        CREATE TABLE only_generated (a int GENERATED ALWAYS AS (1) STORED);
        CREATE TABLE late_key (payload text, b int NOT NULL, c text NOT NULL, UNIQUE (c, b));
        INSERT INTO late_key SELECT repeat('x', n % 50), n, 'c' || n % 7 FROM generate_series(1, 5000) n;
        CREATE SEQUENCE numbers START 17; SELECT nextval('numbers'); SELECT nextval('numbers');
        CREATE MATERIALIZED VIEW seen AS SELECT count(*) FROM parted;
        CREATE MATERIALIZED VIEW unseen AS SELECT 1 AS one WITH NO DATA;
        CREATE TABLE referrer (id int PRIMARY KEY, to_generated int REFERENCES generated); INSERT INTO referrer VALUES (1, 5);
        ALTER TABLE referrer ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON referrer USING (id = 1);
        COMMENT ON TABLE referrer IS 'it''s a comment'; CREATE INDEX ON late_key (b);";
    let Some(database) = Database::new(script) else { return };
    let part = database.capture();
    database.assert_same(&part);
    assert_eq!(database.server.query(&database.restored(&part), "SELECT last_value FROM numbers").trim(), "18");
    assert_eq!(table(&part, "public.late_key")["key"], serde_json::json!([2, 1]), "unique and never null is a key");
    assert_eq!(table(&part, "public.parent")["rows"], 10, "a table's children are tables of their own");
    assert_eq!(table(&part, "public.child")["order"], "physical");
}

#[test]
fn every_value_comes_back() {
    let script = r##"CREATE TABLE odd (id int PRIMARY KEY, t text, b bytea, f float8, n numeric, a text[], j jsonb, i interval,
            s timestamptz, x xml, r int4range);
        INSERT INTO odd VALUES
            (1, E'\\.', '\x00ff0a09', 'NaN', 'NaN', ARRAY[NULL, 'a,b', E'q"\\'], '{"a": "\n"}', '1 mon 3 days', 'infinity', '<a/>', '[1,5)'),
            (2, E'tab\there\nnewline\rreturn\\backslash\b\f\v', '', '-0', 1e100, '{}', 'null', '-1 us', '-infinity', NULL, 'empty'),
            (3, '', NULL, 0.1 + 0.2, 0.000000001, NULL, NULL, NULL, '0044-03-15 BC', NULL, NULL),
            (4, '\N', NULL, '1e-310', NULL, NULL, NULL, NULL, '2024-01-01 12:00:00.123456+05', NULL, NULL),
            (5, 'ünïcödé 😀', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
        CREATE TABLE odd_keys (k text PRIMARY KEY, v int);
        INSERT INTO odd_keys SELECT E'tab\t\\ and\n' || n, n FROM generate_series(1, 3000) n;"##;
    let Some(database) = Database::new(script) else { return };
    database.assert_same(&database.capture());
}

#[test]
fn odd_names_come_back() {
    let long = "l".repeat(63);
    let script = format!(
        "CREATE SCHEMA \"sch/ema.with %\"; CREATE SCHEMA \"{long}\"; CREATE SCHEMA \"ü 😀\";
        CREATE TABLE \"sch/ema.with %\".\"a\nnew \"\"line\"\"\" (\"col'umn\" int PRIMARY KEY, \"\\back\" text);
        CREATE TABLE \"{long}\".\"{long}\" (\"{long}\" int); CREATE TABLE \"ü 😀\".\"select\" (\"from\" int);
        CREATE TABLE case_is (a int); CREATE TABLE \"CASE_IS\" (a int); CREATE TABLE \"..\" (a int);
        INSERT INTO \"sch/ema.with %\".\"a\nnew \"\"line\"\"\" SELECT n, n FROM generate_series(1, 100) n;
        INSERT INTO \"{long}\".\"{long}\" VALUES (1); INSERT INTO \"ü 😀\".\"select\" VALUES (2);
        INSERT INTO case_is VALUES (3); INSERT INTO \"CASE_IS\" VALUES (4); INSERT INTO \"..\" VALUES (5);"
    );
    let Some(database) = Database::new(&script) else { return };
    let part = database.capture();
    database.assert_same(&part);
    let scopes: Vec<&str> = part.manifest().inventory.scopes.iter().map(|scope| scope.name.as_str()).collect();
    assert_eq!(scopes, [&long, "public", "sch/ema.with %", "ü 😀"]);
}

#[test]
fn a_row_of_many_megabytes_comes_back() {
    let script = "CREATE TABLE wide (id int PRIMARY KEY, body text);
        INSERT INTO wide SELECT n, repeat(md5(n::text), CASE n WHEN 3 THEN 700000 ELSE 10 END) FROM generate_series(1, 6) n;";
    let Some(database) = Database::new(script) else { return };
    let part = database.capture();
    assert!(part.manifest().size > 22_000_000);
    database.assert_same(&part);
}

#[test]
fn large_objects_come_back() {
    let script = "SELECT lo_from_bytea(100000, 'small'); SELECT lo_from_bytea(100001, '');
        SELECT lo_from_bytea(4000000000, convert_to(repeat('0123456789', 300000), 'UTF8'));
        SELECT lo_from_bytea(100002, convert_to(repeat('x', 65536), 'UTF8'));
        SELECT lo_create(100003); SELECT lo_put(100003, 5000, 'after a hole'); COMMENT ON LARGE OBJECT 100000 IS 'a comment';";
    let Some(database) = Database::new(script) else { return };
    let part = database.capture();
    let digest = "SELECT oid, length(lo_get(oid)), md5(lo_get(oid)) FROM pg_largeobject_metadata ORDER BY oid";
    let restored = database.restored(&part);
    assert_eq!(database.server.query(&restored, digest).trim(), database.query(digest));
    let captured = &part.manifest().details["large_objects"];
    assert_eq!(captured["count"], 5);
    assert_eq!(captured["length"], part.manifest().streams["lo/blobs"].length);
}

#[test]
fn another_encoding_is_kept() {
    let Some(database) = Database::new("CREATE DATABASE latin ENCODING 'LATIN1' TEMPLATE template0") else { return };
    let name = database.query("SELECT current_database()");
    let url = database.url.replace(&name, "latin");
    let latin = Database { url, ..database };
    latin.run("SET client_encoding = 'UTF8'; CREATE TABLE \"größe\" (id int PRIMARY KEY, t text); INSERT INTO \"größe\" VALUES (1, 'äöü'), (2, 'ß')");
    let part = latin.capture();
    assert_eq!(part.bytes(&[b"data", "public.größe".as_bytes(), b"0000.copy"]).unwrap(), b"1\t\xe4\xf6\xfc\n2\t\xdf\n");
    assert_eq!(part.manifest().details["database"]["encoding"], "LATIN1");
    // Into a database of another encoding, which `pg_restore` has the server convert.
    latin.assert_same(&part);
    assert_eq!(digests(&latin.url).len(), 1);
}

#[test]
fn roles_and_settings_of_the_database_are_written_down() {
    let Some(database) = Database::new("") else { return };
    let name = database.query("SELECT current_database()");
    database.run(&format!(
        "CREATE ROLE keeper PASSWORD 'do-not-keep-me'; CREATE TABLE kept (a int); ALTER TABLE kept OWNER TO keeper;
         ALTER DATABASE {name} SET work_mem = '12MB'; ALTER ROLE keeper IN DATABASE {name} SET jit = off;
         COMMENT ON DATABASE {name} IS 'ours'; ALTER DATABASE {name} CONNECTION LIMIT 7;"
    ));
    let part = database.capture();
    let roles = String::from_utf8(part.bytes(&[b"roles.sql"]).unwrap()).unwrap();
    assert!(
        roles.contains("CREATE ROLE keeper") && !roles.contains("do-not-keep-me") && !roles.contains("SCRAM"),
        "{roles}"
    );
    let facts = &part.manifest().details["database"];
    assert_eq!(facts["settings"], serde_json::json!([["", "work_mem=12MB"], ["keeper", "jit=off"]]));
    assert_eq!((&facts["comment"], &facts["connection_limit"]), (&"ours".into(), &7.into()));
    assert_eq!(part.manifest().details["roles"], serde_json::json!(["keeper", "postgres"]));
}

#[test]
fn the_archive_is_the_same_from_parts_and_reads_in_parallel() {
    let script =
        "CREATE TABLE one AS SELECT n FROM generate_series(1, 30000) n; CREATE TABLE other AS SELECT 'x' AS x;";
    let Some(database) = Database::new(script) else { return };
    let part = database.capture();
    let folder = tempfile::tempdir().unwrap();
    let file = archive(database.driver().as_ref(), &part, folder.path());
    let url = database.server.create_database();
    let status =
        std::process::Command::new("pg_restore").args(["-j2", "--exit-on-error", "-d", &url]).arg(&file).status();
    assert!(status.unwrap().success());
    assert_eq!(digests(&url), digests(&database.url));
    assert_eq!(fs::metadata(&file).unwrap().len(), part.manifest().download.as_ref().unwrap().details["length"]);
}

#[test]
fn what_may_not_be_read_is_named() {
    let script = "CREATE TABLE secret (a int); CREATE ROLE nobody_here LOGIN;
        CREATE TABLE guarded (a int); ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; GRANT SELECT ON guarded TO nobody_here;
        INSERT INTO guarded VALUES (1);";
    let Some(database) = Database::new(script) else { return };
    let other = driver(&as_user(&database.url, "nobody_here"), serde_json::json!({}));
    let error = refusal(other.as_ref());
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.sentence.contains("permission denied for table secret"), "{error:?}");
    database.run("GRANT SELECT ON secret TO nobody_here");
    let error = refusal(other.as_ref());
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.sentence.contains("guarded") && error.sentence.contains("row-level security"), "{error:?}");
}

#[test]
fn the_rights_that_the_readme_names_are_enough() {
    let script =
        "CREATE TABLE guarded (id serial PRIMARY KEY, who text); INSERT INTO guarded (who) VALUES ('me'), ('you');
        ALTER TABLE guarded ENABLE ROW LEVEL SECURITY; ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
        CREATE POLICY own ON guarded USING (who = current_user);
        CREATE SCHEMA closed; REVOKE ALL ON SCHEMA closed FROM PUBLIC; CREATE SEQUENCE closed.numbers START 17;
        SELECT nextval('closed.numbers'); CREATE TABLE closed.one AS SELECT 1 AS one;
        CREATE MATERIALIZED VIEW closed.counted AS SELECT count(*) FROM guarded;";
    let Some(database) = Database::new(script) else { return };
    if database.query("SHOW server_version_num").parse::<u32>().unwrap() < 140_000 {
        println!("the server has no pg_read_all_data: not tested");
        return;
    }
    let name = database.query("SELECT current_database()");
    database.run(&format!(
        "CREATE ROLE plain_backup LOGIN; GRANT CONNECT ON DATABASE {name} TO plain_backup;
         GRANT pg_read_all_data TO plain_backup; ALTER ROLE plain_backup BYPASSRLS;"
    ));
    let driver = driver(&as_user(&database.url, "plain_backup"), serde_json::json!({}));
    let sink = MemorySink::new(&database.store);
    let manifest = driver.capture(&sink).unwrap();
    assert_eq!(sink.warnings(), []);
    let part = sink.into_part(manifest);
    database.assert_same(&part);
    let restored = database.restored(&part);
    let numbers = "SELECT last_value FROM closed.numbers UNION ALL SELECT last_value FROM guarded_id_seq";
    assert_eq!(database.server.query(&restored, numbers), database.server.query(&database.url, numbers));
    let roles = String::from_utf8(part.bytes(&[b"roles.sql"]).unwrap()).unwrap();
    assert!(roles.contains("CREATE ROLE plain_backup") && roles.contains("BYPASSRLS"), "{roles}");
    let found = driver.probe();
    assert!(found.iter().all(|finding| finding.severity != Severity::Error), "{found:?}");
}

/// Half a gigabyte of bytes is more than one as text. Stored it is little, for it is always the same; the server's older way
/// of compressing takes a minute over it.
#[test]
fn a_row_that_the_server_cannot_send_is_named() {
    let Some(database) = Database::new("") else { return };
    let lz4 = "SELECT count(*) FROM pg_settings WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)";
    if database.query(lz4) != "1" {
        println!("the server cannot compress quickly: not tested");
        return;
    }
    database.run(
        "CREATE TABLE wide (id int PRIMARY KEY, b bytea COMPRESSION lz4); INSERT INTO wide VALUES (1, 'narrow');
         INSERT INTO wide VALUES (2, convert_to(repeat(repeat('x', 1000), 540000), 'UTF8'));",
    );
    let error = refusal(database.driver().as_ref());
    assert_eq!(error.kind, ErrorKind::Unsupported, "{error:?}");
    assert!(error.sentence.contains("The table public.wide could not be read"), "{error:?}");
    assert!(error.hint.as_ref().unwrap().contains("1 GB"), "{error:?}");
}

#[test]
fn of_an_extension_s_configuration_only_the_rows_that_it_wants_kept_are_captured() {
    let script = "CREATE EXTENSION citext; CREATE TABLE conf (a int PRIMARY KEY, mine bool); ALTER EXTENSION citext ADD TABLE conf;
        INSERT INTO conf SELECT n, n % 3 = 0 FROM generate_series(1, 30) n;
        UPDATE pg_extension SET extconfig = ARRAY['conf'::regclass::oid], extcondition = ARRAY['WHERE mine'] WHERE extname = 'citext';";
    let Some(database) = Database::new(script) else { return };
    let part = database.capture();
    let rows = String::from_utf8(part.bytes(&[b"data", b"public.conf", b"0000.copy"]).unwrap()).unwrap();
    let expected: Vec<String> = (1..=10).map(|n| format!("{}\tt", 3 * n)).collect();
    assert_eq!(rows.lines().collect::<Vec<_>>(), expected);
    assert_eq!(part.manifest().items, 10);
}
