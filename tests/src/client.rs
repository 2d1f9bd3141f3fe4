//! A blocking view on HTTP that validates each answer.

use std::time::{Duration, Instant};

use reqwest::{Method, header::HeaderMap};
use serde_json::Value;
use trivault_testkit::{
    gateway::{ADMINISTRATOR, PASSWORD},
    openapi::Document,
};

/// A job that takes longer in a test is a failure.
const PATIENCE: Duration = Duration::from_secs(120);
const POLL_EVERY: Duration = Duration::from_millis(50);

pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
    /// `Null` when the body is no JSON.
    pub json: Value,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes).into_owned()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or(""))
    }
}

/// How a call says who it is.
#[derive(Clone, Debug)]
pub enum Who {
    Nobody,
    Basic(String, String),
    Bearer(String),
}

impl Who {
    pub fn administrator() -> Self {
        Self::Basic(ADMINISTRATOR.to_owned(), PASSWORD.to_owned())
    }
}

pub struct Client {
    base: String,
    http: reqwest::Client,
    documents: Vec<Document>,
}

pub enum Body<'a> {
    None,
    Text(&'a str),
    Form(&'a [(&'a str, &'a str)]),
}

impl Client {
    pub fn new(base: &str) -> Self {
        Self::with(base, reqwest::Client::builder())
    }

    /// Trusts the servers of one certificate authority (PEM) alone.
    pub fn trusting(base: &str, authority: &str) -> Self {
        let authority = reqwest::Certificate::from_pem(authority.as_bytes()).unwrap();
        Self::with(base, reqwest::Client::builder().tls_certs_only([authority]))
    }

    fn with(base: &str, builder: reqwest::ClientBuilder) -> Self {
        let http = builder.no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let documents = ["couchbase", "arcgis", "dbaas"].map(Document::load);
        Self { base: base.to_owned(), http, documents: documents.into() }
    }

    pub fn url(&self, path: &str) -> String {
        if path.starts_with("http") { path.to_owned() } else { format!("{}{path}", self.base) }
    }

    /// Sends a request and checks the answer against the documents.
    pub async fn send(&self, method: Method, path: &str, who: &Who, body: Body<'_>) -> Answer {
        self.send_with(method, path, who, body, &[]).await
    }

    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        who: &Who,
        body: Body<'_>,
        headers: &[(&str, &str)],
    ) -> Answer {
        let url = self.url(path);
        let mut request = self.http.request(method.clone(), &url);
        request = match who {
            Who::Nobody => request,
            Who::Basic(user, password) => request.basic_auth(user, Some(password)),
            Who::Bearer(token) => request.bearer_auth(token),
        };
        request = match body {
            Body::None => request,
            // As `curl -d` labels it, whatever it is.
            Body::Text(text) => {
                request.header("content-type", "application/x-www-form-urlencoded").body(text.to_owned())
            }
            Body::Form(fields) => request.form(fields),
        };
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap_or_else(|error| panic!("{method} {url}: {error}"));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let bytes = response.bytes().await.unwrap_or_else(|error| panic!("{method} {url}: {error}")).to_vec();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        let answer = Answer { status, headers, bytes, json };
        self.check(&method, &url, &answer);
        answer
    }

    fn check(&self, method: &Method, url: &str, answer: &Answer) {
        assert!(!answer.header("x-request-id").is_empty(), "{method} {url} answered without X-Request-Id");
        let path = url.strip_prefix(&self.base).unwrap_or(url);
        let is_json = answer.header("content-type").contains("json") && !answer.bytes.is_empty();
        let body = is_json.then_some(&answer.json);
        for document in &self.documents {
            if let Err(fault) = document.check(method.as_str(), path, answer.status, body) {
                panic!("{fault}");
            }
        }
    }

    pub async fn get(&self, path: &str, who: &Who) -> Answer {
        self.send(Method::GET, path, who, Body::None).await
    }

    pub async fn post(&self, path: &str, who: &Who, body: Body<'_>) -> Answer {
        self.send(Method::POST, path, who, body).await
    }

    /// Asks again until `is_done`.
    pub async fn until(&self, path: &str, who: &Who, is_done: impl Fn(&Value) -> bool) -> Answer {
        let begin = Instant::now();
        loop {
            let answer = self.get(path, who).await;
            if is_done(&answer.json) {
                return answer;
            }
            assert!(begin.elapsed() < PATIENCE, "{path} does not come to an end: {}", answer.text());
            tokio::time::sleep(POLL_EVERY).await;
        }
    }
}
