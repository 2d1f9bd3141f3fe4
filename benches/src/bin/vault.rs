//! Measures the vault beside the stock restic: `cargo run --release -p trivault-benches --bin vault`.
//!
//! Needs restic, diff and /usr/bin/time (`apt-get install restic diffutils time`).

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trivault_benches::vault::{compare::Plan, ours};

const USAGE: &str = "usage: vault [--work DIR] [--stream-mib N] [--files N] [--pairs N] [--only stream,tree,memory]
  --work        folder for inputs and vaults (default: a temporary one); about six times the stream must fit
  --stream-mib  length of the dump-like stream in MiB (default 2048)
  --files       number of small files in the tree (default 50000)
  --pairs       interleaved pairs of runs (default 5)
  --only        which comparisons, separated by commas (default all)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["child", verb, rest @ ..] => child(verb, rest),
        options => compare(options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Our side of one run: the comparison starts this program again with these words.
fn child(verb: &str, rest: &[&str]) -> Result<(), Box<dyn Error>> {
    let paths: Vec<&Path> = rest.iter().map(Path::new).collect();
    let outcome = match (verb, paths.as_slice()) {
        ("init", [vault]) => ours::init(vault),
        ("backup-stream", [vault, input]) => ours::backup_stream(vault, input),
        ("backup-tree", [vault, folder]) => ours::backup_tree(vault, folder),
        ("backup-both", [vault, input, folder]) => ours::backup_both(vault, input, folder),
        ("restore", [vault, target]) => ours::restore(vault, target),
        _ => return Err(USAGE.into()),
    };
    outcome.map_err(|error| -> Box<dyn Error> { error })
}

fn compare(options: &[&str]) -> Result<(), Box<dyn Error>> {
    let scratch = tempfile::Builder::new().prefix("trivault-bench-").tempdir()?;
    let mut plan = Plan { work: scratch.path().to_owned(), stream_bytes: 2 << 30, files: 50_000, pairs: 5 };
    let mut only = vec!["stream", "tree", "memory"];
    for pair in options.chunks(2) {
        match *pair {
            ["--work", folder] => plan.work = PathBuf::from(folder),
            ["--stream-mib", number] => plan.stream_bytes = number.parse::<u64>()? << 20,
            ["--files", number] => plan.files = number.parse()?,
            ["--pairs", number] => plan.pairs = number.parse()?,
            ["--only", names] => only = names.split(',').collect(),
            _ => return Err(USAGE.into()),
        }
    }
    std::fs::create_dir_all(&plan.work)?;
    for name in only {
        match name {
            "stream" => plan.stream()?,
            "tree" => plan.tree()?,
            "memory" => plan.memory()?,
            _ => return Err(USAGE.into()),
        }
    }
    Ok(())
}
