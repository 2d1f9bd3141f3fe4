//! Stores never nest: not in each other, not in a source, not in the data directory (but for its own `stores` folder).

use std::path::{Component, Path, PathBuf};

use trivault_sources::SourceConfig;

use crate::domain::{Error, Result, Source, Store, StoreLocation};

/// Folder of the data directory in which stores may lie.
pub(crate) const OWN_STORES: &str = "stores";

/// Refuses a place for a store that lies in, or holds, something it must not.
pub(crate) fn check(location: &StoreLocation, stores: &[Store], sources: &[Source], data: &Path) -> Result<()> {
    for store in stores {
        if overlap(location, &store.location) {
            return Err(refusal(location, &format!("the store {}", store.name)));
        }
    }
    let StoreLocation::Local { path } = location else { return Ok(()) };
    let path = true_path(Path::new(path));
    let data = true_path(data);
    let own = path.starts_with(data.join(OWN_STORES)) && path != data.join(OWN_STORES);
    if !own && nested(&path, &data) {
        return Err(refusal(location, &format!("the data directory {}", data.display()))
            .hint(format!("Choose a folder outside of it, or one below {}.", data.join(OWN_STORES).display())));
    }
    for source in sources {
        let Some(place) = local_place(&source.config) else { continue };
        // What lies in the data directory is left out of every capture.
        let captured = path.starts_with(&place) && !own;
        if captured || place.starts_with(&path) {
            return Err(refusal(location, &format!("the source {}", source.name)));
        }
    }
    Ok(())
}

/// Where a source lies on this machine's file systems, if it does.
fn local_place(config: &SourceConfig) -> Option<PathBuf> {
    matches!(config.kind.as_str(), "directory" | "sqlite").then(|| true_path(Path::new(&config.location)))
}

fn overlap(one: &StoreLocation, other: &StoreLocation) -> bool {
    match (one, other) {
        (StoreLocation::Local { path: one }, StoreLocation::Local { path: other }) => {
            nested(&true_path(Path::new(one)), &true_path(Path::new(other)))
        }
        (
            StoreLocation::S3 { bucket, prefix, endpoint, region: _, path_style: _, allow_http: _ },
            StoreLocation::S3 {
                bucket: bucket2,
                prefix: prefix2,
                endpoint: endpoint2,
                region: _,
                path_style: _,
                allow_http: _,
            },
        ) => {
            let folders = |prefix: &str| PathBuf::from(prefix.trim_matches('/'));
            bucket == bucket2 && endpoint == endpoint2 && nested(&folders(prefix), &folders(prefix2))
        }
        _ => false,
    }
}

fn nested(one: &Path, other: &Path) -> bool {
    one.starts_with(other) || other.starts_with(one)
}

fn refusal(location: &StoreLocation, with: &str) -> Error {
    let place = match location {
        StoreLocation::Local { path } => path.clone(),
        StoreLocation::S3 { bucket, prefix, .. } => format!("s3://{bucket}/{prefix}"),
    };
    Error::invalid(format!("A store at {place} would overlap with {with}."))
        .hint("Choose a folder of its own for the store.")
}

/// The path without symbolic links, as far as it exists; a rest that does not exist yet is appended.
pub(crate) fn true_path(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut rest = Vec::new();
    let mut known = absolute.as_path();
    loop {
        if let Ok(found) = known.canonicalize() {
            return rest.iter().rev().fold(found, |path: PathBuf, name| path.join(name));
        }
        match (known.parent(), known.components().next_back()) {
            (Some(parent), Some(Component::Normal(name))) => {
                rest.push(name.to_owned());
                known = parent;
            }
            _ => return absolute,
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{SourceId, SourceStatus, StoreId};

    fn local(path: &Path) -> StoreLocation {
        StoreLocation::Local { path: path.to_str().unwrap().to_owned() }
    }

    fn store(location: StoreLocation) -> Store {
        let at = chrono::DateTime::UNIX_EPOCH;
        Store {
            id: StoreId(Uuid::nil()),
            name: "first".into(),
            location,
            is_default: false,
            read_only: false,
            managed: false,
            created_at: at,
            updated_at: at,
        }
    }

    fn source(path: &Path) -> Source {
        let at = chrono::DateTime::UNIX_EPOCH;
        let config = SourceConfig {
            kind: "directory".into(),
            location: path.to_str().unwrap().into(),
            options: serde_json::Map::new(),
            never_capture: vec![],
            secret: None,
        };
        let (id, status) = (SourceId(Uuid::nil()), SourceStatus::Attached);
        Source { id, name: "photos".into(), config, status, managed: true, created_at: at, updated_at: at }
    }

    #[test]
    fn a_store_overlaps_with_nothing() {
        let base = tempfile::tempdir().unwrap();
        let base = base.path().canonicalize().unwrap();
        let data = base.join("data");
        let stores = [store(local(&base.join("a")))];
        let sources = [source(&base.join("photos"))];
        let allowed = |path: &str| check(&local(&base.join(path)), &stores, &sources, &data).is_ok();
        assert!(allowed("b") && allowed("ab") && allowed("data/stores/default"));
        for refused in ["a", "a/b", ".", "data", "data/x", "data/stores", "photos", "photos/backups"] {
            assert!(!allowed(refused), "{refused}");
        }
        std::os::unix::fs::symlink(base.join("photos"), base.join("link")).unwrap();
        std::fs::create_dir(base.join("photos")).unwrap();
        assert!(!allowed("link/backups"), "a symbolic link hides nothing");
    }

    #[test]
    fn prefixes_of_one_bucket_do_not_nest() {
        let s3 = |bucket: &str, prefix: &str| StoreLocation::S3 {
            bucket: bucket.into(),
            prefix: prefix.into(),
            region: None,
            endpoint: None,
            path_style: true,
            allow_http: false,
        };
        let stores = [store(s3("one", "a/b"))];
        let allowed = |bucket, prefix| check(&s3(bucket, prefix), &stores, &[], Path::new("/data")).is_ok();
        assert!(allowed("two", "a/b") && allowed("one", "a/c") && allowed("one", "a/bc"));
        assert!(!allowed("one", "a/b") && !allowed("one", "a") && !allowed("one", "") && !allowed("one", "a/b/c/"));
    }
}
