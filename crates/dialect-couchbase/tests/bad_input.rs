//! Who may not, and what cannot be.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use common::{BUCKET, Gateway, PASSWORD, R, READER, USER};
use serde_json::json;

#[tokio::test]
async fn credentials_are_checked_before_path_method_and_body() {
    let gateway = Gateway::open().await;
    let challenge = "Basic realm=\"Couchbase Server Admin / REST\"";
    for (method, path) in
        [("GET", "/api/v1/plan"), ("POST", "/api/v1/plan/x"), ("GET", "/api/v1/nothing"), ("DELETE", "/cluster/self")]
    {
        for user in [None, Some((USER, "wrong")), Some(("nobody", PASSWORD))] {
            let answer = gateway.send(method, path, b"{{".to_vec(), user, &[]).await;
            assert_eq!((answer.status, answer.text.as_str()), (401, ""), "{method} {path}");
            assert_eq!(answer.header("www-authenticate"), challenge);
        }
    }
    let proxied = gateway.send("GET", "/_p/backup/api/v1/plan", Vec::new(), None, &[]).await;
    assert_eq!((proxied.status, proxied.header("www-authenticate")), (401, ""));
    let asked = gateway.send("GET", "/api/v1/plan", Vec::new(), None, &[("invalid-auth-response", "on")]).await;
    assert_eq!((asked.status, asked.header("www-authenticate")), (401, ""));
    gateway.close().await;
}

#[tokio::test]
async fn a_reader_sees_everything_and_changes_nothing() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    for path in ["/api/v1/cluster/self", "/api/v1/plan", "/cluster/self/repository/active/testRepo/info"] {
        let answer = gateway.send("GET", path, Vec::new(), Some(READER), &[]).await;
        assert_eq!(answer.status, 200, "{path}");
    }
    for (path, body) in [
        ("/api/v1/plan/x", "{}"),
        ("/api/v1/cluster/self/repository/active/x", "{}"),
        ("/api/v1/cluster/self/repository/active/testRepo/backup", ""),
        ("/api/v1/cluster/self/repository/active/testRepo/pause", ""),
        ("/api/v1/cluster/self/repository/active/testRepo/restore", "{}"),
    ] {
        let answer = gateway.send("POST", path, body.as_bytes().to_vec(), Some(READER), &[]).await;
        assert_eq!(answer.status, 403, "{path}");
        let expected = "Forbidden. User needs one of the following permissions";
        assert_eq!(answer.json()["message"], json!(expected));
    }
    gateway.close().await;
}

#[tokio::test]
async fn unknown_paths_wrong_methods_and_odd_names_get_the_documented_errors() {
    let gateway = Gateway::open().await;
    let long = "x".repeat(10_000);
    for (method, path, status, msg) in [
        ("GET", "/api/v1", 404, "Object Not Found"),
        ("GET", "/api/v1/plans", 404, "Object Not Found"),
        ("GET", "/api/v1/plan/", 404, "Object Not Found"),
        ("GET", R, 404, "Object Not Found"),
        ("GET", "/api/v1/api/v1/api/v1/plan", 404, "Object Not Found"),
        ("GET", "/_p/backup/internal/v1/x", 404, "Object Not Found"),
        ("POST", &format!("{R}/archived/x/pause"), 404, "Object Not Found"),
        ("DELETE", "/api/v1/cluster/self", 405, "Method Not Allowed"),
        ("OPTIONS", "/api/v1/plan", 405, "Method Not Allowed"),
        ("POST", &format!("{R}/archived/x"), 405, "Method Not Allowed"),
        ("PATCH", "/api/v1/plan/x", 404, "requested plan not found"),
        ("GET", &format!("{R}/foo"), 400, "invalid repository state"),
        ("GET", &format!("{R}/foo/x"), 400, "invalid repository state"),
        ("GET", "/api/v1/cluster/other/repository/active", 400, "Remote clusters not supported"),
        ("GET", &format!("/api/v1/plan/{long}"), 404, "requested plan not found"),
        ("GET", "/api/v1/plan/..%2F..%2Fetc", 404, "requested plan not found"),
        ("GET", "/api/v1/plan/a%00b", 404, "requested plan not found"),
        ("GET", "/api/v1/plan/%ff%fe", 404, "requested plan not found"),
        ("GET", &format!("{R}/active/..%2Fx"), 404, "no repositories found"),
        ("GET", &format!("{R}/active/{long}"), 404, "no repositories found"),
    ] {
        let answer = gateway.call(method, path, "").await;
        assert_eq!((answer.status, &answer.json()["msg"]), (status, &json!(msg)), "{method} {path}");
        assert_eq!(answer.status == 405, !answer.header("allow").is_empty(), "{method} {path}");
    }
    for id in ["my_repo%21", "a.b", "..%2Fx", "a%00b", "%ff", &"x".repeat(51)] {
        let answer = gateway.call("POST", &format!("{R}/active/{id}"), "{}").await;
        let rule = "repository id must follow the rules ^[0-9A-Za-z][0-9A-Za-z_-]{0,49}$";
        assert_eq!(answer.json(), json!({ "status": 400, "msg": rule }), "{id}");
    }
    let head = gateway.call("HEAD", "/api/v1/plan", "").await;
    assert_eq!((head.status, head.text.as_str()), (200, ""));
    gateway.close().await;
}

#[tokio::test]
async fn bodies_that_are_too_large_broken_or_not_text_are_invalid() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    let backup = format!("{R}/active/testRepo/backup");
    let mut large = b"{\"full_backup\":false,\"x\":\"".to_vec();
    large.resize(1024 * 1024 + 1, b'x');
    let user = Some((USER, PASSWORD));
    for body in [
        large,
        b"{\"full_backup\":\"Bad\"}".to_vec(),
        b"{\"full_backup\":1}".to_vec(),
        b"[]".to_vec(),
        b"full_backup=true".to_vec(),
        b"\xff\xfe".to_vec(),
        b"{".to_vec(),
    ] {
        let answer = gateway.send("POST", &backup, body, user, &[]).await;
        assert_eq!((answer.status, &answer.json()["msg"]), (400, &json!("invalid request body")));
    }
    for fine in ["", " \n", "{}", "{\"full_backup\":null,\"x\":1}", "{\"full_backup\":false,\"full_backup\":true}"] {
        let answer = gateway.call("POST", &backup, fine).await;
        assert_eq!(answer.status, 200, "{fine}: {}", answer.text);
    }
    gateway.close().await;
}

#[tokio::test]
async fn requests_for_other_hosts_and_from_other_sites_are_refused() {
    let gateway = Gateway::open().await;
    let user = Some((USER, PASSWORD));
    let other = gateway.send("GET", "/api/v1/plan", Vec::new(), user, &[("host", "evil.example.com")]).await;
    assert_eq!((other.status, &other.json()["msg"]), (400, &json!("unknown host")));
    let known = gateway.send("GET", "/api/v1/plan", Vec::new(), user, &[("host", "node3:8097")]).await;
    assert_eq!(known.status, 200);
    let headers = [("origin", "http://evil.example.com")];
    let foreign = gateway.send("POST", "/api/v1/plan/x", b"{}".to_vec(), user, &headers).await;
    assert_eq!(foreign.status, 403);
    gateway.close().await;
}

#[tokio::test]
async fn restores_that_cannot_work_are_refused_before_anything_starts() {
    let gateway = Gateway::open().await;
    gateway.create("testRepo", BUCKET).await;
    let path = format!("{R}/active/testRepo/restore");
    let with = |members: serde_json::Value| {
        let mut body = json!({ "target": "http://127.0.0.1:8091", "user": USER, "password": PASSWORD });
        body.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
        body.to_string()
    };
    for (body, status, word) in [
        (String::new(), 400, "unexpected end of JSON input"),
        ("{}".to_owned(), 400, "target is required"),
        (with(json!({ "target": "http://backup.example.com:8091" })), 400, "not this gateway"),
        (with(json!({ "password": "wrong" })), 500, "wrong user name or password"),
        (with(json!({ "user": READER.0, "password": READER.1 })), 500, "may not restore"),
        (with(json!({})), 400, "no complete backup"),
    ] {
        let answer = gateway.call("POST", &path, &body).await;
        assert_eq!(answer.status, status, "{body}: {}", answer.text);
        assert!(answer.text.contains(word), "{body}: {}", answer.text);
        assert!(!answer.text.contains(PASSWORD) || word.contains(PASSWORD), "{}", answer.text);
    }
    gateway.back_up("testRepo").await;
    let answer = gateway.call("POST", &path, &with(json!({ "map_data": "travel-sample=ts7" }))).await;
    assert!(answer.text.contains("set auto_create_buckets"), "{}", answer.text);
    assert_eq!(gateway.get(&format!("{R}/active/testRepo/taskHistory")).await.as_array().unwrap().len(), 1);
    gateway.close().await;
}
