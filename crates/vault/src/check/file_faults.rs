//! Which bytes of a file are gone, by the states of its blobs.

/// The state of one blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BlobState {
    /// It has so many plain bytes.
    Good(u32),
    /// It is listed with so many plain bytes and cannot be read.
    Unreadable(u32),
    /// Nobody knows it.
    Unknown,
}

/// A damaged stretch of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub offset: u64,
    pub length: u64,
    pub sentence: &'static str,
}

const UNREADABLE: &str = "these bytes lie in a damaged pack";
const UNKNOWN: &str = "these bytes are in no index";
const UNKNOWN_FROM: &str = "bytes from here on are in no index";
const WRONG_SIZE: &str = "the blobs of this file do not add up to its size";

/// The damaged stretches of a file of `size` bytes.
pub(super) fn faults(blobs: impl Iterator<Item = BlobState>, size: u64) -> Vec<Fault> {
    let mut stretches: Vec<(u64, Option<&'static str>)> = Vec::new();
    let mut known = 0;
    for blob in blobs {
        let (length, fault) = match blob {
            BlobState::Good(length) => (u64::from(length), None),
            BlobState::Unreadable(length) => (u64::from(length), Some(UNREADABLE)),
            BlobState::Unknown => (0, Some(UNKNOWN)),
        };
        known += length;
        match stretches.last_mut() {
            Some((before, same)) if *same == fault => *before += length,
            _ => stretches.push((length, fault)),
        }
    }
    let unknown = stretches.iter().filter(|(_, fault)| *fault == Some(UNKNOWN)).count();
    if unknown == 0 && known != size {
        return vec![Fault { offset: 0, length: size, sentence: WRONG_SIZE }];
    }
    let mut found = Vec::new();
    let mut offset = 0;
    for (length, fault) in stretches {
        let length = match fault {
            Some(UNKNOWN) if unknown == 1 => size.saturating_sub(known),
            // Where the next one begins cannot be told.
            Some(UNKNOWN) => {
                found.push(Fault { offset, length: size.saturating_sub(offset), sentence: UNKNOWN_FROM });
                return found;
            }
            _ => length,
        };
        if let Some(sentence) = fault {
            found.push(Fault { offset, length, sentence });
        }
        offset += length;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::{BlobState::*, *};

    fn found(blobs: &[BlobState], size: u64) -> Vec<(u64, u64, &'static str)> {
        faults(blobs.iter().copied(), size)
            .into_iter()
            .map(|fault| (fault.offset, fault.length, fault.sentence))
            .collect()
    }

    #[test]
    fn damaged_stretches_have_their_place_and_length() {
        assert_eq!(found(&[Good(10), Good(5)], 15), []);
        assert_eq!(found(&[], 0), []);
        assert_eq!(found(&[Good(10)], 11), [(0, 11, WRONG_SIZE)]);
        assert_eq!(found(&[Good(10), Unreadable(5), Unreadable(6), Good(1)], 22), [(10, 11, UNREADABLE)]);
        assert_eq!(
            found(&[Good(10), Unknown, Unknown, Good(1), Unreadable(2)], 20),
            [(10, 7, UNKNOWN), (18, 2, UNREADABLE)]
        );
        assert_eq!(
            found(&[Unreadable(3), Good(7), Unknown, Good(1), Unknown], 30),
            [(0, 3, UNREADABLE), (10, 20, UNKNOWN_FROM)]
        );
    }
}
