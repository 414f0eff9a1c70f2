//! Seeded draws: every choice of the simulator comes from here.
//!
//! A stream of draws is BLAKE3's extendable output over (seed, label, counters), so what it gives depends on nothing
//! else: not on a random-number crate and its version, not on what was drawn elsewhere, not on the order of requests.

use blake3::{Hasher, OutputReader};

const BLOCK: usize = 64;

/// A reproducible stream of draws.
pub(super) struct Draws {
    output: OutputReader,
    block: [u8; BLOCK],
    used: usize,
}

impl Draws {
    /// The stream of `label` for `counters` under `seed`.
    pub(super) fn new(seed: u64, label: &str, counters: &[u64]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(&seed.to_le_bytes()).update(label.as_bytes());
        for counter in counters {
            hasher.update(&counter.to_le_bytes());
        }
        Self { output: hasher.finalize_xof(), block: [0; BLOCK], used: BLOCK }
    }

    /// The next `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.fill(&mut bytes);
        bytes
    }

    /// Fills `out` with the next bytes.
    pub(super) fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            if self.used == BLOCK {
                self.output.fill(&mut self.block);
                self.used = 0;
            }
            *byte = self.block.get(self.used).copied().unwrap_or_default();
            self.used += 1;
        }
    }

    /// A number in `0..n`; 0 where `n` is 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        let wide = u128::from(u64::from_le_bytes(self.bytes())) * u128::from(n);
        u64::try_from(wide >> 64).unwrap_or(0)
    }

    /// Whether a thing that happens in `percent` of all cases happens now.
    pub(super) fn happens(&mut self, percent: f64) -> bool {
        f64::from(u32::from_le_bytes(self.bytes())) / 4_294_967_296.0 * 100.0 < percent
    }

    /// One of `shares` (percent, choice), or `otherwise` in the rest of the cases.
    pub(super) fn choose<T: Copy>(&mut self, shares: &[(u64, T)], otherwise: T) -> T {
        let drawn = (u64::from(u32::from_le_bytes(self.bytes())) * 100) >> 32;
        let mut end = 0;
        for (percent, choice) in shares {
            end += percent;
            if drawn < end {
                return *choice;
            }
        }
        otherwise
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_pinned_to_seed_label_and_counters() {
        let first = |seed, label: &str, counters: &[u64]| u64::from_le_bytes(Draws::new(seed, label, counters).bytes());
        // A change of this number changes every committed fixture and everybody's seeds.
        assert_eq!(first(1, "pinned", &[2]), 7_528_316_322_339_508_236);
        assert_ne!(first(1, "pinned", &[2]), first(2, "pinned", &[2]));
        assert_ne!(first(1, "pinned", &[2]), first(1, "other", &[2]));
        assert_ne!(first(1, "pinned", &[2]), first(1, "pinned", &[3]));
    }

    #[test]
    fn long_output_is_that_of_blake3() {
        let mut expected = [0; 200];
        Hasher::new().update(&7_u64.to_le_bytes()).update(b"x").finalize_xof().fill(&mut expected);
        let mut draws = Draws::new(7, "x", &[]);
        let mut got = draws.bytes::<3>().to_vec();
        got.extend(draws.bytes::<197>());
        assert_eq!(got, expected);
    }

    #[test]
    fn shares_come_out_as_asked() {
        let mut draws = Draws::new(3, "shares", &[]);
        let n = 20_000;
        let count = (0..n).filter(|_| draws.happens(12.5)).count();
        assert!((2_200..2_800).contains(&count), "{count}");
        let views = (0..n).filter(|_| draws.choose(&[(10, 'c'), (70, 'v')], 'p') == 'v').count();
        assert!((13_400..14_600).contains(&views), "{views}");
        assert!((0..n).all(|_| !draws.happens(0.0)) && (0..n).all(|_| draws.happens(100.0)));
        assert!((0..n).all(|_| draws.below(3) < 3));
    }
}
