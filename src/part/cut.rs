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

/// How many of `records` go into the next part: at least one.
pub(crate) fn cut(records: &[LoggedRecord], rules: CutRules) -> usize {
    let most = match rules.part_max_records {
        0 => usize::MAX,
        n => usize::try_from(n).unwrap_or(usize::MAX),
    };
    let mut bytes = 0;
    let fits = records.iter().take(most).take_while(|record| {
        bytes += u64::from(record.length) + 1;
        bytes <= rules.part_bytes
    });
    fits.count().max(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{Entry, LineAt};

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
