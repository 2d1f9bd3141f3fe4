//! Under which scheme, host and port a client reached us: what absolute URLs in answers begin with.

use std::fmt;

use actix_web::{
    HttpRequest,
    http::header::{HOST, HeaderMap},
};
use url::Url;

use crate::{Shared, caller::is_from_trusted_proxy, guards::Authority};

/// `http://127.0.0.1:8097`: scheme, host and port, without a trailing slash.
///
/// The configured `public_url`; else what a trusted proxy says; else the request's `Host`, which the front has checked to
/// be ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BaseUrl {
    origin: String,
    https: bool,
}

impl BaseUrl {
    pub fn of(request: &HttpRequest) -> Self {
        let shared = Shared::of(request);
        if let Some(public) = shared.and_then(|shared| shared.public_url.as_ref()) {
            return Self::from_public(public);
        }
        let forwarded =
            if is_from_trusted_proxy(request) { Forwarded::read(request.headers()) } else { Forwarded::default() };
        let https = forwarded.https.unwrap_or_else(|| request.app_config().secure());
        let authority = forwarded.authority.or_else(|| {
            let text = claimed_hosts(request).into_iter().next()?;
            Authority::parse(&text)
        });
        let authority = match authority {
            Some(authority) => authority.to_string(),
            // HTTP/1.0 without a Host: the address of the listener.
            None => request.app_config().local_addr().to_string(),
        };
        let scheme = if https { "https" } else { "http" };
        // Normal form: default ports are left out.
        match Url::parse(&format!("{scheme}://{authority}")) {
            Ok(url) => Self::from_public(&url),
            Err(_) => Self { origin: format!("{scheme}://{authority}"), https },
        }
    }

    fn from_public(url: &Url) -> Self {
        Self { origin: url.origin().ascii_serialization(), https: url.scheme() == "https" }
    }

    /// The URL of an absolute path (with its query).
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.origin)
    }

    pub fn as_str(&self) -> &str {
        &self.origin
    }

    pub fn is_https(&self) -> bool {
        self.https
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.origin)
    }
}

/// Every host that the request names: in `Host` headers and in the request's target (HTTP/2, absolute form).
pub(crate) fn claimed_hosts(request: &HttpRequest) -> Vec<String> {
    let target = request.uri().authority().map(|authority| authority.as_str().to_owned());
    let headers = request.headers().get_all(HOST).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    target.into_iter().chain(headers).collect()
}

/// What a proxy says about the request it got.
#[derive(Default)]
struct Forwarded {
    https: Option<bool>,
    authority: Option<Authority>,
}

impl Forwarded {
    fn read(headers: &HeaderMap) -> Self {
        let mut forwarded = Self::default();
        // RFC 7239; the last element is that of the nearest proxy.
        let element = last_element(headers, "forwarded");
        for pair in element.iter().flat_map(|element| element.split(';')) {
            let Some((name, value)) = pair.split_once('=') else { continue };
            let value = value.trim().trim_matches('"');
            match name.trim().to_ascii_lowercase().as_str() {
                "proto" => forwarded.https = scheme_is_https(value),
                "host" => forwarded.authority = Authority::parse(value),
                _ => {}
            }
        }
        if let Some(scheme) = last_element(headers, "x-forwarded-proto") {
            forwarded.https = scheme_is_https(&scheme).or(forwarded.https);
        }
        if let Some(host) = last_element(headers, "x-forwarded-host") {
            forwarded.authority = Authority::parse(&host).or(forwarded.authority);
        }
        forwarded
    }
}

fn scheme_is_https(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "https" => Some(true),
        "http" => Some(false),
        _ => None,
    }
}

fn last_element(headers: &HeaderMap, name: &str) -> Option<String> {
    let last = headers.get_all(name).last()?.to_str().ok()?;
    Some(last.rsplit(',').next()?.trim().to_owned())
}
