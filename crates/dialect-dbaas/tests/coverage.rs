//! COVERAGE.md, the OpenAPI document and its committed copy say the same.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{collections::BTreeSet, fs, path::PathBuf};

use trivault_dialect_dbaas::openapi;

const COVERAGE: &str = include_str!("../COVERAGE.md");

/// `METHOD /path` of the rows whose state begins with `state`.
fn rows(state: &str) -> BTreeSet<String> {
    let rows = COVERAGE.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    cells.filter(|cells| cells[2].starts_with(state)).map(|cells| cells[1].trim_matches('`').to_owned()).collect()
}

fn operations() -> BTreeSet<String> {
    let document = serde_json::to_value(openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        item.as_object().unwrap().keys().map(move |method| format!("{} {path}", method.to_uppercase()))
    });
    operations.collect()
}

#[test]
fn every_row_that_is_implemented_is_in_the_document_and_the_other_way_round() {
    assert_eq!(rows("implemented"), operations());
}

#[test]
fn every_row_is_implemented_or_refused_with_a_status() {
    let all = rows("");
    let decided: BTreeSet<_> = rows("implemented").union(&rows("refused with 40")).cloned().collect();
    assert_eq!(all, decided);
    assert!(all.len() > 60, "the table is read");
}

/// `TRIVAULT_WRITE_OPENAPI=1` writes the committed copy anew.
#[test]
fn the_committed_document_is_the_one_the_code_makes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../openapi/dbaas.json");
    let made = serde_json::to_string_pretty(&openapi()).unwrap() + "\n";
    if std::env::var_os("TRIVAULT_WRITE_OPENAPI").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "openapi/dbaas.json is out of date: run this test with TRIVAULT_WRITE_OPENAPI=1");
}
