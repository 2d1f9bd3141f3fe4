//! A restore beside `pg_restore -j2`. `cargo test --release -p trivault-sources --test postgresql_restore -- --ignored --nocapture speed`

use std::time::Instant;

use crate::support::{Database, new_database, only, restored, to};

#[test]
#[ignore = "measures; run it alone"]
fn a_restore_takes_little_longer_than_pg_restore_and_one_table_a_fraction() {
    let sql = "CREATE TABLE big (id bigint PRIMARY KEY, owner int, note text, at timestamptz); \
               INSERT INTO big SELECT i, i % 1000, md5(i::text) || md5((i + 1)::text), timestamptz '2020-01-01' + i * interval '1 s' FROM generate_series(1, 1500000) i; \
               CREATE INDEX ON big (owner); CREATE TABLE other (id int PRIMARY KEY, note text); \
               INSERT INTO other SELECT i, repeat(md5(i::text), 3) FROM generate_series(1, 500000) i; \
               CREATE TABLE small (id int PRIMARY KEY, note text); INSERT INTO small SELECT i, md5(i::text) FROM generate_series(1, 40000) i";
    let Some(source) = Database::new("speed", sql) else { return };
    let part = source.capture();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("speed.dump");
    source.tool("pg_dump", &["-Fc", "-f", file.to_str().unwrap()]);
    for round in 0..3 {
        let theirs = source.named(&format!("theirs{round}"));
        theirs.admin(&format!("CREATE DATABASE theirs{round}"));
        let began = Instant::now();
        theirs.tool("pg_restore", &["-j2", file.to_str().unwrap()]);
        let theirs = began.elapsed().as_secs_f64();
        let began = Instant::now();
        restored(source.driver().as_ref(), &part, &new_database(&format!("ours{round}")));
        let ours = began.elapsed().as_secs_f64();
        let began = Instant::now();
        let request = to(
            trivault_sources::RestoreTarget::NewDatabase(format!("small{round}")),
            trivault_sources::Conflict::Replace,
            only(&["public.small"]),
        );
        restored(source.driver().as_ref(), &part, &request);
        let small = began.elapsed().as_secs_f64();
        println!(
            "pg_restore -j2 {theirs:.2} s, ours {ours:.2} s ({:.2}), one table of 1 % {small:.2} s ({:.3})",
            ours / theirs,
            small / ours
        );
        for name in ["theirs", "ours", "small"] {
            source.admin(&format!("DROP DATABASE {name}{round}"));
        }
    }
}
