//! `etl verify --archive`: the originals on this machine against what the store restores to.
//!
//! Reads only. Every archived part must be in the store, sound, and give the same logs line by line. What is in the store and
//! not in the archive is not a finding: it is older than the archive, or another machine's.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use flate2::bufread::GzDecoder;

use super::finding::{Comparison, Fault, Finding, hint};
use super::restore::{Restorer, Seen};
use crate::error::{Error, Result};
use crate::hour::Hour;
use crate::job::output::archive::Archive;
use crate::view::table::{count, plural};

/// Compares every archived part with the store.
pub(crate) fn compare(archive: &Archive, restorer: &Restorer<'_>, each: &mut dyn FnMut(u64)) -> Result<Comparison> {
    let mut found = Comparison::default();
    for (hour, part, path) in archive.list()? {
        if restorer.known.is_gone(hour, part) {
            continue;
        }
        found.files += 1;
        match one(&path, restorer, hour, part)? {
            Ok(rows) => found.rows += rows,
            Err((fault, detail)) => {
                let key = restorer.parts.key(hour, part);
                let (hint, only_deep) = (hint(fault, hour), fault == Fault::Changed);
                found.findings.push(Finding { fault, hour: Some(hour), key, detail, hint, only_deep });
            }
        }
        each(found.files);
    }
    Ok(found)
}

/// How many logs an archived part and the store agree on, or how they differ.
fn one(path: &Path, restorer: &Restorer<'_>, hour: Hour, part: u32) -> Result<Result<u64, (Fault, String)>> {
    let key = restorer.parts.key(hour, part);
    if restorer.parts.store.head(&key)?.is_none() {
        return Ok(Err((Fault::Missing, format!("it is not there; the archive has it as {}", path.display()))));
    }
    let mut restored = Vec::new();
    match restorer.part(hour, part, &mut Seen::new())? {
        Ok(sound) => sound.originals(&mut |originals| {
            restored.extend_from_slice(originals);
            Ok(())
        })?,
        Err(error) => {
            return Ok(Err((Fault::Changed, format!("{}; the archive has it as {}", error.chain(), path.display()))));
        }
    }
    let file = match File::open(path) {
        // It was listed, and has become too old meanwhile.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Ok(0)),
        file => file.map_err(|e| Error::disk("read", path, e))?,
    };
    let archived = BufReader::new(GzDecoder::new(BufReader::new(file)));
    Ok(same_lines(archived, &restored).map_err(|what| (Fault::Changed, format!("{what} {}", path.display()))))
}

/// How many lines both have; or how they differ.
fn same_lines(mut archived: impl BufRead, restored: &[u8]) -> std::result::Result<u64, String> {
    let (mut line, mut rest, mut lines) = (Vec::new(), restored, 0);
    loop {
        line.clear();
        archived.read_until(b'\n', &mut line).map_err(|e| format!("the archived file is damaged ({e}):"))?;
        let Some((same, behind)) = rest.split_at_checked(line.len()) else {
            return Err(format!("the store ends after {}, unlike", plural(lines, "log", "logs")));
        };
        if line.is_empty() {
            let more = rest.iter().filter(|byte| **byte == b'\n').count() as u64;
            return if more == 0 { Ok(lines) } else { Err(format!("the store has {} more than", count(more))) };
        }
        if same != line {
            return Err(format!("the store's log {} differs from", lines + 1));
        }
        (rest, lines) = (behind, lines + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::same_lines;

    #[test]
    fn difference_is_named_by_its_line() {
        let compare = |archived: &str, restored: &str| same_lines(archived.as_bytes(), restored.as_bytes());
        assert_eq!(compare("a\nb\n", "a\nb\n"), Ok(2));
        assert_eq!(compare("", ""), Ok(0));
        assert_eq!(compare("a\nb\n", "a\nc\n"), Err("the store's log 2 differs from".into()));
        assert_eq!(compare("a\nbb\n", "a\nb\n"), Err("the store ends after 1 log, unlike".into()));
        assert_eq!(compare("a\n", "a\nb\nc\n"), Err("the store has 2 more than".into()));
        assert_eq!(compare("a\nb\n", "a\n"), Err("the store ends after 1 log, unlike".into()));
    }
}
