//! CRC-32 of a whole from the CRC-32 of its pieces.

use crc32fast::Hasher;

/// Zero bytes that are hashed directly rather than combined by doubling.
const ZERO_BYTES: usize = 1024;

/// The CRC-32 (IEEE, as gzip's) of everything appended so far.
#[derive(Clone, Debug, Default)]
pub struct RunningCrc {
    crc: u32,
    length: u64,
}

impl RunningCrc {
    pub fn new() -> Self {
        Self::default()
    }

    /// Goes on where a former run stopped: `crc` over `length` bytes.
    pub fn resume(crc: u32, length: u64) -> Self {
        Self { crc, length }
    }

    /// Appends `length` bytes of which only the checksum is known. Costs no reading, only the logarithm of `length`.
    pub fn append(&mut self, crc: u32, length: u64) {
        let mut whole = Hasher::new_with_initial_len(self.crc, self.length);
        whole.combine(&Hasher::new_with_initial_len(crc, length));
        self.crc = whole.finalize();
        self.length += length;
    }

    pub fn append_bytes(&mut self, bytes: &[u8]) {
        let mut whole = Hasher::new_with_initial_len(self.crc, self.length);
        whole.update(bytes);
        self.crc = whole.finalize();
        self.length += bytes.len() as u64;
    }

    pub fn append_zeros(&mut self, length: u64) {
        let mut left = length;
        // The checksum of 1, 2, 4 ... blocks of zeros, appended where the block count has that bit.
        let mut block = Self::default();
        block.append_bytes(&[0; ZERO_BYTES]);
        let mut blocks = length / ZERO_BYTES as u64;
        while blocks > 0 {
            if blocks & 1 == 1 {
                self.append(block.crc, block.length);
                left -= block.length;
            }
            blocks >>= 1;
            if blocks > 0 {
                let (crc, length) = (block.crc, block.length);
                block.append(crc, length);
            }
        }
        self.append_bytes(&vec![0; usize::try_from(left).unwrap_or(0)]);
    }

    pub fn value(&self) -> u32 {
        self.crc
    }

    /// Bytes appended so far.
    pub fn length(&self) -> u64 {
        self.length
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn pieces_combine_to_the_checksum_of_the_whole(
            pieces in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..50), 0_usize..5000), 0..8),
        ) {
            let mut running = RunningCrc::new();
            let mut whole = Vec::new();
            for (bytes, zeros) in &pieces {
                running.append_bytes(bytes);
                running.append(crc32fast::hash(bytes), bytes.len() as u64);
                running.append_zeros(*zeros as u64);
                whole.extend_from_slice(bytes);
                whole.extend_from_slice(bytes);
                whole.extend(std::iter::repeat_n(0, *zeros));
            }
            prop_assert_eq!(running.value(), crc32fast::hash(&whole));
            prop_assert_eq!(running.length(), whole.len() as u64);
        }
    }
}
