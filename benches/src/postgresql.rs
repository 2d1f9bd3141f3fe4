//! One server, one database, and each comparison as a function that prints its lines.

mod footprint;

use std::{
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;
use trivault_testkit::{gateway, postgres::PostgresServer};

use self::footprint::Footprint;
use crate::measure::{Cost, folder_bytes, median, run};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// Of the whole bench; the databases live as long as it.
pub struct Bench {
    server: &'static PostgresServer,
    database: String,
    work: TempDir,
    rounds: usize,
}

impl Bench {
    /// Starts the server.
    pub fn new(rounds: usize) -> Outcome<Self> {
        let server = PostgresServer::shared().ok_or("this bench needs PostgreSQL's server")?;
        // Checkpoints would hit one side or the other by chance.
        server.query("postgres", "ALTER SYSTEM SET max_wal_size = '8GB'");
        server.query("postgres", "ALTER SYSTEM SET autovacuum = off");
        server.query("postgres", "SELECT pg_reload_conf()");
        server.query("postgres", "CREATE DATABASE bench");
        let work = tempfile::Builder::new().prefix("trivault-bench-").tempdir()?;
        Ok(Self { server, database: "bench".to_owned(), work, rounds })
    }

    /// Orders, their items and a log without a key, as an application would have them; and one table of 1 % of the size.
    pub fn fill(&self, rows: u64) -> Outcome {
        let words = "(ARRAY['carriage','ledger','amber','quiet','northern','parcel','window','copper','meadow','signal',\
             'harbour','lantern','gravel','saddle','orchard','pepper'])";
        let text = |length: u32| {
            (0..length).map(|_| format!("{words}[1 + (random() * 15)::int]")).collect::<Vec<_>>().join(" || ' ' || ")
        };
        for statement in [
            "CREATE TABLE customers (id bigint PRIMARY KEY, name text NOT NULL, mail text, since date, note text)".to_owned(),
            "CREATE TABLE orders (id bigint PRIMARY KEY, customer bigint NOT NULL, placed timestamptz NOT NULL, \
             state text, total numeric(12,2), reference uuid, note text)"
                .to_owned(),
            "CREATE TABLE items (order_id bigint, line int, article int NOT NULL, amount int, price numeric(10,2), note text, \
             PRIMARY KEY (order_id, line))"
                .to_owned(),
            "CREATE TABLE log (at timestamptz, what text)".to_owned(),
            format!(
                "INSERT INTO customers SELECT i, {}, 'c' || i || '@example.org', date '2020-01-01' + (i % 2000)::int, {} \
                 FROM generate_series(1, {}) i",
                text(2),
                text(6),
                rows / 30
            ),
            format!(
                "INSERT INTO orders SELECT i, 1 + (random() * {})::bigint, timestamptz '2024-01-01' + i * interval '7 s', \
                 (ARRAY['open','paid','sent','done'])[1 + (random() * 3)::int], (random() * 1000)::numeric(12,2), \
                 gen_random_uuid(), {} FROM generate_series(1, {rows}) i",
                rows / 30,
                text(6)
            ),
            format!(
                "INSERT INTO items SELECT 1 + i / 2, i % 2, (random() * 50000)::int, 1 + (random() * 9)::int, \
                 (random() * 100)::numeric(10,2), {} FROM generate_series(1, {}) i",
                text(5),
                rows * 3 / 2
            ),
            format!(
                "INSERT INTO log SELECT timestamptz '2024-01-01' + i * interval '3 s', {} FROM generate_series(1, {}) i",
                text(20),
                rows / 3
            ),
            "CREATE INDEX ON orders (customer)".to_owned(),
            "VACUUM ANALYZE".to_owned(),
            "CHECKPOINT".to_owned(),
        ] {
            self.server.query(&self.database, &statement);
        }
        let size = self.server.query(&self.database, "SELECT pg_size_pretty(pg_database_size(current_database()))");
        println!("database: {} ({rows} rows in the largest table)", size.trim());
        Ok(())
    }

    /// A first backup beside `pg_dump`.
    pub fn backup(&self) -> Outcome {
        let (mut dump, mut plain, mut ours) = (Vec::new(), Vec::new(), Vec::new());
        let (mut dump_bytes, mut stored, mut memory) = (0, 0, Footprint::default());
        for round in 0..self.rounds {
            let file = self.work.path().join("peer.dump");
            dump.push(self.dump(&["-Fc"], &file)?);
            dump_bytes = fs::metadata(&file)?.len();
            plain.push(self.dump(&["-Fc", "-Z0"], &file)?);
            let gateway = Data::new(self, &format!("first-{round}"))?;
            let (cost, footprint) = gateway.backup(self)?;
            (stored, memory) = (folder_bytes(&gateway.stores())?, memory.max(footprint));
            ours.push(cost);
            gateway.remove()?;
            fs::remove_file(file)?;
        }
        let (dump, plain, ours) = (middle(&dump), middle(&plain), middle(&ours));
        println!("backup                     wall s    CPU s    stored");
        println!("  pg_dump -Fc             {:>7.2}  {:>7.2}  {:>7.0} MiB", dump.wall_s, dump.cpu_s, mib(dump_bytes));
        println!("  pg_dump -Fc -Z0         {:>7.2}  {:>7.2}", plain.wall_s, plain.cpu_s);
        println!("  trivault                {:>7.2}  {:>7.2}  {:>7.0} MiB", ours.wall_s, ours.cpu_s, mib(stored));
        println!(
            "  ours / pg_dump -Fc {:.2} (aim 1.0)   ours / pg_dump -Fc -Z0 {:.2} (aim 1.3)",
            ours.wall_s / dump.wall_s,
            ours.wall_s / plain.wall_s
        );
        println!(
            "  peak memory: gateway {:.0} MiB (aim 256), with the tools {:.0} MiB (aim 384)",
            mib(memory.gateway),
            mib(memory.together)
        );
        Ok(())
    }

    /// The second backup, after 1 % of the rows were changed in one place and after as many were appended.
    pub fn second(&self) -> Outcome {
        for (what, statement) in [
            (
                "1 % changed in one place",
                "WITH n AS (SELECT max(id) AS last FROM orders) UPDATE orders SET note = 'changed ' || note FROM n \
                 WHERE id BETWEEN last / 2 AND last / 2 + last / 50",
            ),
            (
                "1 % appended",
                "INSERT INTO orders SELECT id + (SELECT max(id) FROM orders), customer, placed, state, total, \
                 gen_random_uuid(), note FROM orders WHERE id <= (SELECT max(id) / 50 FROM orders)",
            ),
        ] {
            let (mut first, mut second, mut new) = (Vec::new(), Vec::new(), Vec::new());
            for round in 0..self.rounds {
                let gateway = Data::new(self, &format!("second-{round}"))?;
                first.push(gateway.backup(self)?.0);
                let before = folder_bytes(&gateway.stores())?;
                self.server.query(&self.database, statement);
                second.push(gateway.backup(self)?.0);
                new.push((folder_bytes(&gateway.stores())? - before) as f64 / before as f64 * 100.0);
                gateway.remove()?;
            }
            let (first, second) = (middle(&first), middle(&second));
            println!("second backup, {what}: new bytes {:.2} % (aim 3)", median(new));
            println!(
                "  wall {:.2} s after {:.2} s: {:.2} (aim 0.7)",
                second.wall_s,
                first.wall_s,
                second.wall_s / first.wall_s
            );
        }
        Ok(())
    }

    /// The whole database and one table of 1 %, beside `pg_restore -j2` of a local file.
    pub fn restore(&self) -> Outcome {
        let file = self.work.path().join("peer.dump");
        self.dump(&["-Fc"], &file)?;
        let gateway = Data::new(self, "restore")?;
        gateway.backup(self)?;
        let (mut peer, mut ours, mut part) = (Vec::new(), Vec::new(), Vec::new());
        let mut memory = Footprint::default();
        for _ in 0..self.rounds {
            self.server.query("postgres", "CREATE DATABASE restored");
            self.settle()?;
            let mut command = self.program("pg_restore");
            command.args(["-j2", "-d", "restored"]).arg(&file);
            peer.push(run(&command, None, &self.work.path().join("time"))?);
            self.forget_restored()?;
            let (cost, footprint) = gateway.restore(self, &["--to-database", "restored"])?;
            ours.push(cost);
            memory = memory.max(footprint);
            self.forget_restored()?;
            part.push(gateway.restore(self, &["--to-database", "restored", "--table", "public.customers"])?.0);
            self.forget_restored()?;
        }
        let (peer, ours, part) = (middle(&peer), middle(&ours), middle(&part));
        println!("restore                    wall s    CPU s");
        println!("  pg_restore -j2          {:>7.2}  {:>7.2}", peer.wall_s, peer.cpu_s);
        println!("  trivault                {:>7.2}  {:>7.2}", ours.wall_s, ours.cpu_s);
        println!("  one table               {:>7.2}  {:>7.2}", part.wall_s, part.cpu_s);
        println!(
            "  ours / pg_restore -j2 {:.2} (aim 1.1)   one table / all {:.3} (aim 0.05)   peak memory {:.0} MiB, with the tools {:.0} MiB",
            ours.wall_s / peer.wall_s,
            part.wall_s / ours.wall_s,
            mib(memory.gateway),
            mib(memory.together)
        );
        gateway.remove()
    }

    /// A database of very many empty tables.
    pub fn tables(&self, count: u32) -> Outcome {
        self.server.query("postgres", "CREATE DATABASE many");
        let statement = format!(
            "DO $$ BEGIN FOR i IN 1..{count} LOOP EXECUTE 'CREATE TABLE t' || i || ' (id int PRIMARY KEY, a text)'; \
             IF i % 500 = 0 THEN COMMIT; END IF; END LOOP; END $$"
        );
        self.server.query("many", &statement);
        let many = Self {
            server: self.server,
            database: "many".to_owned(),
            work: tempfile::Builder::new().prefix("trivault-bench-").tempdir()?,
            rounds: self.rounds,
        };
        let (mut dump, mut ours) = (Vec::new(), Vec::new());
        for round in 0..self.rounds {
            dump.push(many.dump(&["-Fc"], &many.work.path().join("peer.dump"))?);
            let gateway = Data::new(&many, &format!("many-{round}"))?;
            ours.push(gateway.backup(&many)?.0);
            gateway.remove()?;
        }
        let (dump, ours) = (middle(&dump), middle(&ours));
        println!(
            "{count} empty tables: pg_dump {:.2} s, trivault {:.2} s: {:.2} (aim 2.0)",
            dump.wall_s,
            ours.wall_s,
            ours.wall_s / dump.wall_s
        );
        Ok(())
    }

    /// Each restore meets a machine without the one before: a second copy of the database would have to take memory that a
    /// virtual machine must first get from its host, which was measured to cost a third more.
    fn forget_restored(&self) -> Outcome {
        self.server.query("postgres", "DROP DATABASE restored");
        self.settle()
    }

    /// What one side has left to be written must not slow the other: the server's pages, and the machine's.
    fn settle(&self) -> Outcome {
        self.server.query("postgres", "CHECKPOINT");
        if Command::new("sync").status()?.success() { Ok(()) } else { Err("sync failed".into()) }
    }

    /// One of the server's programs, told by its environment where the server is and who asks.
    fn program(&self, name: &str) -> Command {
        let mut command = Command::new(self.server.binaries().join(name));
        command.env("PGHOST", self.server.socket_folder()).env("PGUSER", "postgres");
        command.env("PGPORT", self.server.port().to_string());
        command
    }

    fn dump(&self, options: &[&str], file: &Path) -> Outcome<Cost> {
        let mut command = self.program("pg_dump");
        command.args(options).args(["-d", &self.database, "-f"]).arg(file);
        run(&command, None, &self.work.path().join("time"))
    }
}

/// A data directory with the bench's database as its one source.
struct Data {
    folder: PathBuf,
}

impl Data {
    fn new(bench: &Bench, name: &str) -> Outcome<Self> {
        let data = Self { folder: bench.work.path().join(name) };
        let source = format!("bench={}", bench.server.url(&bench.database));
        let status = data.command(&["source", "add", &source]).output()?;
        if !status.status.success() {
            return Err(format!("source add: {}", String::from_utf8_lossy(&status.stderr)).into());
        }
        Ok(data)
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(gateway::binary());
        command.args(words).env("TRIVAULT_DATA_DIR", &self.folder).env("TRIVAULT_LOG", "error");
        command
    }

    fn backup(&self, bench: &Bench) -> Outcome<(Cost, Footprint)> {
        let command = self.command(&["backup", "create", "--source", "bench"]);
        watched(bench, &command)
    }

    fn restore(&self, bench: &Bench, words: &[&str]) -> Outcome<(Cost, Footprint)> {
        let command = self.command(&[&["restore", "--latest", "bench"], words].concat());
        watched(bench, &command)
    }

    fn stores(&self) -> PathBuf {
        self.folder.join("stores")
    }

    fn remove(self) -> Outcome {
        Ok(fs::remove_dir_all(self.folder)?)
    }
}

/// Runs one of our commands and looks at its memory, and at that of its tools.
fn watched(bench: &Bench, command: &Command) -> Outcome<(Cost, Footprint)> {
    let (cost, seen) = footprint::during(|| run(command, None, &bench.work.path().join("time")))?;
    let gateway = seen.gateway.max(cost.peak_rss);
    Ok((cost, Footprint { gateway, together: seen.together.max(gateway) }))
}

fn middle(costs: &[Cost]) -> Cost {
    Cost {
        wall_s: median(costs.iter().map(|cost| cost.wall_s)),
        cpu_s: median(costs.iter().map(|cost| cost.cpu_s)),
        peak_rss: costs.iter().map(|cost| cost.peak_rss).max().unwrap_or_default(),
    }
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
