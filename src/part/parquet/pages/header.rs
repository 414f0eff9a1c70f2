//! The header of a page, in Thrift's compact protocol, as far as pages of ours have one.
//!
//! Pure. The `parquet` crate keeps its own reader to itself. Invariant: no header costs more than its bytes: nothing is allocated.

use parquet::basic::{Encoding, PageType};

/// What a header says of its page.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Header {
    pub(super) kind: PageType,
    /// Bytes behind the header.
    pub(super) packed: usize,
    /// What they unpack to.
    pub(super) unpacked: usize,
    /// Values of the page, null or not.
    pub(super) values: u32,
    pub(super) encoding: Encoding,
}

/// How deep structs may nest. Those of a page nest three times.
const DEEPEST: u8 = 8;

impl Header {
    /// The header at the start of `bytes`, and its length. `None`: there is none, or one that no page of ours has.
    pub(super) fn read(bytes: &[u8]) -> Option<(Self, usize)> {
        let mut thrift = Thrift { bytes, at: 0 };
        let (mut kind, mut unpacked, mut packed, mut data, mut dictionary) = (None, None, None, None, None);
        let mut last = 0;
        while let Some((id, ty)) = thrift.field(&mut last)? {
            match (id, ty) {
                (1, I32) => kind = Some(thrift.integer()?),
                (2, I32) => unpacked = usize::try_from(thrift.integer()?).ok(),
                (3, I32) => packed = usize::try_from(thrift.integer()?).ok(),
                (5, STRUCT) => data = Some(thrift.values()?),
                (7, STRUCT) => dictionary = Some(thrift.values()?),
                _ => thrift.skip(ty, DEEPEST)?,
            }
        }
        let (kind, (values, encoding)) = match kind? {
            0 => (PageType::DATA_PAGE, data?),
            2 => (PageType::DICTIONARY_PAGE, dictionary?),
            _ => return None,
        };
        let header = Self { kind, packed: packed?, unpacked: unpacked?, values, encoding };
        Some((header, thrift.at))
    }
}

const TRUE: u8 = 1;
const FALSE: u8 = 2;
const I8: u8 = 3;
const I32: u8 = 5;
const DOUBLE: u8 = 7;
const BINARY: u8 = 8;
const LIST: u8 = 9;
const SET: u8 = 10;
const STRUCT: u8 = 12;

struct Thrift<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Thrift<'_> {
    fn byte(&mut self) -> Option<u8> {
        let byte = self.bytes.get(self.at).copied()?;
        self.at += 1;
        Some(byte)
    }

    fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn integer(&mut self) -> Option<i64> {
        let number = self.unsigned()?;
        Some(i64::try_from(number >> 1).ok()? ^ -i64::from(number & 1 == 1))
    }

    /// The number and the type of the next field. `Some(None)`: the struct ends.
    #[expect(clippy::option_option, reason = "an end is no error")]
    fn field(&mut self, last: &mut i64) -> Option<Option<(i64, u8)>> {
        let byte = self.byte()?;
        if byte == 0 {
            return Some(None);
        }
        *last = match byte >> 4 {
            0 => self.integer()?,
            more => last.checked_add(i64::from(more))?,
        };
        Some(Some((*last, byte & 0xf)))
    }

    /// A data or dictionary header, which begins alike: how many values, in which encoding.
    fn values(&mut self) -> Option<(u32, Encoding)> {
        let (mut values, mut encoding, mut last) = (None, None, 0);
        while let Some((id, ty)) = self.field(&mut last)? {
            match (id, ty) {
                (1, I32) => values = u32::try_from(self.integer()?).ok(),
                (2, I32) => encoding = known(self.integer()?),
                _ => self.skip(ty, DEEPEST)?,
            }
        }
        values.zip(encoding)
    }

    fn skip(&mut self, ty: u8, depth: u8) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match ty {
            TRUE | FALSE => {}
            I8 => self.at = self.at.checked_add(1)?,
            4..=6 => {
                self.unsigned()?;
            }
            DOUBLE => self.at = self.at.checked_add(8)?,
            BINARY => {
                let length = usize::try_from(self.unsigned()?).ok()?;
                self.at = self.at.checked_add(length)?;
            }
            LIST | SET => self.skip_list(depth)?,
            STRUCT => {
                let mut last = 0;
                while let Some((_, ty)) = self.field(&mut last)? {
                    self.skip(ty, depth)?;
                }
            }
            _ => return None,
        }
        (self.at <= self.bytes.len()).then_some(())
    }

    fn skip_list(&mut self, depth: u8) -> Option<()> {
        let byte = self.byte()?;
        let items = match byte >> 4 {
            15 => self.unsigned()?,
            few => u64::from(few),
        };
        for _ in 0..items {
            // An item takes at least a byte, and truth is one here.
            match byte & 0xf {
                TRUE | FALSE => self.at = self.at.checked_add(1)?,
                ty => self.skip(ty, depth)?,
            }
            if self.at > self.bytes.len() {
                return None;
            }
        }
        Some(())
    }
}

/// The encodings that pages of ours have.
const fn known(encoding: i64) -> Option<Encoding> {
    match encoding {
        0 => Some(Encoding::PLAIN),
        2 => Some(Encoding::PLAIN_DICTIONARY),
        3 => Some(Encoding::RLE),
        5 => Some(Encoding::DELTA_BINARY_PACKED),
        8 => Some(Encoding::RLE_DICTIONARY),
        _ => None,
    }
}
