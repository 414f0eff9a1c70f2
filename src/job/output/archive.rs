//! The archive: the originals of each part, on this machine, for comparison after a loss elsewhere.
//!
//! ```text
//! <archive.dir>/2023-03-10T01.part-00000.ndjson.gz      one original log a line, gzipped, whatever the format of parts
//! ```
//! A copy that nothing needs: what cannot be archived is reported, and costs nothing else. A file is written as a whole before its
//! part gets its receipt, so a crash leaves no file of a part, or one that is written again. Files older than `archive.keep` are
//! deleted.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::Format;
use crate::hour::part::PartRow;
use crate::output::{self, Form};
use crate::part::read::fields_of;
use crate::record::json;
use crate::record::row::Compactor;
use crate::state::files::durable;

/// Where originals are kept, and for how long.
#[derive(Debug, Clone)]
pub struct Archive {
    /// The folder.
    pub dir: PathBuf,
    /// How long a file stays, from when it was written.
    pub keep: Duration,
}

impl Archive {
    /// Keeps the originals of a part whose object's bytes are in the file `body`.
    pub(crate) fn keep(&self, hour: Hour, part: &PartRow, body: &Path, compactor: &Compactor) -> Result<()> {
        durable::make_dir(&self.dir)?;
        let path = self.dir.join(format!("{hour}.part-{:05}.ndjson.gz", part.part));
        let object = fs::read(body).map_err(|e| Error::disk("read", body, e))?;
        let format = Format::of_name(&part.key).unwrap_or_default();
        let originals = gzipped_originals(format, &object, compactor).map_err(|why| {
            Error::new(ErrorKind::State, format!("cannot archive {}: {why}", body.display()))
                .hint("the store has it whole; `etl restore` writes its originals")
        })?;
        output::replace(&path, &originals, Form::PRIVATE)
    }

    /// The archived parts, oldest hour first, and where they are.
    pub(crate) fn list(&self) -> Result<Vec<(Hour, u32, PathBuf)>> {
        if !self.dir.is_dir() {
            let what = format!("there is no archive in {}", self.dir.display());
            return Err(Error::new(ErrorKind::State, what).hint("name the folder that the runs use: archive.dir"));
        }
        let mut parts: Vec<(Hour, u32, PathBuf)> = Vec::new();
        for name in durable::names(&self.dir)? {
            parts.extend(parse_name(&name).map(|(hour, part)| (hour, part, self.dir.join(name))));
        }
        parts.sort_unstable();
        Ok(parts)
    }

    /// Deletes the files that have been kept long enough.
    pub(crate) fn prune(&self, now: SystemTime) -> Result<()> {
        if !self.dir.is_dir() {
            return Ok(());
        }
        let is_ours = |name: &&String| parse_name(name).is_some() || output::is_draft(name.as_ref());
        for name in durable::names(&self.dir)?.iter().filter(is_ours) {
            let path = self.dir.join(name);
            let written =
                fs::metadata(&path).and_then(|meta| meta.modified()).map_err(|e| Error::disk("look at", &path, e))?;
            if now.duration_since(written).is_ok_and(|age| age > self.keep) {
                durable::remove(&path)?;
            }
        }
        Ok(())
    }
}

/// The lines of a file with originals, gzipped or not.
pub(crate) fn read_originals(path: &Path) -> Result<Box<dyn BufRead>> {
    let file = BufReader::new(File::open(path).map_err(|e| Error::disk("read", path, e))?);
    let is_gzipped = path.extension().is_some_and(|extension| extension == "gz");
    Ok(if is_gzipped { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) })
}

/// The hour and the part of a file's name. `None`: it is not ours.
fn parse_name(name: &str) -> Option<(Hour, u32)> {
    let (hour, part) = name.strip_suffix(".ndjson.gz")?.split_once(".part-")?;
    Some((hour.parse().ok()?, part.parse().ok()?))
}

fn gzipped_originals(format: Format, object: &[u8], compactor: &Compactor) -> std::result::Result<Vec<u8>, String> {
    let mut gzip: GzEncoder<Vec<u8>> = GzBuilder::new().mtime(0).write(Vec::new(), Compression::default());
    let (mut line, mut written) = (Vec::new(), Ok(()));
    let read = fields_of(format, object, compactor, &mut |fields| {
        line.clear();
        json::write_fields(fields, &mut line);
        line.push(b'\n');
        if written.is_ok() {
            written = gzip.write_all(&line);
        }
    });
    read.map_err(|e| e.to_string())?;
    written.map_err(|e| e.to_string())?;
    gzip.finish().map_err(|e| e.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_files_of_ours_go_and_others_stay() {
        let dir = tempfile::tempdir().unwrap();
        let archive = Archive { dir: dir.path().to_owned(), keep: Duration::from_secs(60) };
        for name in ["2023-03-10T01.part-00000.ndjson.gz", "notes.txt"] {
            fs::write(dir.path().join(name), "x").unwrap();
        }
        archive.prune(SystemTime::now()).unwrap();
        assert_eq!(durable::names(dir.path()).unwrap().len(), 2);
        archive.prune(SystemTime::now() + Duration::from_secs(3600)).unwrap();
        assert_eq!(durable::names(dir.path()).unwrap(), ["notes.txt"]);
    }
}
