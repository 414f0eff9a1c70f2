//! The shares of a commit in memory: which hours it brought how many records of. Most of them take four bytes.
//!
//! Pure. An hour is kept as its distance from the one before; all numbers are LEB128: seven bits a byte, the lowest first, and the highest
//! bit says that more follow.

use super::sled::Share;
use crate::hour::Hour;

/// Shares in the order of their hours.
#[derive(Debug, Default)]
pub(super) struct Shares(Box<[u8]>);

impl Shares {
    pub(super) fn new(shares: &[Share]) -> Self {
        let (mut bytes, mut before) = (Vec::with_capacity(4 * shares.len()), 0);
        for share in shares {
            let key = u32::from_be_bytes(share.hour.to_key());
            for number in [key.wrapping_sub(before), share.records, share.bytes] {
                put(&mut bytes, number);
            }
            before = key;
        }
        Self(bytes.into_boxed_slice())
    }

    /// The shares, each as if it were pending.
    pub(super) fn iter(&self) -> impl Iterator<Item = Share> {
        let (mut rest, mut before) = (&*self.0, 0_u32);
        std::iter::from_fn(move || {
            before = before.wrapping_add(take(&mut rest)?);
            let hour = Hour::from_key(before.to_be_bytes())?;
            Some(Share { hour, is_pending: true, records: take(&mut rest)?, bytes: take(&mut rest)? })
        })
    }
}

fn put(bytes: &mut Vec<u8>, mut number: u32) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn take(bytes: &mut &[u8]) -> Option<u32> {
    let (mut number, mut shift) = (0_u32, 0);
    loop {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u32::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some(number);
        }
        shift += 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_come_back_as_they_were() {
        let hours = [0, 1, 127, 128, 500_000, 500_001, 4_000_000].map(|n: u32| Hour::from_key(n.to_be_bytes()));
        let numbers = [0, 1, 127, 128, 16_383, 16_384, u32::MAX];
        let share =
            |(hour, n): (Option<Hour>, u32)| Share { hour: hour?, is_pending: true, records: n, bytes: !n }.into();
        let shares: Vec<Share> = hours.into_iter().zip(numbers).filter_map(share).collect();
        assert!(shares.len() > 3);
        assert!(Shares::new(&shares).iter().eq(shares.iter().copied()));
        assert_eq!(Shares::default().iter().count(), 0);
    }
}
