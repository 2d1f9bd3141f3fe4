//! `COVERAGE.md`, the OpenAPI document and the routes say the same.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;

use chrono_tz::Tz;
use trivault_dialect_couchbase::{Couchbase, routes};
use trivault_http::Dialect;

type Call = (String, String);

fn documented(state: &str) -> BTreeSet<Call> {
    include_str!("../COVERAGE.md")
        .lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.split('|').map(str::trim).collect();
            let is_row = cells.len() > 4 && cells[2].starts_with('/') && cells[3] == state;
            is_row.then(|| (cells[1].to_owned(), cells[2].to_owned()))
        })
        .collect()
}

fn of_document() -> BTreeSet<Call> {
    let document = serde_json::to_value(Couchbase::new(Tz::UTC).openapi()).unwrap();
    let paths = document["paths"].as_object().unwrap();
    let calls = paths.iter().flat_map(|(path, methods)| {
        methods.as_object().unwrap().keys().map(|method| (method.to_uppercase(), path.clone()))
    });
    calls.collect()
}

#[test]
fn what_is_implemented_is_what_the_openapi_document_describes() {
    assert_eq!(documented("implemented"), of_document());
}

#[test]
fn every_route_is_in_the_table_and_every_line_of_the_table_has_a_route() {
    let mut routes: BTreeSet<Call> =
        routes::table().into_iter().map(|route| (route.method.to_string(), route.path)).collect();
    // One call under two patterns: `active` is one of the states.
    assert!(routes.remove(&("GET".to_owned(), "/api/v1/cluster/self/repository/active/{id}".to_owned())));
    let documented: BTreeSet<Call> = documented("implemented").union(&documented("refused")).cloned().collect();
    assert_eq!(documented, routes);
}

#[test]
fn every_operation_has_an_id_of_its_own_and_every_answer_a_description() {
    let document = serde_json::to_value(Couchbase::new(Tz::UTC).openapi()).unwrap();
    let mut ids = BTreeSet::new();
    for methods in document["paths"].as_object().unwrap().values() {
        for operation in methods.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            for answer in operation["responses"].as_object().unwrap().values() {
                assert!(!answer["description"].as_str().unwrap_or_default().is_empty(), "{operation}");
            }
        }
    }
}

#[test]
fn the_committed_document_is_the_one_that_the_code_makes() {
    let path = std::path::PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../openapi/couchbase.json");
    let made = Couchbase::new(Tz::UTC).openapi().to_pretty_json().unwrap() + "\n";
    if std::env::var_os("TRIVAULT_WRITE_OPENAPI").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == made, "openapi/couchbase.json is out of date: run this test with TRIVAULT_WRITE_OPENAPI=1");
}
