//! A part of a PostgreSQL backup costs that part: what a restore of one table fetches from the store, on the wire.

#![allow(clippy::unwrap_used, reason = "test code")]

use trivault_testkit::{
    fault_proxy::FaultProxy,
    gateway::{Gateway, Setup},
    postgres::{PostgresServer, Variant},
    s3::S3Server,
};

/// Rows of the tables; the small one is about one hundredth of them.
const LARGE: u32 = 120_000;
const SMALL: u32 = 1_200;
/// What a part of 1 % may read, of all.
const SHARE: f64 = 0.05;

#[test]
fn one_table_of_a_hundredth_reads_at_most_a_twentieth_of_the_store() {
    let (Some(postgres), Some(s3)) = (PostgresServer::own(&Variant::default()), S3Server::start()) else { return };
    let directory = tempfile::tempdir().unwrap();
    s3.make_bucket("backups");
    let proxy = FaultProxy::start(&s3.endpoint());
    postgres.query("postgres", "CREATE DATABASE shop");
    // Hashes, for what compresses well would leave too little to compare.
    let row = "(SELECT string_agg(md5(i::text || '-' || n), '') FROM generate_series(1, 8) n)";
    for (table, rows) in [("large", LARGE), ("small", SMALL)] {
        postgres.query(
            "shop",
            &format!("CREATE TABLE {table} AS SELECT i AS id, {row} AS text FROM generate_series(1, {rows}) i; ALTER TABLE {table} ADD PRIMARY KEY (id)"),
        );
    }
    let configuration = directory.path().join("trivault.toml");
    let text = format!(
        "[[stores]]\nname = \"cloud\"\nlocation = \"s3://backups/trivault\"\nendpoint = \"{}\"\nallow_http = true\n\
         access_key_env = \"CLOUD_KEY\"\nsecret_key_env = \"CLOUD_SECRET\"\ndefault = true\n\
         [[sources]]\nname = \"shop\"\nkind = \"postgresql\"\nurl = \"{}\"\n",
        proxy.endpoint(),
        postgres.url("shop")
    );
    std::fs::write(&configuration, text).unwrap();
    let setup = Setup {
        arguments: vec!["--config".to_owned(), configuration.to_str().unwrap().to_owned()],
        environment: vec![("CLOUD_KEY".to_owned(), "key".to_owned()), ("CLOUD_SECRET".to_owned(), "secret".to_owned())],
        ..Setup::default()
    };
    let gateway = Gateway::start(&directory.path().join("data"), &setup);
    let done = |words: &[&str]| {
        let output = gateway.command(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    };
    done(&["backup", "create", "--source", "shop"]);
    proxy.heal();
    done(&["restore", "--latest", "shop", "--to-database", "whole"]);
    let all = proxy.answered_bytes();
    proxy.heal();
    done(&["restore", "--latest", "shop", "--to-database", "part", "--table", "public.small"]);
    let read = proxy.answered_bytes();
    assert!(all > 10_000_000, "{all} bytes are too few to say anything");
    assert!((read as f64) < SHARE * all as f64, "{read} of {all} bytes");
    let digest = "SELECT count(*), sum(hashtextextended(t::text, 0)) FROM small t";
    assert_eq!(postgres.query("part", digest), postgres.query("shop", digest));
    assert_eq!(postgres.query("part", "SELECT to_regclass('large') IS NULL").trim(), "t");
}
