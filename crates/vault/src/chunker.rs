//! Where a stream is cut into blobs.
//!
//! The content-defined cut uses a table made from the vault's master key, so that the lengths of chunks do not give known files away. A
//! vault's table never changes; nothing needs it for reading.

use crate::{capture::Cutting, crypto::SealingKey, error::Result};
use fastcdc::v2020::{Normalization, cut_gear, select_masks};
use std::{fmt, sync::Arc};
use zeroize::Zeroizing;

/// Most bytes of a chunk between explicit marks.
pub(crate) const MAX_MARKED: usize = 8 << 20;

const KIB: usize = 1 << 10;
const GIB: u64 = 1 << 30;

/// Up to which offset of the stream (bytes) chunks of this mean size are cut; the last has no end. A stream of 1 TB so has about two
/// million chunks, which stock restic still reads.
const MEANS: [(u64, usize); 3] = [(32 * GIB, 64 * KIB), (256 * GIB, 256 * KIB), (u64::MAX, 1024 * KIB)];
/// The same for pages.
const PAGES: [(u64, usize); 3] = [(16 * GIB, 16 * KIB), (256 * GIB, 64 * KIB), (u64::MAX, 1024 * KIB)];

/// The vault's own table for content-defined cutting.
#[derive(Clone)]
pub(crate) struct GearTable(Arc<(Vec<u64>, Vec<u64>)>);

impl GearTable {
    pub fn new(key: &SealingKey) -> Result<Self> {
        let mut bytes = Zeroizing::new([0_u8; 256 * 8]);
        key.derive("trivault-chunker-v1", &mut *bytes)?;
        let (words, _) = bytes.as_chunks::<8>();
        let gear: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let shifted = gear.iter().map(|word| word << 1).collect();
        Ok(Self(Arc::new((gear, shifted))))
    }
}

impl fmt::Debug for GearTable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("GearTable(..)")
    }
}

/// Collects a stream and hands it on in chunks.
#[derive(Debug)]
pub(crate) struct Chunker {
    cutting: Cutting,
    gear: GearTable,
    buffer: Vec<u8>,
    /// Offset of the buffer's first byte in the stream.
    offset: u64,
}

impl Chunker {
    pub fn new(cutting: Cutting, gear: GearTable) -> Self {
        Self { cutting, gear, buffer: Vec::new(), offset: 0 }
    }

    /// Appends bytes; `emit` gets every chunk that is complete.
    pub fn write(&mut self, mut input: &[u8], emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while !input.is_empty() {
            let max = self.max_length();
            if self.buffer.is_empty() && input.len() >= max {
                let length = self.cut_length(&input[..max]);
                self.advance(&input[..length], emit)?;
                input = &input[length..];
                continue;
            }
            let taken = input.len().min(max - self.buffer.len());
            self.buffer.extend_from_slice(&input[..taken]);
            if self.buffer.len() < max {
                return Ok(());
            }
            let length = self.cut_length(&self.buffer);
            let buffer = std::mem::take(&mut self.buffer);
            self.advance(&buffer[..length], emit)?;
            self.buffer = buffer;
            let before = self.buffer.len() - taken;
            if length >= before {
                // Everything left came from this input, which is still at hand: go on without copying.
                self.buffer.clear();
                input = &input[length - before..];
            } else {
                self.buffer.drain(..length);
                input = &input[taken..];
            }
        }
        Ok(())
    }

    /// Ends the chunk here, if anything is in it.
    pub fn flush(&mut self, emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        while !self.buffer.is_empty() {
            let buffer = std::mem::take(&mut self.buffer);
            let length = self.cut_length(&buffer);
            self.advance(&buffer[..length], emit)?;
            self.buffer = buffer;
            self.buffer.drain(..length);
        }
        Ok(())
    }

    /// [`Cutting::AtMarks`]: the chunk ends here. Other ways of cutting know better.
    pub fn mark(&mut self, emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        if self.cutting == Cutting::AtMarks { self.flush(emit) } else { Ok(()) }
    }

    /// Length of the chunk of zeros that may be taken as a whole now, of `zeros` that follow. `None` while a chunk is begun or too few
    /// zeros are left: then they are ordinary bytes.
    pub fn zero_chunk(&self, zeros: u64) -> Option<usize> {
        let length = match self.cutting {
            Cutting::ContentDefined | Cutting::Pages => self.max_length(),
            // Long enough to be few, short enough not to matter in memory.
            Cutting::AtMarks => 1 << 20,
        };
        (self.buffer.is_empty() && zeros >= length as u64).then_some(length)
    }

    /// For pages: bytes missing to the end of the one that has begun. Elsewhere a chunk may end anywhere.
    pub fn bytes_to_grid(&self) -> Option<usize> {
        (self.cutting == Cutting::Pages).then(|| self.max_length() - self.buffer.len())
    }

    /// Notes that a chunk was taken past the buffer.
    pub fn skip(&mut self, length: usize) {
        debug_assert!(self.buffer.is_empty());
        self.offset += length as u64;
    }

    /// Bytes of the chunk that has begun.
    pub fn begun(&self) -> usize {
        self.buffer.len()
    }

    fn advance(&mut self, chunk: &[u8], emit: &mut dyn FnMut(&[u8]) -> Result<()>) -> Result<()> {
        self.offset += chunk.len() as u64;
        emit(chunk)
    }

    /// Bytes that must be at hand before a cut can be decided in the middle of the stream.
    fn max_length(&self) -> usize {
        match self.cutting {
            Cutting::ContentDefined => step(&MEANS, self.offset) * 4,
            Cutting::Pages => step(&PAGES, self.offset),
            Cutting::AtMarks => MAX_MARKED,
        }
    }

    fn cut_length(&self, bytes: &[u8]) -> usize {
        if self.cutting != Cutting::ContentDefined {
            return bytes.len().min(self.max_length());
        }
        let mean = step(&MEANS, self.offset);
        let (strict, loose) = select_masks(mean, Normalization::Level1);
        let (gear, shifted) = &*self.gear.0;
        cut_gear(bytes, mean / 4, mean, mean * 4, strict, loose, strict << 1, loose << 1, gear, shifted).1
    }
}

fn step(steps: &[(u64, usize); 3], offset: u64) -> usize {
    steps.iter().find(|(end, _)| offset < *end).map_or(steps[2].1, |(_, length)| *length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::KeyMaterial;
    use proptest::prelude::*;

    fn gear(seed: u8) -> GearTable {
        GearTable::new(&SealingKey::new(KeyMaterial::from_bytes(&[seed; 64]))).unwrap()
    }

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let next = |_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state as u8
        };
        (0..length).map(next).collect()
    }

    fn chunks(cutting: Cutting, seed: u8, pieces: &[&[u8]]) -> Vec<Vec<u8>> {
        let mut chunker = Chunker::new(cutting, gear(seed));
        let mut chunks = Vec::new();
        let mut emit = |chunk: &[u8]| {
            chunks.push(chunk.to_vec());
            Ok(())
        };
        for piece in pieces {
            chunker.write(piece, &mut emit).unwrap();
        }
        chunker.flush(&mut emit).unwrap();
        chunks
    }

    #[test]
    fn content_defined_chunks_keep_their_limits_and_resynchronise_after_an_insertion() {
        let data = noise(8 << 20);
        let before = chunks(Cutting::ContentDefined, 1, &[&data]);
        for chunk in &before[..before.len() - 1] {
            assert!((16 << 10..=256 << 10).contains(&chunk.len()));
        }
        let mean = data.len() / before.len();
        assert!((48 << 10..=110 << 10).contains(&mean), "mean of {mean} bytes");
        let after = chunks(Cutting::ContentDefined, 1, &[&data[..1 << 20], b"inserted", &data[1 << 20..]]);
        let known: std::collections::HashSet<_> = before.iter().collect();
        assert!(after.iter().filter(|chunk| !known.contains(chunk)).count() <= 4);
    }

    #[test]
    fn another_key_cuts_elsewhere() {
        let data = noise(2 << 20);
        let lengths = |seed| chunks(Cutting::ContentDefined, seed, &[&data]).iter().map(Vec::len).collect::<Vec<_>>();
        assert_ne!(lengths(1), lengths(2));
    }

    #[test]
    fn pages_are_cut_on_a_fixed_grid() {
        let lengths: Vec<_> = chunks(Cutting::Pages, 1, &[&noise(40_000), &noise(10)]).iter().map(Vec::len).collect();
        assert_eq!(lengths, [16384, 16384, 40_010 - 32768]);
    }

    #[test]
    fn marks_cut_and_a_missing_mark_ends_at_the_limit() {
        let mut chunker = Chunker::new(Cutting::AtMarks, gear(1));
        let mut lengths = Vec::new();
        let mut emit = |chunk: &[u8]| {
            lengths.push(chunk.len());
            Ok(())
        };
        chunker.mark(&mut emit).unwrap();
        chunker.write(b"row", &mut emit).unwrap();
        chunker.mark(&mut emit).unwrap();
        chunker.write(&vec![1; MAX_MARKED + 5], &mut emit).unwrap();
        chunker.flush(&mut emit).unwrap();
        assert_eq!(lengths, [3, MAX_MARKED, 5]);
    }

    #[test]
    fn chunks_grow_with_the_offset() {
        assert_eq!(step(&MEANS, 32 * GIB - 1), 64 << 10);
        assert_eq!(step(&MEANS, 32 * GIB), 256 << 10);
        assert_eq!(step(&PAGES, 16 * GIB), 64 << 10);
        assert_eq!(step(&PAGES, u64::MAX), 1 << 20);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn cuts_do_not_depend_on_how_the_stream_is_written(sizes in proptest::collection::vec(1_usize..300_000, 1..20)) {
            let data = noise(sizes.iter().sum());
            for cutting in [Cutting::ContentDefined, Cutting::Pages] {
                let mut rest = &data[..];
                let mut pieces = Vec::new();
                for size in &sizes {
                    let (piece, after) = rest.split_at(*size);
                    pieces.push(piece);
                    rest = after;
                }
                let split = chunks(cutting, 3, &pieces);
                prop_assert_eq!(&split.concat(), &data);
                prop_assert_eq!(split, chunks(cutting, 3, &[&data]));
            }
        }
    }
}
