//! Restores whose process died: what they left is finished or removed.

use trivault_sources::{Conflict, Interrupted, PartRestorePlan, SourceDriver, testing::MemoryReader};

use crate::support::{Database, in_place, new_database, only, to};

const TABLE: &str = "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t VALUES (1)";

fn planned(source: &Database, conflict: Conflict) -> (Box<dyn SourceDriver>, PartRestorePlan) {
    let part = source.capture();
    let driver = source.driver();
    let plan = driver.plan_restore(&MemoryReader::new(&part), &in_place(conflict)).unwrap();
    (driver, plan)
}

#[test]
fn before_the_swap_the_temporary_database_goes() {
    let Some(source) = Database::new("early", TABLE) else { return };
    let (driver, plan) = planned(&source, Conflict::Replace);
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::NothingTouched, "it died at once");
    source.admin("CREATE DATABASE early__tv_j1");
    for _ in 0..2 {
        assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::NothingTouched);
        assert_eq!(source.databases(), ["early"]);
    }
    // It died with the door closed.
    source.admin("CREATE DATABASE early__tv_j1");
    source.admin("ALTER DATABASE early ALLOW_CONNECTIONS false");
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::NothingTouched);
    assert_eq!(source.sql("SELECT id FROM t").trim(), "1", "it is open again");
}

#[test]
fn between_the_renames_the_new_database_takes_the_name() {
    let Some(source) = Database::new("between", TABLE) else { return };
    let (driver, plan) = planned(&source, Conflict::Replace);
    source.admin("CREATE DATABASE between__tv_j1");
    source.named("between__tv_j1").sql("CREATE TABLE new (id int)");
    source.admin("ALTER DATABASE between ALLOW_CONNECTIONS false");
    source.admin("ALTER DATABASE between RENAME TO between__before_j1");
    for _ in 0..2 {
        assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::Finished);
        assert_eq!(source.databases(), ["between", "between__before_j1"]);
    }
    assert_eq!(source.sql("SELECT count(*) FROM new").trim(), "0");
    assert_eq!(source.named("between__before_j1").sql("SELECT id FROM t").trim(), "1");
    source.admin("DROP DATABASE between__before_j1");
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::Finished);
}

#[test]
fn a_stranger_that_took_the_name_between_the_renames_is_left_to_a_person() {
    let Some(source) = Database::new("stranger", TABLE) else { return };
    let (driver, plan) = planned(&source, Conflict::Replace);
    source.admin("CREATE DATABASE stranger__tv_j1");
    source.admin("ALTER DATABASE stranger RENAME TO stranger__before_j1");
    source.admin("CREATE DATABASE stranger");
    let error = driver.resume_restore(&plan).unwrap_err();
    assert!(error.hint.unwrap().contains("stranger__tv_j1"));
    assert_eq!(source.databases().len(), 3, "nothing is lost");
    source.admin("DROP DATABASE stranger");
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::Finished);
}

#[test]
fn a_new_database_is_there_or_not_at_all() {
    let Some(source) = Database::new("newcomer", TABLE) else { return };
    let part = source.capture();
    let driver = source.driver();
    let plan = driver.plan_restore(&MemoryReader::new(&part), &new_database("fresh")).unwrap();
    source.admin("CREATE DATABASE fresh__tv_j1");
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::NothingTouched);
    assert_eq!(source.databases(), ["newcomer"]);
    driver.restore(&MemoryReader::new(&part), &plan).unwrap();
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::Finished);
    assert_eq!(source.named("fresh").sql("SELECT id FROM t").trim(), "1");
}

#[test]
fn a_merge_was_committed_or_touched_nothing() {
    let Some(source) = Database::new("merging", TABLE) else { return };
    let (driver, plan) = planned(&source, Conflict::AddMissing);
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::NothingTouched);
    // What the committed transaction leaves until the restore has ended.
    source.sql("CREATE SCHEMA trivault_j1");
    assert_eq!(driver.resume_restore(&plan).unwrap(), Interrupted::Finished);
    assert_eq!(source.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'trivault%'").trim(), "0");
}

#[test]
fn a_server_that_cannot_be_reached_is_asked_again_later() {
    let Some(source) = Database::new("away", TABLE) else { return };
    let (_, plan) = planned(&source, Conflict::Replace);
    let config = trivault_sources::SourceConfig {
        kind: "postgresql".to_owned(),
        location: "postgresql:///away?host=/nowhere&user=postgres".to_owned(),
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: None,
    };
    let gone = trivault_sources::open(&config).unwrap();
    assert_eq!(gone.resume_restore(&plan).unwrap_err().kind, trivault_sources::ErrorKind::Unavailable);
    let request = to(trivault_sources::RestoreTarget::InPlace, Conflict::Replace, only(&[]));
    assert!(request.selection.is_everything());
}
