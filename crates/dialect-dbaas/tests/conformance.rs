//! Every printed request of the documented calls, with the answer it must get: `fixtures/documented.json`, in order.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{
    Gateway, Sent,
    pattern::{assert_matches, fill},
};
use serde_json::Value;

const FIXTURES: &str = include_str!("fixtures/documented.json");

#[tokio::test]
async fn every_documented_request_gets_its_answer() {
    let gateway = Gateway::open().await;
    let done = gateway.backup().await;
    assert_eq!(done["status"], "done", "{done}");
    let mut values = gateway.values();
    values.insert("backup", done["id"].as_str().unwrap().to_owned());
    let fixtures: Vec<Value> = serde_json::from_str(&fill(FIXTURES, &values)).unwrap();
    for fixture in &fixtures {
        let it = fixture["it"].as_str().unwrap();
        let request = &fixture["request"];
        let headers = request["headers"].as_object().into_iter().flatten();
        let sent = Sent {
            bearer: request["bearer"].as_str(),
            basic: request["basic"].as_str(),
            headers: headers.map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect(),
            body: request["body"].as_str(),
        };
        let answer = gateway.send(request["method"].as_str().unwrap(), request["path"].as_str().unwrap(), sent).await;
        let body = answer.json();
        assert_eq!(fixture["answer"]["status"], answer.status, "it {it}: {body}");
        assert_matches(&fixture["answer"]["body"], &body, it);
        for absent in fixture["answer"]["without"].as_array().into_iter().flatten() {
            assert!(body.get(absent.as_str().unwrap()).is_none(), "it {it}: {body}");
        }
    }
    gateway.running.stop().await;
}
