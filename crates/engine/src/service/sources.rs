//! Sources.

use trivault_sources::{Finding, Secret, SourceConfig};
use uuid::Uuid;

use super::{Engine, Inner, blocking};
use crate::{
    db::{AuditEntry, Labels, SourceChange},
    domain::*,
    failure::from_source,
};

impl Engine {
    /// Attached and detached ones, by name.
    pub async fn sources(&self, caller: &Caller) -> Result<Vec<Source>> {
        caller.require(Role::Reader)?;
        let sources = self.inner().db.sources().await?;
        Ok(sources.into_iter().filter(|source| caller.require_source(source.id).is_ok()).collect())
    }

    pub async fn source(&self, caller: &Caller, id: SourceId) -> Result<Source> {
        caller.require(Role::Reader)?;
        caller.require_source(id)?;
        self.inner().db.source(id).await?.ok_or_else(|| Error::not_found(Noun::Source, "There is no such source."))
    }

    /// The attached source of that name.
    pub async fn source_named(&self, caller: &Caller, name: &str) -> Result<Source> {
        caller.require(Role::Reader)?;
        let source = self.inner().db.source_named(name).await?;
        let source = source.ok_or_else(|| {
            let shown: String = name.chars().take(64).collect();
            Error::not_found(Noun::Source, format!("There is no source called {shown}."))
                .hint("`trivault source list` shows the sources.")
        })?;
        caller.require_source(source.id)?;
        Ok(source)
    }

    pub async fn create_source(&self, caller: &Caller, source: NewSource) -> Result<Source> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let inner = self.inner();
        let source = inner.new_source(source).await?;
        let audit = inner.audit_of_source(caller, "source.create", &source);
        let sealed = inner.sealed_secret(source.id, &source.config)?;
        inner.db.insert_source(&source, sealed.as_deref(), &inner.labels_of_source(&source), &audit).await?;
        Ok(source)
    }

    /// Gives a source another password; it is sealed before it is kept.
    pub async fn set_source_secret(&self, caller: &Caller, id: SourceId, secret: &Secret) -> Result<()> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let source = self.source(caller, id).await?;
        let inner = self.inner();
        let sealed = inner.key.seal_source_secret(id, secret)?;
        let audit = inner.audit_of_source(caller, "source.password", &source);
        inner.db.change_sources(&[SourceChange::Seal(id, sealed)], &audit).await
    }

    /// Looks at the live data: connection, privileges, versions.
    pub async fn probe_source(&self, caller: &Caller, id: SourceId) -> Result<Vec<Finding>> {
        let source = self.source(caller, id).await?;
        let config = self.inner().with_secret(id, source.config).await?;
        blocking(move || Ok(trivault_sources::open(&config).map_err(from_source)?.probe())).await
    }

    /// Makes `managed` the set of managed sources: new ones are created, missing ones detached, returning ones attached.
    /// A password that is not given this time stays as it was.
    ///
    /// # Errors
    /// `AlreadyExists(Source)` where another kind or location stands under the same name (hint: `trivault source replace`).
    pub async fn reconcile_managed_sources(&self, managed: Vec<NewSource>) -> Result<()> {
        let inner = self.inner();
        let standing = inner.db.sources().await?;
        let mut changes = Vec::new();
        for new in &managed {
            match standing_under(&standing, &new.name) {
                Some(source) if trivault_sources::is_same_place(&source.config, &new.config) => {
                    if source.status == SourceStatus::Detached {
                        changes.push(SourceChange::Attach(source.id));
                    }
                    let config = SourceConfig { secret: None, ..new.config.clone() };
                    if source.config != config {
                        trivault_sources::validate(&config).map_err(from_source)?;
                        changes.push(SourceChange::Configure(source.id, Box::new(config)));
                    }
                    changes.extend(inner.changed_secret(source.id, &new.config).await?);
                }
                Some(source) if source.status == SourceStatus::Attached || source.managed => {
                    return Err(other_place(source, new));
                }
                Some(_) | None => {
                    let source = inner.new_source(NewSource { managed: true, ..new.clone() }).await?;
                    changes.push(SourceChange::Create {
                        labels: inner.labels_of_source(&source),
                        sealed_secret: inner.sealed_secret(source.id, &source.config)?,
                        source: Box::new(source),
                    });
                }
            }
        }
        for source in &standing {
            let is_gone = !managed.iter().any(|new| new.name == source.name);
            if source.managed && source.status == SourceStatus::Attached && is_gone {
                tracing::warn!(
                    source.name,
                    "the configuration no longer names this source; it is detached, its backups stay"
                );
                changes.push(SourceChange::Detach(source.id));
            }
        }
        if changes.is_empty() {
            return Ok(());
        }
        let audit = AuditEntry::of(&super::scheduler(), inner.clock.now(), "source.reconcile", None);
        inner.db.change_sources(&changes, &audit).await
    }

    /// Gives a managed source another kind or location: the old one is detached, a new one with a new id takes its name.
    pub async fn replace_source(&self, caller: &Caller, source: NewSource) -> Result<Source> {
        caller.require(Role::Admin)?;
        caller.require_everything()?;
        let inner = self.inner();
        let standing = inner.db.sources().await?;
        let old = standing_under(&standing, &source.name).ok_or_else(|| {
            Error::not_found(Noun::Source, format!("There is no source called {} to replace.", source.name))
        })?;
        let new = inner.new_source(NewSource { managed: old.managed, ..source }).await?;
        let audit = inner.audit_of_source(caller, "source.replace", &new);
        // The old one's password is not handed on: it belongs to another place.
        let sealed = inner.sealed_secret(new.id, &new.config)?;
        inner.db.replace_source(old.id, &new, sealed.as_deref(), &inner.labels_of_source(&new), &audit).await?;
        Ok(new)
    }
}

impl Inner {
    /// A source that is about to come into being; its place was checked for form, not looked at.
    pub(super) async fn new_source(&self, new: NewSource) -> Result<Source> {
        let NewSource { name, config, managed } = new;
        check_name(&name)?;
        trivault_sources::validate(&config).map_err(from_source)?;
        let now = self.clock.now();
        let (id, status) = (SourceId(Uuid::now_v7()), SourceStatus::Attached);
        Ok(Source { id, name, config, status, managed, created_at: now, updated_at: now })
    }

    /// A given password that is not the one that is kept.
    async fn changed_secret(&self, id: SourceId, config: &SourceConfig) -> Result<Option<SourceChange>> {
        let Some(given) = &config.secret else { return Ok(None) };
        // One that no longer opens is replaced by the one that is given.
        let kept = self.db.source_secret(id).await?.and_then(|sealed| self.key.open_source_secret(id, &sealed).ok());
        if kept.as_ref() == Some(given) {
            return Ok(None);
        }
        Ok(Some(SourceChange::Seal(id, self.key.seal_source_secret(id, given)?)))
    }

    pub(super) fn labels_of_source(&self, source: &Source) -> Labels {
        let mut labels = Labels::default();
        labels.propose(&self.namers, ObjectRef::new(ObjectKind::Source, source.id.0), NewObject::Source(source));
        labels
    }

    fn audit_of_source(&self, caller: &Caller, action: &str, source: &Source) -> AuditEntry {
        AuditEntry::of(caller, self.clock.now(), action, Some(ObjectRef::new(ObjectKind::Source, source.id.0)))
    }
}

/// The source that a name means: the attached one, else the one detached last.
fn standing_under<'a>(sources: &'a [Source], name: &str) -> Option<&'a Source> {
    let named = sources.iter().filter(|source| source.name == name);
    named.max_by_key(|source| (source.status == SourceStatus::Attached, source.updated_at))
}

fn other_place(standing: &Source, new: &NewSource) -> Error {
    let sentence = format!(
        "The source {} is known as {} at {}, and now it is to be {} at {}.",
        new.name, standing.config.kind, standing.config.location, new.config.kind, new.config.location
    );
    Error::new(ErrorCode::AlreadyExists(Noun::Source), sentence).hint(format!(
        "Give it another name, or say that it is meant: trivault source replace {} KIND:PATH. The old one's backups stay.",
        new.name
    ))
}

/// `[A-Za-z0-9][A-Za-z0-9_.-]{0,63}`
fn check_name(name: &str) -> Result<()> {
    let allowed = |character: char| character.is_ascii_alphanumeric() || "_.-".contains(character);
    let is_well_formed = (1..=64).contains(&name.len())
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.chars().all(allowed);
    if is_well_formed {
        return Ok(());
    }
    let rule = "A source's name has 1 to 64 letters, digits, '_', '.' and '-', and begins with a letter or digit.";
    Err(Error::invalid(rule))
}
