//! How the server is set up.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use url::Url;

use crate::{Dialect, Network};

/// Named limits. The defaults are what `serve` uses without a configuration.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub body_bytes: usize,
    /// For the head of a request to arrive.
    pub head_time: Duration,
    /// For the body of a request to arrive.
    pub body_time: Duration,
    /// For a handler to answer; a download's bytes may take as long as they need.
    pub handler_time: Duration,
    /// A connection without a request is closed after this.
    pub keep_alive: Duration,
    /// Open requests get so long to end when the server stops.
    pub shutdown_time: Duration,
    /// Connections per worker thread.
    pub connections: usize,
    /// Worker threads per listener.
    pub workers: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body_bytes: 1024 * 1024,
            head_time: Duration::from_secs(10),
            body_time: Duration::from_secs(30),
            handler_time: Duration::from_secs(60),
            keep_alive: Duration::from_secs(75),
            shutdown_time: Duration::from_secs(10),
            connections: 4096,
            workers: 2,
        }
    }
}

/// Which dialects a listener serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DialectSelection {
    All,
    /// By [`Dialect::name`].
    Only(Vec<String>),
}

impl DialectSelection {
    pub fn includes(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.iter().any(|included| included == name),
        }
    }
}

/// PEM files; read once, when the server starts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// Certificate chain, the server's own first.
    pub certificate: PathBuf,
    /// PKCS#8, PKCS#1 or SEC1.
    pub key: PathBuf,
}

#[derive(Clone, Debug)]
pub struct Listener {
    /// Port 0: a free one, see `Running::addresses`.
    pub address: SocketAddr,
    pub tls: Option<TlsFiles>,
    pub dialects: DialectSelection,
}

pub struct ServerOptions {
    pub listeners: Vec<Listener>,
    pub dialects: Vec<Arc<dyn Dialect>>,
    pub limits: Limits,
    /// Scheme, host and port under which clients reach us; a path is ignored.
    pub public_url: Option<Url>,
    /// Host names (without port) that a `Host` header may carry besides loopback ones and the listener's own address.
    /// `*` allows every name, and gives up the protection against DNS rebinding.
    pub allowed_hosts: Vec<String>,
    /// Whose forwarding headers count; [`Network::loopback`] by default.
    pub trusted_proxies: Vec<Network>,
}
