//! Names of users and groups, from `/etc/passwd` and `/etc/group`.
//!
//! Read as files, once for a capture: users that only a directory service knows keep their number, which is what a
//! restore uses.

use std::{collections::HashMap, io::Read, path::Path};

/// A file longer than this is not a list of users any more; bytes.
const OWNERS_FILE_LIMIT_BYTES: u64 = 16 * 1024 * 1024;

pub(super) struct Owners {
    users: HashMap<u32, String>,
    groups: HashMap<u32, String>,
}

impl Owners {
    pub fn of_this_machine() -> Self {
        Self { users: read(Path::new("/etc/passwd")), groups: read(Path::new("/etc/group")) }
    }

    /// Empty where nobody has the number.
    pub fn user(&self, uid: u32) -> &str {
        self.users.get(&uid).map_or("", String::as_str)
    }

    pub fn group(&self, gid: u32) -> &str {
        self.groups.get(&gid).map_or("", String::as_str)
    }
}

fn read(path: &Path) -> HashMap<u32, String> {
    let mut text = Vec::new();
    let Ok(file) = std::fs::File::open(path) else { return HashMap::new() };
    if file.take(OWNERS_FILE_LIMIT_BYTES).read_to_end(&mut text).is_err() {
        return HashMap::new();
    }
    parse(&String::from_utf8_lossy(&text))
}

/// `name:password:number:...`; the first name of a number wins, as for the C library.
fn parse(text: &str) -> HashMap<u32, String> {
    let mut names = HashMap::new();
    for line in text.lines() {
        let mut fields = line.split(':');
        if let (Some(name), Some(_), Some(number)) = (fields.next(), fields.next(), fields.next())
            && let Ok(number) = number.parse()
        {
            names.entry(number).or_insert_with(|| name.to_owned());
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_name_of_a_number_counts_and_odd_lines_are_passed_over() {
        let names = parse("root:x:0:0::/root:/bin/sh\n\n+::\ntoor:x:0:0::/:/bin/sh\nweb:x:33:33::/:/bin/false\n");
        assert_eq!(names.get(&0).map(String::as_str), Some("root"));
        assert_eq!(names.get(&33).map(String::as_str), Some("web"));
        assert_eq!(names.len(), 2);
    }
}
