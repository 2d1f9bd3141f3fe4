//! What `source test` says of a PostgreSQL source, on real servers: each finding has a sentence and, where something can be done,
//! a hint.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "test code")]

mod connection;
mod fake;
mod pooler;
mod privileges;
mod surroundings;
mod tls;

use trivault_sources::{
    Conflict, ErrorKind, Finding, PartRestoreRequest, RestoreTarget, Secret, Selection, Severity, SourceConfig,
    SourceDriver, SourceError, open,
    testing::{MemoryReader, MemorySink, MemoryStore},
};

pub fn config(url: &str, password: Option<&str>) -> SourceConfig {
    SourceConfig {
        kind: "postgresql".into(),
        location: url.into(),
        options: serde_json::Map::new(),
        never_capture: vec![],
        secret: password.map(Secret::new),
    }
}

pub fn driver(url: &str, password: Option<&str>) -> Box<dyn SourceDriver> {
    open(&config(url, password)).unwrap()
}

/// The finding whose sentence has this text.
pub fn finding(findings: &[Finding], part: &str) -> Finding {
    let found = findings.iter().find(|finding| finding.sentence.contains(part));
    found.unwrap_or_else(|| panic!("nothing says {part:?}: {findings:#?}")).clone()
}

/// A backup works, and a restore: the programs of PostgreSQL reach the server as we do.
#[track_caller]
pub fn comes_back(url: &str, password: Option<&str>, name: &str) {
    let driver = driver(url, password);
    let sink = MemorySink::new(&MemoryStore::new());
    let manifest = driver.capture(&sink).unwrap_or_else(|error| panic!("{url}: {error:?}"));
    assert_eq!(sink.warnings(), [], "{url}");
    let part = sink.into_part(manifest);
    let reader = MemoryReader::new(&part);
    let request = PartRestoreRequest {
        target: RestoreTarget::NewDatabase(name.to_owned()),
        conflict: Conflict::Replace,
        selection: Selection::default(),
        job: "j1".to_owned(),
    };
    let plan = driver.plan_restore(&reader, &request).unwrap_or_else(|error| panic!("{url}: {error:?}"));
    driver.restore(&reader, &plan).unwrap_or_else(|error| panic!("{url}: {error:?}"));
}

/// What keeps a backup from working, as the probe prints it and with the kind that a job sees.
#[track_caller]
pub fn refusal(url: &str, password: Option<&str>) -> (ErrorKind, String, String) {
    let driver = driver(url, password);
    let first = driver.probe().into_iter().next().unwrap();
    assert_eq!(first.severity, Severity::Error, "{first:?}");
    let SourceError { kind, sentence, hint, .. } = driver.estimate().unwrap_err();
    assert_eq!((&sentence, &hint), (&first.sentence, &first.hint));
    assert!(password.is_none_or(|password| !format!("{first:?}").contains(password)));
    (kind, sentence, hint.unwrap_or_default())
}

/// Nothing keeps a backup from working.
#[track_caller]
pub fn works(url: &str, password: Option<&str>) -> Vec<Finding> {
    let findings = driver(url, password).probe();
    assert!(findings.iter().all(|finding| finding.severity != Severity::Error), "{findings:#?}");
    driver(url, password).estimate().unwrap();
    findings
}
