//! Opens a vault with rustic_core, checks every byte of it and writes one file to standard output.
//!
//! `trivault-oracle-rustic check LOCATION` or `trivault-oracle-rustic dump LOCATION SNAPSHOT:PATH`; the password comes from
//! `RESTIC_PASSWORD`. Exit status 0 only when all was right.

use rustic_backend::BackendOptions;
use rustic_core::{CheckOptions, Credentials, Repository, RepositoryOptions};
use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

const USAGE: &str = "usage: trivault-oracle-rustic check LOCATION | dump LOCATION SNAPSHOT:PATH (password in RESTIC_PASSWORD)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rustic_core: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let (verb, location) = match arguments {
        [verb, location, ..] => (*verb, *location),
        _ => return Err(USAGE.into()),
    };
    let password = std::env::var("RESTIC_PASSWORD").map_err(|_| USAGE)?;
    let backends = BackendOptions::default().repository(location).to_backends()?;
    let options = RepositoryOptions::default().no_cache(true);
    let repository = Repository::new(&options, &backends)?.open(&Credentials::password(password))?;
    match (verb, arguments.get(2)) {
        ("check", None) => {
            let results = repository.check(CheckOptions::default().read_data(true))?;
            results.is_ok()?;
            println!("no errors were found");
            Ok(())
        }
        ("dump", Some(path)) => {
            let repository = repository.to_indexed()?;
            let node = repository.node_from_snapshot_path(path, |_| true)?;
            let mut output = std::io::stdout().lock();
            repository.dump(&node, &mut output)?;
            Ok(output.flush()?)
        }
        _ => Err(USAGE.into()),
    }
}
