//! The contract of `Backend`.

use crate::places::Place;
use trivault_testkit::trees::noise;
use trivault_vault::VaultErrorKind;
use trivault_vault::backend::FileKind;

const NAMED: [FileKind; 5] = [FileKind::Key, FileKind::Index, FileKind::Snapshot, FileKind::Lock, FileKind::Pack];

/// A name as a digest would make it.
fn name(number: u8) -> String {
    format!("{number:02x}").repeat(32)
}

pub fn round_trip(place: &Place) {
    for kind in FileKind::ALL {
        for length in [0usize, 1, 70_000, 5 << 20] {
            let bytes = noise(length as u64, length);
            place.vault.write(kind, &name(7), &bytes).unwrap();
            assert!(place.vault.read(kind, &name(7)).unwrap() == bytes, "{kind:?} of {length} bytes");
            assert_eq!(place.vault.length(kind, &name(7)).unwrap(), length as u64);
        }
        // A second write of the same name, over a file that is read-only on a disk, replaces it.
        place.vault.write(kind, &name(7), b"again").unwrap();
        place.vault.discard_cache(kind, &name(7));
        assert_eq!(place.vault.read(kind, &name(7)).unwrap(), b"again");
    }
}

pub fn listing(place: &Place) {
    for kind in FileKind::ALL {
        assert_eq!(place.vault.list(kind).unwrap(), [], "{kind:?} of an empty vault");
    }
    for kind in NAMED {
        for number in [0, 1, 0xab, 0xff] {
            place.vault.write(kind, &name(number), &vec![0; usize::from(number)]).unwrap();
        }
    }
    place.vault.write(FileKind::Config, "config", b"config").unwrap();
    for kind in NAMED {
        let mut found: Vec<(String, u64)> =
            place.vault.list(kind).unwrap().into_iter().map(|entry| (entry.name, entry.length)).collect();
        found.sort();
        assert_eq!(found, [(name(0), 0), (name(1), 1), (name(0xab), 0xab), (name(0xff), 0xff)], "{kind:?}");
    }
    let config = place.vault.list(FileKind::Config).unwrap();
    assert_eq!((config.len(), config[0].length), (1, 6));
}

pub fn missing(place: &Place) {
    for kind in FileKind::ALL {
        let failures = [
            place.vault.read(kind, &name(1)).map(|_| ()),
            place.vault.length(kind, &name(1)).map(|_| ()),
            place.vault.read_range(kind, &name(1), 0, 1).map(|_| ()),
        ];
        for failure in failures {
            let error = failure.unwrap_err();
            assert_eq!(error.kind(), &VaultErrorKind::Missing, "{kind:?}: {error}");
            assert!(error.hint().is_some());
        }
        place.vault.discard_cache(kind, &name(1));
    }
}

pub fn ranges(place: &Place) {
    let bytes = noise(5, 100_000);
    place.vault.write(FileKind::Pack, &name(3), &bytes).unwrap();
    let read = |offset, length| place.vault.read_range(FileKind::Pack, &name(3), offset, length);
    for (offset, length) in [(0, 1), (0, 100_000), (99_999, 1), (12_345, 54_321), (50, 0), (100_000, 0)] {
        let wanted = &bytes[offset as usize..(offset + length) as usize];
        assert!(read(offset, length).unwrap() == wanted, "{length} bytes from {offset}");
    }
    for (offset, length) in [(0, 100_001), (99_999, 2), (100_000, 1), (100_001, 0), (1 << 40, 1 << 40), (u64::MAX, 2)] {
        let error = read(offset, length).unwrap_err();
        assert_eq!(error.kind(), &VaultErrorKind::Damaged, "{length} bytes from {offset}: {error}");
    }
}

pub fn creation(place: &Place) {
    const RACERS: usize = 8;
    for kind in [FileKind::Config, FileKind::Pack] {
        let wins: Vec<usize> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| {
                    scope.spawn(move || (racer, place.vault.create(kind, &name(9), &[racer as u8; 100]).unwrap()))
                })
                .collect();
            racers
                .into_iter()
                .map(|racer| racer.join().unwrap())
                .filter(|(_, won)| *won)
                .map(|(racer, _)| racer)
                .collect()
        });
        assert_eq!(wins.len(), 1, "{kind:?}");
        assert_eq!(place.vault.read(kind, &name(9)).unwrap(), [wins[0] as u8; 100]);
        assert!(!place.vault.create(kind, &name(9), b"late").unwrap());
        assert!(
            !place.vault.create(kind, &name(9), &[wins[0] as u8; 100]).unwrap(),
            "the same bytes are not the same call"
        );
        assert_eq!(place.vault.list(kind).unwrap().len(), 1);
    }
}

pub fn removal(place: &Place) {
    for kind in FileKind::ALL {
        place.vault.write(kind, &name(2), b"short life").unwrap();
        place.vault.remove(kind, &name(2)).unwrap();
        place.vault.remove(kind, &name(2)).unwrap();
        assert_eq!(place.vault.list(kind).unwrap(), []);
        assert!(place.vault.create(kind, &name(2), b"new life").unwrap());
    }
}

pub fn names(place: &Place) {
    for wrong in ["", "config", "../config", &name(1)[1..], &name(0xab).to_uppercase()] {
        for kind in NAMED {
            assert!(place.vault.read(kind, wrong).is_err());
            assert!(place.vault.write(kind, wrong, b"x").is_err());
            assert!(place.vault.create(kind, wrong, b"x").is_err());
            assert!(place.vault.remove(kind, wrong).is_err());
        }
    }
}

pub fn parallel(place: &Place) {
    std::thread::scope(|scope| {
        for number in 0..6u8 {
            scope.spawn(move || {
                let bytes = noise(number.into(), 200_000);
                place.vault.write(FileKind::Pack, &name(number), &bytes).unwrap();
                assert!(place.vault.read(FileKind::Pack, &name(number)).unwrap() == bytes);
            });
        }
    });
    assert_eq!(place.vault.list(FileKind::Pack).unwrap().len(), 6);
}
