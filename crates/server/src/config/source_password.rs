//! Passwords of sources on servers, found where the clients of such servers look for them.

use std::{
    ffi::OsString,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use trivault_engine::{NewSource, SecretText};
use trivault_sources::{
    Secret,
    postgresql::{self, Address},
};

use super::secret;

/// Folders of unix sockets that a password file calls `localhost`.
const DEFAULT_SOCKETS: &[&str] = &["/var/run/postgresql", "/tmp"];
/// Access of others than the owner.
const OTHERS: u32 = 0o077;

/// The source with its password: the given one; else, for PostgreSQL, that of `PGPASSWORD`, `PGPASSFILE` or `~/.pgpass`.
///
/// # Errors
/// A sentence when the source's place cannot be understood, or the file that `PGPASSFILE` names cannot be read.
pub fn complete(mut source: NewSource, given: Option<SecretText>) -> Result<NewSource, String> {
    if source.config.kind != postgresql::KIND {
        return match given {
            None => Ok(source),
            Some(_) => Err(format!("The source {} takes no password.", source.name)),
        };
    }
    let address = postgresql::address(&source.config).map_err(|error| super::source_argument::explained(&error))?;
    source.config.secret = match given {
        Some(given) => Some(Secret::new(given.expose())),
        None => find(&address, &|name| std::env::var_os(name))?,
    };
    Ok(source)
}

fn find(address: &Address, environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Option<Secret>, String> {
    if let Some(password) = environment("PGPASSWORD").filter(|password| !password.is_empty()) {
        let password = password.into_string().map_err(|_| "PGPASSWORD is not UTF-8 text.".to_owned())?;
        return Ok(Some(Secret::new(password)));
    }
    let named = environment("PGPASSFILE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let is_named = named.is_some();
    let Some(path) = named.or_else(|| Some(PathBuf::from(environment("HOME")?).join(".pgpass"))) else {
        return Ok(None);
    };
    let metadata = match fs::metadata(&path) {
        Ok(metadata) if metadata.is_file() => metadata,
        Ok(_) => return Ok(None),
        Err(error) if is_named => {
            return Err(format!("The password file {} of PGPASSFILE cannot be read: {error}.", path.display()));
        }
        Err(_) => return Ok(None),
    };
    if metadata.permissions().mode() & OTHERS != 0 {
        // As PostgreSQL's own clients do.
        eprintln!(
            "Warning: the password file {} is not used, because others may read it: chmod 0600 {}",
            path.display(),
            path.display()
        );
        return Ok(None);
    }
    let text = read(&path)?;
    Ok(text.expose().lines().find_map(|line| password_of(line, address)))
}

fn read(path: &Path) -> Result<SecretText, String> {
    fs::read_to_string(path)
        .map(SecretText::new)
        .map_err(|error| format!("The password file {} cannot be read: {error}.", path.display()))
}

/// The password of a line `host:port:database:user:password` that fits. A field may be `*`; `\:` and `\\` stand for themselves.
fn password_of(line: &str, address: &Address) -> Option<Secret> {
    if line.starts_with('#') {
        return None;
    }
    let Address { host, port, user, database } = address;
    let host = if DEFAULT_SOCKETS.contains(&host.as_str()) { "localhost" } else { host.as_str() };
    let mut rest = line;
    for wanted in [host, &port.to_string(), database, user] {
        let (field, is_any);
        (field, is_any, rest) = next_field(rest)?;
        if !is_any && field != wanted {
            return None;
        }
    }
    let password = next_field(rest).map_or_else(|| unescaped(rest).0, |(password, _, _)| password);
    (!password.is_empty()).then(|| Secret::new(password))
}

/// The text up to the next free colon, whether it is a bare `*`, and what follows the colon.
fn next_field(text: &str) -> Option<(String, bool, &str)> {
    let (field, length) = unescaped(text);
    let rest = text[length..].strip_prefix(':')?;
    Some((field, &text[..length] == "*", rest))
}

/// The text up to the next free colon or the end, and how many bytes it took as written.
fn unescaped(text: &str) -> (String, usize) {
    let mut plain = String::new();
    let mut characters = text.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            ':' => return (plain, at),
            '\\' => plain.push(characters.next().map_or('\\', |(_, escaped)| escaped)),
            other => plain.push(other),
        }
    }
    (plain, text.len())
}

/// As `--password-file` names it.
///
/// # Errors
/// A sentence when the file cannot be read.
pub fn from_file(path: Option<&Path>) -> Result<Option<SecretText>, String> {
    path.map(secret::from_file).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address() -> Address {
        Address { host: "db.example".into(), port: 5433, user: "a:b".into(), database: "bank".into() }
    }

    fn password(line: &str) -> Option<String> {
        password_of(line, &address()).map(|secret| secret.expose().to_owned())
    }

    #[test]
    fn a_line_of_a_password_file_fits_by_its_fields_stars_and_escapes() {
        assert_eq!(password(r"db.example:5433:bank:a\:b:pa\:ss\\word").as_deref(), Some(r"pa:ss\word"));
        assert_eq!(password(r"*:*:*:*:any").as_deref(), Some("any"));
        assert_eq!(password(r"*:5433:*:a\:b:ends:here").as_deref(), Some("ends"));
        assert_eq!(password(r"*:*:*:*:trailing\").as_deref(), Some(r"trailing\"));
        for other in [
            r"#*:*:*:*:x",
            r"other:*:*:*:x",
            r"*:5432:*:*:x",
            r"*:*:\*:*:x",
            r"*:*:*:a:b:x",
            r"*:*:*:*",
            r"*:*:*:*:",
            "",
        ] {
            assert_eq!(password(other), None, "{other}");
        }
        let socket = Address { host: "/var/run/postgresql".into(), ..address() };
        assert!(password_of(r"localhost:*:*:*:x", &socket).is_some());
    }

    #[test]
    fn the_environment_comes_first_and_a_file_that_others_may_read_is_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join(".pgpass");
        fs::write(&file, "# ours\nother:*:*:*:no\n*:*:*:*:filed\n").unwrap();
        let home = folder.path().as_os_str().to_owned();
        let at_home = |name: &str| (name == "HOME").then(|| home.clone());
        let found = |environment: &dyn Fn(&str) -> Option<OsString>| {
            find(&address(), environment).unwrap().map(|secret| secret.expose().to_owned())
        };
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
        assert_eq!(found(&at_home), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(found(&at_home).as_deref(), Some("filed"));
        let named = file.as_os_str().to_owned();
        assert_eq!(found(&|name| (name == "PGPASSFILE").then(|| named.clone())).as_deref(), Some("filed"));
        assert_eq!(found(&|name| (name == "PGPASSWORD").then(|| "given".into())).as_deref(), Some("given"));
        let absent = |name: &str| (name == "PGPASSFILE").then(|| "/nowhere/at/all".into());
        assert!(find(&address(), &absent).unwrap_err().contains("/nowhere/at/all"));
        assert_eq!(found(&|_| None), None);
    }
}
