//! Archives in PostgreSQL's custom format that are damaged, cut off or made up: the reader neither panics nor hangs.
//!
//! The corpus was written by the `pg_dump` of PostgreSQL 15, 16 and 18 (`fuzz/make-corpus.sh`); the fuzz target `archive`
//! starts from the same files and does the same with them.

#![allow(clippy::unwrap_used, reason = "test code")]

use std::{fs, path::Path, sync::OnceLock};

use proptest::{prelude::*, sample::Index};
use trivault_sources::postgresql::exercise_archive;

fn corpus() -> &'static [(String, Vec<u8>)] {
    static CORPUS: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    CORPUS.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/archive");
        let mut files: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|file| {
                let path = file.unwrap().path();
                (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
            })
            .collect();
        files.sort();
        files
    })
}

#[test]
fn what_real_programs_wrote_passes_the_body_of_the_fuzz_target() {
    assert!(corpus().len() >= 24, "the corpus is not there");
    for (_, bytes) in corpus() {
        exercise_archive(bytes);
    }
}

#[test]
fn an_archive_may_end_anywhere() {
    for (_, bytes) in corpus().iter().filter(|(name, _)| name.contains("objects")) {
        for end in 0..bytes.len() {
            exercise_archive(&bytes[..end]);
        }
    }
}

#[test]
fn lengths_that_are_only_claimed_cost_nothing() {
    // Every place that may be an integer claims to be as large as possible.
    for (_, bytes) in corpus().iter().filter(|(name, _)| name.contains("objects")) {
        let mut damaged = bytes.clone();
        for place in 5..bytes.len() - 5 {
            damaged[place..place + 5].copy_from_slice(&[0, 255, 255, 255, 127]);
            exercise_archive(&damaged);
            damaged[place..place + 5].copy_from_slice(&bytes[place..place + 5]);
        }
    }
}

/// One way to damage an archive.
#[derive(Clone, Debug)]
enum Damage {
    Set(Index, u8),
    Flip(Index, u8),
    Remove(Index, u8),
    Repeat(Index, u8),
    Insert(Index, Vec<u8>),
    Cut(Index),
}

fn damage() -> impl Strategy<Value = Damage> {
    let place = any::<Index>;
    prop_oneof![
        4 => (place(), prop_oneof![0_u8..6, any::<u8>()]).prop_map(|(place, byte)| Damage::Set(place, byte)),
        4 => (place(), 0_u8..8).prop_map(|(place, bit)| Damage::Flip(place, bit)),
        2 => (place(), 1_u8..40).prop_map(|(place, count)| Damage::Remove(place, count)),
        2 => (place(), 1_u8..200).prop_map(|(place, count)| Damage::Repeat(place, count)),
        2 => (place(), prop::collection::vec(any::<u8>(), 1..20)).prop_map(|(place, bytes)| Damage::Insert(place, bytes)),
        1 => place().prop_map(Damage::Cut),
    ]
}

fn apply(bytes: &mut Vec<u8>, damage: &Damage) {
    if bytes.is_empty() {
        return;
    }
    let until = |start: usize, count: u8, bytes: &[u8]| (start + usize::from(count)).min(bytes.len());
    match damage {
        Damage::Set(place, byte) => *place.get_mut(bytes) = *byte,
        Damage::Flip(place, bit) => *place.get_mut(bytes) ^= 1 << bit,
        Damage::Remove(place, count) => {
            let start = place.index(bytes.len());
            bytes.drain(start..until(start, *count, bytes));
        }
        Damage::Repeat(place, count) => {
            let start = place.index(bytes.len());
            let piece = bytes[start..until(start, *count, bytes)].to_vec();
            bytes.splice(start..start, piece);
        }
        Damage::Insert(place, piece) => {
            let start = place.index(bytes.len());
            bytes.splice(start..start, piece.iter().copied());
        }
        Damage::Cut(place) => bytes.truncate(place.index(bytes.len())),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3000))]

    #[test]
    fn damaged_archives_are_refused_or_read_consistently(
        file in any::<Index>(),
        damages in prop::collection::vec(damage(), 1..6),
    ) {
        let mut bytes = file.get(corpus()).1.clone();
        damages.iter().for_each(|damage| apply(&mut bytes, damage));
        exercise_archive(&bytes);
    }

    #[test]
    fn bytes_that_only_begin_like_an_archive_are_refused(
        minor in 10_u8..20,
        bytes in prop::collection::vec(prop_oneof![Just(0_u8), Just(1), Just(255), any::<u8>()], 0..400),
    ) {
        exercise_archive(&[b"PGDMP\x01", &[minor, 0, 4, 8, 1][..], &bytes].concat());
    }
}
