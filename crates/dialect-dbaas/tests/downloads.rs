//! The archive: link, length, ranges, entity tag, and what it holds compared byte by byte.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod common;

use std::{fs, process::Command};

use common::{FILES, Gateway, Sent};

struct Link {
    path: String,
    size: u64,
    name: String,
}

async fn link(gateway: &Gateway) -> Link {
    let backup = gateway.backup().await;
    assert_eq!(backup["status"], "done", "{backup}");
    let id = backup["id"].as_str().unwrap();
    let path = format!("/api/databases/{}/backups/{id}/archive", gateway.names.addon_id);
    let answer = gateway.get(&path, &gateway.addon_token).await;
    let url = answer.json()["download_url"].as_str().unwrap().to_owned();
    assert_eq!(answer.header("cache-control"), "no-store");
    Link {
        path: url.strip_prefix(&gateway.base).unwrap().to_owned(),
        size: backup["size"].as_u64().unwrap(),
        name: backup["name"].as_str().unwrap().to_owned(),
    }
}

#[tokio::test]
async fn a_download_holds_what_was_backed_up_byte_by_byte_and_is_as_long_as_the_list_says() {
    let gateway = Gateway::open().await;
    let link = link(&gateway).await;
    let answer = gateway.send("GET", &link.path, Sent::default()).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.bytes.len() as u64, link.size);
    assert_eq!(answer.header("content-length"), link.size.to_string());
    assert_eq!(answer.header("content-type"), "application/gzip");
    assert_eq!(answer.header("content-disposition"), format!("attachment; filename=\"{}.tar.gz\"", link.name));
    assert_eq!(answer.header("accept-ranges"), "bytes");

    let place = tempfile::tempdir().unwrap();
    let archive = place.path().join("b.tar.gz");
    fs::write(&archive, &answer.bytes).unwrap();
    let unpacked = Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(place.path()).status().unwrap();
    assert!(unpacked.success());
    let root = place.path().join(&link.name);
    let root = if root.is_dir() { root } else { place.path().to_owned() };
    for (file, content) in FILES {
        assert_eq!(fs::read(root.join(file)).unwrap(), content, "{file}");
    }
    gateway.running.stop().await;
}

#[tokio::test]
async fn an_interrupted_download_is_resumed_to_the_same_bytes() {
    let gateway = Gateway::open().await;
    let link = link(&gateway).await;
    let whole = gateway.send("GET", &link.path, Sent::default()).await;
    let etag = whole.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 2, "{etag}");

    let head = gateway.send("HEAD", &link.path, Sent::default()).await;
    assert_eq!((head.status, head.bytes.len()), (200, 0));
    assert_eq!((head.header("content-length"), head.header("etag")), (whole.header("content-length"), etag.as_str()));

    let middle = whole.bytes.len() / 2;
    let range = format!("bytes={middle}-");
    let headers = vec![("Range", range.as_str()), ("If-Range", etag.as_str())];
    let rest = gateway.send("GET", &link.path, Sent { headers, ..Sent::default() }).await;
    assert_eq!(rest.status, 206);
    assert_eq!(rest.header("content-range"), format!("bytes {middle}-{}/{}", link.size - 1, link.size));
    assert_eq!(rest.bytes, whole.bytes[middle..]);

    let beyond = format!("bytes={}-", link.size);
    let answer = gateway.send("GET", &link.path, Sent { headers: vec![("Range", &beyond)], ..Sent::default() }).await;
    assert_eq!((answer.status, answer.header("content-range")), (416, format!("bytes */{}", link.size).as_str()));
    let known =
        gateway.send("GET", &link.path, Sent { headers: vec![("If-None-Match", &etag)], ..Sent::default() }).await;
    assert_eq!((known.status, known.bytes.len()), (304, 0));
    gateway.running.stop().await;
}

#[tokio::test]
async fn a_link_is_good_for_its_own_download_only() {
    let gateway = Gateway::open().await;
    let first = link(&gateway).await;
    let second = link(&gateway).await;
    let (path, token) = first.path.split_once("?token=").unwrap();
    let (other_path, _) = second.path.split_once('?').unwrap();
    let elsewhere = format!("/api/databases/{}/backups/x/download", gateway.other.addon_id);
    for (what, path) in [
        ("another backup", format!("{other_path}?token={token}")),
        ("another database", format!("{elsewhere}?token={token}")),
        ("no token", path.to_owned()),
        ("an empty token", format!("{path}?token=")),
        ("a damaged token", format!("{path}?token={}x", &token[..token.len() - 1])),
        ("a main bearer", format!("{path}?token={}", gateway.main)),
        ("an addon token", format!("{path}?token={}", gateway.addon_token)),
        ("an API token", format!("{path}?token={}", gateway.api_token)),
    ] {
        let answer = gateway.send("GET", &path, Sent::default()).await;
        assert!([401, 404].contains(&answer.status), "{what}: {}", answer.status);
    }
    let as_bearer = gateway.get(&format!("/api/databases/{}", gateway.names.addon_id), token).await;
    assert_eq!(as_bearer.status, 401, "a link's token is no bearer");
    gateway.running.stop().await;
}

#[tokio::test]
async fn links_die_with_the_api_token_that_they_come_from() {
    let gateway = Gateway::open().await;
    let link = link(&gateway).await;
    let rows = gateway.get("/v1/tokens", &gateway.main).await.json();
    let id = rows["tokens"][0]["id"].as_str().unwrap().to_owned();
    let sent = Sent { bearer: Some(&gateway.main), ..Sent::default() };
    assert_eq!(gateway.send("DELETE", &format!("/v1/tokens/{id}"), sent).await.status, 204);
    assert_eq!(gateway.send("GET", &link.path, Sent::default()).await.status, 401);
    assert_eq!(gateway.get("/v1/apps", &gateway.main).await.status, 401);
    gateway.running.stop().await;
}
