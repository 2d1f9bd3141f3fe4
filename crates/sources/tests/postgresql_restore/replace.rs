//! Whole databases over the live ones.

use trivault_sources::{Conflict, ErrorKind, Interrupted, Selection, testing::MemoryReader};

use crate::support::{Database, in_place, only, restored, to};

const TABLE: &str =
    "CREATE TABLE t (id int PRIMARY KEY, x text); INSERT INTO t SELECT i, 'x' FROM generate_series(1, 100) i";

#[test]
fn a_live_database_is_replaced_although_a_session_is_connected_and_stays_aside() {
    let Some(source) = Database::new("replaced", TABLE) else { return };
    let part = source.capture();
    source.sql("DELETE FROM t; INSERT INTO t VALUES (1000, 'live')");
    // A client in the middle of a transaction.
    let mut client = std::process::Command::new("psql")
        .args(["-X", "-q", "-U", "postgres", "-d", "replaced", "-h"])
        .arg(source.server.socket_folder())
        .args(["-c", "BEGIN; SELECT count(*) FROM t; SELECT pg_sleep(60)"])
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    while source
        .admin("SELECT count(*) FROM pg_stat_activity WHERE datname = 'replaced' AND query LIKE '%pg_sleep(60)%'")
        .trim()
        != "1"
    {}
    let (plan, outcome) = restored(source.driver().as_ref(), &part, &in_place(Conflict::Replace));
    assert!(!client.wait().unwrap().success(), "the client's session was ended");
    assert!(plan.steps.iter().any(|step| step.contains("renames it to replaced__before_j1")), "{:?}", plan.steps);
    assert_eq!(source.sql("SELECT count(*), max(id) FROM t").trim(), "100|100");
    assert_eq!(outcome.kept_aside, [std::path::PathBuf::from("replaced__before_j1")]);
    assert_eq!(
        source.named("replaced__before_j1").sql("SELECT x FROM t").trim(),
        "live",
        "the old one can be looked at"
    );
    assert_eq!(source.databases(), ["replaced", "replaced__before_j1"]);
    assert_eq!(source.driver().resume_restore(&plan).unwrap(), Interrupted::Finished, "it may be asked again");
}

#[test]
fn a_database_that_was_dropped_is_made_again_in_place() {
    let Some(source) = Database::new("dropped", TABLE) else { return };
    let part = source.capture();
    source.admin("DROP DATABASE dropped");
    let (_, outcome) = restored(source.driver().as_ref(), &part, &in_place(Conflict::Replace));
    assert_eq!(outcome.kept_aside.len(), 0);
    assert_eq!(source.sql("SELECT count(*) FROM t").trim(), "100");
    source.admin("DROP DATABASE dropped");
    restored(source.driver().as_ref(), &part, &in_place(Conflict::AddMissing));
    assert_eq!(source.sql("SELECT count(*) FROM t").trim(), "100");
}

#[test]
fn the_servers_own_database_can_be_the_one_that_is_replaced() {
    let Some(helper) = Database::new("helper", "") else { return };
    let source = helper.named("postgres");
    source.sql("CREATE TABLE mine (id int); INSERT INTO mine VALUES (7)");
    let part = source.capture();
    source.sql("DELETE FROM mine");
    restored(source.driver().as_ref(), &part, &in_place(Conflict::Replace));
    assert_eq!(source.sql("SELECT id FROM mine").trim(), "7");
}

#[test]
fn a_part_of_a_database_is_not_replaced() {
    let Some(source) = Database::new("unreplaced", TABLE) else { return };
    let part = source.capture();
    let request = to(trivault_sources::RestoreTarget::InPlace, Conflict::Replace, only(&["public.t"]));
    let error = source.driver().plan_restore(&MemoryReader::new(&part), &request).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert!(Selection::default().is_everything());
}
