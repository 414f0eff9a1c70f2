//! Where the content of a missing part is found: the spool, the archive, the journal, and copies elsewhere.
//!
//! Reads only. Nothing is believed but by its digest: what a source gives is the part's content, or it is not used. Originals are made
//! into rows with the dictionaries that the part was written with.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::pool::{Pool, is_content_of};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::Format;
use crate::hour::key::Layout;
use crate::hour::part::{PartIdentity, PartRow};
use crate::job::Run;
use crate::job::output::archive::read_originals;
use crate::part::codec::{content_of, for_each_line};
use crate::part::read::read_part;
use crate::record::row::Compactor;
use crate::record::{self, MAX_LINE, Value, json};
use crate::state::files::durable;
use crate::store::ObjectStore;
use crate::store::settings::layout_there;

/// A place with copies: parts under their keys, or originals.
pub struct Place {
    /// Where it is.
    pub store: Arc<dyn ObjectStore>,
    /// What its keys begin with.
    pub prefix: String,
    /// Where it is a folder: parts under any name are found in it, and originals as `archive.dir` and `etl restore --out` name them.
    pub folder: Option<PathBuf>,
}

/// A part's content, and where it was found.
pub(super) struct Content {
    pub(super) lines: Vec<u8>,
    pub(super) from: String,
}

/// Where content is looked for.
pub(super) struct Sources<'p> {
    place: Option<&'p Place>,
    /// How the place's parts are spelled, once it is asked.
    layout: Option<Layout>,
    /// The folder's parts by the digest of their content, once they are needed.
    by_content: Option<HashMap<String, PathBuf>>,
}

impl<'p> Sources<'p> {
    pub(super) const fn new(place: Option<&'p Place>) -> Self {
        Self { place, layout: None, by_content: None }
    }

    /// The content of a part; or where it was looked for in vain.
    pub(super) fn find(
        &mut self,
        run: &Run<'_>,
        hour: Hour,
        part: &PartRow,
    ) -> Result<std::result::Result<Content, String>> {
        if let Some(content) = from_file(&run.state.hours.spool_path(hour, part.spool_number()), "the spool", part)? {
            return Ok(Ok(content));
        }
        if let Some(content) = self.parts_elsewhere(run, hour, part)? {
            return Ok(Ok(content));
        }
        let compactor = match part.dict.as_str() {
            "" => run.dictionaries.for_part(None),
            id => run.dictionaries.named(id),
        };
        let compactor = match compactor {
            Ok(compactor) => compactor,
            Err(error) if error.kind() == ErrorKind::Mismatch => return Ok(Err(error.chain())),
            Err(error) => return Err(error),
        };
        let mut files = Vec::new();
        let archive = run.setup.archive.as_ref().map(|archive| (&archive.dir, "the archive"));
        let folder = self.place.and_then(|place| place.folder.as_ref()).map(|folder| (folder, "the copies"));
        for (dir, what) in archive.into_iter().chain(folder) {
            files.extend(originals_in(dir, hour, part.part).map(|path| (path, what)));
        }
        for (path, what) in files {
            let mut pool = Pool::default();
            if !add_originals(&path, &mut pool, run, hour, &compactor)? {
                continue;
            }
            if let Some(lines) = made_of(run, hour, part, pool)? {
                return Ok(Ok(Content { lines, from: format!("{what}: {}", path.display()) }));
            }
        }
        let pool = self::journal(run, hour, &compactor)?;
        if let Some(lines) = made_of(run, hour, part, pool)? {
            return Ok(Ok(Content { lines, from: "the journal".to_owned() }));
        }
        Ok(Err(self.nowhere(run)))
    }

    fn nowhere(&self, run: &Run<'_>) -> String {
        let archive = if run.setup.archive.is_some() { "archive, " } else { "" };
        match self.place {
            Some(place) => format!("neither spool, {archive}journal nor {} have its records", place.store.place()),
            None => format!("neither spool, {archive}nor journal have its records"),
        }
    }

    /// The part among those that were copied elsewhere: under its key, or in a folder under any name.
    fn parts_elsewhere(&mut self, run: &Run<'_>, hour: Hour, part: &PartRow) -> Result<Option<Content>> {
        let Some(place) = self.place else { return Ok(None) };
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => layout_there(&*place.store, &place.prefix, &run.setup.layout)?,
        };
        let key = self.layout.insert(layout).key(&place.prefix, hour, part.part);
        if place.store.head(&key)?.is_some() {
            let from = format!("{} in {}", key, place.store.place());
            if let Some(content) = from_object(run.setup.layout.format_of(&key), &place.store.get(&key)?, from, part) {
                return Ok(Some(content));
            }
        }
        let Some(folder) = &place.folder else { return Ok(None) };
        if self.by_content.is_none() {
            self.by_content = Some(parts_in(folder, run)?);
        }
        let path = self.by_content.as_ref().and_then(|found| found.get(&part.identity.content_sha256));
        path.map_or(Ok(None), |path| from_file(path, &path.display().to_string(), part))
    }
}

fn from_file(path: &Path, from: &str, part: &PartRow) -> Result<Option<Content>> {
    let format = Format::of_extension(path).unwrap_or_default();
    Ok(durable::read(path)?.and_then(|object| from_object(format, &object, from.to_owned(), part)))
}

fn from_object(format: Format, object: &[u8], from: String, part: &PartRow) -> Option<Content> {
    let mut lines = Vec::new();
    for_each_line(format, object, &mut |line| {
        lines.extend_from_slice(line.as_bytes());
        lines.push(b'\n');
    })
    .ok()?;
    is_content_of(&lines, part).then_some(Content { lines, from })
}

/// The files below a folder that may be parts, by the digest of what is in them. Links are not followed.
fn parts_in(folder: &Path, run: &Run<'_>) -> Result<HashMap<String, PathBuf>> {
    let (mut found, mut folders) = (HashMap::new(), vec![folder.to_owned()]);
    while let Some(dir) = folders.pop() {
        let entries = std::fs::read_dir(&dir).map_err(|e| Error::disk("list", &dir, e))?;
        for entry in entries {
            let entry = entry.map_err(|e| Error::disk("list", &dir, e))?;
            let kind = entry.file_type().map_err(|e| Error::disk("look at", &entry.path(), e))?;
            let path = entry.path();
            if kind.is_dir() {
                folders.push(path);
            } else if let Some(format) = Format::of_extension(&path).filter(|_| kind.is_file() && !run.is_stopped()) {
                let file = File::open(&path).map_err(|e| Error::disk("read", &path, e))?;
                if let Some((sha256, _)) = content_of(format, BufReader::new(file)) {
                    found.insert(sha256.to_string(), path);
                }
            }
        }
    }
    Ok(found)
}

/// The files with originals of a part or of its hour in a folder: as the archive and as `etl restore --out` name them.
fn originals_in(dir: &Path, hour: Hour, part: u32) -> impl Iterator<Item = PathBuf> {
    let names = [
        format!("{hour}.part-{part:05}.ndjson.gz"),
        format!("{hour}.ndjson"),
        format!("{hour}.ndjson.gz"),
        format!("{hour}.incomplete.ndjson"),
    ];
    names.map(|name| dir.join(name)).into_iter().filter(|path| path.is_file())
}

/// Adds the originals in a file. `false`: it cannot be read as such.
fn add_originals(path: &Path, pool: &mut Pool, run: &Run<'_>, hour: Hour, compactor: &Compactor) -> Result<bool> {
    let mut lines = read_originals(path)?;
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut lines).take(MAX_LINE as u64 + 1).read_until(b'\n', &mut line) {
            Ok(0) => return Ok(true),
            Ok(_) => {}
            Err(_) => return Ok(false),
        }
        let Ok(text) = std::str::from_utf8(&line) else { continue };
        if let Ok(Value::Dict(fields)) = json::parse(text.trim_end_matches('\n')) {
            pool.add(fields, compactor, &run.setup.decoder.schema.dating, hour);
        }
    }
}

/// The records of an hour that the journal still has.
fn journal(run: &Run<'_>, hour: Hour, compactor: &Compactor) -> Result<Pool> {
    let (decoder, hours) = (&run.setup.decoder, BTreeSet::from([hour]));
    let mut pool = Pool::default();
    for id in run.state.pages.journal().list()? {
        let Ok(segment) = run.state.pages.journal().read(id) else { continue };
        let mut each = |_, _, token: &str| {
            if let Ok(plaintext) = decoder.ring.decrypt(token)
                && let Ok(record) = decoder.read(&plaintext)
            {
                pool.add(record.fields, compactor, &decoder.schema.dating, hour);
            }
            Ok(())
        };
        for body in segment.pages() {
            // What is not a page, or of another key, has nothing for this.
            let _ = decoder.tokens_of(body, segment.received, &|| run.is_stopped(), &hours, &mut each);
        }
    }
    Ok(pool)
}

/// The lines of a part, made of records of its hour: as they are, or without those of the hour's other parts.
fn made_of(run: &Run<'_>, hour: Hour, part: &PartRow, mut pool: Pool) -> Result<Option<Vec<u8>>> {
    if pool.is_empty() {
        return Ok(None);
    }
    if let Some(lines) = pool.lines_of(part) {
        return Ok(Some(lines));
    }
    let known = others(run, hour, &part.identity)?;
    if known.is_empty() {
        return Ok(None);
    }
    pool.leave_out(&known);
    Ok(pool.lines_of(part))
}

/// The records of the hour's other parts that are in the store.
fn others(run: &Run<'_>, hour: Hour, but: &PartIdentity) -> Result<HashSet<record::ContentHash>> {
    let mut others = Vec::new();
    run.state.hours.for_each_row(&mut |row| {
        if row.hour == hour {
            others.extend(row.uploaded().filter(|part| !part.identity.has_records_of(but)).cloned());
        }
        Ok(())
    })?;
    let (store, mut known) = (&run.setup.store, HashSet::new());
    for part in others {
        let Some(found) = store.head(&part.key)? else { continue };
        let Ok(compactor) = run.dictionaries.for_part(found.meta.as_ref()) else { continue };
        if let Ok(read) = read_part(
            run.setup.layout.format_of(&part.key),
            &store.get(&part.key)?,
            &compactor,
            &run.setup.decoder.schema.dating,
            hour,
        ) {
            known.extend(read.hashes);
        }
    }
    Ok(known)
}
