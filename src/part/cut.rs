//! Where an hour's records are cut into parts.
//!
//! Pure. Invariant: a part has at least one record, and where each is cut depends on the records alone.

use super::order::LoggedRecord;

/// Lines of at most this many bytes go into one part, so that an upload's copies of it fit into memory.
pub const PART_BYTES: u64 = 64 << 20;

/// How hours are cut.
#[derive(Debug, Clone, Copy)]
pub struct CutRules {
    /// Records in a part at most; 0 for no limit.
    pub part_max_records: u64,
    /// Bytes of lines in a part at most, unless a single line is longer.
    pub part_bytes: u64,
}

/// What still fits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    records: u64,
    bytes: u64,
    is_empty: bool,
}

impl Room {
    /// That of a part that is begun.
    pub(super) const fn of_a_part(rules: CutRules) -> Self {
        let records = if rules.part_max_records == 0 { u64::MAX } else { rules.part_max_records };
        Self { records, bytes: rules.part_bytes, is_empty: true }
    }

    /// Whether the next record fits: the first always does.
    pub(super) fn takes(&mut self, record: &LoggedRecord) -> bool {
        let bytes = u64::from(record.length) + 1;
        if !self.is_empty && (self.records == 0 || bytes > self.bytes) {
            return false;
        }
        *self =
            Self { records: self.records.saturating_sub(1), bytes: self.bytes.saturating_sub(bytes), is_empty: false };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Entry, LineAt};

    fn cut(records: &[LoggedRecord], rules: CutRules) -> usize {
        let mut room = Room::of_a_part(rules);
        records.iter().take_while(|record| room.takes(record)).count()
    }

    fn record(length: u32) -> LoggedRecord {
        let entry = Entry { hash: [0; 16], seconds: 0, nanos: 0, length };
        LoggedRecord::new(LineAt { commit: 1, offset: 0 }, entry)
    }

    #[test]
    fn parts_are_cut_at_bytes_and_at_records_and_hold_at_least_one() {
        let records = [record(9), record(9), record(9)];
        let rules = |part_max_records, part_bytes| CutRules { part_max_records, part_bytes };
        assert_eq!(cut(&records, rules(0, 1000)), 3);
        assert_eq!(cut(&records, rules(2, 1000)), 2);
        assert_eq!(cut(&records, rules(0, 20)), 2, "a line counts with its newline");
        assert_eq!(cut(&records, rules(0, 19)), 1);
        assert_eq!(cut(&records, rules(0, 1)), 1, "a line longer than a part is a part");
    }
}
