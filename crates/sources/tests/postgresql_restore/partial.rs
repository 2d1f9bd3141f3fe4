//! Some of a database into a new one, reading little more than what is wanted.

use trivault_sources::{
    Conflict, ErrorKind, KeyRange, PartRestoreRequest, RestoreTarget, Selection, testing::MemoryReader,
};

use crate::support::{Database, EVERYTHING, only, restore, to};

/// Two large tables and a small one with all that can hang on a table.
const SHOP: &str = "
CREATE SCHEMA shop; CREATE SCHEMA other;
CREATE TYPE shop.state AS ENUM ('new', 'done');
CREATE TABLE shop.big (id bigint PRIMARY KEY, x text); INSERT INTO shop.big SELECT i, repeat(md5(i::text), 5) FROM generate_series(1, 40000) i;
CREATE TABLE other.days (day timestamptz PRIMARY KEY, x text); INSERT INTO other.days SELECT timestamptz '2020-01-01 00:00:00+00' + i * interval '1 hour', repeat(md5(i::text), 5) FROM generate_series(1, 20000) i;
CREATE TABLE shop.customer (id serial PRIMARY KEY, name text);
INSERT INTO shop.customer (name) SELECT 'c' || i FROM generate_series(1, 50) i;
CREATE TABLE shop.small (id serial PRIMARY KEY, customer int REFERENCES shop.customer, state shop.state, note text);
INSERT INTO shop.small (customer, state, note) SELECT 1 + i % 50, 'new', 'n' || i FROM generate_series(1, 300) i;
CREATE INDEX small_note ON shop.small (note);
CREATE FUNCTION other.stamp() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$;
CREATE TRIGGER stamp BEFORE UPDATE ON shop.small FOR EACH ROW EXECUTE FUNCTION other.stamp();
COMMENT ON TABLE shop.small IS 'small';
CREATE VIEW shop.recent AS SELECT * FROM other.days;
CREATE TABLE other.text (code text PRIMARY KEY); INSERT INTO other.text SELECT 'k' || i FROM generate_series(1, 9) i;
";

fn selected(name: &str, selection: Selection) -> PartRestoreRequest {
    to(RestoreTarget::NewDatabase(name.to_owned()), Conflict::Replace, selection)
}

fn range(table: &str, from: Option<&str>, before: Option<&str>) -> Selection {
    let range = KeyRange { from: from.map(str::to_owned), before: before.map(str::to_owned) };
    Selection { key_range: Some(range), ..only(&[table]) }
}

#[test]
fn one_table_comes_with_what_hangs_on_it_and_little_else_is_read() {
    let Some(source) = Database::new("onetable", SHOP) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let (plan, outcome) =
        restore(source.driver().as_ref(), &reader, &selected("onetable2", only(&["shop.small"]))).unwrap();
    let copy = source.named("onetable2");
    assert_eq!(outcome.items, 300);
    assert_eq!(copy.sql("SELECT count(*), min(state), max(note) FROM shop.small").trim(), "300|new|n99");
    assert_eq!(copy.sql("SELECT nextval('shop.small_id_seq')").trim(), "301");
    assert_eq!(copy.sql("SELECT count(*) FROM pg_index WHERE indrelid = 'shop.small'::regclass").trim(), "2");
    assert_eq!(copy.sql("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal").trim(), "stamp");
    assert_eq!(copy.sql("SELECT obj_description('shop.small'::regclass)").trim(), "small");
    assert_eq!(copy.sql("SELECT count(*) FROM pg_tables WHERE schemaname IN ('shop', 'other')").trim(), "1");
    assert!(
        plan.steps.iter().any(|step| step.contains("the foreign key shop.small small_customer_fkey")),
        "{:?}",
        plan.steps
    );
    let share = reader.bytes_read() as f64 / part.manifest().size as f64;
    assert!(share < 0.05, "read {share} of the bytes");
    assert!(plan.bytes < part.manifest().size / 20, "the estimate says so too: {}", plan.bytes);
}

#[test]
fn one_schema_comes_with_tables_of_others_that_its_views_need_but_without_their_rows() {
    let Some(source) = Database::new("oneschema", SHOP) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let (plan, _) = restore(source.driver().as_ref(), &reader, &selected("oneschema2", only(&["shop"]))).unwrap();
    let copy = source.named("oneschema2");
    assert_eq!(copy.sql("SELECT count(*) FROM shop.big").trim(), "40000");
    assert_eq!(copy.sql("SELECT count(*) FROM shop.recent").trim(), "0");
    assert_eq!(copy.sql("SELECT conname FROM pg_constraint WHERE contype = 'f'").trim(), "small_customer_fkey");
    assert!(plan.steps.iter().any(|step| step.contains("other.days without its rows")), "{:?}", plan.steps);
}

#[test]
fn all_but_some_comes_without_what_needs_those() {
    let Some(source) = Database::new("allbut", SHOP) else { return };
    let part = source.capture();
    let selection = Selection { exclude: vec!["other.days".to_owned(), "shop.big".to_owned()], ..Selection::default() };
    let reader = MemoryReader::new(&part);
    let (plan, _) = restore(source.driver().as_ref(), &reader, &selected("allbut2", selection)).unwrap();
    let copy = source.named("allbut2");
    assert_eq!(
        copy.sql(
            "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname IN ('shop', 'other')"
        )
        .trim(),
        "customer small text"
    );
    assert!(plan.steps.iter().any(|step| step.contains("the view shop.recent")), "{:?}", plan.steps);
}

#[test]
fn a_range_of_keys_is_exact_and_reads_only_the_blocks_that_can_hold_it() {
    let Some(source) = Database::new("ranged", SHOP) else { return };
    let part = source.capture();
    let of = |name: &str, selection: Selection| {
        let reader = MemoryReader::new(&part);
        let (plan, outcome) = restore(source.driver().as_ref(), &reader, &selected(name, selection)).unwrap();
        (plan.bytes, outcome.items, reader.bytes_read() as f64 / part.manifest().size as f64)
    };
    let (bytes, items, share) = of("ranged2", range("shop.big", Some("20000"), Some("20400")));
    assert_eq!(items, 400);
    assert_eq!(
        source.named("ranged2").sql("SELECT count(*), min(id), max(id) FROM shop.big").trim(),
        "400|20000|20399"
    );
    assert!(share < 0.05, "read {share} of the bytes");
    assert!(bytes < part.manifest().size / 20);
    let (_, items, share) = of("ranged3", range("other.days", Some("2021-01-01"), Some("2021-01-03")));
    assert_eq!(items, 48);
    assert!(share < 0.05, "read {share} of the bytes");
    let (_, items, _) = of("ranged4", range("other.text", Some("k3"), None));
    assert_eq!(items, 7);
    let (_, items, _) = of("ranged5", range("shop.big", None, Some("11")));
    assert_eq!(items, 10);
}

#[test]
fn expressions_over_keys_and_values_choose_rows() {
    let Some(source) = Database::new("expressed", SHOP) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let selection = Selection { keys: Some("^1.$".to_owned()), ..only(&["shop.small"]) };
    restore(source.driver().as_ref(), &reader, &selected("expressed2", selection)).unwrap();
    assert_eq!(source.named("expressed2").sql("SELECT count(*), min(id), max(id) FROM shop.small").trim(), "10|10|19");
    let selection = Selection { values: Some(r#""note":"n2\d\d""#.to_owned()), ..only(&["shop.small"]) };
    restore(source.driver().as_ref(), &reader, &selected("expressed3", selection)).unwrap();
    assert_eq!(source.named("expressed3").sql("SELECT count(*) FROM shop.small").trim(), "100");
}

#[test]
fn a_partitioned_table_brings_its_partitions() {
    let Some(source) = Database::new("parted", EVERYTHING) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    restore(source.driver().as_ref(), &reader, &selected("parted2", only(&["app.measure"]))).unwrap();
    assert_eq!(source.named("parted2").sql("SELECT count(*) FROM app.measure").trim(), "701");
    assert_eq!(
        source
            .named("parted2")
            .sql("SELECT count(*) FROM pg_inherits WHERE inhparent = 'app.measure'::regclass")
            .trim(),
        "2"
    );
    restore(source.driver().as_ref(), &reader, &selected("parted3", only(&["app.measure_2024"]))).unwrap();
    assert_eq!(source.named("parted3").sql("SELECT count(*) FROM app.measure_2024").trim(), "366");
}

#[test]
fn what_the_backup_does_not_hold_is_refused_with_what_it_holds() {
    let Some(source) = Database::new("unheld", SHOP) else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let plan =
        |selection: Selection| source.driver().plan_restore(&reader, &selected("unheld2", selection)).unwrap_err();
    let error = plan(only(&["shop.nothing"]));
    assert_eq!(error.kind, ErrorKind::Missing);
    assert!(error.hint.unwrap().contains("shop.big"));
    assert_eq!(plan(Selection { keys: Some("(".to_owned()), ..only(&["shop"]) }).kind, ErrorKind::Invalid);
    assert_eq!(plan(range("shop", Some("1"), None)).kind, ErrorKind::Invalid, "a range of two tables");
    assert_eq!(plan(range("shop.big", Some("x"), None)).kind, ErrorKind::Invalid, "no number");
}
