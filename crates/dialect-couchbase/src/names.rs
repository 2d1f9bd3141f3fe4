//! How new objects are called on this wire.

use chrono_tz::Tz;
use trivault_engine::{JobKind, Namer, NewObject, Proposal, Repository, RepositoryId};

use crate::{NAME, mapping::time::backup_name};

/// One-off tasks: `BACKUP-<uuid>`.
pub const TASKS: &str = "couchbase.task";
/// Hidden names of repositories' series (`repo`): a UUID each.
pub const SERIES: &str = "couchbase.repo";
/// Ids under `imported` of repositories that other dialects made.
pub const FOREIGN_REPOSITORIES: &str = "couchbase.repository";
/// Backups, `<repository>/<name>`: names are unique within their repository only.
pub const BACKUPS: &str = "couchbase.backup";

/// Of names of one-off tasks, as every release of the manual prints them.
pub const PREFIXES: [&str; 4] = ["BACKUP-", "MERGE-", "PRUNE-", "restore-"];

pub struct Names {
    /// The zone in which backups are named.
    pub zone: Tz,
}

impl Namer for Names {
    fn names(&self, object: NewObject<'_>, random: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal> {
        match object {
            NewObject::Repository(repository) => of_repository(repository, random),
            NewObject::Job(job) if job.task.is_none() => prefix(job.kind)
                .map(|prefix| fixed(TASKS, format!("{prefix}{}", random_id(random))))
                .into_iter()
                .collect(),
            NewObject::Backup { backup: _, repository, store: _, point } => {
                vec![fixed(BACKUPS, scoped(repository.id, &backup_name(point, self.zone)))]
            }
            NewObject::Job(_)
            | NewObject::Source(_)
            | NewObject::Store(_)
            | NewObject::User(_)
            | NewObject::Part { .. } => Vec::new(),
        }
    }
}

fn of_repository(repository: &Repository, random: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal> {
    let mut names = vec![fixed(SERIES, random_id(random))];
    if repository.owner != NAME {
        let name = identifier(&repository.name);
        names.push(Proposal { namespace: FOREIGN_REPOSITORIES.to_owned(), name, number_if_taken: true });
    }
    names
}

fn prefix(kind: JobKind) -> Option<&'static str> {
    match kind {
        JobKind::Backup => Some("BACKUP-"),
        JobKind::Merge => Some("MERGE-"),
        JobKind::Prune => Some("PRUNE-"),
        JobKind::Restore => Some("restore-"),
        JobKind::Forget | JobKind::Verify | JobKind::Import | JobKind::Export | JobKind::Drill => None,
    }
}

fn fixed(namespace: &str, name: String) -> Proposal {
    Proposal { namespace: namespace.to_owned(), name, number_if_taken: false }
}

fn random_id(random: &mut dyn FnMut(&mut [u8])) -> String {
    let mut bytes = [0; 16];
    random(&mut bytes);
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

/// A backup's alias: its name within its repository.
pub fn scoped(repository: RepositoryId, name: &str) -> String {
    format!("{repository}/{name}")
}

/// A backup's name without its repository.
pub fn unscoped(alias: &str) -> &str {
    alias.split_once('/').map_or(alias, |(_, name)| name)
}

/// Room for `-2`, `-3` ... within the fifty characters that an id may have.
const MOST_CHARACTERS: usize = 44;

/// Any text as an id of this wire: other characters become `-`.
fn identifier(text: &str) -> String {
    let allowed = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
    let plain: String = text
        .chars()
        .map(|character| if allowed(character) { character } else { '-' })
        .skip_while(|character| !character.is_ascii_alphanumeric())
        .take(MOST_CHARACTERS)
        .collect();
    if plain.is_empty() { "repository".to_owned() } else { plain }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{mapping::tests_support, types::is_identifier};

    fn names(object: NewObject<'_>) -> Vec<(String, String)> {
        let mut zeros = |bytes: &mut [u8]| bytes.fill(0x11);
        let proposals = Names { zone: chrono_tz::Europe::London }.names(object, &mut zeros);
        proposals.into_iter().map(|proposal| (proposal.namespace, proposal.name)).collect()
    }

    const ID: &str = "11111111-1111-4111-9111-111111111111";

    fn pair(namespace: &str, name: impl Into<String>) -> (String, String) {
        (namespace.to_owned(), name.into())
    }

    #[test]
    fn one_off_tasks_are_called_after_their_kind_and_scheduled_ones_keep_their_own_name() {
        let mut job = tests_support::job(JobKind::Backup);
        for (kind, prefix) in [
            (JobKind::Backup, "BACKUP-"),
            (JobKind::Restore, "restore-"),
            (JobKind::Merge, "MERGE-"),
            (JobKind::Prune, "PRUNE-"),
        ] {
            job.kind = kind;
            assert_eq!(names(NewObject::Job(&job)), [pair(TASKS, format!("{prefix}{ID}"))]);
        }
        job.kind = JobKind::Forget;
        assert_eq!(names(NewObject::Job(&job)), []);
        job.kind = JobKind::Backup;
        job.task = Some("nightly".to_owned());
        assert_eq!(names(NewObject::Job(&job)), []);
    }

    #[test]
    fn repositories_of_other_dialects_get_an_id_that_this_wire_allows() {
        let mut repository = tests_support::repository("testRepo");
        assert_eq!(names(NewObject::Repository(&repository)), [pair(SERIES, ID)]);
        repository.owner = "another".to_owned();
        for (name, id) in [("site-main", "site-main"), ("db-my.db/x", "db-my-db-x"), ("_äb", "b"), ("é", "repository")]
        {
            repository.name = name.to_owned();
            let names = names(NewObject::Repository(&repository));
            assert_eq!(names, [pair(SERIES, ID), pair(FOREIGN_REPOSITORIES, id)]);
            assert!(is_identifier(&names[1].1));
        }
        repository.name = "x".repeat(80);
        assert!(is_identifier(&format!("{}-9999", names(NewObject::Repository(&repository))[1].1)));
    }

    #[test]
    fn a_backup_is_named_after_its_point_within_its_repository() {
        let repository = tests_support::repository("testRepo");
        let backup = tests_support::backup("travel-sample");
        let store = tests_support::store("default");
        let point = "2020-09-29T10:28:16.197951Z".parse().unwrap();
        let names = names(NewObject::Backup { backup: &backup, repository: &repository, store: &store, point });
        let name = format!("{}/2020-09-29T11_28_16.197951+01_00", repository.id);
        assert_eq!(names, [pair(BACKUPS, name.as_str())]);
        assert_eq!(unscoped(&name), "2020-09-29T11_28_16.197951+01_00");
    }
}
