//! Ranges of content hashes: which of an hour's records a part may hold.
//!
//! Pure. Where several machines share the work, each lane owns a range; one machine alone owns all. Invariant: the ranges of the
//! lanes of one number meet without a gap and without an overlap, so that every copy of a record is of one lane. Parts whose ranges
//! do not overlap cannot hold the same record; all others are compared.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hashes whose first 8 bytes, big-endian, lie from `lo` to `hi`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HashRange {
    lo: u64,
    hi: u64,
}

impl HashRange {
    /// All hashes: what a machine owns that works alone.
    pub const ALL: Self = Self { lo: 0, hi: u64::MAX };

    /// The range of lane `lane` of `lanes`.
    #[must_use]
    pub fn of_lane(lane: u32, lanes: u32) -> Self {
        // Lane l has the hashes h with floor(h * lanes / 2^64) = l.
        let first_of = |lane: u32| (u128::from(lane) << 64).div_ceil(u128::from(lanes.max(1)));
        let (lo, end) = (first_of(lane), first_of(lane.saturating_add(1)));
        let clamped = |at: u128| u64::try_from(at).unwrap_or(u64::MAX);
        Self { lo: clamped(lo), hi: clamped(end.saturating_sub(1)) }
    }

    /// The lane of `lanes` that owns a record.
    #[must_use]
    pub fn lane_of(hash: [u8; 16], lanes: u32) -> u32 {
        let lane = (u128::from(first_bytes(hash)) * u128::from(lanes.max(1))) >> 64;
        u32::try_from(lane).unwrap_or(0)
    }

    /// Whether the record with this hash lies in it.
    #[must_use]
    pub fn contains(self, hash: [u8; 16]) -> bool {
        (self.lo..=self.hi).contains(&first_bytes(hash))
    }

    /// Whether a record can lie in both.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        self.lo <= other.hi && other.lo <= self.hi
    }

    /// Whether it has all hashes.
    #[must_use]
    pub fn is_all(&self) -> bool {
        *self == Self::ALL
    }
}

impl Default for HashRange {
    fn default() -> Self {
        Self::ALL
    }
}

fn first_bytes(hash: [u8; 16]) -> u64 {
    hash.first_chunk::<8>().map_or(0, |bytes| u64::from_be_bytes(*bytes))
}

impl fmt::Display for HashRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}-{:016x}", self.lo, self.hi)
    }
}

/// What is not a range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotARange;

impl fmt::Display for NotARange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a range of hashes: two times 16 hexadecimal digits with a hyphen between")
    }
}

impl FromStr for HashRange {
    type Err = NotARange;

    fn from_str(text: &str) -> Result<Self, NotARange> {
        let number = |digits: &str| {
            let is_number = digits.len() == 16 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            u64::from_str_radix(digits, 16).ok().filter(|_| is_number)
        };
        let range = text.split_once('-').and_then(|(lo, hi)| Some(Self { lo: number(lo)?, hi: number(hi)? }));
        range.filter(|range| range.lo <= range.hi).ok_or(NotARange)
    }
}

impl Serialize for HashRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for HashRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(first: u64) -> [u8; 16] {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&first.to_be_bytes());
        bytes
    }

    #[test]
    fn lanes_meet_without_gap_or_overlap() {
        for lanes in [1, 2, 3, 6, 7, 64, 1000] {
            let ranges: Vec<HashRange> = (0..lanes).map(|lane| HashRange::of_lane(lane, lanes)).collect();
            assert_eq!((ranges[0].lo, ranges[ranges.len() - 1].hi), (0, u64::MAX));
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].hi + 1, pair[1].lo);
                assert!(!pair[0].overlaps(pair[1]) && pair[0].overlaps(pair[0]) && pair[0].overlaps(HashRange::ALL));
            }
            for (lane, range) in (0..).zip(&ranges) {
                for at in [range.lo, range.hi, range.lo + (range.hi - range.lo) / 2] {
                    assert_eq!(HashRange::lane_of(hash(at), lanes), lane, "{at} of {lanes}");
                    assert!(range.contains(hash(at)));
                }
            }
        }
    }

    proptest! {
        #[test]
        fn lanes_that_own_a_record_overlap_whatever_their_number(first: u64, p in 1..300_u32, q in 1..300_u32) {
            let (hash, lane) = (hash(first), HashRange::lane_of(hash(first), p));
            let range = HashRange::of_lane(lane, p);
            prop_assert!(range.contains(hash));
            let owners = (0..q).filter(|of| HashRange::of_lane(*of, q).contains(hash));
            prop_assert_eq!(owners.collect::<Vec<_>>(), [HashRange::lane_of(hash, q)], "one owner among the lanes of a number");
            prop_assert!(range.overlaps(HashRange::of_lane(HashRange::lane_of(hash, q), q)));
        }

        #[test]
        fn ranges_overlap_where_one_has_an_end_of_the_other(ends: [u64; 4]) {
            let range = |one: u64, other: u64| HashRange { lo: one.min(other), hi: one.max(other) };
            let (one, other) = (range(ends[0], ends[1]), range(ends[2], ends[3]));
            let has_an_end = |one: HashRange, of: HashRange| one.contains(hash(of.lo)) || one.contains(hash(of.hi));
            prop_assert_eq!(one.overlaps(other), has_an_end(one, other) || has_an_end(other, one));
            prop_assert_eq!(one.overlaps(other), other.overlaps(one));
            prop_assert_eq!(one.to_string().parse(), Ok(one));
        }
    }

    #[test]
    fn spelling_is_pinned() {
        assert_eq!(HashRange::of_lane(1, 3).to_string(), "5555555555555556-aaaaaaaaaaaaaaaa");
        assert_eq!(HashRange::ALL.to_string(), "0000000000000000-ffffffffffffffff");
        for range in [HashRange::ALL, HashRange::of_lane(2, 6)] {
            assert_eq!(range.to_string().parse(), Ok(range));
        }
        for odd in ["", "-", "0-f", "+000000000000000-ffffffffffffffff", "f000000000000000-0000000000000000"] {
            assert_eq!(odd.parse::<HashRange>(), Err(NotARange), "{odd}");
        }
    }
}
