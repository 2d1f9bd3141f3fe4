//! The committed documents are what the binary generates.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{fs, path::Path};

use trivault_testkit::gateway;

#[test]
fn the_committed_documents_are_those_that_the_code_generates() {
    let data = tempfile::tempdir().unwrap();
    for name in ["couchbase", "arcgis", "dbaas"] {
        let output = gateway::command(data.path(), &["openapi", name]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../openapi").join(format!("{name}.json"));
        let committed = fs::read_to_string(&path).unwrap_or_default();
        let generated = String::from_utf8(output.stdout).unwrap();
        assert!(committed == generated, "openapi/{name}.json is not up to date; run scripts/openapi");
    }
}
