//! What an `archive` means: the label of a repository in the default store, or a configured object store.

use trivault_engine::{Source, Store, StoreId, StoreLocation};

/// Where a new repository lies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the default store; the text is kept as a label.
    Label,
    /// In this configured store.
    Store(StoreId),
}

/// What the rules look at.
pub struct Surroundings<'a> {
    pub stores: &'a [Store],
    pub sources: &'a [Source],
}

/// # Errors
/// A sentence that says what is wrong with the archive.
pub fn place(archive: &str, around: &Surroundings<'_>) -> Result<Place, String> {
    if let Some((scheme, rest)) = archive.split_once("://") {
        return object_store(scheme, rest, around.stores);
    }
    if archive.contains('\0') {
        return Err("the archive must not contain a NUL character".to_owned());
    }
    if !archive.starts_with('/') {
        return Err("the archive must be an absolute path or begin with s3://, az:// or gs://".to_owned());
    }
    let path = segments(archive);
    if path.contains(&"..") {
        return Err("the archive must not contain '..'".to_owned());
    }
    if path.is_empty() {
        return Err("the archive must not be the root directory".to_owned());
    }
    match occupied(&path, around) {
        Some(what) => Err(format!("the archive lies in or around {what}; choose another path")),
        None => Ok(Place::Label),
    }
}

fn object_store(scheme: &str, rest: &str, stores: &[Store]) -> Result<Place, String> {
    if !matches!(scheme, "s3" | "az" | "gs") {
        return Err(format!("unknown archive scheme '{scheme}://', known are s3://, az:// and gs://"));
    }
    let wanted = segments(rest);
    let configured = stores.iter().find(|store| match &store.location {
        StoreLocation::Local { path: _ } => false,
        StoreLocation::S3 { bucket, prefix, region: _, endpoint: _, path_style: _, allow_http: _ } => {
            let own: Vec<&str> = std::iter::once(bucket.as_str()).chain(segments(prefix)).collect();
            scheme == "s3" && own == wanted
        }
    });
    match configured {
        Some(store) => Ok(Place::Store(store.id)),
        None => {
            Err("no configured object store has this archive; configure a store with its bucket and prefix".to_owned())
        }
    }
}

/// What stands in the way: a store, a source, or the directories that no source captures (the data directory among them).
fn occupied(path: &[&str], around: &Surroundings<'_>) -> Option<String> {
    let overlaps = |other: &str| {
        let other = segments(other);
        other.starts_with(path) || path.starts_with(&other)
    };
    for store in around.stores {
        match &store.location {
            StoreLocation::Local { path } if overlaps(path) => return Some(format!("the store {}", store.name)),
            StoreLocation::Local { .. } | StoreLocation::S3 { .. } => {}
        }
    }
    for source in around.sources {
        if source.config.location.starts_with('/') && overlaps(&source.config.location) {
            return Some(format!("the bucket {}", source.name));
        }
        if source.config.never_capture.iter().any(|own| overlaps(&own.to_string_lossy())) {
            return Some("a directory of this server".to_owned());
        }
    }
    None
}

/// The names on a path; doubled slashes and `.` mean nothing.
fn segments(path: &str) -> Vec<&str> {
    path.split('/').filter(|name| !name.is_empty() && *name != ".").collect()
}

/// What a repository that another dialect made shows as its archive: where its store is.
pub fn location_text(location: &StoreLocation) -> String {
    match location {
        StoreLocation::Local { path } => path.clone(),
        StoreLocation::S3 { bucket, prefix, region: _, endpoint: _, path_style: _, allow_http: _ } => {
            format!("s3://{}", std::iter::once(bucket.as_str()).chain(segments(prefix)).collect::<Vec<_>>().join("/"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mapping::tests_support::{source, store};

    fn placed(archive: &str) -> Result<Place, String> {
        let mut cloud = store("cloud");
        cloud.location = StoreLocation::S3 {
            bucket: "my-example-bucket".to_owned(),
            prefix: "test_backups/".to_owned(),
            region: None,
            endpoint: None,
            path_style: false,
            allow_http: false,
        };
        let mut local = store("default");
        local.location = StoreLocation::Local { path: "/var/lib/trivault/store".to_owned() };
        let mut photos = source("photos");
        photos.config.location = "/srv/photos".to_owned();
        photos.config.never_capture = vec!["/var/lib/trivault".into()];
        place(archive, &Surroundings { stores: &[cloud, local], sources: &[photos] })
    }

    #[test]
    fn any_free_absolute_path_is_a_label_and_configured_buckets_are_stores() {
        assert_eq!(placed("/Users/user/Documents/archives/testRepo"), Ok(Place::Label));
        assert_eq!(placed("/Users/user/Meine Ablage/ü"), Ok(Place::Label));
        assert_eq!(placed("/srv/photos-archive"), Ok(Place::Label));
        assert!(matches!(placed("s3://my-example-bucket/test_backups"), Ok(Place::Store(_))));
    }

    #[test]
    fn everything_else_is_refused_with_a_sentence() {
        for (archive, word) in [
            ("archives/testRepo", "absolute"),
            ("~/archives", "absolute"),
            ("/a/../b", "'..'"),
            ("/a\0b", "NUL"),
            ("/", "root"),
            ("//./", "root"),
            ("bad://bucket", "unknown archive scheme"),
            ("s3://other", "no configured object store"),
            ("s3://my-example-bucket", "no configured object store"),
            ("gs://my-example-bucket/test_backups", "no configured object store"),
            ("/var/lib/trivault/store/x", "the store default"),
            ("/var/lib", "the store default"),
            ("/srv/photos", "the bucket photos"),
            ("/srv/photos/./deep", "the bucket photos"),
            ("/srv", "the bucket photos"),
            ("/var/lib/trivault/else", "a directory of this server"),
        ] {
            let refused = placed(archive).unwrap_err();
            assert!(refused.contains(word), "{archive}: {refused}");
        }
    }
}
