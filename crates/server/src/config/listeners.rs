//! Where the server listens, under which names it answers, and whom it believes.

use std::{net::SocketAddr, path::PathBuf};

use trivault_http::Network;

use super::file;

/// Where clients of all three dialects look first.
pub const DEFAULT_LISTEN: &str = "127.0.0.1:8097";
/// Path segments that other dialects own or may own one day.
const RESERVED_CONTEXTS: &[&str] =
    &["api", "v1", "plan", "_p", "cluster", "pools", "dapi", "healthz", "readyz", "config"];
const DIALECTS: &[&str] = &["couchbase", "arcgis", "dbaas"];

#[derive(Clone, Debug)]
pub struct Listener {
    pub address: SocketAddr,
    /// `None`: all dialects.
    pub dialects: Option<Vec<String>>,
    /// Certificate and key, PEM files.
    pub tls: Option<(PathBuf, PathBuf)>,
}

/// # Errors
/// A sentence, as of all functions here.
pub(super) fn origin(text: &str) -> Result<url::Url, String> {
    let url = url::Url::parse(text).map_err(|error| format!("public_url `{text}` is not a URL: {error}."))?;
    let is_origin = matches!(url.scheme(), "http" | "https")
        && url.host().is_some()
        && url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty()
        && url.password().is_none();
    if is_origin {
        Ok(url)
    } else {
        Err(format!("public_url `{text}` must be an origin alone, as https://backup.example.org."))
    }
}

pub(super) fn networks(texts: &[String]) -> Result<Vec<Network>, String> {
    texts.iter().map(|text| text.parse().map_err(|fault| format!("trusted_proxies: {fault}."))).collect()
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    let text = text.trim();
    let expanded = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    expanded
        .as_deref()
        .unwrap_or(text)
        .parse()
        .map_err(|_| format!("`{text}` is not an address to listen on. Write IP:PORT, for example {DEFAULT_LISTEN}."))
}

pub(super) fn listen(texts: &[String]) -> Result<Vec<Listener>, String> {
    texts.iter().map(|text| Ok(Listener { address: socket_address(text)?, dialects: None, tls: None })).collect()
}

pub(super) fn configured_listeners(listeners: Vec<file::Listener>) -> Result<Vec<Listener>, String> {
    if listeners.is_empty() {
        return listen(&[DEFAULT_LISTEN.to_owned()]);
    }
    listeners
        .into_iter()
        .map(|file::Listener { address, dialects, tls }| {
            for name in dialects.iter().flatten() {
                if !DIALECTS.contains(&name.as_str()) {
                    return Err(format!("`{name}` is not a dialect. Known are: {}.", DIALECTS.join(", ")));
                }
            }
            Ok(Listener {
                address: socket_address(&address)?,
                dialects,
                tls: tls.map(|file::Tls { certificate, key }| (certificate, key)),
            })
        })
        .collect()
}

pub(super) fn contexts(configured: Option<Vec<String>>) -> Result<Vec<String>, String> {
    let contexts = configured.unwrap_or_else(|| vec!["context".to_owned(), "arcgis".to_owned()]);
    for context in &contexts {
        let well_formed = !context.is_empty()
            && context.chars().all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character))
            && !context.starts_with('.');
        if !well_formed {
            return Err(format!(
                "The context `{context}` must be one path segment of letters, digits, `_`, `.` and `-`."
            ));
        }
        if RESERVED_CONTEXTS.contains(&context.as_str()) {
            return Err(format!("The context `{context}` collides with a path of another dialect; take another word."));
        }
    }
    Ok(contexts)
}
