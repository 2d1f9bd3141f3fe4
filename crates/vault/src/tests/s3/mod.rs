//! The vault in an S3 prefix: on good days, and behind a proxy that gives it bad ones.

mod faults;
mod prune;

use super::scene::*;
use crate::{
    CheckOptions, Committed, Password, ReadSubset, Result, Vault,
    backend::{Backend, FileKind, ObjectBackend, S3Credentials, S3Location, S3Patience},
};
use std::{sync::Arc, time::Duration};
use trivault_testkit::{fault_proxy::FaultProxy, restic::Restic, s3::S3Server};

const BUCKET: &str = "vault-tests";

/// Short, so that a silent server is noticed while a test waits.
pub const SHORT: S3Patience = S3Patience {
    handshake: Duration::from_secs(2),
    silence: Duration::from_secs(2),
    request: Duration::from_secs(4),
    retries: Duration::from_secs(5),
    attempts: 4,
};

/// A server, and a proxy before it.
pub struct Cloud {
    pub server: S3Server,
    pub proxy: FaultProxy,
}

impl Cloud {
    /// `None` when the server is left out on purpose.
    pub fn start() -> Option<Self> {
        let server = S3Server::start()?;
        server.make_bucket(BUCKET);
        let proxy = FaultProxy::start(&server.endpoint());
        Some(Self { server, proxy })
    }

    /// A prefix, reached without the proxy. With the usual patience: on a busy machine the server may take seconds to answer, and no fault
    /// is given here that had to be noticed.
    pub fn plain(&self, prefix: &str) -> Arc<dyn Backend> {
        connect(self.server.endpoint(), prefix, S3Patience::default())
    }

    /// The same through the proxy.
    pub fn faulty(&self, prefix: &str) -> Arc<dyn Backend> {
        connect(self.proxy.endpoint(), prefix, SHORT)
    }

    pub fn create(&self, prefix: &str) -> Vault {
        Vault::create(self.plain(prefix), &Password::new(PASSWORD), FAST, options()).unwrap()
    }

    pub fn open(&self, prefix: &str) -> Vault {
        open_at(self.plain(prefix)).unwrap()
    }

    /// The same files below another prefix.
    pub fn copy(&self, from: &str, to: &str) {
        let (from, to) = (self.plain(from), self.plain(to));
        for kind in FileKind::ALL {
            for entry in from.list(kind).unwrap() {
                to.write(kind, &entry.name, &from.read(kind, &entry.name).unwrap()).unwrap();
            }
        }
    }

    /// Neither we nor the stock restic find fault with any byte.
    pub fn assert_sound(&self, prefix: &str) {
        let report = self.open(prefix).check(&CheckOptions { read: ReadSubset::All }, &Calm).unwrap();
        assert!(report.is_sound(), "{report:?}");
        if let Some(restic) = Restic::new(self.plain(prefix).location(), PASSWORD) {
            let said = String::from_utf8(restic.succeed(["check", "--no-lock", "--read-data"])).unwrap();
            assert!(said.contains("no errors were found"), "{said}");
        }
    }

    /// Bytes of all packs.
    pub fn stored(&self, prefix: &str) -> u64 {
        self.plain(prefix).list(FileKind::Pack).unwrap().iter().map(|entry| entry.length).sum()
    }
}

fn connect(endpoint: String, prefix: &str, patience: S3Patience) -> Arc<dyn Backend> {
    let location = S3Location {
        endpoint: Some(endpoint),
        allow_http: true,
        credentials: Some(S3Credentials::new("test", "test")),
        ..S3Location::new(BUCKET, prefix)
    };
    Arc::new(ObjectBackend::connect_with(&location, patience).unwrap())
}

pub fn open_at(backend: Arc<dyn Backend>) -> Result<Vault> {
    Vault::open(backend, &Password::new(PASSWORD), options())
}

pub fn assert_holds(vault: &Vault, committed: &Committed, files: &[(&[u8], &[u8])]) {
    for (name, content) in files {
        assert_eq!(&read_all(&reader(vault, committed), &[name]).unwrap(), content);
    }
}
