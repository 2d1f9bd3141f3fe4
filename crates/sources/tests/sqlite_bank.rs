//! A capture is one moment: money that moves between accounts while it runs is neither lost nor doubled.

// Clippy knows tests by their attribute, not what they call.
#![allow(clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    thread,
    time::Duration,
};

use rusqlite::{Connection, TransactionBehavior, params};
use support::{Database, connect};
use trivault_sources::testing::{Event, MemorySink, MemoryStore, suite::captures};

const ACCOUNTS: i64 = 3000;
const BALANCE: i64 = 1000;
const WRITERS: i64 = 4;
/// Accounts and ledger lie far apart in the file, with this many bytes of other rows between them.
const FILLER_BYTES: i64 = 2_000_000;

/// Transfers that are going on.
struct Bank {
    path: std::path::PathBuf,
    next: AtomicI64,
    acknowledged: Mutex<BTreeSet<i64>>,
    committed: Condvar,
    closing: AtomicBool,
}

impl Bank {
    fn open(database: &Database, journal_mode: &str) -> Arc<Self> {
        let connection = database.connect();
        let _: String =
            connection.pragma_update_and_check(None, "journal_mode", journal_mode, |row| row.get(0)).unwrap();
        let sql = format!(
            "CREATE TABLE acct(id INTEGER PRIMARY KEY, bal INTEGER NOT NULL);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {ACCOUNTS})
                 INSERT INTO acct SELECT i, {BALANCE} FROM n;
             CREATE TABLE filler(x); INSERT INTO filler VALUES(randomblob({FILLER_BYTES}));
             CREATE TABLE tx(id INTEGER PRIMARY KEY, a INTEGER, b INTEGER, amount INTEGER);"
        );
        connection.execute_batch(&sql).unwrap();
        Arc::new(Self {
            path: database.path.clone(),
            next: AtomicI64::new(1),
            acknowledged: Mutex::default(),
            committed: Condvar::new(),
            closing: AtomicBool::new(false),
        })
    }

    fn work(&self, seed: i64) {
        let mut connection = connect(&self.path);
        connection.pragma_update(None, "synchronous", "OFF").unwrap();
        let mut random = seed;
        let mut draw = |limit: i64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((random >> 33) & 0x7fff_ffff) % limit
        };
        while !self.closing.load(Ordering::SeqCst) {
            let (a, b, amount) = (1 + draw(ACCOUNTS), 1 + draw(ACCOUNTS), 1 + draw(50));
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
            let id = self.next.fetch_add(1, Ordering::SeqCst);
            transaction.execute("UPDATE acct SET bal = bal - ?1 WHERE id = ?2", params![amount, a]).unwrap();
            transaction.execute("UPDATE acct SET bal = bal + ?1 WHERE id = ?2", params![amount, b]).unwrap();
            transaction.execute("INSERT INTO tx VALUES(?1, ?2, ?3, ?4)", params![id, a, b, amount]).unwrap();
            transaction.commit().unwrap();
            self.acknowledged.lock().unwrap().insert(id);
            self.committed.notify_all();
            // The workload's own pace (0 to 2 ms), without which nobody else ever gets the lock of a rollback journal.
            thread::sleep(Duration::from_micros(draw(2000).unsigned_abs()));
        }
    }

    /// Waits until this many more transfers are committed.
    fn await_commits(&self, more: usize) {
        let guard = self.acknowledged.lock().unwrap();
        let goal = guard.len() + more;
        drop(self.committed.wait_while(guard, |done| done.len() < goal).unwrap());
    }

    /// Runs `during` while transfers go on; returns what was acknowledged before and the first that began afterwards.
    fn while_open(self: &Arc<Self>, during: impl FnOnce(&Arc<Self>)) -> (BTreeSet<i64>, i64) {
        thread::scope(|scope| {
            // Also when something panics: the scope waits for the writers.
            let _close = Close(&self.closing);
            for seed in 0..WRITERS {
                scope.spawn(move || self.work(seed));
            }
            self.await_commits(200);
            let before = self.acknowledged.lock().unwrap().clone();
            during(self);
            let after = self.next.load(Ordering::SeqCst);
            self.await_commits(200);
            (before, after)
        })
    }
}

/// Ends the transfers when it goes out of scope.
struct Close<'a>(&'a AtomicBool);

impl Drop for Close<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// What is wrong with a restored bank.
fn audit(path: &Path, before: &BTreeSet<i64>, after: i64) -> Result<(), String> {
    let connection = Connection::open(path).map_err(|error| error.to_string())?;
    let number =
        |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|error| error.to_string());
    let total = number("SELECT sum(bal) FROM acct")?;
    if total != ACCOUNTS * BALANCE {
        return Err(format!("the accounts add up to {total}"));
    }
    let wrong = number(
        "SELECT count(*) FROM acct WHERE bal <> 1000
           + coalesce((SELECT sum(amount) FROM tx WHERE b = acct.id), 0)
           - coalesce((SELECT sum(amount) FROM tx WHERE a = acct.id), 0)",
    )?;
    if wrong > 0 {
        return Err(format!("{wrong} accounts are not what the ledger says"));
    }
    let mut statement = connection.prepare("SELECT id FROM tx").map_err(|error| error.to_string())?;
    let ids = statement.query_map([], |row| row.get::<_, i64>(0)).map_err(|error| error.to_string())?;
    let ids: BTreeSet<i64> = ids.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    if let Some(lost) = before.difference(&ids).next() {
        return Err(format!("transfer {lost} was acknowledged before the capture and is lost"));
    }
    if let Some(early) = ids.range(after..).next() {
        return Err(format!("transfer {early} began after the capture and is in it"));
    }
    let check: String =
        connection.query_row("PRAGMA integrity_check", [], |row| row.get(0)).map_err(|error| error.to_string())?;
    if check == "ok" { Ok(()) } else { Err(check) }
}

fn capture_and_audit(journal_mode: &str) {
    let database = Database::without_file();
    let bank = Bank::open(&database, journal_mode);
    let driver = database.driver();
    let mut part = None;
    let (before, after) = bank.while_open(|bank| {
        let writers_go_on = journal_mode == "wal";
        let bank = Arc::clone(bank);
        let sink = MemorySink::new(&MemoryStore::new()).listen(move |event| {
            // In WAL mode the capture does not go on before others have committed behind its back.
            if let Event::Write { stream_bytes, .. } = event
                && writers_go_on
                && *stream_bytes < 1_000_000
            {
                bank.await_commits(20);
            }
        });
        part = Some(captures(driver.as_ref(), sink));
    });
    let restored = database.beside("restored.db");
    fs::write(&restored, part.unwrap().bytes(&[b"data"]).unwrap()).unwrap();
    audit(&restored, &before, after).unwrap();
}

#[test]
fn transfers_during_the_capture_of_a_wal_database_leave_it_consistent() {
    capture_and_audit("wal");
}

#[test]
fn transfers_during_the_capture_of_a_database_with_a_rollback_journal_leave_it_consistent() {
    capture_and_audit("delete");
}

#[test]
fn the_audit_finds_a_copy_that_was_read_in_two_transactions() {
    let database = Database::without_file();
    let bank = Bank::open(&database, "wal");
    let mut copy = Vec::new();
    let (before, after) = bank.while_open(|bank| {
        let reader = connect(&bank.path);
        let pages: i64 = reader.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        let mut read = |condition: &str| {
            let mut statement = reader
                .prepare(&format!("SELECT data FROM sqlite_dbpage WHERE pgno {condition} ORDER BY pgno"))
                .unwrap();
            let rows = statement.query_map([pages / 2], |row| row.get::<_, Vec<u8>>(0)).unwrap();
            rows.for_each(|page| copy.extend(page.unwrap()));
        };
        read("<= ?1");
        bank.await_commits(200);
        read("> ?1");
    });
    let restored = database.beside("restored.db");
    fs::write(&restored, copy).unwrap();
    let found = audit(&restored, &before, after).unwrap_err();
    assert!(!found.is_empty(), "{found}");
}
