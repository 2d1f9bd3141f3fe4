//! Every printed request of the calls that are built, with the answer it must get: `fixtures/documented.json`, in order.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{Gateway, pattern::assert_matches};
use serde_json::Value;

const FIXTURES: &str = include_str!("fixtures/documented.json");

#[tokio::test]
async fn every_documented_request_gets_its_answer() {
    let gateway = Gateway::open().await;
    let fixtures: Vec<Value> = serde_json::from_str(FIXTURES).unwrap();
    for fixture in &fixtures {
        let it = fixture["it"].as_str().unwrap();
        let body = match &fixture["body"] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let answer = gateway.call(fixture["method"].as_str().unwrap(), fixture["path"].as_str().unwrap(), &body).await;
        assert_eq!(fixture["status"], answer.status, "{it}: {}", answer.text);
        match &fixture["answer"] {
            Value::Null => assert_eq!(answer.text, "", "{it}"),
            expected => assert_matches(expected, &answer.json(), it),
        }
    }
    gateway.close().await;
}
