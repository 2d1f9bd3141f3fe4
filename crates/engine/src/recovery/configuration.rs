//! The gateway's own configuration as a store keeps it, and gathering it.
//!
//! Secrets stand in it sealed under the server key, for one object each, exactly as the metadata database keeps them; the hashes of
//! passwords are sealed too. Whoever has the vault's password alone reads names and rules, and no secret. Tokens are not kept:
//! a recovery must not bring one back that was revoked.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::unwritable;
use crate::{
    db::{LabelSet, ScheduleEntry, StoreRow, VaultRow},
    domain::{ObjectKind, ObjectRef, RepositoryFilter, RepositoryId, Result, Retention, UserId, VaultRecord},
    service::Inner,
};

/// What this binary writes. Later ones read it; what they do not understand of it, they leave out and say so.
pub(crate) const FORMAT: u32 = 1;

/// What was found where a configuration lies.
pub(crate) enum Parsed {
    Known(Box<Configuration>),
    /// Of a format that only a later version reads.
    Later(u32),
}

/// Lists of objects are kept loosely, so that one that a reader does not understand hides no other.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Configuration {
    pub(crate) format: u32,
    pub(crate) installation: Uuid,
    /// What clients know it as.
    #[serde(default)]
    pub(crate) known_as: Option<Uuid>,
    #[serde(default)]
    pub(crate) captured_at: Option<DateTime<Utc>>,
    #[serde(default)]
    pub(crate) stores: Vec<Value>,
    #[serde(default)]
    pub(crate) vaults: Vec<Value>,
    #[serde(default)]
    pub(crate) sources: Vec<Value>,
    #[serde(default)]
    pub(crate) repositories: Vec<Value>,
    #[serde(default)]
    pub(crate) plans: Vec<Value>,
    #[serde(default)]
    pub(crate) users: Vec<Value>,
    #[serde(default)]
    pub(crate) retention: Vec<Value>,
    /// When plans run next; it moves with every run and is no reason to write the configuration again.
    #[serde(default)]
    pub(crate) schedule: Vec<Value>,
    #[serde(default)]
    pub(crate) labels: LabelSet,
    #[serde(default)]
    pub(crate) secrets: Vec<SealedSecret>,
}

/// A secret under the server key: a source's password, a store's credentials, a user's password hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SealedSecret {
    pub(crate) of: ObjectRef,
    /// Base64.
    pub(crate) sealed: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct CapturedVault {
    #[serde(flatten)]
    pub(crate) vault: VaultRecord,
    /// Lower-case hex; of a passcode vault. It says nothing of the passcode to who has not 64 MiB for each guess.
    pub(crate) locator: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CapturedRetention {
    pub(crate) repository: RepositoryId,
    pub(crate) rules: Retention,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct CapturedSchedule {
    pub(crate) repository: RepositoryId,
    pub(crate) tasks: Vec<ScheduleEntry>,
}

impl Configuration {
    /// # Errors
    /// When it is no configuration, or not a whole one.
    pub(crate) fn parse(json: &[u8]) -> serde_json::Result<Parsed> {
        /// All that every format has.
        #[derive(Deserialize)]
        struct Format {
            format: u32,
        }
        let Format { format } = serde_json::from_slice(json)?;
        if format > FORMAT {
            return Ok(Parsed::Later(format));
        }
        serde_json::from_slice(json).map(|found| Parsed::Known(Box::new(found)))
    }

    /// The secret of an object.
    pub(crate) fn secret(&self, of: ObjectRef) -> Option<Vec<u8>> {
        let found = self.secrets.iter().find(|secret| secret.of == of)?;
        BASE64_STANDARD.decode(&found.sealed).ok()
    }

    /// The objects of one list, and how many could not be understood.
    pub(crate) fn read<T: DeserializeOwned>(list: &[Value]) -> (Vec<T>, u64) {
        let found: Vec<T> = list.iter().filter_map(|value| serde_json::from_value(value.clone()).ok()).collect();
        let unreadable = (list.len() - found.len()) as u64;
        (found, unreadable)
    }
}

/// What a user's password hash is sealed for.
pub(crate) fn user_purpose(user: UserId) -> String {
    format!("user-password-hash:{user}")
}

/// The configuration with the digest of all that is a reason to write it again.
pub(crate) struct Gathered {
    pub(crate) configuration: Configuration,
    pub(crate) digest: String,
}

/// Reads the whole configuration from the metadata database.
pub(crate) async fn gather(inner: &Inner) -> Result<Gathered> {
    let db = &inner.db;
    let repositories = db.repositories(&RepositoryFilter::default()).await?;
    let mut stores = Vec::new();
    let mut secrets = Vec::new();
    for store in db.stores().await? {
        let Some(StoreRow { store, sealed_credentials, salt: _ }) = db.store_row(store.id).await? else { continue };
        secrets.extend(sealed_credentials.map(|sealed| secret(ObjectKind::Store, store.id.0, &sealed)));
        stores.push(value(&store)?);
    }
    let mut vaults = Vec::new();
    for vault in db.vaults().await? {
        let Some(row) = db.vault_row(vault.id).await? else { continue };
        let VaultRow { vault, sealed_password: _, locator, retired_at: _ } = row;
        vaults.push(value(&CapturedVault { vault, locator: locator.map(hex::encode) })?);
    }
    for (source, sealed) in db.source_secrets().await? {
        secrets.push(secret(ObjectKind::Source, source.0, &sealed));
    }
    let mut plans = Vec::new();
    for owner in db.plan_owners().await? {
        plans.extend(db.plans(&owner).await?);
    }
    let rules = db.all_retention().await?.into_iter();
    let rules = rules.map(|(repository, rules)| value(&CapturedRetention { repository, rules }));
    let mut configuration = Configuration {
        format: FORMAT,
        installation: inner.installation,
        known_as: Some(inner.known_as),
        captured_at: None,
        stores,
        vaults,
        sources: values(&db.sources().await?)?,
        plans: values(&plans)?,
        users: values(&db.users().await?)?,
        retention: rules.collect::<Result<_>>()?,
        schedule: Vec::new(),
        labels: db.standing_labels().await?,
        secrets,
        repositories: values(&repositories)?,
    };
    let hashes = db.password_hashes().await?;
    let digest = digest(&configuration, &hashes)?;

    configuration.captured_at = Some(inner.clock.now());
    for (user, hash) in hashes {
        // Sealed anew each time, which gives other bytes each time: the digest looks at the hash itself.
        let sealed = inner.key.seal(&user_purpose(user), hash.as_bytes())?;
        configuration.secrets.push(secret(ObjectKind::User, user.0, &sealed));
    }
    for repository in repositories.iter().filter(|repository| repository.plan.is_some()) {
        let tasks = db.schedule(repository.id).await?;
        configuration.schedule.push(value(&CapturedSchedule { repository: repository.id, tasks })?);
    }
    Ok(Gathered { configuration, digest })
}

fn digest(configuration: &Configuration, hashes: &[(UserId, String)]) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(serde_json::to_vec(configuration).map_err(unwritable)?);
    for (user, hash) in hashes {
        digest.update(user.0.as_bytes());
        digest.update(hash.as_bytes());
    }
    Ok(hex::encode(digest.finalize()))
}

fn secret(kind: ObjectKind, id: Uuid, sealed: &[u8]) -> SealedSecret {
    SealedSecret { of: ObjectRef::new(kind, id), sealed: BASE64_STANDARD.encode(sealed) }
}

fn values<T: Serialize>(items: &[T]) -> Result<Vec<Value>> {
    items.iter().map(value).collect()
}

fn value<T: Serialize>(item: &T) -> Result<Value> {
    serde_json::to_value(item).map_err(unwritable)
}
