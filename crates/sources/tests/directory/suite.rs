//! The suite that every kind of source passes, with directories that are special in some way.

use std::path::{Path, PathBuf};

use serde_json::json;
use trivault_sources::{
    SourceDriver,
    testing::suite::{Fixture, every_promise_holds},
};

use crate::support::*;

struct Tree {
    place: Place,
    scratch: PathBuf,
}

impl Tree {
    fn new(furnish: impl FnOnce(&Path)) -> Self {
        let place = Place::new();
        furnish(&place.live());
        let scratch = place.path("scratch");
        std::fs::create_dir(&scratch).unwrap();
        Self { place, scratch }
    }
}

impl Fixture for Tree {
    fn driver(&self) -> Box<dyn SourceDriver> {
        trivault_sources::open(&config(&self.place.live(), json!({}), &[])).unwrap()
    }

    fn scratch(&self) -> &Path {
        &self.scratch
    }

    fn assert_same(&self, restored: &Path) {
        assert_eq!(look(restored), look(&self.place.live()));
    }
}

#[test]
fn an_empty_directory_keeps_every_promise() {
    every_promise_holds(&Tree::new(|_| {}));
}

#[test]
fn a_directory_with_a_bit_of_everything_keeps_every_promise() {
    every_promise_holds(&Tree::new(|root| {
        furnish(root);
    }));
}

#[test]
fn a_directory_of_one_large_file_keeps_every_promise() {
    every_promise_holds(&Tree::new(|root| {
        let noise: Vec<u8> =
            (0..24_u32 << 18).flat_map(|number| number.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        write(root.join("large"), noise);
    }));
}

#[test]
fn a_directory_of_holes_keeps_every_promise() {
    use std::os::unix::fs::FileExt;
    every_promise_holds(&Tree::new(|root| {
        for (name, data, length) in
            [("all hole", None, 9_000_000), ("begin", Some(0), 5_000_001), ("end", Some(7_000_000), 7_000_100)]
        {
            let file = std::fs::File::create(root.join(name)).unwrap();
            file.set_len(length).unwrap();
            if let Some(offset) = data {
                file.write_all_at(&[3; 100], offset).unwrap();
            }
        }
    }));
}
