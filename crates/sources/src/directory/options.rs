//! The options of a directory source, as they stand in the configuration.

use ignore::gitignore::{Gitignore, GitignoreBuilder};
use serde_json::{Map, Value};

use crate::{ErrorKind, Result, SourceError};

/// Unreadable entries, as a share of all, above which a capture fails where nothing else is configured.
const DEFAULT_UNREADABLE_SHARE: f64 = 0.5;

/// Patterns of one source.
const PATTERNS_LIMIT: usize = 10_000;

const KNOWN: [&str; 9] = [
    "exclude",
    "exclude_caches",
    "exclude_nodump",
    "exclude_larger_than",
    "one_file_system",
    "ignore_ctime",
    "ignore_inode",
    "allow_empty",
    "max_unreadable_share",
];

/// What a directory source leaves out, and how strict it is.
#[derive(Clone, Debug)]
pub(super) struct Options {
    /// `None` where there are no patterns.
    pub exclude: Option<Gitignore>,
    /// Of a directory with a valid `CACHEDIR.TAG` only that file is kept.
    pub exclude_caches: bool,
    /// Entries with the file system's `nodump` flag are left out.
    pub exclude_nodump: bool,
    /// Bytes.
    pub exclude_larger_than: Option<u64>,
    /// Mount points are stored as empty directories. On for `/`, else off, unless said.
    pub one_file_system: bool,
    /// For network and overlay file systems, which change them without a reason.
    pub ignore_ctime: bool,
    pub ignore_inode: bool,
    /// An empty directory is captured even where the previous backup was not empty.
    pub allow_empty: bool,
    /// 0 to 1.
    pub max_unreadable_share: f64,
}

impl Options {
    /// Reads the options of the source at `location`; an unknown one is refused with the nearest that exists.
    pub fn parse(options: &Map<String, Value>, location: &std::path::Path) -> Result<Self> {
        for key in options.keys() {
            if !KNOWN.contains(&key.as_str()) {
                return Err(unknown(key));
            }
        }
        let flag = |name: &str, default: bool| match options.get(name) {
            None | Some(Value::Null) => Ok(default),
            Some(Value::Bool(value)) => Ok(*value),
            Some(_) => Err(wrong(name, "true or false")),
        };
        Ok(Self {
            exclude: patterns(options.get("exclude"))?,
            exclude_caches: flag("exclude_caches", false)?,
            exclude_nodump: flag("exclude_nodump", false)?,
            exclude_larger_than: size(options.get("exclude_larger_than"))?,
            one_file_system: flag("one_file_system", location == std::path::Path::new("/"))?,
            ignore_ctime: flag("ignore_ctime", false)?,
            ignore_inode: flag("ignore_inode", false)?,
            allow_empty: flag("allow_empty", false)?,
            max_unreadable_share: share(options.get("max_unreadable_share"))?,
        })
    }

    /// True when a backup may lack something that is there.
    pub fn leaves_something_out(&self) -> bool {
        self.exclude.is_some()
            || self.exclude_caches
            || self.exclude_nodump
            || self.exclude_larger_than.is_some()
            || self.one_file_system
    }

    /// True when a pattern leaves `path` (below the root, without a leading `/`) out.
    pub fn excludes(&self, path: &[u8], is_directory: bool) -> bool {
        use std::os::unix::ffi::OsStrExt;
        self.exclude.as_ref().is_some_and(|patterns| {
            patterns.matched(std::path::Path::new(std::ffi::OsStr::from_bytes(path)), is_directory).is_ignore()
        })
    }
}

fn unknown(key: &str) -> SourceError {
    let nearest =
        KNOWN.iter().max_by(|left, right| strsim::jaro_winkler(left, key).total_cmp(&strsim::jaro_winkler(right, key)));
    let error = SourceError::new(ErrorKind::Invalid, format!("A directory source has no option `{key}`."));
    match nearest {
        Some(nearest) => error.hint(format!("Did you mean `{nearest}`? There are: {}.", KNOWN.join(", "))),
        None => error,
    }
}

fn wrong(name: &str, wanted: &str) -> SourceError {
    SourceError::new(ErrorKind::Invalid, format!("The option `{name}` of a directory source must be {wanted}."))
}

fn patterns(value: Option<&Value>) -> Result<Option<Gitignore>> {
    const WANTED: &str = "a pattern or a list of patterns as in .gitignore";
    let lines: Vec<&str> = match value {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::String(line)) => vec![line],
        Some(Value::Array(lines)) => {
            lines.iter().map(|line| line.as_str().ok_or_else(|| wrong("exclude", WANTED))).collect::<Result<_>>()?
        }
        Some(_) => return Err(wrong("exclude", WANTED)),
    };
    if lines.len() > PATTERNS_LIMIT {
        return Err(wrong("exclude", &format!("a list of at most {PATTERNS_LIMIT} patterns")));
    }
    let mut builder = GitignoreBuilder::new("");
    for line in lines {
        if line.contains(['\n', '\0']) {
            return Err(wrong("exclude", WANTED));
        }
        builder.add_line(None, line).map_err(|error| bad_pattern(line, &error))?;
    }
    let patterns = builder.build().map_err(|error| bad_pattern("", &error))?;
    Ok((!patterns.is_empty()).then_some(patterns))
}

fn bad_pattern(line: &str, error: &ignore::Error) -> SourceError {
    SourceError::new(ErrorKind::Invalid, format!("The pattern `{line}` of `exclude` cannot be used: {error}."))
        .hint("Patterns are those of .gitignore: `*.tmp`, `/cache/`, `**/node_modules`, `!keep.tmp`.")
}

fn size(value: Option<&Value>) -> Result<Option<u64>> {
    const WANTED: &str = "a number of bytes or a size such as \"100 MiB\"";
    match value {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Number(number)) => number.as_u64().map(Some).ok_or_else(|| wrong("exclude_larger_than", WANTED)),
        Some(Value::String(text)) => parse_size(text).map(Some).ok_or_else(|| wrong("exclude_larger_than", WANTED)),
        Some(_) => Err(wrong("exclude_larger_than", WANTED)),
    }
}

/// `10`, `10 B`, `10 KiB`, `10MiB`, `1 GiB`, `2 TiB`, and K, M, G, T, which mean the same.
fn parse_size(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|character: char| !character.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let shift = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kib" => 10,
        "m" | "mib" => 20,
        "g" | "gib" => 30,
        "t" | "tib" => 40,
        _ => return None,
    };
    number.checked_mul(1 << shift)
}

fn share(value: Option<&Value>) -> Result<f64> {
    match value {
        None | Some(Value::Null) => Ok(DEFAULT_UNREADABLE_SHARE),
        Some(value) => value
            .as_f64()
            .filter(|share| (0.0..=1.0).contains(share))
            .ok_or_else(|| wrong("max_unreadable_share", "a number from 0 to 1")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn parse(value: Value) -> Result<Options> {
        let Value::Object(map) = value else { unreachable!() };
        Options::parse(&map, std::path::Path::new("/srv"))
    }

    #[test]
    fn an_unknown_option_is_refused_with_the_nearest_name() {
        let error = parse(json!({"exclude_cache": true})).unwrap_err();
        assert_eq!(error.sentence, "A directory source has no option `exclude_cache`.");
        assert!(error.hint.unwrap().starts_with("Did you mean `exclude_caches`?"));
    }

    #[test]
    fn values_of_a_wrong_type_are_refused_with_what_is_wanted() {
        for (options, wanted) in [
            (json!({"exclude": 1}), "a pattern or a list"),
            (json!({"exclude": [1]}), "a pattern or a list"),
            (json!({"exclude_caches": "yes"}), "true or false"),
            (json!({"exclude_larger_than": -1}), "a number of bytes"),
            (json!({"exclude_larger_than": "10 parsecs"}), "a number of bytes"),
            (json!({"max_unreadable_share": 1.5}), "a number from 0 to 1"),
        ] {
            let error = parse(options).unwrap_err();
            assert!(error.sentence.contains(wanted), "{error}");
        }
    }

    #[test]
    fn patterns_follow_gitignore() {
        let options = parse(json!({"exclude": ["*.tmp", "/top/", "!keep.tmp", "a/**/z"]})).unwrap();
        assert!(options.excludes(b"x/y.tmp", false));
        assert!(!options.excludes(b"x/keep.tmp", false));
        assert!(
            options.excludes(b"top", true) && !options.excludes(b"top", false) && !options.excludes(b"x/top", true)
        );
        assert!(options.excludes(b"a/b/c/z", false));
        assert!(options.excludes(b"\xff.tmp", false));
    }

    #[test]
    fn sizes_have_binary_units() {
        assert_eq!(parse_size("10"), Some(10));
        assert_eq!(parse_size(" 2 MiB"), Some(2 << 20));
        assert_eq!(parse_size("1g"), Some(1 << 30));
        assert_eq!(parse_size("99999999999 TiB"), None);
        assert_eq!(parse_size("x"), None);
    }

    #[test]
    fn only_the_root_of_the_machine_stays_on_one_file_system_by_itself() {
        assert!(!parse(json!({})).unwrap().one_file_system);
        assert!(Options::parse(&Map::new(), std::path::Path::new("/")).unwrap().one_file_system);
        assert!(parse(json!({"one_file_system": true})).unwrap().one_file_system);
    }
}
