//! Limits of time that a role is set to, and what holds a database back that is to be dropped.

use trivault_sources::{Conflict, ErrorKind, Interrupted, testing::MemoryReader};

use crate::support::{Database, in_place, new_database, restored};

/// A database whose index takes two seconds to make anywhere but in the source.
fn slow(name: &str) -> String {
    format!(
        "CREATE FUNCTION slow(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
         $$ BEGIN IF current_database() <> '{name}' THEN PERFORM pg_sleep(2); END IF; RETURN i; END $$; \
         CREATE TABLE t (id int); INSERT INTO t VALUES (1); CREATE INDEX ON t (slow(id))"
    )
}

#[test]
fn no_limit_of_the_role_ends_a_restore() {
    let Some(source) = Database::new("limited", &slow("limited")) else { return };
    let version: u32 = source.admin("SHOW server_version_num").trim().parse().unwrap();
    source.admin("CREATE ROLE hurried LOGIN SUPERUSER");
    let mut limits = vec!["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"];
    limits.extend(
        [("idle_session_timeout", 140_000), ("transaction_timeout", 170_000)]
            .iter()
            .filter_map(|(name, since)| (version >= *since).then_some(*name)),
    );
    for limit in limits {
        source.admin(&format!("ALTER ROLE hurried SET {limit} = '1ms'"));
    }
    let driver = source.driver_as("hurried", &[]);
    let part = source.capture();
    restored(driver.as_ref(), &part, &new_database("limited2"));
    assert_eq!(source.named("limited2").sql("SELECT id FROM t").trim(), "1");
    source.named("limited2").sql("DELETE FROM t");
    let merged = source.named("limited2");
    restored(merged.driver_as("hurried", &[]).as_ref(), &part, &in_place(Conflict::AddMissing));
    assert_eq!(merged.sql("SELECT id FROM t").trim(), "1");
}

#[test]
fn a_database_with_a_subscription_is_removed_after_a_crash_and_after_a_failure() {
    let Some(source) = Database::new("subscribed", "CREATE TABLE t (id int); INSERT INTO t VALUES (1)") else { return };
    let part = source.capture();
    let driver = source.driver();
    let plan = driver.plan_restore(&MemoryReader::new(&part), &in_place(Conflict::Replace)).unwrap();
    source.admin("CREATE DATABASE subscribed__tv_j1");
    source.named("subscribed__tv_j1").sql(
        "CREATE SUBSCRIPTION \"odd \"\"name\" CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false, slot_name = kept)",
    );
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::NothingTouched);
    assert_eq!(source.databases(), ["subscribed"]);

    // A restore that fails when the subscription is there already.
    source.sql(
        "CREATE SUBSCRIPTION far CONNECTION 'host=/nowhere' PUBLICATION p WITH (connect = false, slot_name = NONE); \
         CREATE FUNCTION fails(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS \
         $$ BEGIN IF current_database() <> 'subscribed' THEN PERFORM pg_sleep(1); RAISE 'not here'; END IF; RETURN i; END $$; \
         CREATE INDEX ON t (fails(id))",
    );
    let part = source.capture();
    let plan = driver.plan_restore(&MemoryReader::new(&part), &new_database("subscribed2")).unwrap();
    let error = driver.restore(&MemoryReader::new(&part), &plan).unwrap_err();
    assert_ne!(error.kind, ErrorKind::Conflict, "{error:?}");
    assert_eq!(source.databases(), ["subscribed"], "{error:?}");
    source.sql("DROP INDEX t_fails_idx");
    let part = source.capture();
    restored(driver.as_ref(), &part, &new_database("subscribed2"));
    let copy = source.named("subscribed2");
    assert_eq!(
        copy.sql(
            "SELECT subname, subenabled FROM pg_subscription WHERE subdbid = (SELECT oid FROM pg_database \
                         WHERE datname = current_database())"
        )
        .trim(),
        "far|f"
    );
    assert_eq!(copy.digest(), source.digest());
    for database in [&source, &copy] {
        database.sql("DROP SUBSCRIPTION far");
    }
}
