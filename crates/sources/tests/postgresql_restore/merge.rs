//! Rows into the live database: nothing is ever deleted.

use trivault_sources::{Conflict, ErrorKind, RestoreTarget, Selection, testing::MemoryReader};

use crate::support::{Database, EVERYTHING, in_place, only, restore, restored, to};

const BANK: &str = "
CREATE TABLE branch (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE account (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, branch int NOT NULL REFERENCES branch,
    note json, doubled bigint GENERATED ALWAYS AS (branch * 2) STORED, touched timestamptz);
CREATE TABLE a_first (id int PRIMARY KEY, account bigint REFERENCES account);
CREATE TABLE keyless (x int); CREATE TABLE keyless_full (x int);
CREATE TABLE pair (a int, b text, c int, PRIMARY KEY (b, a));
INSERT INTO branch SELECT i, 'b' || i FROM generate_series(1, 10) i;
INSERT INTO account (branch, note) SELECT 1 + i % 10, json_build_object('i', i) FROM generate_series(1, 100) i;
INSERT INTO a_first SELECT i, i FROM generate_series(1, 20) i;
INSERT INTO keyless VALUES (1), (1); INSERT INTO keyless_full VALUES (1);
INSERT INTO pair SELECT i, 'p', i FROM generate_series(1, 5) i;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.touched := now(); RETURN NEW; END $$;
CREATE TRIGGER touch BEFORE INSERT OR UPDATE ON account FOR EACH ROW EXECUTE FUNCTION touch();
ALTER TABLE account ENABLE ALWAYS TRIGGER touch;
UPDATE account SET note = note; ";

/// What happened to the live database since.
const DAMAGE: &str = "
DELETE FROM a_first; DELETE FROM account WHERE id > 50; DELETE FROM branch WHERE id NOT IN (SELECT branch FROM account);
UPDATE account SET note = '{\"changed\": true}' WHERE id <= 10; UPDATE pair SET c = -1 WHERE a = 2;
INSERT INTO pair VALUES (99, 'live', 99); DELETE FROM keyless; INSERT INTO keyless_full VALUES (2);
DELETE FROM pair WHERE a = 3; ";

#[test]
fn missing_rows_are_added_and_existing_ones_stay() {
    let Some(source) = Database::new("adding", BANK) else { return };
    let before = source.sql("SELECT sum(hashtextextended(a::text, 0)) FROM account a WHERE id > 10");
    let part = source.capture();
    source.sql(DAMAGE);
    let reader = MemoryReader::new(&part);
    let (plan, outcome) = restore(source.driver().as_ref(), &reader, &in_place(Conflict::AddMissing)).unwrap();
    assert_eq!(
        source.sql("SELECT count(*), count(*) FILTER (WHERE note::text LIKE '%changed%') FROM account").trim(),
        "100|10"
    );
    assert_eq!(
        source.sql("SELECT sum(hashtextextended(a::text, 0)) FROM account a WHERE id > 10"),
        before,
        "rows are as they were, untouched by the trigger"
    );
    assert_eq!(source.sql("SELECT count(*) FROM a_first").trim(), "20");
    assert_eq!(
        source.sql("SELECT string_agg(a || ':' || c, ' ' ORDER BY a) FROM pair").trim(),
        "1:1 2:-1 3:3 4:4 5:5 99:99"
    );
    assert_eq!(source.sql("SELECT count(*) FROM keyless").trim(), "2");
    assert_eq!(source.sql("SELECT count(*) FROM keyless_full").trim(), "2");
    assert_eq!(outcome.items, 50 + 20 + 2 + 1, "accounts, firsts, keyless, pair");
    assert!(reader.warnings().iter().any(|warning| warning.code == "no_key"));
    assert!(plan.steps.iter().any(|step| step.contains("keyless_full")), "{:?}", plan.steps);
    assert_eq!(
        source.sql("SELECT tgenabled FROM pg_trigger WHERE tgname = 'touch'").trim(),
        "A",
        "the trigger is on again"
    );
    assert_eq!(source.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'trivault%'").trim(), "0");
    let (_, again) = restored(source.driver().as_ref(), &part, &in_place(Conflict::AddMissing));
    assert_eq!(again.items, 0);
}

#[test]
fn differing_rows_are_overwritten_where_that_is_asked() {
    let Some(source) = Database::new("updating", BANK) else { return };
    let before = source.sql("SELECT sum(hashtextextended(a::text, 0)) FROM account a");
    let part = source.capture();
    source.sql(DAMAGE);
    let (_, outcome) = restored(source.driver().as_ref(), &part, &in_place(Conflict::UpdateDiffering));
    assert_eq!(source.sql("SELECT sum(hashtextextended(a::text, 0)) FROM account a"), before);
    assert_eq!(
        source.sql("SELECT string_agg(a || ':' || c, ' ' ORDER BY a) FROM pair").trim(),
        "1:1 2:2 3:3 4:4 5:5 99:99"
    );
    assert_eq!(outcome.items, 50 + 10 + 20 + 2 + 2, "accounts missing and changed, firsts, keyless, pairs");
    assert_eq!(source.sql("INSERT INTO account (branch) VALUES (1) RETURNING id").trim().lines().next(), Some("101"));
}

#[test]
fn tables_schemas_and_all_that_is_missing_is_made() {
    let Some(source) = Database::new("making", EVERYTHING) else { return };
    let part = source.capture();
    let before = source.digest();
    source.sql("DROP SCHEMA \"Odd \"\"schema\"\"\nname\" CASCADE; DROP TABLE app.account CASCADE; DROP TABLE app.measure CASCADE; SELECT lo_unlink(4711), lo_unlink(4712)");
    let (plan, _) = restored(source.driver().as_ref(), &part, &in_place(Conflict::AddMissing));
    assert!(
        plan.steps.iter().any(|step| step.starts_with("Makes") && step.contains("app.account")),
        "{:?}",
        plan.steps
    );
    let after = source.digest();
    for table in ["app.account:", "app.measure_2024:", "app.measure_2025:", "4711|", "4712|", "3000000000|"] {
        let line = |digest: &str| digest.lines().find(|line| line.starts_with(table)).unwrap().to_owned();
        assert_eq!(line(&after), line(&before));
    }
    for definition in [
        "CREATE VIEW app.rich",
        "CREATE INDEX account_owner",
        "CREATE TRIGGER account_touch",
        "ATTACH PARTITION app.measure_2025",
        "account_owner_fkey FOREIGN KEY",
    ] {
        assert!(after.contains(definition), "{definition} is there again");
    }
    assert_eq!(source.sql("SELECT count(*) FROM app.totals").trim(), "200");
}

#[test]
fn a_merge_that_fails_has_touched_nothing() {
    let Some(source) = Database::new("failing", BANK) else { return };
    let part = source.capture();
    source.sql("DELETE FROM a_first; DELETE FROM account WHERE id > 50; ALTER TABLE branch ADD CONSTRAINT no CHECK (id < 10) NOT VALID; DELETE FROM account WHERE branch = 10; DELETE FROM branch WHERE id = 10");
    let before = source.digest();
    let reader = MemoryReader::new(&part);
    let error = restore(source.driver().as_ref(), &reader, &in_place(Conflict::UpdateDiffering)).unwrap_err();
    assert!(error.sentence.contains("public.branch"), "{error:?}");
    assert_eq!(source.digest(), before);
    let plan = source.driver().plan_restore(&reader, &in_place(Conflict::AddMissing)).unwrap();
    let error = source.driver().restore(&MemoryReader::new(&part).cancel_at(1), &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Cancelled);
    assert_eq!(source.digest(), before);
}

#[test]
fn a_live_table_that_lacks_columns_is_refused_beforehand() {
    let Some(source) = Database::new("lacking", BANK) else { return };
    let part = source.capture();
    source.sql("ALTER TABLE pair DROP COLUMN c");
    let reader = MemoryReader::new(&part);
    let error = source.driver().plan_restore(&reader, &in_place(Conflict::AddMissing)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    assert!(error.sentence.contains("public.pair lacks columns of the backup: c"), "{error}");
}

#[test]
fn a_selection_limits_a_merge_to_its_rows() {
    let Some(source) = Database::new("limited", BANK) else { return };
    let part = source.capture();
    source.sql(DAMAGE);
    let selection = Selection { keys: Some("^p:".to_owned()), ..only(&["public.pair"]) };
    restored(source.driver().as_ref(), &part, &to(RestoreTarget::InPlace, Conflict::UpdateDiffering, selection));
    assert_eq!(source.sql("SELECT count(*) FROM pair").trim(), "6");
    assert_eq!(source.sql("SELECT count(*) FROM account").trim(), "50", "other tables are left alone");
}
