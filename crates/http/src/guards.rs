//! Decisions about where a request claims to go and where it comes from. Pure: headers in, answer out.

use std::net::IpAddr;

use actix_web::http::{Method, header::HeaderMap};
use url::{Host, Url};

/// A `Host` header taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub host: Host<String>,
    pub port: Option<u16>,
}

impl Authority {
    /// `None` when the text is no host with an optional port.
    pub fn parse(text: &str) -> Option<Self> {
        // Userinfo, paths and the like have no place in a Host header, and `Url` would swallow them.
        if text.is_empty() || text.bytes().any(|byte| matches!(byte, b'/' | b'@' | b'?' | b'#' | b'\\') || byte <= b' ')
        {
            return None;
        }
        let url = Url::parse(&format!("http://{text}/")).ok()?;
        let explicit_port = text.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        let port = if text.ends_with(']') { None } else { explicit_port };
        Some(Self { host: url.host()?.to_owned(), port })
    }
}

impl std::fmt::Display for Authority {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.port {
            Some(port) => write!(out, "{}:{port}", self.host),
            None => write!(out, "{}", self.host),
        }
    }
}

/// Whether a host is one of ours: loopback, the address the connection arrived at, the public URL's, or allowed.
pub(crate) fn is_own_host(
    host: &Host<String>,
    local: Option<IpAddr>,
    public: Option<&Url>,
    allowed: &[String],
) -> bool {
    let literal = match host {
        Host::Ipv4(address) => Some(IpAddr::V4(*address)),
        Host::Ipv6(address) => Some(IpAddr::V6(*address).to_canonical()),
        Host::Domain(_) => None,
    };
    if let Some(address) = literal
        && (address.is_loopback() || local.is_some_and(|local| local.to_canonical() == address))
    {
        return true;
    }
    if let Host::Domain(name) = host
        && (name == "localhost" || name.ends_with(".localhost"))
    {
        return true;
    }
    if public.and_then(Url::host).is_some_and(|public| public.to_owned() == *host) {
        return true;
    }
    let text = host.to_string();
    allowed.iter().any(|name| name == "*" || name.eq_ignore_ascii_case(&text))
}

/// Whether a browser sent this unsafe request for a page of another site. Requests of other programs carry neither header.
pub(crate) fn is_foreign(method: &Method, headers: &HeaderMap, own_origins: &[String]) -> bool {
    if matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS | Method::TRACE) {
        return false;
    }
    for site in headers.get_all("sec-fetch-site") {
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return true;
        }
    }
    headers.get_all("origin").any(|origin| match origin.to_str().ok().and_then(origin_of) {
        Some(origin) => !own_origins.contains(&origin),
        None => true,
    })
}

/// An origin in its normal form (`http://127.0.0.1:8097`), or `None` for `null` and what is none.
pub(crate) fn origin_of(text: &str) -> Option<String> {
    let origin = Url::parse(text).ok()?.origin();
    origin.is_tuple().then(|| origin.ascii_serialization())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_host_header_is_a_host_with_an_optional_port() {
        for (text, host, port) in [
            ("127.0.0.1:8097", "127.0.0.1", Some(8097)),
            ("LocalHost", "localhost", None),
            ("[::1]:8097", "[::1]", Some(8097)),
            ("[::1]", "[::1]", None),
            ("example.com:80", "example.com", Some(80)),
        ] {
            let authority = Authority::parse(text).unwrap();
            assert_eq!((authority.host.to_string().as_str(), authority.port), (host, port), "{text}");
        }
        for text in ["", "a b", "user@host", "host/path", "host:99999", "[::1", "host?x", "ho\u{0}st"] {
            assert_eq!(Authority::parse(text), None, "{text}");
        }
    }

    #[test]
    fn loopback_own_public_and_allowed_hosts_are_ours() {
        let public = Url::parse("https://backup.example.org/").unwrap();
        let local: IpAddr = "10.0.0.5".parse().unwrap();
        let allowed = ["Node3".to_owned()];
        let own = |text: &str| is_own_host(&Authority::parse(text).unwrap().host, Some(local), Some(&public), &allowed);
        for host in ["localhost:1", "x.localhost", "127.3.2.1", "[::1]", "10.0.0.5", "backup.example.org", "node3"] {
            assert!(own(host), "{host}");
        }
        for host in ["evil.example.com", "10.0.0.6", "localhost.evil.com", "0.0.0.0", "node33"] {
            assert!(!own(host), "{host}");
        }
        assert!(is_own_host(&Authority::parse("any.thing").unwrap().host, None, None, &["*".to_owned()]));
    }

    #[test]
    fn unsafe_requests_of_other_sites_are_foreign() {
        let own = ["http://127.0.0.1:8097".to_owned()];
        let foreign = |method: Method, name: &'static str, value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
            is_foreign(&method, &headers, &own)
        };
        assert!(!is_foreign(&Method::POST, &HeaderMap::new(), &own));
        assert!(!foreign(Method::GET, "origin", "http://evil.example.com"));
        assert!(!foreign(Method::POST, "origin", "http://127.0.0.1:8097"));
        assert!(!foreign(Method::POST, "sec-fetch-site", "same-origin"));
        assert!(!foreign(Method::POST, "sec-fetch-site", "none"));
        assert!(foreign(Method::POST, "origin", "http://127.0.0.1:9999"));
        assert!(foreign(Method::POST, "origin", "https://127.0.0.1:8097"));
        assert!(foreign(Method::DELETE, "origin", "null"));
        assert!(foreign(Method::PUT, "sec-fetch-site", "cross-site"));
        assert!(foreign(Method::PATCH, "sec-fetch-site", "same-site"));
    }
}
