//! What no client should send, and what it gets.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use common::{Gateway, Sent};

#[tokio::test]
async fn names_of_any_shape_are_missing_and_never_a_routing_error() {
    let gateway = Gateway::open().await;
    let long = "a".repeat(5_000);
    for name in ["%00", "..%2F..%2Fetc", "a%2Fb", "%F0%9F%92%BE", "%0A", "'--", long.as_str(), "*", "%"] {
        for path in [
            format!("/api/databases/{name}"),
            format!("/api/databases/{name}/backups"),
            format!("/api/backups/{name}"),
            format!("/api/databases/{}/backups/{name}/archive", gateway.names.addon_id),
            format!("/v1/apps/{name}"),
            format!("/v1/apps/{}/addons/{name}", gateway.names.app),
        ] {
            let answer = gateway.get(&path, &gateway.main).await;
            assert_eq!(answer.status, 404, "{}", &path[..path.len().min(80)]);
        }
    }
    gateway.running.stop().await;
}

#[tokio::test]
async fn refusals_of_the_shared_layer_are_json_too() {
    let gateway = Gateway::open().await;
    let path = format!("/api/databases/{}", gateway.names.addon_id);
    let huge = format!("{{\"x\":\"{}\"}}", "y".repeat(2 << 20));
    let bearer = Some(gateway.main.as_str());
    for (status, sent) in [
        (413, Sent { bearer, body: Some(&huge), ..Sent::default() }),
        (403, Sent { bearer, headers: vec![("Origin", "https://evil.example.com")], ..Sent::default() }),
        (403, Sent { bearer, headers: vec![("Host", "evil.example.com")], ..Sent::default() }),
    ] {
        assert_eq!(gateway.send("PATCH", &path, sent).await.status, status);
    }
    let answer = gateway.send("OPTIONS", &path, Sent::default()).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD, PATCH, PUT"));
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_missing_app_is_named_as_a_resource_where_the_host_has_a_region() {
    let gateway = Gateway::open().await;
    for (host, resource) in [("api.example.org", Some("app")), ("localhost:8097", None), ("127.0.0.1", None)] {
        let sent = Sent { bearer: Some(&gateway.main), headers: vec![("Host", host)], ..Sent::default() };
        let answer = gateway.send("GET", "/v1/apps/nobody/addons", sent).await;
        assert_eq!(answer.status, 404);
        assert_eq!(answer.json().get("resource").and_then(|resource| resource.as_str()), resource, "{host}");
    }
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_head_is_a_get_without_a_body_everywhere() {
    let gateway = Gateway::open().await;
    for path in ["/v1/apps".to_owned(), format!("/api/databases/{}/backups", gateway.names.addon_id)] {
        let sent = Sent { bearer: Some(&gateway.main), ..Sent::default() };
        let answer = gateway.send("HEAD", &path, sent).await;
        assert_eq!((answer.status, answer.bytes.len()), (200, 0), "{path}");
    }
    gateway.running.stop().await;
}
