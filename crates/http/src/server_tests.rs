//! The whole server over real sockets, with a dialect that speaks the shared layer's words.

use std::time::Duration;

use reqwest::{Client, Method, StatusCode, header};
use tempfile::TempDir;

use super::*;
use crate::{DialectSelection, Limits, Network, TlsFiles, application::tests::Speaker};

fn options(limits: Limits) -> ServerOptions {
    ServerOptions {
        listeners: Vec::new(),
        dialects: vec![Speaker::shared("one", &["/one", "/also/one"]), Speaker::shared("two", &["/two"])],
        limits,
        public_url: None,
        allowed_hosts: vec!["node3".to_owned()],
        trusted_proxies: Network::loopback(),
    }
}

fn listener(dialects: DialectSelection) -> Listener {
    Listener { address: "127.0.0.1:0".parse().unwrap(), tls: None, dialects }
}

fn serve(listeners: Vec<Listener>, options: ServerOptions) -> Running {
    let shared = Shared::without_engine(options, Box::new(|| Box::pin(std::future::ready(Ok(()))))).unwrap();
    start(listeners, shared).unwrap()
}

fn serve_one(limits: Limits) -> (Running, String) {
    let running = serve(vec![listener(DialectSelection::All)], options(limits));
    let base = format!("http://{}", running.addresses[0]);
    (running, base)
}

#[tokio::test]
async fn each_listener_serves_its_dialects_and_what_nobody_owns_is_a_plain_404_without_challenge() {
    let only = DialectSelection::Only(vec!["two".to_owned()]);
    let running = serve(vec![listener(DialectSelection::All), listener(only)], options(Limits::default()));
    let all = format!("http://{}", running.addresses[0]);
    let two = format!("http://{}", running.addresses[1]);
    for (url, status) in [
        (format!("{all}/one/echo"), 200),
        (format!("{all}/two/echo"), 200),
        (format!("{all}/one/unknown"), 418),
        (format!("{all}/three"), 404),
        (format!("{two}/one/echo"), 404),
        (format!("{two}/two/echo"), 200),
        (format!("{two}/healthz"), 200),
        (format!("{two}/readyz"), 200),
    ] {
        let answer = reqwest::get(&url).await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{url}");
        assert!(answer.headers().get(header::WWW_AUTHENTICATE).is_none());
        assert!(!answer.headers()["x-request-id"].is_empty());
        if status == 404 {
            assert_eq!(answer.text().await.unwrap(), r#"{"error":"Nothing is served at this path."}"#);
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn a_request_is_routed_by_its_canonical_path_without_a_redirect() {
    let (running, base) = serve_one(Limits::default());
    let answer = reqwest::get(format!("{base}/one/echo/?x=1")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), format!("/one/echo 0 {base}"));
    running.stop().await;
}

#[tokio::test]
async fn a_wrong_method_names_the_right_ones_and_head_is_get_without_a_body() {
    let (running, base) = serve_one(Limits::default());
    let client = Client::new();
    let answer = client.delete(format!("{base}/one/echo")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::METHOD_NOT_ALLOWED);
    assert_eq!(answer.headers()[header::ALLOW], "GET, HEAD, POST");
    let answer = client.head(format!("{base}/one/echo")).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.text().await.unwrap(), "");
    running.stop().await;
}

#[tokio::test]
async fn a_body_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    let (running, base) = serve_one(Limits::default());
    let limit = Limits::default().body_bytes;
    let client = Client::new();
    let url = format!("{base}/one/echo");
    let answer = client.post(&url).body(vec![b'x'; limit]).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), format!("/one/echo {limit} {base}"));
    let answer = client.post(&url).body(vec![b'x'; limit + 1]).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::IM_A_TEAPOT);
    assert!(answer.text().await.unwrap().contains("BodyTooLarge"));
    let chunks = futures_util::stream::iter((0..3).map(move |_| Ok::<_, std::io::Error>(vec![b'x'; limit / 2])));
    let answer = client.post(&url).body(reqwest::Body::wrap_stream(chunks)).send().await.unwrap();
    assert!(answer.text().await.unwrap().contains("BodyTooLarge"));
    running.stop().await;
}

#[tokio::test]
async fn hosts_that_are_not_ours_and_pages_of_other_sites_are_refused_in_the_dialects_shape() {
    let (running, base) = serve_one(Limits::default());
    let client = Client::new();
    let url = format!("{base}/two/echo");
    let asked = async |method: Method, name: &'static str, value: &str| {
        let answer = client.request(method, &url).header(name, value).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    };
    let refused = asked(Method::GET, "host", "evil.example.com").await;
    assert_eq!(refused, (418, "two: UnknownHost { host: \"evil.example.com\" }".to_owned()));
    assert_eq!(asked(Method::GET, "host", "node3:8097").await, (200, "/two/echo 0 http://node3:8097".to_owned()));
    assert_eq!(asked(Method::POST, "origin", "http://evil.example.com").await, (418, "two: ForeignOrigin".to_owned()));
    assert_eq!(asked(Method::POST, "sec-fetch-site", "cross-site").await.0, 418);
    assert_eq!(asked(Method::POST, "origin", &base).await.0, 200);
    assert_eq!(asked(Method::GET, "origin", "http://evil.example.com").await.0, 200);
    running.stop().await;
}

#[tokio::test]
async fn absolute_urls_follow_trusted_proxies_and_the_public_url_before_all() {
    let (running, base) = serve_one(Limits::default());
    let client = Client::new();
    let get = client
        .get(format!("{base}/one/echo"))
        .header("x-forwarded-host", "backup.example.org")
        .header("x-forwarded-proto", "https")
        .header("x-request-id", "abc-1");
    let answer = get.send().await.unwrap();
    assert_eq!(answer.headers()["x-request-id"], "abc-1");
    assert_eq!(answer.text().await.unwrap(), "/one/echo 0 https://backup.example.org");
    running.stop().await;

    let mut untrusting = options(Limits::default());
    untrusting.trusted_proxies = Vec::new();
    untrusting.public_url = Some("https://public.example.org:8443/x".parse().unwrap());
    let running = serve(vec![listener(DialectSelection::All)], untrusting);
    let get = client.get(format!("http://{}/one/echo", running.addresses[0])).header("x-request-id", "abc-1");
    let answer = get.send().await.unwrap();
    assert_ne!(answer.headers()["x-request-id"], "abc-1");
    assert_eq!(answer.text().await.unwrap(), "/one/echo 0 https://public.example.org:8443");
    running.stop().await;
}

#[tokio::test]
async fn a_handler_that_panics_or_never_ends_is_answered_and_the_server_lives_on() {
    let (running, base) = serve_one(Limits { handler_time: Duration::from_millis(100), ..Limits::default() });
    for (path, refusal) in [("panic", "one: Internal"), ("pending", "one: TimedOut"), ("panic", "one: Internal")] {
        let answer = reqwest::get(format!("{base}/one/{path}")).await.unwrap();
        assert_eq!(answer.text().await.unwrap(), refusal);
    }
    running.stop().await;
}

#[tokio::test]
async fn a_listener_with_a_certificate_speaks_tls_and_a_bad_file_is_named() {
    let folder = TempDir::new().unwrap();
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let files = TlsFiles { certificate: folder.path().join("cert.pem"), key: folder.path().join("key.pem") };
    std::fs::write(&files.certificate, made.cert.pem()).unwrap();
    std::fs::write(&files.key, made.signing_key.serialize_pem()).unwrap();
    let secure = Listener { tls: Some(files.clone()), ..listener(DialectSelection::All) };
    // The client keeps its connection; the stop does not wait long for it.
    let limits = Limits { shutdown_time: Duration::from_secs(1), ..Limits::default() };
    let running = serve(vec![secure.clone()], options(limits));
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([root]).build().unwrap();
    let base = format!("https://localhost:{}", running.addresses[0].port());
    let answer = client.get(format!("{base}/one/echo")).send().await.unwrap();
    assert_eq!(answer.version(), reqwest::Version::HTTP_2);
    assert_eq!(answer.text().await.unwrap(), format!("/one/echo 0 {base}"));
    running.stop().await;

    std::fs::write(&files.key, "no key").unwrap();
    let shared = Shared::without_engine(options(Limits::default()), Box::new(|| Box::pin(std::future::ready(Ok(())))));
    let error = start(vec![secure], shared.unwrap()).err().unwrap().to_string();
    assert!(error.contains("key.pem"), "{error}");
}

#[tokio::test]
async fn a_taken_address_is_named() {
    let (running, _) = serve_one(Limits::default());
    let taken = Listener { address: running.addresses[0], ..listener(DialectSelection::All) };
    let shared = Shared::without_engine(options(Limits::default()), Box::new(|| Box::pin(std::future::ready(Ok(())))));
    let error = start(vec![taken], shared.unwrap()).err().unwrap().to_string();
    assert!(error.contains(&running.addresses[0].to_string()), "{error}");
    running.stop().await;
}

#[tokio::test]
async fn a_download_tells_its_length_resumes_anywhere_and_is_cut_when_its_stream_fails() {
    let (running, base) = serve_one(Limits::default());
    let client = Client::new();
    let url = format!("{base}/one/download");
    let whole = client.get(&url).send().await.unwrap();
    assert_eq!(whole.headers()[header::CONTENT_LENGTH], "1000");
    assert_eq!(whole.headers()[header::ETAG], "\"tag\"");
    let whole = whole.bytes().await.unwrap();
    assert_eq!(whole.len(), 1000);

    let head = client.head(&url).send().await.unwrap();
    assert_eq!((head.status(), &head.headers()[header::CONTENT_LENGTH]), (StatusCode::OK, &"1000".parse().unwrap()));

    let part = client.get(&url).header("range", "bytes=300-").header("if-range", "\"tag\"").send().await.unwrap();
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(part.headers()[header::CONTENT_RANGE], "bytes 300-999/1000");
    assert_eq!(part.bytes().await.unwrap(), whole.slice(300..));

    let beyond = client.get(&url).header("range", "bytes=1000-").send().await.unwrap();
    assert_eq!(beyond.status(), StatusCode::RANGE_NOT_SATISFIABLE);
    assert_eq!(beyond.headers()[header::CONTENT_RANGE], "bytes */1000");

    // Cut before or after the head was flushed: either way the client learns that it has not got the whole.
    let broken = async { client.get(format!("{url}?fail")).send().await?.bytes().await };
    assert!(broken.await.is_err());
    running.stop().await;
}
