//! The real binary behind a certificate.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    time::Duration,
};

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use trivault_testkit::gateway::{Gateway, Setup};
use trivault_tests::{Client, World, client::Who, compare::assert_same_database, world::DATABASE};

/// A certificate authority that made one certificate, for 127.0.0.1.
struct Authority {
    pem: String,
}

impl Authority {
    /// Writes `tls.crt` and `tls.key` into a folder.
    fn new(folder: &Path) -> Self {
        let mut own = CertificateParams::new(Vec::new()).unwrap();
        own.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let own_key = KeyPair::generate().unwrap();
        let pem = own.self_signed(&own_key).unwrap().pem();
        let issuer = Issuer::new(own, own_key);
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap();
        let certificate = certificate.signed_by(&key, &issuer).unwrap();
        fs::write(folder.join("tls.crt"), certificate.pem()).unwrap();
        fs::write(folder.join("tls.key"), key.serialize_pem()).unwrap();
        Self { pem }
    }
}

/// One listener with TLS, by a configuration file in the folder of the certificate.
fn setup(folder: &Path) -> Setup {
    let configuration = folder.join("trivault.toml");
    let file = |name: &str| folder.join(name).display().to_string();
    let text = format!(
        "[[listeners]]\naddress = \"127.0.0.1:0\"\ntls = {{ certificate = \"{}\", key = \"{}\" }}\n",
        file("tls.crt"),
        file("tls.key")
    );
    fs::write(&configuration, text).unwrap();
    let arguments = vec!["--config".to_owned(), configuration.to_str().unwrap().to_owned()];
    Setup { arguments, configured_listeners: true, ..Setup::default() }
}

#[tokio::test]
async fn a_whole_backup_goes_over_tls_and_plain_http_on_the_same_port_harms_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new(folder.path());
    let mut world = World::with(setup(folder.path()));
    assert!(world.gateway.url.starts_with("https://127.0.0.1:"), "{}", world.gateway.url);
    world.client = Client::trusting(&world.gateway.url, &authority.pem);
    let (reference, _) = world.copy_live_data("reference");

    // Plain HTTP: no answer that a client could take for one, and the connection ends.
    let address = world.gateway.url.trim_start_matches("https://").to_owned();
    let plain = reqwest::Client::builder().no_proxy().build().unwrap();
    assert!(plain.get(format!("http://{address}/readyz")).send().await.is_err());
    let mut raw = TcpStream::connect(&address).unwrap();
    raw.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    raw.write_all(b"GET /api/v1/cluster/self HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    let _ = raw.read_to_end(&mut answer);
    assert!(!answer.starts_with(b"HTTP/"), "{}", String::from_utf8_lossy(&answer));
    // Who does not trust the authority does not speak to the server.
    assert!(plain.get(format!("{}/readyz", world.gateway.url)).send().await.is_err());

    world.create_repository("nightly", Some(DATABASE)).await;
    let task = world.couchbase_task("nightly", "backup", "").await;
    assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
    let body = format!(
        r#"{{"target":"{}","user":"Administrator","password":"password","auto_create_buckets":true,"map_data":"{DATABASE}=copy"}}"#,
        world.gateway.url
    );
    let task = world.couchbase_task("nightly", "restore", &body).await;
    assert_eq!(task["status"], "done", "{task:#}\n{}", world.gateway.log());
    assert_same_database(&reference, &world.data_directory().join("restored/copy/copy.sqlite"));

    // Links in answers name the scheme that they are reached by.
    let (bearer, addon) = world.dbaas(DATABASE).await;
    let row = world.dbaas_backup(&bearer, &addon).await;
    let path = format!("/api/databases/{addon}/backups/{}/archive", row["id"].as_str().unwrap());
    let link = world.client.get(&path, &bearer).await.json["download_url"].as_str().unwrap().to_owned();
    assert!(link.starts_with(&world.gateway.url), "{link}");
    let bytes = world.client.get(&link, &Who::Nobody).await.bytes;
    assert_eq!(u64::try_from(bytes.len()).unwrap(), row["size"].as_u64().unwrap());
}

#[test]
fn without_a_good_certificate_and_key_nothing_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let refused = |name: &str| {
        let setup = setup(folder.path());
        let said = Gateway::try_start(&folder.path().join("data"), &setup).err().unwrap();
        assert!(said.contains("The gateway cannot start") && said.contains(name), "{said}");
        assert!(!said.contains("panicked") && !said.contains("PRIVATE"), "{said}");
    };
    refused("tls.crt");
    Authority::new(folder.path());
    let certificate = fs::read(folder.path().join("tls.crt")).unwrap();
    fs::write(folder.path().join("tls.crt"), "no certificate").unwrap();
    refused("tls.crt");
    fs::write(folder.path().join("tls.crt"), &certificate).unwrap();
    fs::remove_file(folder.path().join("tls.key")).unwrap();
    refused("tls.key");
    fs::write(folder.path().join("tls.key"), KeyPair::generate().unwrap().serialize_pem()).unwrap();
    refused("tls.crt");
    assert!(!folder.path().join("data.ready").exists(), "no waiting program is told of a server");
}
