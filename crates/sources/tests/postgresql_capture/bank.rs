//! A capture is one moment: money that moves between tables while several connections read is neither lost nor doubled.

use std::{
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use trivault_sources::testing::{Event, MemorySink, suite::captures};

use crate::support::{Database, psql};

const ACCOUNTS: u32 = 20_000;
const WRITERS: u32 = 4;

/// Three tables of accounts with ledgers beside, and large rows between them so that they are read at different times.
fn bank() -> Option<Database> {
    let mut script =
        String::from("CREATE TABLE filler AS SELECT n, repeat('x', 1000) FROM generate_series(1, 20000) n;");
    for bank in 0..3 {
        script += &format!(
            "CREATE TABLE acct_{bank} (id int PRIMARY KEY, bal int NOT NULL) WITH (fillfactor = 80);
             INSERT INTO acct_{bank} SELECT n, 1000 FROM generate_series(1, {ACCOUNTS}) n;"
        );
    }
    script += "CREATE TABLE ledger (id bigserial PRIMARY KEY, of_bank int, a int, to_bank int, b int, amount int);
        CREATE PROCEDURE transfers(seed float) LANGUAGE plpgsql AS $$
        DECLARE x int; y int; p int; q int; m int; t int;
        BEGIN
            PERFORM setseed(seed);
            LOOP
                p := floor(random() * 3); q := floor(random() * 3); m := 1 + floor(random() * 50);
                x := 1 + floor(random() * 20000); y := 1 + floor(random() * 20000);
                IF p > q OR (p = q AND x > y) THEN t := p; p := q; q := t; t := x; x := y; y := t; END IF;
                EXECUTE format('UPDATE acct_%s SET bal = bal - %s WHERE id = %s', p, m, x);
                EXECUTE format('UPDATE acct_%s SET bal = bal + %s WHERE id = %s', q, m, y);
                INSERT INTO ledger (of_bank, a, to_bank, b, amount) VALUES (p, x, q, y, m);
                COMMIT;
            END LOOP;
        END $$;";
    Database::new(&script)
}

/// Writers that go on until they are dropped.
struct Writers {
    children: Vec<Child>,
    url: String,
}

impl Writers {
    fn start(database: &Database) -> Self {
        let start = |writer: u32| {
            let call = format!("CALL transfers({})", f64::from(writer) / 10.0);
            Command::new("psql")
                .args(["-X", "-q", "-d", &database.url, "-c", &call])
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        };
        let writers = Self { children: (0..WRITERS).map(start).collect(), url: database.url.clone() };
        committed_beyond(database, 200);
        writers
    }
}

impl Drop for Writers {
    fn drop(&mut self) {
        // Their sessions never look whether somebody still waits for an answer, and would outlive even the server.
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'CALL transfers%'";
        let _ = Command::new("psql").args(["-X", "-q", "-d", &self.url, "-c", end]).stdout(Stdio::null()).status();
        for writer in &mut self.children {
            let _ = writer.kill();
            let _ = writer.wait();
        }
    }
}

fn commits(database: &Database) -> u64 {
    database.query("SELECT count(*) FROM ledger").parse().unwrap()
}

fn committed_beyond(database: &Database, count: u64) {
    let began = Instant::now();
    while commits(database) < count {
        assert!(began.elapsed() < Duration::from_secs(60), "the writers do not write");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Accounts whose balance is not what the ledger says, the sum of all balances, and the rows of the ledger.
fn audit(database: &Database, url: &str) -> (u64, u64, u64) {
    let all = (0..3)
        .map(|bank| format!("SELECT {bank} AS bank, id, bal FROM acct_{bank}"))
        .collect::<Vec<_>>()
        .join(" UNION ALL ");
    let answer = database.server.query(
        url,
        &format!(
            "WITH acct AS ({all}), moves AS (SELECT of_bank AS bank, a AS id, -amount AS amount FROM ledger \
             UNION ALL SELECT to_bank, b, amount FROM ledger), sums AS (SELECT bank, id, sum(amount) AS moved FROM moves GROUP BY 1, 2) \
             SELECT (SELECT count(*) FROM acct LEFT JOIN sums USING (bank, id) WHERE bal <> 1000 + coalesce(moved, 0)), \
             (SELECT sum(bal) FROM acct), (SELECT count(*) FROM ledger)"
        ),
    );
    let mut numbers = answer.trim().split('|').map(|number| number.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap(), numbers.next().unwrap())
}

#[test]
fn a_capture_under_writers_is_one_moment() {
    let Some(database) = bank() else { return };
    let writers = Writers::start(&database);
    let before = commits(&database);
    // Each table begins only after more was written.
    let (url, server) = (database.url.clone(), database.server);
    let sink = MemorySink::new(&database.store).listen(move |event| {
        if matches!(event, Event::Begin(path) if path.len() == 3 && path[2] == b"0000.copy") {
            let count = |url: &str| server.query(url, "SELECT count(*) FROM ledger").trim().parse::<u64>().unwrap();
            let (target, began) = (count(&url) + 50, Instant::now());
            while count(&url) < target && began.elapsed() < Duration::from_secs(30) {}
        }
    });
    let part = captures(database.driver_with(&database.url, serde_json::json!({"workers": 3})).as_ref(), sink);
    let after = commits(&database);
    drop(writers);
    let restored = database.restored(&part);
    let (wrong, sum, ledger) = audit(&database, &restored);
    assert_eq!((wrong, sum), (0, u64::from(3 * ACCOUNTS * 1000)));
    // Sequences are of no moment: theirs may be ahead of the rows, and must not be behind.
    let ahead = "SELECT last_value >= (SELECT max(id) FROM ledger) FROM ledger_id_seq";
    assert_eq!(database.server.query(&restored, ahead).trim(), "t");
    assert!(before <= ledger && ledger < after, "{before} <= {ledger} < {after}");
    assert!(after - before > 150, "the writers went on meanwhile: {before} to {after}");
}

/// What the check is worth: tables of two captures do not fit together.
#[test]
fn tables_of_two_moments_are_found_out() {
    let Some(database) = bank() else { return };
    let writers = Writers::start(&database);
    let first = database.capture();
    committed_beyond(&database, commits(&database) + 200);
    let second = database.capture();
    drop(writers);
    let (one, other) = (database.restored(&first), database.restored(&second));
    assert_eq!((audit(&database, &one).0, audit(&database, &other).0), (0, 0));
    let rows =
        Command::new("psql").args(["-X", "-q", "-d", &other, "-c", "COPY acct_1 TO STDOUT"]).output().unwrap().stdout;
    let rows = String::from_utf8(rows).unwrap();
    psql(&one, &format!("TRUNCATE acct_1; COPY acct_1 FROM STDIN;\n{rows}\\.\n"));
    assert!(audit(&database, &one).0 > 0);
}
