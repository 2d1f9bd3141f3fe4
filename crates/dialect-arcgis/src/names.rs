//! How new objects are called on this wire.

use chrono::{DateTime, Utc};
use trivault_engine::{Namer, NewObject, Proposal, Repository, StoreId};
use uuid::Uuid;

/// Jobs: `j` and a random UUID.
pub const JOB: &str = "arcgis.job";
/// Backups: `<store id>/<name>`, because names are unique per store.
pub const BACKUP: &str = "arcgis.backup";
/// A name that a backup's maker gave it for all to show, whatever the dialect. Read only.
pub const TITLE: &str = "title";
/// Owner of the repositories that this dialect makes.
pub const OWNER: &str = "arcgis";

pub struct ArcgisNamer;

/// The alias of a backup in a store.
pub fn backup_alias(store: StoreId, name: &str) -> String {
    format!("{store}/{name}")
}

/// The name alone, from an alias.
pub fn backup_name(alias: &str) -> &str {
    alias.split_once('/').map_or(alias, |(_, name)| name)
}

/// The repository of a store's own backups.
pub fn site_repository(store_name: &str) -> String {
    format!("site-{store_name}")
}

impl Namer for ArcgisNamer {
    fn names(&self, object: NewObject<'_>, random: &mut dyn FnMut(&mut [u8])) -> Vec<Proposal> {
        match object {
            NewObject::Job(_) => {
                let mut bytes = [0; 16];
                random(&mut bytes);
                let uuid = uuid::Builder::from_random_bytes(bytes).into_uuid();
                vec![Proposal { namespace: JOB.to_owned(), name: job_name(uuid), number_if_taken: false }]
            }
            NewObject::Backup { backup: _, repository, store, point } if repository.owner != OWNER => {
                let name = backup_alias(store.id, &listed_name(repository, point));
                vec![Proposal { namespace: BACKUP.to_owned(), name, number_if_taken: true }]
            }
            NewObject::Backup { .. }
            | NewObject::Source(_)
            | NewObject::Store(_)
            | NewObject::Repository(_)
            | NewObject::User(_)
            | NewObject::Part { .. } => Vec::new(),
        }
    }
}

fn job_name(uuid: Uuid) -> String {
    format!("j{}", uuid.hyphenated())
}

/// `R-<time>`, in the form that scheduled backups have on this wire: UTC, to the second.
fn listed_name(repository: &Repository, point: DateTime<Utc>) -> String {
    format!("{}-{}", repository.name, point.format("%Y-%m-%d-%H-%M-%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_is_called_j_and_a_lower_case_uuid() {
        assert_eq!(job_name(Uuid::max()), "jffffffff-ffff-ffff-ffff-ffffffffffff");
    }

    #[test]
    fn the_name_of_a_backup_stands_behind_its_store() {
        let store = StoreId(Uuid::nil());
        assert_eq!(backup_name(&backup_alias(store, "before-upgrade")), "before-upgrade");
    }
}
