//! Names of the directories below `data`: `schema.table`, written so that every file system takes them.

use std::{collections::HashSet, fmt::Write as _};

use sha2::{Digest, Sha256};

/// Longest name, bytes.
const LONGEST_BYTES: usize = 200;
/// Of the SHA-256 that a shortened name ends with, bytes.
const DIGEST_BYTES: usize = 8;

/// Gives each table a directory of its own, the same one each day.
#[derive(Default)]
pub(super) struct Directories {
    /// In lower case, for file systems that know no other.
    taken: HashSet<String>,
}

impl Directories {
    pub(super) fn name(&mut self, schema: &str, table: &str) -> String {
        // A dot within a name is written otherwise, so that `a.b` in `c` and `b` in `c.a` differ.
        let mut name = format!("{}.{}", encoded(schema), encoded(table));
        if name.len() > LONGEST_BYTES || !self.taken.insert(name.to_lowercase()) {
            let digest = Sha256::digest(format!("{schema}\0{table}"));
            let mut end = name.len().min(LONGEST_BYTES - 2 * DIGEST_BYTES - 1);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            name.truncate(end);
            name.push('-');
            name.push_str(&hex::encode(digest.get(..DIGEST_BYTES).unwrap_or_default()));
            self.taken.insert(name.to_lowercase());
        }
        name
    }
}

fn encoded(name: &str) -> String {
    let mut encoded = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter.is_control() || matches!(letter, '/' | '%' | '.' | '\\') {
            let mut bytes = [0; 4];
            for byte in letter.encode_utf8(&mut bytes).bytes() {
                let _ = write!(encoded, "%{byte:02X}");
            }
        } else {
            encoded.push(letter);
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_become_distinct_directories() {
        let mut names = Directories::default();
        assert_eq!(names.name("public", "acct"), "public.acct");
        assert_eq!(names.name("a.b", "c/d%\n"), "a%2Eb.c%2Fd%25%0A");
        assert_eq!(names.name("a", "b.c/d%\n"), "a.b%2Ec%2Fd%25%0A");
        let other_case = names.name("public", "ACCT");
        assert!(other_case.starts_with("public.ACCT-") && other_case.len() == 28, "{other_case}");
        let long = names.name(&"ä".repeat(31), &"/".repeat(63));
        assert!(long.len() <= LONGEST_BYTES, "{long}");
        assert_ne!(long, names.name(&"ä".repeat(31), &format!("{}x", "/".repeat(62))));
        assert_eq!(long, Directories::default().name(&"ä".repeat(31), &"/".repeat(63)), "the same each day");
    }
}
