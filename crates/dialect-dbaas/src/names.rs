//! What sources, parts and users are called on this wire. Names are made with the object, kept as aliases and never change.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use trivault_engine::{
    Backup, Engine, Error, NewObject, Noun, ObjectKind, ObjectRef, PartId, Proposal, Repository, Source, SourceId,
    SourceSelection,
};
use uuid::Uuid;

/// Name of an application: one source seen as an app.
pub const APP: &str = "dbaas.app";
/// 24 hexadecimal digits.
pub const APP_ID: &str = "dbaas.app_id";
/// `ad-` and a UUID.
pub const ADDON: &str = "dbaas.addon";
/// 24 hexadecimal digits.
pub const DATABASE: &str = "dbaas.database";
/// `<app with underscores>_<digits>`.
pub const RESOURCE: &str = "dbaas.resource";
/// 24 hexadecimal digits; names a part.
pub const BACKUP: &str = "dbaas.backup";
/// `us-` and a UUID.
pub const USER: &str = "dbaas.user";

/// The name that a backup has for all to show, whatever the dialect.
const TITLE: &str = "title";

/// Limits of an application's name, in characters.
const APP_NAME_MIN: usize = 6;
/// 48 in the documentation; four are kept for the `-2` .. `-999` that keeps names apart.
const APP_NAME_MAX: usize = 44;

/// Gives every new source, part and user its names in this dialect.
#[derive(Clone, Copy, Debug, Default)]
pub struct Namer;

impl trivault_engine::Namer for Namer {
    fn names(&self, object: NewObject<'_>, random: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal> {
        match object {
            NewObject::Source(source) => names_of_new_source(source, random),
            NewObject::Part { part: _, source: _, created_at } => vec![fixed(BACKUP, object_id(created_at, random))],
            NewObject::User(_) => vec![fixed(USER, format!("us-{}", random_uuid(random)))],
            NewObject::Store(_) | NewObject::Repository(_) | NewObject::Job(_) => Vec::new(),
            NewObject::Backup { backup, repository, store: _, point: _ } => title(backup, repository),
        }
    }
}

fn names_of_new_source(source: &Source, random: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal> {
    let app = app_name(&source.name);
    let resource = resource_id(source.id, &source.name);
    vec![
        Proposal { namespace: APP.to_owned(), name: app, number_if_taken: true },
        fixed(APP_ID, object_id(source.created_at, random)),
        fixed(ADDON, format!("ad-{}", random_uuid(random))),
        fixed(DATABASE, object_id(source.created_at, random)),
        Proposal { namespace: RESOURCE.to_owned(), name: resource, number_if_taken: true },
    ]
}

/// Backups of this dialect's own repositories are called alike everywhere.
fn title(backup: &Backup, repository: &Repository) -> Vec<Proposal> {
    let (SourceSelection::One(source), Some(name)) = (repository.sources, repository.name.strip_prefix("db-")) else {
        return Vec::new();
    };
    if repository.owner != crate::NAME {
        return Vec::new();
    }
    // A source that took over another's name has its repository called after its resource id.
    let is_resource = name.ends_with(&format!("_{}", digits(source)));
    let resource = if is_resource { name.to_owned() } else { resource_id(source, name) };
    let name = backup_name(backup.created_at, &resource);
    vec![Proposal { namespace: TITLE.to_owned(), name, number_if_taken: true }]
}

/// `<app with underscores>_<digits>`; the digits come from the source's id, so that whoever knows the source knows the name.
fn resource_id(source: SourceId, name: &str) -> String {
    format!("{}_{}", app_name(name).replace('-', "_"), digits(source))
}

/// 100000..=999999
fn digits(source: SourceId) -> u32 {
    let [.., a, b, c, d] = *source.0.as_bytes();
    100_000 + u32::from_be_bytes([a, b, c, d]) % 900_000
}

/// `YYYYMMDDHHMMSS_<resource id>`, in UTC.
fn backup_name(created_at: DateTime<Utc>, resource_id: &str) -> String {
    format!("{}_{resource_id}", created_at.format("%Y%m%d%H%M%S"))
}

fn fixed(namespace: &str, name: String) -> Proposal {
    Proposal { namespace: namespace.to_owned(), name, number_if_taken: false }
}

/// An application's name for a source: lower-case letters, digits and single inner hyphens.
fn app_name(source: &str) -> String {
    let mut name = String::with_capacity(source.len());
    for letter in source.chars().map(|letter| letter.to_ascii_lowercase()) {
        if letter.is_ascii_alphanumeric() {
            name.push(letter);
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(APP_NAME_MAX);
    let name = name.trim_matches('-');
    match name {
        "" => "database-app".to_owned(),
        // `a-app` has five characters only.
        short if short.len() + "-app".len() < APP_NAME_MIN => format!("{short}-database"),
        short if short.len() < APP_NAME_MIN => format!("{short}-app"),
        long => long.to_owned(),
    }
}

/// Four bytes of UNIX seconds and eight random ones, in hexadecimal: sorting by id is sorting by time.
fn object_id(at: DateTime<Utc>, random: &mut dyn FnMut(&mut [u8])) -> String {
    let seconds = u32::try_from(at.timestamp()).unwrap_or(if at.timestamp() < 0 { 0 } else { u32::MAX });
    let mut id = [0; 12];
    random(&mut id[4..]);
    id[..4].copy_from_slice(&seconds.to_be_bytes());
    hex::encode(id)
}

fn random_uuid(random: &mut dyn FnMut(&mut [u8])) -> Uuid {
    let mut bytes = [0; 16];
    random(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid()
}

/// A stable id of 24 hexadecimal digits for a thing that exists once per kind of source: its plan, type and version.
pub(crate) fn static_id(tag: u8, word: &str) -> String {
    let mut id = [0; 12];
    id[0] = tag;
    for (slot, byte) in id[1..].iter_mut().zip(word.bytes()) {
        *slot = byte;
    }
    hex::encode(id)
}

/// What one source is called; serialized as `trivault source list --json` shows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SourceNames {
    pub app: String,
    #[serde(skip)]
    pub app_id: String,
    pub addon_id: String,
    pub database_id: String,
    pub resource_id: String,
}

impl SourceNames {
    /// `YYYYMMDDHHMMSS_<resource id>`, in UTC: a backup's name and the stem of its download.
    pub fn backup_name(&self, created_at: DateTime<Utc>) -> String {
        backup_name(created_at, &self.resource_id)
    }
}

/// The names of one source.
///
/// # Errors
/// Those of the metadata database; `Internal` when the source was made without this dialect's [`Namer`].
pub async fn names_of_source(engine: &Engine, source: SourceId) -> Result<SourceNames, Error> {
    let mut names = names_of_sources(engine, &[source]).await?;
    names.remove(&source).ok_or_else(|| Error::internal(format!("The source {source} has no names in this dialect.")))
}

/// The names of many sources, in a fixed number of queries. Sources without names are left out.
///
/// # Errors
/// Those of the metadata database.
pub async fn names_of_sources(engine: &Engine, sources: &[SourceId]) -> Result<HashMap<SourceId, SourceNames>, Error> {
    let objects: Vec<_> = sources.iter().copied().map(object_of_source).collect();
    let mut apps = engine.aliases(APP, &objects).await?;
    let mut app_ids = engine.aliases(APP_ID, &objects).await?;
    let mut addons = engine.aliases(ADDON, &objects).await?;
    let mut databases = engine.aliases(DATABASE, &objects).await?;
    let mut resources = engine.aliases(RESOURCE, &objects).await?;
    let mut one = |source: SourceId| {
        let object = object_of_source(source);
        Some(SourceNames {
            app: apps.remove(&object)?,
            app_id: app_ids.remove(&object)?,
            addon_id: addons.remove(&object)?,
            database_id: databases.remove(&object)?,
            resource_id: resources.remove(&object)?,
        })
    };
    Ok(sources.iter().filter_map(|source| Some((*source, one(*source)?))).collect())
}

/// The ids of parts on this wire. Parts without one are left out.
///
/// # Errors
/// Those of the metadata database.
pub(crate) async fn backup_ids(
    engine: &Engine,
    parts: impl Iterator<Item = PartId>,
) -> Result<HashMap<PartId, String>, Error> {
    let objects: Vec<_> = parts.map(|part| ObjectRef::new(ObjectKind::Part, part.0)).collect();
    let ids = engine.aliases(BACKUP, &objects).await?;
    Ok(ids.into_iter().map(|(object, id)| (PartId(object.id), id)).collect())
}

/// The part that a backup's id means.
///
/// # Errors
/// `NotFound(Backup)`, whatever the id looks like.
pub(crate) async fn part_of_backup_id(engine: &Engine, id: &str) -> Result<PartId, Error> {
    match engine.resolve(BACKUP, id).await? {
        Some(ObjectRef { kind: ObjectKind::Part, id }) => Ok(PartId(id)),
        Some(ObjectRef { kind: _, id: _ }) | None => Err(Error::not_found(Noun::Backup, "There is no such backup.")),
    }
}

/// The source that one of these namespaces knows under a name.
///
/// # Errors
/// Those of the metadata database.
pub(crate) async fn source_named_in(
    engine: &Engine,
    namespaces: &[&str],
    name: &str,
) -> Result<Option<SourceId>, Error> {
    for namespace in namespaces {
        if let Some(ObjectRef { kind: ObjectKind::Source, id }) = engine.resolve(namespace, name).await? {
            return Ok(Some(SourceId(id)));
        }
    }
    Ok(None)
}

pub(crate) fn object_of_source(source: SourceId) -> ObjectRef {
    ObjectRef::new(ObjectKind::Source, source.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counting() -> impl FnMut(&mut [u8]) {
        let mut next = 0u8;
        move |bytes: &mut [u8]| {
            for byte in bytes {
                *byte = next;
                next = next.wrapping_add(1);
            }
        }
    }

    #[test]
    fn an_app_name_keeps_the_documented_alphabet_and_length() {
        for (source, app) in [
            ("travel-sample", "travel-sample"),
            ("Orders.Main_DB", "orders-main-db"),
            ("a..b__c--d-", "a-b-c-d"),
            ("db", "db-app"),
            ("x", "x-database"),
            ("photos", "photos"),
            ("photo", "photo-app"),
            ("9", "9-database"),
        ] {
            assert_eq!(app_name(source), app, "{source}");
        }
        let long = app_name(&"a".repeat(43).chars().chain("-bcdef".chars()).collect::<String>());
        assert_eq!(long, "a".repeat(43), "no hyphen is left at the cut");
        for source in ["x", "A-", "travel-sample", &"Z9._".repeat(16)] {
            let name = app_name(source);
            assert!((6..=44).contains(&name.len()), "{name}");
            assert!(!name.starts_with('-') && !name.ends_with('-') && !name.contains("--"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-'));
        }
    }

    #[test]
    fn an_object_id_begins_with_the_seconds_of_its_creation() {
        let at = DateTime::from_timestamp(1_795_136_404, 312_000_000).unwrap();
        assert_eq!(object_id(at, &mut counting()), "6aff9b940001020304050607");
    }

    #[test]
    fn an_object_id_is_well_formed_before_1970_and_after_2106() {
        for seconds in [-5, i64::from(u32::MAX) + 5] {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            assert_eq!(object_id(at, &mut counting()).len(), 24);
        }
    }

    #[test]
    fn a_new_source_gets_a_name_in_every_namespace() {
        let at = DateTime::from_timestamp(1_710_151_337, 4_000_000).unwrap();
        let source = Source {
            id: SourceId(Uuid::nil()),
            name: "atelier.shop".to_owned(),
            config: serde_json::from_value(serde_json::json!({"kind": "sqlite", "location": "/a.db"})).unwrap(),
            status: trivault_engine::SourceStatus::Attached,
            managed: true,
            created_at: at,
            updated_at: at,
        };
        let names = trivault_engine::Namer::names(&Namer, NewObject::Source(&source), &mut counting());
        let of = |namespace: &str| names.iter().find(|name| name.namespace == namespace).unwrap();
        assert_eq!(of(APP).name, "atelier-shop");
        assert!(of(APP).number_if_taken);
        assert_eq!(&of(APP_ID).name[..8], "65eed6a9");
        assert_eq!(&of(DATABASE).name[..8], "65eed6a9");
        assert_ne!(of(APP_ID).name, of(DATABASE).name);
        let (prefix, uuid) = of(ADDON).name.split_at(3);
        assert_eq!((prefix, Uuid::parse_str(uuid).unwrap().get_version_num()), ("ad-", 4));
        let (app, digits) = of(RESOURCE).name.rsplit_once('_').unwrap();
        assert_eq!(app, "atelier_shop");
        assert!(digits.len() == 6 && digits.parse::<u32>().is_ok(), "{digits}");
        assert_eq!(names.len(), 5);
    }

    #[test]
    fn a_backup_is_named_after_its_creation_in_utc_and_its_database() {
        let names = SourceNames {
            app: "atelier-shop".into(),
            app_id: "65eed6a7a172cedcae47474b".into(),
            addon_id: "ad-3f0c9a52-7d1e-4b62-9f0d-5a2b8c6e4d10".into(),
            database_id: "65eed6a93549b0028b75d981".into(),
            resource_id: "atelier_shop_2207".into(),
        };
        let at = DateTime::from_timestamp(1_795_136_404, 312_000_000).unwrap();
        assert_eq!(names.backup_name(at), "20261120010004_atelier_shop_2207");
        assert_eq!(
            serde_json::to_value(&names).unwrap(),
            serde_json::json!({"app": "atelier-shop", "addon_id": "ad-3f0c9a52-7d1e-4b62-9f0d-5a2b8c6e4d10",
                "database_id": "65eed6a93549b0028b75d981", "resource_id": "atelier_shop_2207"})
        );
    }
}
