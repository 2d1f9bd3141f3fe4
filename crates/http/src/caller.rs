//! Who sends a request: its id, its address, and the engine's caller.

use std::net::{IpAddr, SocketAddr};

use actix_web::{HttpMessage, HttpRequest};
use trivault_engine::{Caller, Principal};

use crate::Shared;

/// Identifies one request in answers (`X-Request-Id`), spans, logs and audit records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestId(String);

/// Characters of a request id that a trusted proxy may choose.
const MOST_CHARACTERS: usize = 64;

impl RequestId {
    /// The id a trusted proxy gave, else a new one.
    pub(crate) fn choose(request: &HttpRequest) -> Self {
        let given = request.headers().get("x-request-id").and_then(|value| value.to_str().ok());
        match given {
            Some(id) if is_plain(id) && is_from_trusted_proxy(request) => Self(id.to_owned()),
            _ => Self(uuid::Uuid::now_v7().to_string()),
        }
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_plain(id: &str) -> bool {
    (1..=MOST_CHARACTERS).contains(&id.len())
        && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// The id of a request; empty only outside a server.
pub fn request_id(request: &HttpRequest) -> String {
    request.extensions().get::<RequestId>().map(|id| id.as_str().to_owned()).unwrap_or_default()
}

/// The caller that a principal is in this request. `via` is the dialect's name.
pub fn caller(request: &HttpRequest, principal: Principal, via: &'static str) -> Caller {
    Caller { principal, via, request_id: request_id(request) }
}

/// The client's address: the peer's, or what trusted proxies say about it. For the limit on failed log-ins and for logs.
pub fn client_address(request: &HttpRequest) -> String {
    let Some(peer) = request.peer_addr().as_ref().map(SocketAddr::ip) else { return "unknown".to_owned() };
    let Some(shared) = Shared::of(request) else { return peer.to_string() };
    let mut address = peer.to_canonical();
    // From right to left, each trusted proxy vouches for the address before it.
    let chain: Vec<&str> = request
        .headers()
        .get_all("x-forwarded-for")
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .collect();
    for hop in chain.iter().rev() {
        if !shared.trusts(address) {
            break;
        }
        let Ok(hop) = hop.trim().parse::<IpAddr>() else { break };
        address = hop.to_canonical();
    }
    address.to_string()
}

pub(crate) fn is_from_trusted_proxy(request: &HttpRequest) -> bool {
    match (request.peer_addr(), Shared::of(request)) {
        (Some(peer), Some(shared)) => shared.trusts(peer.ip()),
        (Some(_) | None, Some(_) | None) => false,
    }
}
