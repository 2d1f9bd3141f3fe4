//! The configuration's objects, written into an empty catalogue: sources, users, plans, repositories, and what they are called.

use std::collections::{HashMap, HashSet};

use trivault_sources::SourceConfig;
use uuid::Uuid;

use super::{
    RecoverySummary,
    configuration::{CapturedRetention, CapturedSchedule, Configuration, user_purpose},
    revive::labels_within,
};
use crate::{
    db::Labels,
    domain::{
        NewObject, ObjectKind, ObjectRef, Plan, Repository, RepositoryFilter, RepositoryState, Result, Source,
        SourceId, SourceStatus, Store, StoreId, User,
    },
    service::Inner,
};

/// A hash that no password has.
const NO_PASSWORD: &str = "!";
/// Kinds whose sources lie in files, and need no password.
const WITHOUT_PASSWORD: [&str; 2] = ["directory", "sqlite"];
/// Names that are tried for a repository whose own is taken.
const MOST_NAMES: u32 = 1_000;

/// Writes what the configuration describes of this store; what stands is left as it is.
pub(super) async fn place(
    inner: &Inner,
    configuration: &Configuration,
    store: StoreId,
    summary: &mut RecoverySummary,
) -> Result<()> {
    let mut stands: HashSet<Uuid> = HashSet::from([store.0]);
    let (sources, unreadable) = Configuration::read::<Source>(&configuration.sources);
    summary.unreadable += unreadable;
    for source in sources {
        stands.insert(source.id.0);
        let sealed = configuration.secret(ObjectRef::new(ObjectKind::Source, source.id.0));
        let opens = |sealed: &Vec<u8>| inner.key.open_source_secret(source.id, sealed).is_ok();
        let had_one = sealed.is_some();
        let sealed = sealed.filter(opens);
        if had_one && sealed.is_none() && source.status == SourceStatus::Attached {
            summary.sources_without_password.push(source.name.clone());
        }
        summary.sources += u64::from(place_source(inner, &source, sealed.as_deref()).await?);
    }
    let (users, unreadable) = Configuration::read::<User>(&configuration.users);
    summary.unreadable += unreadable;
    for user in users {
        stands.insert(user.id.0);
        let sealed = configuration.secret(ObjectRef::new(ObjectKind::User, user.id.0));
        let hash = sealed.and_then(|sealed| inner.key.open_text(&user_purpose(user.id), &sealed).ok());
        if hash.is_none() {
            summary.users_without_password.push(user.name.clone());
        }
        let hash = hash.as_ref().map_or(NO_PASSWORD, |hash| hash.expose());
        summary.users += u64::from(inner.db.recover_user(&user, hash).await?);
    }
    let (plans, unreadable) = Configuration::read::<Plan>(&configuration.plans);
    summary.unreadable += unreadable;
    for plan in plans {
        stands.insert(plan.id.0);
        summary.plans += u64::from(inner.db.recover_plan(&plan).await?);
    }
    let (repositories, unreadable) = Configuration::read::<Repository>(&configuration.repositories);
    let (rules, more) = Configuration::read::<CapturedRetention>(&configuration.retention);
    let (schedules, yet_more) = Configuration::read::<CapturedSchedule>(&configuration.schedule);
    summary.unreadable += unreadable + more + yet_more;
    let rules: HashMap<_, _> = rules.into_iter().map(|found| (found.repository, found.rules)).collect();
    let schedules: HashMap<_, _> = schedules.into_iter().map(|found| (found.repository, found.tasks)).collect();
    // Those of other stores come with their stores.
    for repository in repositories.into_iter().filter(|repository| repository.store == store) {
        stands.insert(repository.id.0);
        let schedule = schedules.get(&repository.id).map_or(&[][..], Vec::as_slice);
        let new = inner.db.recover_repository(&repository, rules.get(&repository.id), schedule).await?;
        summary.repositories += u64::from(new);
    }
    let labels = labels_within(&configuration.labels, |id| stands.contains(&id));
    inner.db.recover_labels(&labels, inner.clock.now()).await
}

/// A source, detached where another one has its name already. Answers whether it is new.
pub(super) async fn place_source(inner: &Inner, source: &Source, sealed_secret: Option<&[u8]>) -> Result<bool> {
    let mut source = Source { config: SourceConfig { secret: None, ..source.config.clone() }, ..source.clone() };
    if source.status == SourceStatus::Attached
        && inner.db.source_named(&source.name).await?.is_some_and(|other| other.id != source.id)
    {
        source.status = SourceStatus::Detached;
    }
    inner.db.recover_source(&source, sealed_secret).await
}

/// A source that only its backups tell of. A server needs its password again.
pub(super) async fn place_unconfigured(inner: &Inner, source: &Source, summary: &mut RecoverySummary) -> Result<()> {
    if place_source(inner, source, None).await? {
        summary.sources += 1;
        if !WITHOUT_PASSWORD.contains(&source.config.kind.as_str()) {
            summary.sources_without_password.push(source.name.clone());
        }
    }
    Ok(())
}

/// A repository that only its backups tell of; one whose name is taken is archived, or gets a number.
pub(super) async fn place_repository(
    inner: &Inner,
    repository: &Repository,
    summary: &mut RecoverySummary,
) -> Result<()> {
    if inner.db.repository(repository.id).await?.is_some() {
        return Ok(());
    }
    let mut candidate = repository.clone();
    for number in 2..MOST_NAMES {
        if inner.db.recover_repository(&candidate, None, &[]).await? {
            summary.repositories += 1;
            return Ok(());
        }
        if matches!(candidate.state, RepositoryState::Active { .. }) {
            candidate.state = RepositoryState::Archived;
        } else {
            candidate.name = format!("{}-{number}", repository.name);
        }
    }
    Ok(())
}

/// Whether the catalogue has this source.
pub(super) async fn has_source(inner: &Inner, id: SourceId) -> Result<bool> {
    Ok(inner.db.source(id).await?.is_some())
}

/// What nothing told a name of gets new ones, as a new object would.
pub(super) async fn name_the_nameless(inner: &Inner, store: &Store) -> Result<()> {
    let mut labels = Labels::default();
    let (sources, repositories) =
        (inner.db.sources().await?, inner.db.repositories(&RepositoryFilter::default()).await?);
    let at = ObjectRef::new(ObjectKind::Store, store.id.0);
    let mut objects = vec![(at, NewObject::Store(store))];
    for source in &sources {
        objects.push((ObjectRef::new(ObjectKind::Source, source.id.0), NewObject::Source(source)));
    }
    for repository in &repositories {
        objects.push((ObjectRef::new(ObjectKind::Repository, repository.id.0), NewObject::Repository(repository)));
    }
    let refs: Vec<ObjectRef> = objects.iter().map(|(at, _)| *at).collect();
    let named: HashSet<ObjectRef> = inner.db.names_of(&refs).await?.into_iter().map(|(object, _)| object).collect();
    for (at, object) in objects.into_iter().filter(|(at, _)| !named.contains(at)) {
        labels.propose(&inner.namers, at, object);
    }
    // A taken one gets a number: nobody knows the object by it.
    for (_, proposal) in &mut labels.names {
        proposal.number_if_taken = true;
    }
    inner.db.add_labels(&labels, inner.clock.now()).await
}
