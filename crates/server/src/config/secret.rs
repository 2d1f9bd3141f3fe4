//! Secrets are named by a file or an environment variable, never written into the configuration or an argument.

use std::{fs, path::Path};

use trivault_engine::SecretText;

/// The first line of a file, without its line end.
///
/// # Errors
/// A sentence when the file cannot be read, is empty or not UTF-8.
pub fn from_file(path: &Path) -> Result<SecretText, String> {
    let bytes =
        fs::read(path).map_err(|error| format!("The secret file {} cannot be read: {error}.", path.display()))?;
    let text =
        String::from_utf8(bytes).map_err(|_| format!("The secret file {} is not UTF-8 text.", path.display()))?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() {
        return Err(format!("The first line of the secret file {} is empty.", path.display()));
    }
    Ok(SecretText::new(line))
}

/// # Errors
/// A sentence when the variable is absent or empty.
pub fn from_environment(name: &str) -> Result<SecretText, String> {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => Ok(SecretText::new(text)),
        Ok(_) => Err(format!("The environment variable {name} is empty.")),
        Err(_) => Err(format!("The environment variable {name} is not set.")),
    }
}

/// One secret of a configuration, given as `<key>_file` or `<key>_env`.
///
/// # Errors
/// A sentence when both are given or the named one cannot be read.
pub fn referenced(key: &str, file: Option<&Path>, environment: Option<&str>) -> Result<Option<SecretText>, String> {
    match (file, environment) {
        (None, None) => Ok(None),
        (Some(path), None) => from_file(path).map(Some),
        (None, Some(name)) => from_environment(name).map(Some),
        (Some(_), Some(_)) => Err(format!("Give either {key}_file or {key}_env, not both.")),
    }
}

/// 24 random characters of `[a-z2-9]` without look-alikes: over 110 bits.
///
/// # Errors
/// When the operating system has no randomness.
pub fn generate() -> Result<SecretText, String> {
    const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0_u8; 24];
    getrandom::fill(&mut bytes).map_err(|error| format!("The operating system gives no randomness: {error}."))?;
    let text: String = bytes.iter().map(|byte| char::from(ALPHABET[usize::from(byte % 32)])).collect();
    Ok(SecretText::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_of_a_file_is_the_secret() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("secret");
        fs::write(&path, "with blank at the end \r\nmore").unwrap();
        assert_eq!(from_file(&path).unwrap().expose(), "with blank at the end ");
        fs::write(&path, "\n").unwrap();
        assert!(from_file(&path).unwrap_err().contains("empty"));
    }

    #[test]
    fn made_secrets_differ() {
        assert_ne!(generate().unwrap().expose(), generate().unwrap().expose());
        assert_eq!(generate().unwrap().expose().len(), 24);
    }
}
