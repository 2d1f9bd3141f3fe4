//! The table in `docs/locks.md` against the scopes that the kinds name.

use uuid::Uuid;

use crate::{
    db::JobScope,
    domain::*,
    kinds::{backup, forget, merge, restore},
};

const TABLE: &str = include_str!("../../docs/locks.md");
const SOURCE: SourceId = SourceId(Uuid::from_u128(1));
const VAULT: VaultId = VaultId(Uuid::from_u128(2));

fn part(id: u128, vault: Option<VaultId>) -> Part {
    Part {
        id: PartId(Uuid::from_u128(id)),
        backup: BackupId(Uuid::from_u128(id)),
        source: SOURCE,
        source_name: "photos".into(),
        source_kind: "directory".into(),
        state: BackupState::Succeeded,
        vault,
        snapshot: None,
        size: None,
        stored_size: None,
        items: None,
        download_size: None,
        manifest: None,
        warnings: vec![],
        error: None,
        started_at: None,
        finished_at: None,
    }
}

/// Two jobs of each kind: the row's and the column's.
fn scopes(operation: &str, job: u128) -> Vec<JobScope> {
    let repository = |number| RepositoryId(Uuid::from_u128(number));
    let older = [part(100, Some(VAULT))];
    match operation {
        "backup, same repository" => backup::scopes(repository(10), Some(VAULT), &[part(200 + job, None)]),
        "backup, other repository, same source" => {
            backup::scopes(repository(11), Some(VAULT), &[part(300 + job, None)])
        }
        "restore in place of that source" => restore::scopes(&older, &[SOURCE]),
        "restore beside of an older part" => restore::scopes(&older, &[]),
        "forget of that older part" => forget::scopes(&older),
        "merge of that older part's repository" => {
            let mut scopes = merge::scopes(repository(10), Some(VAULT));
            scopes.extend(merge::scopes_of_folded(&older));
            scopes
        }
        unknown => panic!("the table speaks of {unknown:?}"),
    }
}

fn at_once(one: &[JobScope], other: &[JobScope]) -> bool {
    !one.iter().any(|a| other.iter().any(|b| (a.resource, a.id) == (b.resource, b.id) && (a.exclusive || b.exclusive)))
}

#[test]
fn the_documented_pairs_are_those_that_the_scopes_allow() {
    let cells =
        |line: &str| -> Vec<String> { line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect() };
    let mut lines = TABLE.lines().skip_while(|line| !line.starts_with("| | "));
    let columns = cells(lines.next().unwrap());
    let mut pairs = 0;
    for line in lines.skip(1).filter(|line| line.starts_with('|')) {
        let row = cells(line);
        for (column, said) in columns.iter().zip(&row).skip(1) {
            let allowed = at_once(&scopes(&row[0], 1), &scopes(column, 2));
            assert_eq!(said, if allowed { "yes" } else { "no" }, "{} beside {column}", row[0]);
            pairs += 1;
        }
    }
    assert_eq!(pairs, 36);
}

#[test]
fn every_job_that_touches_bytes_of_a_vault_names_it() {
    for operation in ["backup, same repository", "restore beside of an older part", "forget of that older part"] {
        assert!(scopes(operation, 1).iter().any(|scope| scope.id == VAULT.0), "{operation}");
    }
}
