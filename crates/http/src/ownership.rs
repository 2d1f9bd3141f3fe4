//! Which dialect owns which paths.

use std::{fmt, sync::Arc};

use crate::Dialect;

/// Two dialects claim paths that overlap.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    pub first: (&'static str, String),
    pub second: (&'static str, String),
}

impl fmt::Display for Conflict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first: (one, one_prefix), second: (other, other_prefix) } = self;
        write!(out, "the paths {one_prefix} of {one} and {other_prefix} of {other} overlap")
    }
}

impl std::error::Error for Conflict {}

/// The table of path prefixes. Looking a path up costs one comparison per prefix.
pub struct Ownership {
    /// Prefix and index into `dialects`.
    prefixes: Vec<(String, usize)>,
    dialects: Vec<Arc<dyn Dialect>>,
}

impl Ownership {
    /// # Errors
    /// [`Conflict`] when a prefix of one dialect equals, or lies below, one of another.
    pub fn new(dialects: Vec<Arc<dyn Dialect>>) -> Result<Self, Conflict> {
        let mut prefixes: Vec<(String, usize)> = Vec::new();
        for (index, dialect) in dialects.iter().enumerate() {
            for prefix in dialect.prefixes() {
                let clash = prefixes
                    .iter()
                    .find(|(taken, owner)| *owner != index && (is_below(&prefix, taken) || is_below(taken, &prefix)));
                if let Some((taken, owner)) = clash {
                    return Err(Conflict {
                        first: (dialects[*owner].name(), taken.clone()),
                        second: (dialect.name(), prefix),
                    });
                }
                prefixes.push((prefix, index));
            }
        }
        Ok(Self { prefixes, dialects })
    }

    /// The dialect that owns a raw path.
    pub fn owner(&self, raw_path: &str) -> Option<&Arc<dyn Dialect>> {
        let (_, index) = self.prefixes.iter().find(|(prefix, _)| is_below(raw_path, prefix))?;
        self.dialects.get(*index)
    }

    pub fn dialects(&self) -> &[Arc<dyn Dialect>] {
        &self.dialects
    }
}

/// Whether `path` equals `prefix` or continues it with a further segment.
fn is_below(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::application::tests::Speaker;

    fn table(claims: &[(&'static str, &[&str])]) -> Result<Ownership, Conflict> {
        Ownership::new(claims.iter().map(|(name, prefixes)| Speaker::shared(name, prefixes)).collect())
    }

    #[test]
    fn a_path_belongs_to_the_dialect_whose_prefix_ends_at_a_segment() {
        let table = table(&[("one", &["/api/v1", "/plan"]), ("two", &["/api/databases", "/v1"])]).unwrap();
        for (path, owner) in [
            ("/api/v1", Some("one")),
            ("/api/v1/", Some("one")),
            ("/api/v1/x", Some("one")),
            ("/api/v10", None),
            ("/api", None),
            ("/planet", None),
            ("/plan/x", Some("one")),
            ("/v1/apps", Some("two")),
            ("/api/databases", Some("two")),
            ("/", None),
            ("//api/v1", None),
        ] {
            assert_eq!(table.owner(path).map(|dialect| dialect.name()), owner, "{path}");
        }
    }

    #[test]
    fn every_pair_of_overlapping_prefixes_of_two_dialects_is_refused() {
        let overlapping = ["/a", "/a/b", "/a/b/c"];
        for first in overlapping {
            for second in overlapping {
                let conflict = table(&[("one", &[first]), ("two", &[second])]).err().unwrap();
                assert_eq!(conflict.first, ("one", first.to_owned()));
                assert!(conflict.to_string().contains("overlap"));
            }
        }
        for (first, second) in [("/a", "/b"), ("/a/b", "/a/c"), ("/a", "/ab")] {
            assert!(table(&[("one", &[first]), ("two", &[second])]).is_ok(), "{first} {second}");
        }
    }

    #[test]
    fn one_dialect_may_nest_its_own_prefixes() {
        assert!(table(&[("one", &["/a", "/a/b"])]).is_ok());
    }
}
