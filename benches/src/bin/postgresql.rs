//! Measures backups of a PostgreSQL database by the real binary beside `pg_dump` and `pg_restore`, on a server of its own.
//!
//! `cargo build --release --workspace && target/release/postgresql [--rows N] [--tables N] [--rounds N] [--only backup,second,restore,tables]`
//!
//! Needs PostgreSQL's server and /usr/bin/time (`apt-get install postgresql time`). The server runs without fsync, for both
//! sides alike; its own CPU is in nobody's figure, in everybody's wall time.

use std::{error::Error, process::ExitCode};

use trivault_benches::postgresql::Bench;

const USAGE: &str = "usage: postgresql [--rows N] [--tables N] [--rounds N] [--only backup,second,restore,tables]
  --rows    rows of the largest table (default 4000000: about 1.3 GiB of rows in all)
  --tables  how many empty tables the last comparison makes (default 10000)
  --rounds  interleaved rounds, of which the medians are printed (default 3)
  --only    which comparisons, separated by commas (default all)";

fn main() -> ExitCode {
    match compare() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn compare() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut rows, mut tables, mut rounds) = (4_000_000, 10_000, 3);
    let mut only = vec!["backup".to_owned(), "second".to_owned(), "restore".to_owned(), "tables".to_owned()];
    for pair in arguments.chunks(2) {
        match pair {
            [name, value] if name == "--rows" => rows = value.parse()?,
            [name, value] if name == "--tables" => tables = value.parse()?,
            [name, value] if name == "--rounds" => rounds = value.parse()?,
            [name, value] if name == "--only" => only = value.split(',').map(str::to_owned).collect(),
            _ => return Err(USAGE.into()),
        }
    }
    let bench = Bench::new(rounds)?;
    if only.iter().any(|name| name != "tables") {
        bench.fill(rows)?;
    }
    for name in &only {
        match name.as_str() {
            "backup" => bench.backup()?,
            "second" => bench.second()?,
            "restore" => bench.restore()?,
            "tables" => bench.tables(tables)?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(())
}
