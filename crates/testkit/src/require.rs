//! What a test may find absent.
//!
//! A missing tool fails the test: a suite that quietly tests less is worse than a red one. Whoever knows that a tool cannot be had names it
//! in `TRIVAULT_TEST_SKIP` (words separated by commas: `s3`, `restic`, `python`, `rustic` ...), and the test says that it was left out.

use std::path::{Path, PathBuf};

/// The variable that names the tools to do without.
pub const SKIP_VARIABLE: &str = "TRIVAULT_TEST_SKIP";

/// Whether the tests that need this tool are left out on purpose; if so, says it on standard error.
pub fn skipped(tool: &str) -> bool {
    let named = std::env::var(SKIP_VARIABLE).is_ok_and(|list| names(&list, tool));
    if named {
        eprintln!("skipped: {SKIP_VARIABLE} names {tool}");
    }
    named
}

fn names(list: &str, tool: &str) -> bool {
    list.split(',').any(|word| word.trim() == tool)
}

/// The path of a program, found in `PATH`. `None` when the tool is left out on purpose.
///
/// # Panics
/// When the program is absent; the message has the command that installs it.
pub fn program(tool: &str, file_name: &str, install: &str) -> Option<PathBuf> {
    if skipped(tool) {
        return None;
    }
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path).map(|directory| directory.join(file_name)).find(|file| file.is_file())
    });
    Some(found.unwrap_or_else(|| absent(tool, &format!("the program {file_name}"), install)))
}

/// A program of the tests' virtual environment (`$TRIVAULT_S3_VENV`, else `.venv-s3` in the repository).
///
/// # Panics
/// When it is absent; the message has the command that makes the environment.
pub fn venv_program(tool: &str, file_name: &str) -> Option<PathBuf> {
    if skipped(tool) {
        return None;
    }
    let venv = std::env::var_os("TRIVAULT_S3_VENV").map_or_else(|| repository_root().join(".venv-s3"), PathBuf::from);
    let file = venv.join("bin").join(file_name);
    if file.is_file() {
        return Some(file);
    }
    let venv = venv.display();
    let install = format!(
        "python3 -m venv {venv} && {venv}/bin/pip install 'moto[s3,server]==5.2.5' 'cryptography==50.0.2' 'zstandard==0.25.0'"
    );
    absent(tool, &format!("{}", file.display()), &install)
}

/// The folder that holds the whole repository.
pub fn repository_root() -> PathBuf {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.ancestors().nth(2).unwrap_or(crate_folder).to_owned()
}

fn absent(tool: &str, what: &str, install: &str) -> ! {
    panic!(
        "this test needs {what}, which is not there.\nInstall it:  {install}\nor leave such tests out:  {SKIP_VARIABLE}={tool}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_words_are_skipped() {
        assert!(names("s3", "s3") && names("restic, s3", "s3"));
        assert!(!names("", "s3") && !names("s3x,xs3", "s3"));
    }

    #[test]
    #[should_panic(expected = "apt-get install no-such-program")]
    fn an_absent_program_fails_with_the_command_that_installs_it() {
        program("nothing", "no-such-program-anywhere", "apt-get install no-such-program");
    }

    #[test]
    fn the_repository_root_holds_the_workspace() {
        assert!(repository_root().join("Cargo.lock").is_file());
    }
}
