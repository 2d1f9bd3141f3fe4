//! The hash that cuts rows into blocks and finds keys in them. Both must never change: chunks of older backups depend on
//! the first, manifests on the second.

/// Bloom filter's bytes for each key: 16 bits.
const BYTES_PER_KEY: usize = 2;
/// Bits that each key sets: 0.1 % of the keys that are not there seem to be.
const PROBES: u32 = 6;
/// Makes the second hash of a probe independent of the first.
const SECOND: u32 = 0x9e37_79b9;

/// CRC-32 (IEEE) of the bytes, mixed by the finalizer of MurmurHash3, so that remainders are spread evenly.
pub(in super::super) fn hash(crc: u32) -> u32 {
    let mut value = crc;
    value ^= value >> 16;
    value = value.wrapping_mul(0x85eb_ca6b);
    value ^= value >> 13;
    value = value.wrapping_mul(0xc2b2_ae35);
    value ^ (value >> 16)
}

/// A Bloom filter over the CRC-32 of keys.
#[derive(Clone, Copy, Debug)]
pub(in crate::postgresql) struct Filter<'a>(pub &'a [u8]);

impl Filter<'_> {
    pub(super) fn length(keys: u64) -> usize {
        usize::try_from(keys).unwrap_or(usize::MAX).saturating_mul(BYTES_PER_KEY)
    }

    /// Appends the filter of these keys.
    pub(super) fn build(crcs: &[u32], out: &mut Vec<u8>) {
        let start = out.len();
        out.resize(start + Self::length(crcs.len() as u64), 0);
        let Some(bits) = out.get_mut(start..).filter(|bits| !bits.is_empty()) else { return };
        for crc in crcs {
            for bit in probes(*crc, bits.len()) {
                if let Some(byte) = bits.get_mut(bit / 8) {
                    *byte |= 1 << (bit % 8);
                }
            }
        }
    }

    /// False only when the key is certainly not there.
    pub(in crate::postgresql) fn may_hold(self, crc: u32) -> bool {
        !self.0.is_empty()
            && probes(crc, self.0.len()).all(|bit| self.0.get(bit / 8).is_some_and(|byte| byte >> (bit % 8) & 1 == 1))
    }
}

fn probes(crc: u32, bytes: usize) -> impl Iterator<Item = usize> {
    let (first, step) = (u64::from(hash(crc)), u64::from(hash(crc ^ SECOND) | 1));
    let bits = bytes as u64 * 8;
    (0..u64::from(PROBES)).map(move |probe| ((first + probe * step) % bits.max(1)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_knows_its_keys_and_few_others() {
        let crc = |number: u32| crc32fast::hash(number.to_string().as_bytes());
        let keys: Vec<u32> = (0..1000).map(crc).collect();
        let mut bytes = Vec::new();
        Filter::build(&keys, &mut bytes);
        assert_eq!(bytes.len(), 2000);
        assert!(keys.iter().all(|key| Filter(&bytes).may_hold(*key)));
        let wrong = (1000..101_000).filter(|number| Filter(&bytes).may_hold(crc(*number))).count();
        assert!(wrong < 200, "{wrong} of 100000 false hits");
    }

    #[test]
    fn the_hash_is_the_one_of_the_first_day() {
        let of = |text: &str| hash(crc32fast::hash(text.as_bytes()));
        assert_eq!([of("1"), of("2"), of("key")], [3_360_829_870, 753_455_274, 2_109_281_448]);
    }

    #[test]
    fn numbers_in_a_row_are_cut_evenly() {
        for every in [7, 64, 256, 1000] {
            let hits =
                (0..100_000).filter(|n: &u32| hash(crc32fast::hash(n.to_string().as_bytes())).is_multiple_of(every));
            let (hits, expected) = (hits.count() as f64, 100_000.0 / f64::from(every));
            assert!((hits / expected - 1.0).abs() < 0.35, "{hits} hits, {expected} expected");
        }
    }
}
