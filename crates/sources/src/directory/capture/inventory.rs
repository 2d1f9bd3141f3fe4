//! Directories as scopes and collections: the first name of a file's path is its scope, the rest of its directory's path
//! its collection.

use std::collections::BTreeMap;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use crate::{Collection, Inventory, Scope};

/// Collections of one source; files of further directories are counted together.
const COLLECTIONS_LIMIT: usize = 10_000;
/// Longest name of a collection, bytes; deeper directories are counted together as well.
const NAME_LIMIT_BYTES: usize = 1024;

/// Where there is no such level.
const DEFAULT: &str = "_default";
/// Where files are counted together.
const OTHER: &str = "_other";

const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'_').remove(b'-');

/// A name as the inventory shows it: every byte but letters, digits, `_` and `-` percent-encoded. A directory that is
/// really called `_default` or `_other` has its first byte encoded too, so that no two things have one name.
fn encode_name(name: &[u8]) -> String {
    if name == DEFAULT.as_bytes() || name == OTHER.as_bytes() {
        return format!("%5F{}", String::from_utf8_lossy(&name[1..]));
    }
    percent_encode(name, ENCODED).to_string()
}

/// Scope and collection of the files right in the directory at `path` (below the root, empty for the root).
pub(in super::super) fn collection_of(path: &[u8]) -> (String, String) {
    if path.is_empty() {
        return (DEFAULT.to_owned(), DEFAULT.to_owned());
    }
    match path.iter().position(|byte| *byte == b'/') {
        None => (encode_name(path), DEFAULT.to_owned()),
        Some(end) => (encode_name(&path[..end]), encode_name(&path[end + 1..])),
    }
}

#[derive(Clone, Copy, Default)]
struct Count {
    items: u64,
    size: u64,
}

/// Counts while directories are walked.
#[derive(Default)]
pub(super) struct InventoryBuilder {
    scopes: BTreeMap<String, BTreeMap<String, Count>>,
    collections: usize,
    /// Directories whose files were counted together with others.
    pub merged: u64,
}

impl InventoryBuilder {
    /// Adds the files right in the directory at `path`.
    pub fn add(&mut self, path: &[u8], items: u64, size: u64) {
        if items == 0 {
            return;
        }
        let full = self.collections >= COLLECTIONS_LIMIT;
        let too_long = path.len() > NAME_LIMIT_BYTES;
        let first = path.split(|byte| *byte == b'/').next().unwrap_or_default();
        let (scope, collection) = match (full, too_long) {
            (false, false) => collection_of(path),
            (_, _) => {
                self.merged += 1;
                let scope = encode_name(first);
                let known = self.scopes.contains_key(&scope);
                (if known || !full { scope } else { OTHER.to_owned() }, OTHER.to_owned())
            }
        };
        let collections = self.scopes.entry(scope).or_default();
        let count = collections.entry(collection).or_insert_with(|| {
            self.collections += 1;
            Count::default()
        });
        count.items += items;
        count.size += size;
    }

    pub fn finish(self) -> Inventory {
        let scopes = self.scopes.into_iter().map(|(name, collections)| Scope {
            name,
            collections: collections
                .into_iter()
                .map(|(name, Count { items, size })| Collection { name, items, size })
                .collect(),
        });
        Inventory { scopes: scopes.collect(), indexes: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_scopes_and_collections_with_encoded_names() {
        let shown = |path: &[u8]| {
            let (scope, collection) = collection_of(path);
            format!("{scope}.{collection}")
        };
        assert_eq!(shown(b""), "_default._default");
        assert_eq!(shown(b"a"), "a._default");
        assert_eq!(shown(b"a/b"), "a.b");
        assert_eq!(shown(b"a.d/b c/\xc3\xa9%-_9"), "a%2Ed.b%20c%2F%C3%A9%25-_9");
        assert_eq!(shown(b"_default/_other"), "%5Fdefault.%5Fother");
    }

    #[test]
    fn beyond_the_limit_files_are_counted_together_and_none_is_lost() {
        let mut builder = InventoryBuilder::default();
        for directory in 0..COLLECTIONS_LIMIT + 500 {
            builder.add(format!("top/{directory}").as_bytes(), 2, 10);
        }
        builder.add(b"late", 1, 1);
        builder.add(b"top/0", 0, 0);
        assert_eq!(builder.merged, 501);
        let inventory = builder.finish();
        let collections: Vec<_> = inventory.scopes.iter().flat_map(|scope| &scope.collections).collect();
        assert!(collections.len() <= COLLECTIONS_LIMIT + 2);
        assert_eq!(collections.iter().map(|collection| collection.items).sum::<u64>(), 2 * 10_500 + 1);
        assert!(inventory.scopes.iter().any(|scope| scope.name == OTHER));
    }

    #[test]
    fn a_very_deep_directory_does_not_make_a_very_long_name() {
        let mut builder = InventoryBuilder::default();
        builder.add(&b"d/".repeat(2000), 1, 1);
        let inventory = builder.finish();
        assert_eq!(inventory.scopes[0].name, "d");
        assert_eq!(inventory.scopes[0].collections[0].name, OTHER);
    }
}
