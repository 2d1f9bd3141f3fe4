//! What a restore refuses before it touches anything.

use std::sync::Arc;

use trivault_sources::{
    Conflict, ErrorKind, SourceError,
    testing::{MemoryPart, MemoryReader},
};

use crate::support::{Database, falsified, in_place, new_database, restore, restored};

fn refused(source: &Database, part: &Arc<MemoryPart>) -> SourceError {
    let error = source.driver().plan_restore(&MemoryReader::new(part), &new_database("never")).unwrap_err();
    assert!(!source.exists("never") && !source.exists("never__tv_j1"));
    error
}

#[test]
fn a_server_that_is_older_or_lacks_extensions_or_tools_is_refused() {
    let Some(source) = Database::new("needs", "CREATE TABLE t (id int)") else { return };
    let error = refused(&source, &falsified(&source, |details| details["server_version"] = 990_000.into()));
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.sentence.contains("comes from PostgreSQL 99"), "{error}");
    let error = refused(&source, &falsified(&source, |details| details["tool_version"] = "99.1".into()));
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(error.hint.unwrap().contains("postgresql-client-99"));
    let extensions = serde_json::json!([["plpgsql", "1.0"], ["timescaledb", "2.1"]]);
    let error = refused(&source, &falsified(&source, |details| details["extensions"] = extensions));
    assert_eq!(error.kind, ErrorKind::Missing);
    assert!(error.sentence.contains("timescaledb (version 2.1 at the source)"), "{error}");
}

#[test]
fn missing_roles_are_named_and_can_be_ignored() {
    let Some(source) = Database::new(
        "roleless",
        "CREATE ROLE roleless_owner; CREATE TABLE t (id int); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO roleless_owner",
    ) else {
        return;
    };
    let part = source.capture();
    source.sql("ALTER TABLE t OWNER TO postgres; DROP ROLE roleless_owner");
    let error = refused(&source, &part);
    assert_eq!(error.kind, ErrorKind::Missing);
    assert!(error.sentence.contains("roleless_owner"), "{error}");
    assert!(error.hint.unwrap().contains("missing_roles"));
    let driver = source.driver_as("postgres", &[("missing_roles", "ignore".into())]);
    let (plan, _) = restored(driver.as_ref(), &part, &new_database("roleless2"));
    assert!(plan.steps.iter().any(|step| step.contains("roleless_owner")), "{:?}", plan.steps);
    assert_eq!(
        source.named("roleless2").sql("SELECT id, tableowner FROM t, pg_tables WHERE tablename = 't'").trim(),
        "1|postgres"
    );
}

#[test]
fn a_name_that_is_taken_or_impossible_is_refused() {
    let Some(source) = Database::new("taken", "CREATE TABLE t (id int)") else { return };
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let error = source.driver().plan_restore(&reader, &new_database("taken")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict);
    for name in [String::new(), "x".repeat(64), "a\0b".to_owned()] {
        let error = source.driver().plan_restore(&reader, &new_database(&name)).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Invalid, "{name:?}");
    }
    // Somebody takes it between the plan and the end.
    let plan = source.driver().plan_restore(&reader, &new_database("taken2")).unwrap();
    source.admin("CREATE DATABASE taken2");
    let error = source.driver().restore(&reader, &plan).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Conflict, "{error:?}");
    assert_eq!(source.databases(), ["taken", "taken2"], "the stranger stays, ours is gone");
}

#[test]
fn an_account_without_the_rights_is_refused_and_one_with_them_restores() {
    let Some(source) = Database::new("rights", "CREATE TABLE t (id int); INSERT INTO t VALUES (1)") else { return };
    source.admin("CREATE ROLE rights_user LOGIN; ALTER DATABASE rights OWNER TO rights_user");
    source.sql("ALTER TABLE t OWNER TO rights_user");
    let part = source.capture();
    let reader = MemoryReader::new(&part);
    let driver = source.driver_as("rights_user", &[]);
    let error = driver.plan_restore(&reader, &new_database("rights2")).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied);
    assert!(error.hint.unwrap().contains("CREATEDB"));
    source.admin("ALTER ROLE rights_user CREATEDB");
    restored(driver.as_ref(), &part, &new_database("rights2"));
    assert_eq!(
        source.named("rights2").sql("SELECT id, tableowner FROM t, pg_tables WHERE tablename = 't'").trim(),
        "1|rights_user"
    );
    // Its own database may be replaced, that of another not.
    restored(driver.as_ref(), &part, &in_place(Conflict::Replace));
    source.admin("DROP DATABASE rights__before_j1; ");
    source.admin("ALTER DATABASE rights OWNER TO postgres");
    let error = driver.plan_restore(&reader, &in_place(Conflict::Replace)).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Denied, "{error}");
    // Things of others cannot be given to them.
    let foreign = falsified(&source, |_| {});
    let error = driver.plan_restore(&MemoryReader::new(&foreign), &new_database("rights3")).unwrap_err();
    assert!(error.sentence.contains("postgres"), "{error}");
    for name in ["rights", "rights2"] {
        source.admin(&format!("DROP DATABASE {name}"));
    }
    source.admin("DROP ROLE rights_user");
}

/// As every database of a server before 15 has it.
#[test]
fn an_ordinary_account_restores_a_database_whose_schema_public_is_anothers() {
    let Some(source) = Database::new("publicly", "") else { return };
    source.admin("CREATE ROLE publicly_user LOGIN CREATEDB; ALTER DATABASE publicly OWNER TO publicly_user");
    source.sql(
        "ALTER SCHEMA public OWNER TO postgres; GRANT CREATE ON SCHEMA public TO publicly_user; \
         CREATE TABLE t (id int); INSERT INTO t VALUES (1); ALTER TABLE t OWNER TO publicly_user; \
         COMMENT ON SCHEMA public IS 'ours'",
    );
    let part = source.capture();
    let (plan, _) = restored(source.driver_as("publicly_user", &[]).as_ref(), &part, &new_database("publicly2"));
    assert!(plan.steps.iter().any(|step| step.contains("the schema public")), "{:?}", plan.steps);
    let copy = source.named("publicly2");
    assert_eq!(copy.sql("SELECT id, tableowner FROM t, pg_tables WHERE tablename = 't'").trim(), "1|publicly_user");
    assert_eq!(copy.sql("SELECT obj_description('public'::regnamespace)").trim(), "ours");
    // A superuser gives it its owner.
    restored(source.driver().as_ref(), &part, &new_database("publicly3"));
    assert_eq!(
        source.named("publicly3").sql("SELECT nspowner::regrole FROM pg_namespace WHERE nspname = 'public'").trim(),
        "postgres"
    );
}

#[test]
fn rows_that_are_missing_in_the_store_fail_the_restore() {
    let Some(source) = Database::new("fewer", "CREATE TABLE t (id int); INSERT INTO t SELECT generate_series(1, 9)")
    else {
        return;
    };
    let part = falsified(&source, |details| details["tables"][0]["rows"] = 10.into());
    let reader = MemoryReader::new(&part);
    let error = restore(source.driver().as_ref(), &reader, &new_database("fewer2")).unwrap_err();
    assert!(error.sentence.contains("should hold 10 rows of public.t; 9 arrived"), "{error}");
    assert_eq!(source.databases(), ["fewer"]);
}

#[test]
fn what_pg_restore_complains_of_is_told_in_one_sentence() {
    let Some(source) = Database::new("complaint", "CREATE TABLE t (id int)") else { return };
    // The manifest does not know the role, the table of contents does.
    source.sql("CREATE ROLE complaint_guest; GRANT SELECT ON t TO complaint_guest");
    let part = falsified(&source, |details| details["roles"] = serde_json::json!(["postgres"]));
    source.sql("REVOKE ALL ON t FROM complaint_guest; DROP ROLE complaint_guest");
    let reader = MemoryReader::new(&part);
    let error = restore(source.driver().as_ref(), &reader, &new_database("complaint2")).unwrap_err();
    assert!(error.sentence.starts_with("pg_restore: role \"complaint_guest\" does not exist"), "{error}");
    assert_eq!(source.databases(), ["complaint"]);
}
