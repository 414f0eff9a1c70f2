//! An estimate of how many different odd tokens a page has, in bounded memory.
//!
//! Pure. It samples the identities: all of them while they are few, then those that begin with one zero bit, with two, and so on.
//! Identities are as good as random, so the size of the sample tells their number within a few percent. Equal tokens count once.

use std::collections::HashSet;

use crate::state::pages::quarantine::Identity;

/// The most identities in the sample.
const SAMPLE: usize = 1 << 14;

/// A sample of identities.
#[derive(Debug, Default)]
pub(super) struct DistinctCount {
    sample: HashSet<Identity>,
    /// Each identity in the sample begins with so many zero bits.
    zeros: u32,
}

impl DistinctCount {
    /// Notes an identity.
    pub(super) fn note(&mut self, identity: Identity) {
        if identity.leading_zeros() < self.zeros {
            return;
        }
        self.sample.insert(identity);
        while self.sample.len() > SAMPLE {
            self.zeros += 1;
            self.sample.retain(|known| known.leading_zeros() >= self.zeros);
        }
    }

    /// How many different identities were noted, about.
    pub(super) fn estimate(&self) -> u64 {
        (self.sample.len() as u64).checked_shl(self.zeros).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_ones_are_counted_about_and_equal_ones_once() {
        for count in [0_u64, 1, 10_000, 300_000] {
            let mut count_of = DistinctCount::default();
            for n in 0..2 * count {
                count_of.note(Identity::of(&(n % count.max(1)).to_le_bytes()));
            }
            let (distinct, slack) = (count_of.estimate(), count / 20);
            assert!((count - slack..=count + slack).contains(&distinct), "{distinct} of {count}");
            assert!(count_of.sample.len() <= SAMPLE);
        }
    }
}
