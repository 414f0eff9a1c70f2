//! The records of an hour that a repair has found somewhere, from which the content of a part is made again.
//!
//! Pure. A part is a run of its hour's records in their total order, less those of other parts; which run, its digest says.

use std::collections::{BTreeMap, HashSet};

use jiff::Timestamp;

use crate::digest::{Hasher, Sha256};
use crate::hour::Hour;
use crate::hour::part::PartRow;
use crate::record::row::Compactor;
use crate::record::{ContentHash, Dating, Fields, Scratch, content_hash};

/// Rows by event time and content hash: the order of a part.
#[derive(Default)]
pub(super) struct Pool {
    rows: BTreeMap<(Timestamp, ContentHash), Vec<u8>>,
    scratch: Scratch,
}

impl Pool {
    /// Adds a record, if it is one of `hour`. Of equal ones the first stays.
    pub(super) fn add(&mut self, fields: Fields<'_>, compactor: &Compactor, dating: &Dating, hour: Hour) {
        let Ok(record) = dating.date(fields) else { return };
        if record.hour != hour {
            return;
        }
        let hash = content_hash(&record.fields, &mut self.scratch);
        self.rows.entry((record.at, hash)).or_insert_with(|| {
            let mut row = Vec::new();
            compactor.write_row(&record.fields, &mut row);
            row.push(b'\n');
            row
        });
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Leaves out the records of other parts.
    pub(super) fn leave_out(&mut self, known: &HashSet<ContentHash>) {
        self.rows.retain(|(_, hash), _| !known.contains(hash));
    }

    /// The lines of the part, if they are all here.
    pub(super) fn lines_of(&self, part: &PartRow) -> Option<Vec<u8>> {
        let count = usize::try_from(part.identity.rows).ok()?;
        let within: Vec<(&Timestamp, &Vec<u8>)> = self
            .rows
            .iter()
            .map(|((at, _), row)| (at, row))
            .filter(|(at, _)| (part.first..=part.last).contains(*at))
            .collect();
        let starts =
            within.windows(count.max(1)).take_while(|run| run.first().is_some_and(|(at, _)| **at == part.first));
        let lines = |run: &[(&Timestamp, &Vec<u8>)]| {
            let mut sha256 = Hasher::default();
            run.iter().for_each(|(_, row)| sha256.update(row));
            let is_it = sha256.finish().to_string() == part.identity.content_sha256;
            is_it.then(|| run.iter().flat_map(|(_, row)| row.iter().copied()).collect::<Vec<u8>>())
        };
        starts.into_iter().find_map(lines)
    }
}

/// Whether these lines are the content of the part.
pub(super) fn is_content_of(lines: &[u8], part: &PartRow) -> bool {
    let rows = lines.iter().filter(|byte| **byte == b'\n').count() as u64;
    rows == part.identity.rows && Sha256::of(lines).to_string() == part.identity.content_sha256
}
