//! The places that the contracts are tried on, each empty and gone afterwards.

use std::sync::Arc;
use tempfile::TempDir;
use trivault_testkit::s3::S3Server;
use trivault_vault::backend::{Backend, LocalRoot, ObjectRoot, S3Credentials, S3Location, StoreRoot};

/// An empty store and a vault in it.
pub struct Place {
    pub store: Box<dyn StoreRoot>,
    pub vault: Arc<dyn Backend>,
    _guard: Guard,
}

enum Guard {
    Folder(#[allow(dead_code)] TempDir),
    Server(#[allow(dead_code)] S3Server),
}

fn place(store: impl StoreRoot + 'static, vault: &str, guard: Guard) -> Place {
    store.prepare().unwrap();
    let vault = store.vault(vault).unwrap();
    vault.prepare().unwrap();
    Place { store: Box::new(store), vault, _guard: guard }
}

pub fn local() -> Place {
    let folder = tempfile::tempdir().unwrap();
    place(LocalRoot::new(folder.path()).unwrap(), "vault", Guard::Folder(folder))
}

pub fn lazy() -> Place {
    let folder = tempfile::tempdir().unwrap();
    place(LocalRoot::new(folder.path().join("store")).unwrap(), "p/0011223344", Guard::Folder(folder))
}

pub fn s3() -> Option<Place> {
    let server = S3Server::start()?;
    server.make_bucket("contract");
    let store = ObjectRoot::connect(&location(&server, "some/prefix")).unwrap();
    Some(place(store, "vault", Guard::Server(server)))
}

pub fn location(server: &S3Server, prefix: &str) -> S3Location {
    S3Location {
        endpoint: Some(server.endpoint()),
        credentials: Some(S3Credentials::new("test", "test")),
        allow_http: true,
        ..S3Location::new("contract", prefix)
    }
}
