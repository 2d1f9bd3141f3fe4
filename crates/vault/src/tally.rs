//! Counts per generation.

use std::collections::BTreeMap;

/// How many of something each generation has.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally(BTreeMap<u64, usize>);

impl Tally {
    /// Adds to a generation.
    pub fn add(&mut self, generation: u64, count: usize) {
        *self.0.entry(generation).or_default() += count;
    }

    /// Takes from a generation.
    pub fn subtract(&mut self, generation: u64, count: usize) {
        if let Some(left) = self.0.get_mut(&generation) {
            *left = left.saturating_sub(count);
            if *left == 0 {
                self.0.remove(&generation);
            }
        }
    }

    /// The sum over this and all older generations.
    pub fn up_to(&self, generation: u64) -> usize {
        self.0.range(..=generation).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_cover_older_generations_only() {
        let mut tally = Tally::default();
        tally.add(1, 2);
        tally.add(3, 4);
        assert_eq!((tally.up_to(0), tally.up_to(1), tally.up_to(2), tally.up_to(9)), (0, 2, 2, 6));
        tally.subtract(1, 2);
        tally.subtract(7, 1);
        assert_eq!(tally.up_to(9), 4);
    }
}
