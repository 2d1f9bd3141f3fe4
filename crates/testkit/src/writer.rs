//! The second writer of the vault's format (`oracles/python`), which makes good and damaged vaults.

use crate::require::{repository_root, venv_program};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The password of every vault that [`make`] makes.
pub const PASSWORD: &str = "secret";

/// Vaults made by the second writer, each in a folder named like its scenario.
#[derive(Debug)]
pub struct Vaults {
    folder: tempfile::TempDir,
}

/// Makes the vaults of these scenarios (`oracles/python/vaults.py --list`). `None` when `python` is left out on purpose.
///
/// # Panics
/// When Python's environment is absent or the writer fails.
pub fn make(scenarios: &[&str]) -> Option<Vaults> {
    let python = venv_program("python", "python")?;
    let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
    let script = repository_root().join("oracles/python/vaults.py");
    let output = Command::new(python)
        .arg(script)
        .arg(folder.path())
        .args(scenarios)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output();
    let output = output.unwrap_or_else(|error| panic!("the second writer does not start: {error}"));
    assert!(output.status.success(), "the second writer failed:\n{}", String::from_utf8_lossy(&output.stderr));
    Some(Vaults { folder })
}

impl Vaults {
    /// The folder of one scenario's vault.
    pub fn vault(&self, scenario: &str) -> PathBuf {
        self.folder.path().join(scenario).join("vault")
    }

    /// The folder with the files as they must be read from one scenario's vault.
    pub fn expected(&self, scenario: &str) -> PathBuf {
        self.folder.path().join(scenario).join("expected")
    }

    /// The folder that holds all of them.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
