//! What was handed out: the yardstick for a run against the simulator.
//!
//! Owns the truth file: NDJSON, each good record of a response that was sent whole, once, in the order of their sending.
//! Flushed after each response, not synced: a crash of the simulator may leave its last line torn.

use std::io::{BufWriter, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::generate::Generator;
use crate::error::{Error, Result};
use crate::output::{self, Form};

/// The places handed out so far, as ranges without overlap. Windows move forward, so there are few.
#[derive(Default)]
pub(super) struct HandedOut(Vec<Range<u64>>);

impl HandedOut {
    /// Adds `window`; returns the parts of it that were not in yet.
    pub(super) fn add(&mut self, window: Range<u64>) -> Vec<Range<u64>> {
        let mut new = Vec::new();
        let mut from = window.start;
        for known in self.0.iter().filter(|known| known.end > window.start && known.start < window.end) {
            new.push(from..known.start);
            from = known.end;
        }
        new.push(from..window.end);
        new.retain(|range| !range.is_empty());
        self.merge(window);
        new
    }

    fn merge(&mut self, mut window: Range<u64>) {
        if window.is_empty() {
            return;
        }
        self.0.retain(|known| {
            let touches = known.end >= window.start && known.start <= window.end;
            if touches {
                window = known.start.min(window.start)..known.end.max(window.end);
            }
            !touches
        });
        let place = self.0.partition_point(|known| known.start < window.start);
        self.0.insert(place, window);
    }
}

/// Counts what was handed out, and writes it down where a file was asked for.
pub(super) struct Truth {
    handed_out: HandedOut,
    records: u64,
    file: Option<(PathBuf, BufWriter<Box<dyn Write + Send>>)>,
}

impl Truth {
    /// Begins with nothing handed out: a file at `path` is emptied.
    pub(super) fn begin(path: Option<&Path>) -> Result<Self> {
        let open = |path: &Path| Ok((path.to_owned(), BufWriter::new(output::begin(path, Form::PUBLIC)?)));
        Ok(Self { handed_out: HandedOut::default(), records: 0, file: path.map(open).transpose()? })
    }

    /// The records of `window` were handed out.
    pub(super) fn add(&mut self, generator: &Generator, window: Range<u64>) -> Result<()> {
        let new: Vec<u64> =
            self.handed_out.add(window).into_iter().flat_map(|range| generator.handed_out(range)).collect();
        self.records += new.len() as u64;
        let Some((path, file)) = &mut self.file else { return Ok(()) };
        new.into_iter()
            .try_for_each(|index| writeln!(file, "{}", generator.record(index).json()))
            .and_then(|()| file.flush())
            .map_err(|cause| Error::disk("write", path, cause))
    }

    /// How many distinct good records were handed out.
    pub(super) const fn count(&self) -> u64 {
        self.records
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add(out: &mut HandedOut, from: u64, to: u64) -> Vec<(u64, u64)> {
        out.add(from..to).into_iter().map(|range| (range.start, range.end)).collect()
    }

    #[test]
    fn only_what_is_new_comes_back() {
        let mut out = HandedOut::default();
        assert_eq!(add(&mut out, 0, 100), [(0, 100)]);
        assert_eq!(add(&mut out, 60, 160), [(100, 160)]);
        assert_eq!(add(&mut out, 60, 160), []);
        assert_eq!(add(&mut out, 300, 400), [(300, 400)]);
        assert_eq!(add(&mut out, 150, 310), [(160, 300)]);
        assert_eq!(add(&mut out, 500, 500), []);
        assert_eq!((out.0.len(), &out.0[0]), (1, &(0..400)));
    }

    #[test]
    fn answer_that_was_overtaken_is_still_new() {
        let mut out = HandedOut::default();
        assert_eq!(add(&mut out, 300, 400), [(300, 400)]);
        assert_eq!(add(&mut out, 500, 600), [(500, 600)]);
        assert_eq!(add(&mut out, 0, 100), [(0, 100)]);
        assert_eq!(add(&mut out, 50, 700), [(100, 300), (400, 500), (600, 700)]);
        assert_eq!((out.0.len(), &out.0[0]), (1, &(0..700)));
    }
}
