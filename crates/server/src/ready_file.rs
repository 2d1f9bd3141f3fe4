//! The file that tells a waiting program that the server answers.

use std::{fs, io, io::Write as _, net::SocketAddr, path::Path};

use serde::Serialize;

#[derive(Serialize)]
struct Ready<'a> {
    /// Of the first listener.
    url: &'a str,
    listeners: &'a [String],
    pid: u32,
}

/// `http://127.0.0.1:8097` for an address; an unspecified one is reached through loopback.
pub fn url_of(address: SocketAddr, tls: bool) -> String {
    let scheme = if tls { "https" } else { "http" };
    let mut address = address;
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() {
            std::net::Ipv4Addr::LOCALHOST.into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("{scheme}://{address}")
}

/// Written beside and renamed, so that a reader never sees half of it.
///
/// # Errors
/// When the directory cannot be written.
pub fn write(path: &Path, listeners: &[String]) -> io::Result<()> {
    let url = listeners.first().map_or("", String::as_str);
    let text = serde_json::to_string(&Ready { url, listeners, pid: std::process::id() })?;
    let beside = path.with_extension(format!("tmp-{}", std::process::id()));
    let mut file = fs::File::create(&beside)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    drop(file);
    fs::rename(&beside, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_appears_whole_and_leaves_nothing_beside() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ready.json");
        write(&path, &["http://127.0.0.1:1".to_owned()]).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(value["url"], "http://127.0.0.1:1");
        assert_eq!(value["listeners"], serde_json::json!(["http://127.0.0.1:1"]));
        assert_eq!(value["pid"], std::process::id());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_unspecified_address_is_reached_through_loopback() {
        assert_eq!(url_of("0.0.0.0:80".parse().unwrap(), false), "http://127.0.0.1:80");
        assert_eq!(url_of("[::]:443".parse().unwrap(), true), "https://[::1]:443");
    }
}
