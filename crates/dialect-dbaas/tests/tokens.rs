//! API tokens and what each credential is good for.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use common::{Gateway, PASSWORD, Sent, USER};
use serde_json::{Value, json};

fn claims(jwt: &str) -> Value {
    let payload = jwt.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

#[tokio::test]
async fn bearers_are_jwts_that_clients_can_decode() {
    let gateway = Gateway::open().await;
    let now = chrono::Utc::now().timestamp();
    for (jwt, kind) in [(&gateway.main, "main"), (&gateway.addon_token, "addon")] {
        let claims = claims(jwt);
        let expires = claims["exp"].as_i64().expect("a number, else the command line crashes");
        assert!((3_500..=3_700).contains(&(expires - now)), "one hour: {expires}");
        assert_eq!(claims["typ"], kind);
        for name in ["sub", "iss", "jti"] {
            assert!(claims.get(name).is_none_or(Value::is_string), "{name}: {claims}");
        }
        assert!(claims.get("iat").is_none_or(Value::is_number), "{claims}");
    }
    let addon = claims(&gateway.addon_token);
    assert_eq!(
        (addon["addon"].as_str(), addon["app"].as_str()),
        (Some(gateway.names.addon_id.as_str()), Some(gateway.names.app_id.as_str()))
    );
    gateway.running.stop().await;
}

#[tokio::test]
async fn an_addon_token_opens_its_own_database_and_hides_all_others() {
    let gateway = Gateway::open().await;
    let backup = gateway.backup().await;
    let id = backup["id"].as_str().unwrap();
    let other_token = gateway.token_of(&gateway.other).await;
    for (path, own, foreign) in [
        (format!("/api/databases/{}", gateway.names.addon_id), 200, 404),
        (format!("/api/databases/{}/backups", gateway.names.database_id), 200, 404),
        (format!("/api/databases/{}/backups/{id}", gateway.names.resource_id), 200, 404),
        (format!("/api/databases/{}/backups/{id}/archive", gateway.names.addon_id), 200, 404),
        (format!("/api/backups/{id}"), 200, 404),
        ("/v1/apps".to_owned(), 401, 401),
        (format!("/v1/apps/{}/addons", gateway.names.app), 401, 401),
        ("/v1/users/self".to_owned(), 401, 401),
        ("/v1/tokens".to_owned(), 401, 401),
    ] {
        assert_eq!(gateway.get(&path, &gateway.addon_token).await.status, own, "own: {path}");
        assert_eq!(gateway.get(&path, &other_token).await.status, foreign, "foreign: {path}");
        let main = gateway.get(&path, &gateway.main).await.status;
        assert_eq!(main, 200, "main: {path}");
        let raw = gateway.get(&path, &gateway.api_token).await.status;
        assert_eq!(raw, 200, "API token as bearer: {path}");
        for sent in [
            Sent::default(),
            Sent { bearer: Some("x.y.z"), ..Sent::default() },
            Sent { bearer: Some("tk-us-none"), ..Sent::default() },
            Sent { headers: vec![("Authorization", "Bearer")], ..Sent::default() },
            Sent { headers: vec![("Authorization", "Digest x")], ..Sent::default() },
            Sent { headers: vec![("Authorization", "Basic !!")], ..Sent::default() },
        ] {
            assert_eq!(gateway.send("GET", &path, sent).await.status, 401, "without a good token: {path}");
        }
    }
    let writes = [
        ("PATCH", format!("/api/databases/{}", gateway.names.addon_id)),
        ("POST", format!("/api/databases/{}/backups", gateway.names.addon_id)),
    ];
    for (method, path) in writes {
        let sent = Sent { bearer: Some(&other_token), ..Sent::default() };
        assert_eq!(gateway.send(method, &path, sent).await.status, 404, "{method} {path}");
    }
    gateway.running.stop().await;
}

#[tokio::test]
async fn api_tokens_are_made_listed_renewed_and_deleted() {
    let gateway = Gateway::open().await;
    let basic = format!("{USER}:{PASSWORD}");
    let sent = Sent {
        basic: Some(&basic),
        headers: vec![("X-Authorization-OTP", "123456")],
        body: Some(r#"{"token":{"name":"ci"}}"#),
        ..Sent::default()
    };
    let made = gateway.send("POST", "/v1/tokens", sent).await;
    assert_eq!(made.status, 201, "{}", made.json());
    let made = made.json()["token"].clone();
    let secret = made["token"].as_str().unwrap();
    assert!(secret.starts_with("tk-us-") && secret.len() == 54, "{}", secret.len());
    assert_eq!((&made["name"], &made["last_used_at"]), (&json!("ci"), &Value::Null));

    // As scalingo.js sends it: by bearer and without the root.
    let bearer = gateway.exchange(secret).await;
    let sent = Sent { bearer: Some(&bearer), body: Some(r#"{"name":"js"}"#), ..Sent::default() };
    assert_eq!(gateway.send("POST", "/v1/tokens", sent).await.status, 201);
    let rows = gateway.get("/v1/tokens", &gateway.main).await.json()["tokens"].clone();
    let row = |name: &str| rows.as_array().unwrap().iter().find(|row| row["name"] == name).unwrap().clone();
    assert!(row("js").get("token").is_none(), "no secret in the list");
    assert!(row("ci")["last_used_at"].is_string(), "the exchange was noted");

    let path = format!("/v1/tokens/{}", made["id"].as_str().unwrap());
    for method in ["PATCH", "PUT"] {
        let sent = Sent { bearer: Some(&gateway.main), ..Sent::default() };
        let renewed = gateway.send(method, &format!("{path}/renew"), sent).await;
        if method == "PATCH" {
            assert_eq!(renewed.status, 200, "{}", renewed.json());
            assert_ne!(renewed.json()["token"]["token"], secret);
            assert_eq!(gateway.get("/v1/apps", &bearer).await.status, 401, "the old secret's bearers die with it");
        } else {
            assert_eq!(renewed.status, 404, "the old id is gone");
        }
    }
    let id = row("js")["id"].as_str().unwrap().to_owned();
    for (id, status) in [(id.as_str(), 204), (id.as_str(), 404), ("x", 404)] {
        let sent = Sent { bearer: Some(&gateway.main), ..Sent::default() };
        assert_eq!(gateway.send("DELETE", &format!("/v1/tokens/{id}"), sent).await.status, status);
    }
    for (body, status) in [("{}", 422), (r#"{"token":{"name":" "}}"#, 422), (r#"{"name":5}"#, 422), ("{", 400)] {
        let sent = Sent { bearer: Some(&gateway.main), body: Some(body), ..Sent::default() };
        assert_eq!(gateway.send("POST", "/v1/tokens", sent).await.status, status, "{body}");
    }
    let sent = Sent { basic: Some("Administrator:wrong password"), body: Some("{}"), ..Sent::default() };
    assert_eq!(gateway.send("POST", "/v1/tokens", sent).await.status, 401);
    gateway.running.stop().await;
}
