//! Both tables of `docs/locks.md` against the scopes that the kinds name and against what the real queue does with them.
//!
//! A kind that is added needs rows in the tables and a line in [`operation`]; these tests say so until it has them.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::bench::{Bench, databases};
use crate::{
    DatabaseLocation,
    db::{AuditEntry, ClaimLimits, Database, DatabaseOptions, Enqueue, Finish, JobScope, Labels, NewJob, Resource},
    domain::*,
    kinds::{backup, forget, merge, prune, restore, verify},
    service::scheduler,
};

const TABLES: &str = include_str!("../../docs/locks.md");
const SOURCE: SourceId = SourceId(Uuid::from_u128(1));
const VAULT: VaultId = VaultId(Uuid::from_u128(2));
const KINDS: [JobKind; 9] = [
    JobKind::Backup,
    JobKind::Restore,
    JobKind::Forget,
    JobKind::Merge,
    JobKind::Prune,
    JobKind::Verify,
    JobKind::Import,
    JobKind::Export,
    JobKind::Drill,
];

fn part(id: u128, vault: Option<VaultId>) -> Part {
    let source = (SOURCE, "photos", "directory");
    let (id, backup) = (PartId(Uuid::from_u128(id)), BackupId(Uuid::from_u128(id)));
    Part { vault, ..Part::new(id, backup, source, BackupState::Succeeded) }
}

/// An operation of the second table: its row in the first one, and what a job of it needs. `job` tells two of them apart.
fn operation(name: &str, job: u128) -> Option<(&'static str, Vec<JobScope>)> {
    let repository = |number| RepositoryId(Uuid::from_u128(number));
    let older = [part(100, Some(VAULT))];
    Some(match name {
        "backup, same repository" => ("backup", backup::scopes(repository(10), Some(VAULT), &[part(200 + job, None)])),
        "backup, other repository, same source" => {
            ("backup", backup::scopes(repository(11), Some(VAULT), &[part(300 + job, None)]))
        }
        "restore in place of that source" => ("restore in place", restore::scopes(&older, &[SOURCE])),
        "restore beside of an older part" => ("restore beside", restore::scopes(&older, &[])),
        "forget of that older part" => ("forget", forget::scopes(&older)),
        "merge of that older part's repository" => {
            let mut scopes = merge::scopes(repository(10), Some(VAULT));
            scopes.extend(merge::scopes_of_folded(&older));
            ("merge", scopes)
        }
        "prune of that vault" => ("prune", prune::scopes(VAULT)),
        "verify of that vault" => ("verify of a vault", verify::scopes_of_vault(VAULT)),
        "verify of that older part" => ("verify of backups", verify::scopes_of_parts(&older)),
        _ => return None,
    })
}

/// What the file says.
struct Tables {
    /// Row of the first table: resource and what is needed of it.
    needs: BTreeMap<String, BTreeMap<String, String>>,
    /// Names of the second table, in its order.
    operations: Vec<String>,
    /// Row and column: whether both run at once.
    pairs: BTreeMap<(String, String), bool>,
}

fn cells(line: &str) -> Vec<String> {
    let inner = line.trim().trim_start_matches('|').trim_end_matches('|');
    inner.split('|').map(|cell| cell.trim().to_owned()).collect()
}

fn parse(text: &str) -> Result<Tables, String> {
    let table = |head: &str| -> Result<Vec<Vec<String>>, String> {
        let lines = text.lines().skip_while(|line| !line.starts_with(head)).take_while(|line| line.starts_with('|'));
        let rows: Vec<Vec<String>> = lines.map(cells).collect();
        match rows.iter().find(|row| row.len() != rows[0].len()) {
            _ if rows.len() < 3 => Err(format!("There is no table that begins with {head:?}.")),
            Some(row) => Err(format!("The row {row:?} has another number of cells than the table's head.")),
            None => Ok(rows),
        }
    };
    let first = table("| kind |")?;
    let mut needs = BTreeMap::new();
    for row in &first[2..] {
        let cells = first[0].iter().zip(row).skip(1).map(|(column, cell)| (column.clone(), cell.clone())).collect();
        if needs.insert(row[0].clone(), cells).is_some() {
            return Err(format!("The kind {:?} stands there twice.", row[0]));
        }
    }
    let second = table("| | ")?;
    let operations: Vec<String> = second[0][1..].to_vec();
    let mut pairs = BTreeMap::new();
    for row in &second[2..] {
        for (column, cell) in operations.iter().zip(&row[1..]) {
            let both = match cell.as_str() {
                "yes" => true,
                "no" => false,
                other => return Err(format!("{} beside {column} is {other:?}, neither yes nor no.", row[0])),
            };
            pairs.insert((row[0].clone(), column.clone()), both);
        }
    }
    let rows: BTreeSet<&String> = second[2..].iter().map(|row| &row[0]).collect();
    if rows != operations.iter().collect() || rows.len() != second.len() - 2 {
        return Err("The second table's rows are not its columns.".to_owned());
    }
    Ok(Tables { needs, operations, pairs })
}

/// What a cell of the first table means for one resource's scopes.
fn needed(scopes: &[JobScope], resource: Resource) -> &'static str {
    let of_it: Vec<bool> =
        scopes.iter().filter(|scope| scope.resource == resource).map(|scope| scope.exclusive).collect();
    match of_it.as_slice() {
        [] => "",
        [first, others @ ..] => {
            assert!(others.iter().all(|other| other == first), "one cell cannot say {scopes:?}");
            if *first { "alone" } else { "shared" }
        }
    }
}

/// The first table against the kinds' scopes.
fn check_needs(tables: &Tables) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for name in &tables.operations {
        let Some((row, scopes)) = operation(name, 1) else {
            return Err(format!("lab/locks.rs does not know the operation {name:?} of the second table."));
        };
        let Some(cells) = tables.needs.get(row) else { return Err(format!("The first table has no row {row:?}.")) };
        seen.insert(row);
        for (column, resource) in [
            ("repository", Resource::Repository),
            ("source", Resource::Source),
            ("vault", Resource::Vault),
            ("care", Resource::Care),
            ("part", Resource::Part),
        ] {
            let said = cells.get(column).ok_or_else(|| format!("The first table has no column {column:?}."))?;
            let is = needed(&scopes, resource);
            // Before the word may stand which ones: "its own, alone".
            if said.rsplit(", ").next() != Some(is) {
                return Err(format!("{row} needs the {column} {is:?}, and the table says {said:?}."));
            }
        }
        if cells.len() != 5 {
            return Err("The first table has a column that no resource stands for.".to_owned());
        }
    }
    match tables.needs.keys().find(|row| !seen.contains(row.as_str())) {
        Some(row) => Err(format!("The row {row:?} of the first table is in no pair of the second.")),
        None => Ok(()),
    }
}

/// Each kind that this version runs has a row whose first word it is, and no other has one.
fn check_kinds(tables: &Tables, run_here: &BTreeSet<String>) -> Result<(), String> {
    let told: BTreeSet<String> =
        tables.needs.keys().filter_map(|row| row.split_whitespace().next()).map(str::to_owned).collect();
    match run_here.symmetric_difference(&told).next() {
        Some(kind) if told.contains(kind) => Err(format!("The table has the kind {kind:?}, which is not run here.")),
        Some(kind) => Err(format!("The kind {kind:?} is not in the table.")),
        None => Ok(()),
    }
}

type Observed = BTreeMap<(String, String), bool>;

/// The second table against what the queue did.
fn check_pairs(tables: &Tables, observed: &Observed) -> Result<(), String> {
    for (pair, is) in observed {
        if tables.pairs.get(pair) != Some(is) {
            return Err(format!("{} beside {}: the queue says {is}.", pair.0, pair.1));
        }
    }
    if observed.len() == tables.pairs.len() { Ok(()) } else { Err("Not every pair was tried.".to_owned()) }
}

fn at(seconds: i64) -> DateTime<Utc> {
    "2026-03-01T12:00:00Z".parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
}

fn request(kind: JobKind, scopes: Vec<JobScope>, created_at: DateTime<Utc>) -> Enqueue {
    let job = Job {
        id: JobId(Uuid::now_v7()),
        kind,
        state: JobState::Queued,
        repository: None,
        store: None,
        backup: None,
        task: None,
        principal: "test".into(),
        via: "test".into(),
        attempt: 0,
        cancel_requested: false,
        progress: trivault_sources::Progress::default(),
        bytes_stored: 0,
        percent: 0,
        steps: vec![],
        warnings: vec![],
        failure: None,
        created_at,
        started_at: None,
        updated_at: created_at,
        finished_at: None,
        estimated_end: None,
    };
    Enqueue {
        job: NewJob {
            job,
            params: serde_json::json!({}),
            scopes,
            priority: 0,
            not_before: None,
            retry_limit: 0,
            held_by: None,
            alone_in: None,
        },
        backup: None,
        labels: Labels::default(),
        occurrence: None,
        audit: AuditEntry::of(&scheduler(), created_at, "test", None),
    }
}

async fn claim(db: &Database) -> Option<crate::db::ClaimedJob> {
    db.claim(Uuid::from_u128(9), at(10), at(100), &ClaimLimits::default()).await.unwrap()
}

/// Enqueues one job of each operation, one after the other, and looks whether the second is claimed beside the first.
async fn observe(db: &Database, operations: &[String]) -> Observed {
    let mut observed = Observed::new();
    for row in operations {
        for column in operations {
            for (job, name) in [(1, row), (2, column)] {
                let (_, scopes) = operation(name, job).unwrap();
                db.enqueue(&request(JobKind::Verify, scopes, at(i64::try_from(job).unwrap()))).await.unwrap();
            }
            let first = claim(db).await.expect("the first of two has nothing in its way");
            let second = claim(db).await;
            let both = second.is_some();
            for run in [Some(first), second].into_iter().flatten() {
                end(db, run.run).await;
            }
            if !both {
                end(db, claim(db).await.expect("the second runs after the first").run).await;
            }
            observed.insert((row.clone(), column.clone()), both);
        }
    }
    observed
}

async fn end(db: &Database, run: crate::db::Run) {
    let done = Finish { state: JobState::Succeeded, failure: None, delete_backup: false };
    db.finish(run, &done, at(11)).await.unwrap().held().unwrap();
}

async fn open(location: DatabaseLocation, folder: &std::path::Path) -> Database {
    let options = match location {
        DatabaseLocation::Sqlite(path) => DatabaseOptions::Sqlite { path: folder.join(path) },
        DatabaseLocation::Postgres(url) => DatabaseOptions::Postgres { url },
    };
    let db = Database::connect(&options).await.unwrap();
    db.migrate().await.unwrap();
    db
}

/// The file with the cells of one line changed.
fn with_row(head: &str, index: usize, cell: usize, value: Option<&str>) -> String {
    let begin = TABLES.lines().position(|line| line.starts_with(head)).unwrap() + index;
    let changed = |number: usize, line: &str| match value {
        _ if number != begin => Some(line.to_owned()),
        None => None,
        Some(value) => {
            let mut cells = cells(line);
            cells[cell] = value.to_owned();
            Some(format!("| {} |", cells.join(" | ")))
        }
    };
    TABLES.lines().enumerate().filter_map(|(number, line)| changed(number, line)).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_pair_of_kinds_runs_together_on_the_real_queue_where_the_table_says_so() {
    let tables = parse(TABLES).unwrap();
    check_needs(&tables).unwrap();
    for location in databases() {
        let folder = tempfile::tempdir().unwrap();
        let observed = observe(&open(location, folder.path()).await, &tables.operations).await;
        check_pairs(&tables, &observed).unwrap();
        // Each cell counts: the other word in any of them is noticed.
        for (row, one) in tables.operations.iter().enumerate() {
            for (column, other) in tables.operations.iter().enumerate() {
                let is = observed[&(one.clone(), other.clone())];
                let wrong = with_row("| | ", row + 2, column + 1, Some(if is { "no" } else { "yes" }));
                assert!(check_pairs(&parse(&wrong).unwrap(), &observed).is_err(), "{one} beside {other}");
            }
        }
    }
}

#[test]
fn a_wrong_cell_or_a_missing_row_in_the_tables_is_noticed() {
    let tables = parse(TABLES).unwrap();
    for row in 0..tables.needs.len() {
        for cell in 1..=5 {
            let (head, said) = ("| kind |", TABLES.lines().filter(|line| line.starts_with('|')).nth(row + 2).unwrap());
            let wrong = match cells(said)[cell].as_str() {
                "" | "shared" => "alone",
                _ => "shared",
            };
            let text = with_row(head, row + 2, cell, Some(wrong));
            assert!(check_needs(&parse(&text).unwrap()).is_err(), "{said}: {wrong}");
        }
        assert!(check_needs(&parse(&with_row("| kind |", row + 2, 0, None)).unwrap()).is_err());
    }
    for row in 0..tables.operations.len() {
        assert!(parse(&with_row("| | ", row + 2, 0, None)).is_err(), "rows and columns are the same");
    }
    assert!(parse(&with_row("| | ", 2, 1, Some("perhaps"))).is_err());
}

/// A kind that is not run ends failed as `unsupported`; each other one must be in the table, so that nobody has to remember it.
#[tokio::test(flavor = "multi_thread")]
async fn every_kind_that_is_run_is_in_the_table_and_no_other() {
    let bench = Bench::new().await;
    let mut run_here = BTreeSet::new();
    for kind in KINDS {
        let word = serde_json::to_value(kind).unwrap().as_str().unwrap().to_owned();
        match kind {
            // A kind that is new must be in the list above too.
            JobKind::Backup
            | JobKind::Restore
            | JobKind::Forget
            | JobKind::Merge
            | JobKind::Prune
            | JobKind::Verify
            | JobKind::Import
            | JobKind::Export
            | JobKind::Drill => {}
        }
        let bare = request(kind, vec![], bench.engine.now());
        bench.engine.inner().db.enqueue(&bare).await.unwrap();
        let job = bench.ended(bare.job.job.id).await;
        if job.failure.is_none_or(|failure| failure.code != "unsupported") {
            run_here.insert(word);
        }
    }
    let tables = parse(TABLES).unwrap();
    check_kinds(&tables, &run_here).unwrap();
    let mut fewer = run_here.clone();
    fewer.remove("forget");
    assert!(check_kinds(&tables, &fewer).is_err(), "a row without its kind is noticed");
    fewer.extend(["forget".to_owned(), "drill".to_owned()]);
    assert!(check_kinds(&tables, &fewer).is_err() || run_here.contains("drill"), "a kind without its row is noticed");
}

#[test]
fn every_job_that_touches_bytes_of_a_vault_names_it() {
    for name in parse(TABLES).unwrap().operations {
        let (_, scopes) = operation(&name, 1).unwrap();
        assert!(scopes.iter().any(|scope| scope.id == VAULT.0), "{name}");
    }
}
