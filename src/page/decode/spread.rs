//! How many different odd tokens a page has, about, in bounded memory.
//!
//! A sample of the identities: all of them while they are few, then those that begin with one zero bit, with two … Identities
//! are as good as random, so the sample's size times its share is the number, within a few percent. Equal tokens count once.
//! Pure.

use std::collections::HashSet;

use crate::state::pages::quarantine::Identity;

/// The most identities in the sample.
const SAMPLE: usize = 1 << 14;

/// A sample of identities.
#[derive(Debug, Default)]
pub struct Spread {
    sample: HashSet<Identity>,
    /// Bits that are zero at the beginning of each in the sample.
    zeros: u32,
}

impl Spread {
    /// Notes an identity.
    pub fn note(&mut self, identity: Identity) {
        if identity.leading_zeros() < self.zeros {
            return;
        }
        self.sample.insert(identity);
        while self.sample.len() > SAMPLE {
            self.zeros += 1;
            self.sample.retain(|known| known.leading_zeros() >= self.zeros);
        }
    }

    /// About how many different identities were noted.
    #[must_use]
    pub fn distinct(&self) -> u64 {
        (self.sample.len() as u64).checked_shl(self.zeros).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn different_ones_are_counted_about_and_equal_ones_once() {
        for count in [0_u64, 1, 10_000, 300_000] {
            let mut spread = Spread::default();
            for n in 0..2 * count {
                spread.note(Identity::of(&(n % count.max(1)).to_le_bytes()));
            }
            let (distinct, slack) = (spread.distinct(), count / 20);
            assert!((count - slack..=count + slack).contains(&distinct), "{distinct} of {count}");
            assert!(spread.sample.len() <= SAMPLE);
        }
    }
}
