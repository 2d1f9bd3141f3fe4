//! `[NAME=]KIND:PATH` or `[NAME=]postgresql://USER@HOST:PORT/DATABASE`, as `--source` and `source add` take it.

use std::path::{Path, PathBuf};

use trivault_engine::NewSource;
use trivault_sources::{SourceConfig, SourceError, postgresql};

/// Prefixes that are understood, with the kind of source that each means.
const KINDS: &[(&str, &str)] = &[("dir", "directory"), ("directory", "directory"), ("sqlite", "sqlite")];

/// # Errors
/// A sentence with an example when the text cannot be understood.
pub fn parse(text: &str, working_directory: &Path) -> Result<NewSource, String> {
    let (name, rest) = match text.split_once('=') {
        Some((name, rest)) if !name.contains([':', '/']) => (Some(name), rest),
        _ => (None, text),
    };
    let Some((prefix, path)) = rest.split_once(':') else {
        return Err(format!("`{text}` is not a source. Write [NAME=]KIND:PATH, for example photos=dir:./photos."));
    };
    if matches!(prefix, "postgresql" | "postgres") {
        return database(name, rest, working_directory);
    }
    let Some((_, kind)) = KINDS.iter().find(|(known, _)| *known == prefix) else {
        return Err(format!(
            "`{prefix}` in `{text}` is not a kind of source. Known are dir:PATH, sqlite:PATH and \
             postgresql://USER@HOST:PORT/DATABASE."
        ));
    };
    if path.is_empty() {
        return Err(format!("`{text}` names no path. Write [NAME=]KIND:PATH, for example app=sqlite:./app.db."));
    }
    let location = absolute(working_directory, Path::new(path));
    let name = match name {
        Some(name) => name.to_owned(),
        None => name_of(kind, &location),
    };
    check_name(&name)?;
    let config = SourceConfig {
        kind: (*kind).to_owned(),
        location: location.to_string_lossy().into_owned(),
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: None,
    };
    Ok(NewSource { name, config, managed: false })
}

/// A database on a server; its name, unless another is given, is the source's.
fn database(name: Option<&str>, url: &str, working_directory: &Path) -> Result<NewSource, String> {
    let mut config = SourceConfig {
        kind: postgresql::KIND.to_owned(),
        location: url.to_owned(),
        options: serde_json::Map::new(),
        never_capture: Vec::new(),
        secret: None,
    };
    let address = postgresql::address(&config).map_err(|error| explained(&error))?;
    config.location = postgresql::with_absolute_files(url, working_directory).map_err(|error| explained(&error))?;
    let name = name.map_or(address.database, str::to_owned);
    check_name(&name)?;
    Ok(NewSource { name, config, managed: false })
}

/// A driver's refusal as a command prints it.
pub fn explained(error: &SourceError) -> String {
    match &error.hint {
        Some(hint) => format!("{} {hint}", error.sentence),
        None => error.sentence.clone(),
    }
}

/// Absolute, without `.` and `..`; links are left as they are, because a source is what its path means when it is read.
pub fn absolute(working_directory: &Path, path: &Path) -> PathBuf {
    let mut absolute = PathBuf::new();
    for component in working_directory.join(path).components() {
        match component {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                absolute.pop();
            }
            std::path::Component::Prefix(_) | std::path::Component::RootDir | std::path::Component::Normal(_) => {
                absolute.push(component);
            }
        }
    }
    absolute
}

/// # Errors
/// A sentence with the rule.
pub fn check_name(name: &str) -> Result<(), String> {
    let mut characters = name.chars();
    let starts_well = characters.next().is_some_and(|first| first.is_ascii_alphanumeric());
    let goes_on_well = characters.all(|character| character.is_ascii_alphanumeric() || "_.-".contains(character));
    if starts_well && goes_on_well && name.len() <= 64 {
        return Ok(());
    }
    Err(format!(
        "`{name}` is not a name: 1 to 64 letters, digits, `_`, `.` and `-`, beginning with a letter or digit. \
         Put a name in front, for example photos=dir:/srv/My Photos."
    ))
}

/// The file's or directory's own name; the ending of a database is left out.
fn name_of(kind: &str, location: &Path) -> String {
    let name = if kind == "sqlite" { location.file_stem() } else { location.file_name() };
    name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, String, String) {
        let source = parse(text, Path::new("/work dir")).unwrap();
        (source.name, source.config.kind, source.config.location)
    }

    #[test]
    fn a_name_may_stand_in_front_or_comes_from_the_path() {
        let text = |a: &str, b: &str, c: &str| (a.to_owned(), b.to_owned(), c.to_owned());
        assert_eq!(parsed("dir:./photos"), text("photos", "directory", "/work dir/photos"));
        assert_eq!(parsed("p=dir:/srv/a b/../c"), text("p", "directory", "/srv/c"));
        let url = "postgres://ada@db.example:5433/bank?sslmode=require";
        assert_eq!(parsed(url), text("bank", "postgresql", url));
        let url = "postgresql:///odd%20name?host=/run/pg&user=ada&sslrootcert=ca.pem";
        let (name, kind, location) = parsed(&format!("accounts={url}"));
        assert_eq!((name.as_str(), kind.as_str()), ("accounts", "postgresql"));
        assert!(location.ends_with("sslrootcert=%2Fwork+dir%2Fca.pem"), "{location}");
        assert_eq!(parsed("sqlite:app.v2.db"), text("app.v2", "sqlite", "/work dir/app.v2.db"));
    }

    #[test]
    fn what_cannot_be_understood_is_refused_with_an_example() {
        for (text, part) in [
            ("photos", "KIND:PATH"),
            ("zip:./x", "not a kind"),
            ("postgresql://u:secret@h/d", "by PGPASSWORD, PGPASSFILE"),
            ("postgresql://h/d", "names no user"),
            ("postgresql://u@h/odd%20name", "not a name"),
            ("postgresql://u@h/d?colour=red", "colour"),
            ("dir:", "names no path"),
            ("dir:/", "not a name"),
            ("dir:./My Photos", "not a name"),
        ] {
            let sentence = parse(text, Path::new("/w")).unwrap_err();
            assert!(sentence.contains(part), "{text}: {sentence}");
            assert!(!sentence.contains("secret"), "{sentence}");
        }
    }
}
