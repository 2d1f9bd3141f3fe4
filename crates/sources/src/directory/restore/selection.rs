//! Which files of a part are wanted.

use regex::bytes::Regex;

use super::super::capture::collection_of;
use crate::{ErrorKind, Inventory, Result, Selection, SourceError};

/// A file whose content is compared with `values` has at most this length; bytes.
pub(super) const VALUE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

/// A name of a selection: a scope, or a scope and a collection.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Name {
    scope: String,
    collection: Option<String>,
}

impl Name {
    fn parse(text: &str) -> Self {
        match text.split_once('.') {
            Some((scope, collection)) => Self { scope: scope.to_owned(), collection: Some(collection.to_owned()) },
            None => Self { scope: text.to_owned(), collection: None },
        }
    }

    fn covers(&self, scope: &str, collection: &str) -> bool {
        self.scope == scope && self.collection.as_deref().is_none_or(|wanted| wanted == collection)
    }
}

/// A selection that can be asked.
#[derive(Debug)]
pub(super) struct Chosen {
    include: Vec<Name>,
    exclude: Vec<Name>,
    keys: Option<Regex>,
    pub values: Option<Regex>,
}

impl Chosen {
    /// # Errors
    /// [`ErrorKind::Invalid`] for an expression that is none; [`ErrorKind::Missing`] for an included name that the
    /// part does not have.
    pub fn parse(selection: &Selection, inventory: &Inventory, inventory_is_complete: bool) -> Result<Self> {
        let Selection { include, exclude, keys, values, key_range } = selection;
        if key_range.is_some() {
            return Err(SourceError::no_key_ranges("a directory"));
        }
        let chosen = Self {
            include: include.iter().map(|name| Name::parse(name)).collect(),
            exclude: exclude.iter().map(|name| Name::parse(name)).collect(),
            keys: keys.as_deref().map(|expression| compile("keys", expression)).transpose()?,
            values: values.as_deref().map(|expression| compile("values", expression)).transpose()?,
        };
        if inventory_is_complete {
            for (name, text) in chosen.include.iter().zip(include) {
                let known = inventory.scopes.iter().any(|scope| {
                    name.collection.is_none() && name.scope == scope.name
                        || scope.collections.iter().any(|collection| name.covers(&scope.name, &collection.name))
                });
                if !known {
                    return Err(SourceError::new(
                        ErrorKind::Missing,
                        format!("The backup has no files in `{text}`."),
                    )
                    .hint("Names are those of the inventory: the top directory, a dot, the rest of the path with %2F for each slash."));
                }
            }
        }
        Ok(chosen)
    }

    pub fn is_everything(&self) -> bool {
        let Self { include, exclude, keys, values } = self;
        include.is_empty() && exclude.is_empty() && keys.is_none() && values.is_none()
    }

    /// True when no collection is left out, whatever is asked of names and contents.
    pub fn include_everything(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// True when the files right in the directory at `path` are wanted, apart from their names and contents.
    pub fn wants_directory(&self, path: &[u8]) -> bool {
        if self.include.is_empty() && self.exclude.is_empty() {
            return true;
        }
        let (scope, collection) = collection_of(path);
        let covered = |names: &[Name]| names.iter().any(|name| name.covers(&scope, &collection));
        (self.include.is_empty() || covered(&self.include)) && !covered(&self.exclude)
    }

    /// False when nothing at or below the directory at `path` can be wanted.
    pub fn may_want_below(&self, path: &[u8]) -> bool {
        let scope = collection_of(path.split(|byte| *byte == b'/').next().unwrap_or_default()).0;
        let included = self.include.is_empty() || self.include.iter().any(|name| name.scope == scope);
        included && !self.exclude.iter().any(|name| name.scope == scope && name.collection.is_none())
    }

    pub fn wants_name(&self, name: &[u8]) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.is_match(name))
    }

    /// True where single files are picked: directories then come into being only around them.
    pub fn picks_files(&self) -> bool {
        self.keys.is_some() || self.values.is_some()
    }

    /// Bytes of the chosen collections, as the inventory knows them.
    pub fn bytes(&self, inventory: &Inventory) -> u64 {
        let covered =
            |names: &[Name], scope: &str, collection: &str| names.iter().any(|name| name.covers(scope, collection));
        inventory
            .scopes
            .iter()
            .flat_map(|scope| scope.collections.iter().map(move |collection| (&scope.name, collection)))
            .filter(|(scope, collection)| {
                (self.include.is_empty() || covered(&self.include, scope, &collection.name))
                    && !covered(&self.exclude, scope, &collection.name)
            })
            .map(|(_, collection)| collection.size)
            .sum()
    }
}

fn compile(field: &str, expression: &str) -> Result<Regex> {
    Regex::new(expression).map_err(|error| {
        SourceError::new(ErrorKind::Invalid, format!("The filter of {field} is not a regular expression."))
            .hint("Look-around and back-references are not supported.")
            .because(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Collection, Scope};

    fn inventory() -> Inventory {
        let collection = |name: &str, size| Collection { name: name.to_owned(), items: 1, size };
        Inventory {
            scopes: vec![
                Scope { name: "_default".into(), collections: vec![collection("_default", 1)] },
                Scope { name: "a".into(), collections: vec![collection("_default", 10), collection("b%2Fc", 100)] },
            ],
            indexes: 0,
        }
    }

    fn chosen(include: &[&str], exclude: &[&str]) -> Result<Chosen> {
        let text = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let selection =
            Selection { include: text(include), exclude: text(exclude), keys: None, values: None, key_range: None };
        Chosen::parse(&selection, &inventory(), true)
    }

    #[test]
    fn a_scope_covers_its_collections_and_a_collection_only_itself() {
        let scope = chosen(&["a"], &["a.b%2Fc"]).unwrap();
        assert!(scope.wants_directory(b"a") && scope.wants_directory(b"a/x"));
        assert!(!scope.wants_directory(b"a/b/c") && !scope.wants_directory(b"") && !scope.may_want_below(b"z"));
        assert_eq!(scope.bytes(&inventory()), 10);
        let collection = chosen(&["a.b%2Fc"], &[]).unwrap();
        assert!(collection.wants_directory(b"a/b/c") && !collection.wants_directory(b"a/b"));
        assert!(collection.may_want_below(b"a") && collection.may_want_below(b"a/b"));
        let root = chosen(&["_default"], &[]).unwrap();
        assert!(root.wants_directory(b"") && !root.wants_directory(b"a"));
    }

    #[test]
    fn a_name_that_the_backup_does_not_have_is_refused() {
        let error = chosen(&["a.nothing"], &[]).unwrap_err();
        assert_eq!(
            (error.kind, error.sentence.as_str()),
            (ErrorKind::Missing, "The backup has no files in `a.nothing`.")
        );
    }

    #[test]
    fn an_expression_that_is_none_is_refused() {
        let selection = Selection { keys: Some("(".into()), ..Selection::default() };
        assert_eq!(Chosen::parse(&selection, &inventory(), true).unwrap_err().kind, ErrorKind::Invalid);
    }
}
