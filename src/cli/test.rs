//! `etl test`: what saved pages would become, without a network, a state or a store.
//!
//! Reads pages and the configuration, and writes nothing but the expected file of `--write`. Invariant: the same pages and configuration
//! give the same lines on every day and every machine, so how far ahead a record is dated does not count here. A crash leaves the old
//! expected file, or a whole new one.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;

use super::print::print_bytes;
use super::setup;
use crate::config::{Config, SourceLocation};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::output::{self, Form};
use crate::page::decode::{Decoded, Decoder, Ended};
use crate::source::file::{self, PageFile};
use crate::view::diff::first_differences;
use crate::view::table::{count, plural};

/// The examples of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  etl test --pages saved/*.json                             what these pages would become
  etl test --pages saved/*.json --expect saved/expected --write
                                                            keep that as what is expected
  etl test --pages saved/*.json --expect saved/expected     whether it is still so

It prints a line for each distinct record, in the order of the files' names and of their pages: its hour, and the compact row that
would be stored. Then how many came again, how many would be quarantined for which reason, and which files are no page. The day does
not matter: a record of the future is a record. Nothing is asked over the network, and no state is read or written.

It exits with 65 where something is no record, or no page. With --expect it exits with 0 where all is as expected, odd ones
too, and with 76 where it is not: the first differences are shown as a diff. The expected file holds decrypted logs.";

/// `etl test`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct TestArgs {
    /// Files with saved pages, as the source sent them; .gz and .zst are unpacked [default: source.url, where it is files]
    #[arg(long, value_name = "GLOB", num_args = 1..)]
    pages: Vec<String>,
    /// Compare with the lines of this file; those that begin with # do not count
    #[arg(long, value_name = "FILE")]
    expect: Option<PathBuf>,
    /// Write the file of --expect instead of comparing with it
    #[arg(long, requires = "expect")]
    write: bool,
}

/// The words before counts, and before the name of a file.
const AGAIN: &str = "again ";
const QUARANTINED: &str = "quarantined ";
const NOT_A_PAGE: &str = "not a page: ";
/// What a new expected file begins with.
const HEADER: &str = "# What `etl test` makes of saved pages. It holds decrypted logs. `--write` writes it again.\n";

/// Takes the lines of a file, each with its line end.
type TakeLines<'a> = &'a mut dyn FnMut(&str) -> Result<()>;

/// Decodes the pages, then prints the result, compares it, or writes it down. `say` is called for each file that is not a page.
///
/// # Errors
/// `Usage`: no such pages. `Mismatch`: not what was expected. Those of the configuration and of stdout.
pub(super) fn test(config: &Config, args: &TestArgs, say: &dyn Fn(&Error)) -> Result<u8> {
    let files = files(config, &args.pages)?;
    let mut play = Play::new(config, say)?;
    let Some(expect) = &args.expect else {
        play.all(&files, &mut |lines| print_bytes(lines.as_bytes()))?;
        return Ok(if play.is_odd() { ErrorKind::Quarantined.exit_code() } else { 0 });
    };
    // Read before the pages are: a wrong name shows at once.
    let expected = expected(expect, args.write)?;
    let mut found = String::new();
    play.all(&files, &mut |lines| {
        found.push_str(lines);
        Ok(())
    })?;
    if args.write { keep(expect, &expected, &found, &play) } else { compare(expect, &expected, &found, &play) }
}

/// The saved pages, sorted by name.
fn files(config: &Config, patterns: &[String]) -> Result<Vec<PathBuf>> {
    let configured = match config.source.location() {
        Ok(SourceLocation::Files(pattern)) if patterns.is_empty() => Some(pattern.clone()),
        _ => None,
    };
    let mut files = BTreeSet::new();
    for pattern in patterns.iter().chain(&configured) {
        files.extend(matching(pattern.strip_prefix("file:").unwrap_or(pattern))?);
    }
    if files.is_empty() {
        let what = if patterns.is_empty() { "no saved pages are named" } else { "no file matches --pages" };
        return Err(Error::new(ErrorKind::Usage, what)
            .hint("name files with pages as the source sent them: --pages saved/*.json"));
    }
    Ok(files.into_iter().collect())
}

fn matching(pattern: &str) -> Result<Vec<PathBuf>> {
    // A shell may have made names of the pattern, and a name may have brackets in it.
    if Path::new(pattern).is_file() {
        return Ok(vec![pattern.into()]);
    }
    let wrong = |_| Error::new(ErrorKind::Usage, format!("--pages is no pattern of files: {pattern}"));
    let listing = file::list(pattern).map_err(|error| wrong(error).hint("write it as in saved/*.json"))?;
    match listing.unreadable.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(listing.files),
    }
}

/// What became of pages so far.
struct Play<'s> {
    decoder: Decoder,
    max_page_bytes: u64,
    say: &'s dyn Fn(&Error),
    known: HashSet<[u8; 16]>,
    hours: BTreeSet<Hour>,
    again: u64,
    quarantined: BTreeMap<String, u64>,
    not_pages: u64,
}

impl<'s> Play<'s> {
    fn new(config: &Config, say: &'s dyn Fn(&Error)) -> Result<Self> {
        let (decoder, max_page_bytes) = (setup::decoder(config)?, config.source.max_page_bytes);
        let (known, hours, quarantined) = (HashSet::new(), BTreeSet::new(), BTreeMap::new());
        Ok(Self { decoder, max_page_bytes, say, known, hours, again: 0, quarantined, not_pages: 0 })
    }

    /// Whether an element was not a record, or a file not a page.
    fn is_odd(&self) -> bool {
        self.not_pages > 0 || !self.quarantined.is_empty()
    }

    fn all(&mut self, files: &[PathBuf], take: TakeLines<'_>) -> Result<()> {
        for path in files {
            self.file(path, take)?;
        }
        take(&self.counts())
    }

    /// Decodes a file. If it is not a page, or stops being one, only the rest of it is lost.
    fn file(&mut self, path: &Path, take: TakeLines<'_>) -> Result<()> {
        let shape = self.decoder.shape.clone();
        let mut pages = match PageFile::open(path, &shape, self.max_page_bytes) {
            Ok(pages) => pages,
            Err(error) => return self.not_a_page(path, &error, take),
        };
        loop {
            match pages.next(Vec::new()) {
                Ok(Some(body)) => match self.page(path, &body) {
                    Ok(lines) => take(&lines)?,
                    Err(error) => self.not_a_page(path, &error, take)?,
                },
                Ok(None) => return Ok(()),
                Err(error) => return self.not_a_page(path, &error, take),
            }
        }
    }

    fn not_a_page(&mut self, path: &Path, error: &Error, take: TakeLines<'_>) -> Result<()> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        (self.say)(error);
        self.not_pages += 1;
        take(&format!("{NOT_A_PAGE}{name}\n"))
    }

    /// The lines of a page of the file at `path`.
    fn page(&mut self, path: &Path, body: &[u8]) -> Result<String> {
        let decoder = &self.decoder;
        let decoded = decoder.page(body, Timestamp::MAX).map_err(|reason| {
            let what = format!("{} is not a page: {reason}{}", path.display(), reason.instead(body));
            Error::new(ErrorKind::Unavailable, what).hint(reason.way_out(body, &decoder.shape))
        })?;
        self.count_odd(body, &decoded)?;
        let mut lines = String::new();
        for (record, row) in decoded.rows() {
            if self.known.insert(record.entry.hash) {
                self.hours.insert(record.hour);
                let _ = writeln!(lines, "{} {}", record.hour, String::from_utf8_lossy(row));
            } else {
                self.again += 1;
            }
        }
        Ok(lines)
    }

    fn count_odd(&mut self, body: &[u8], decoded: &Decoded) -> Result<()> {
        let mut listed = 0;
        let mut each = |reason: &str| {
            listed += 1;
            *self.quarantined.entry(reason.to_owned()).or_default() += 1;
        };
        decoded.odd.iter().for_each(|odd| each(&odd.reason));
        if decoded.dropped_odd() {
            let again = self.decoder.odd_again(body, Timestamp::MAX, &|| false, &mut |odd| {
                each(&odd.reason);
                Ok(())
            });
            // Nothing stops it: only whoever takes them could fail.
            again.or_else(|ended| if let Ended::Taker(error) = ended { Err(error) } else { Ok(()) })?;
        }
        // Equal elements in a row that have no token are listed once.
        let equal = decoded.odd_seen.saturating_sub(listed);
        if equal > 0 {
            *self.quarantined.entry("no-token".to_owned()).or_default() += equal;
        }
        Ok(())
    }

    fn counts(&self) -> String {
        let mut text = if self.again > 0 { format!("{AGAIN}{}\n", self.again) } else { String::new() };
        for (reason, elements) in &self.quarantined {
            let _ = writeln!(text, "{QUARANTINED}{reason} {elements}");
        }
        text
    }

    fn summary(&self) -> String {
        let quarantined: u64 = self.quarantined.values().sum();
        let records = plural(self.known.len() as u64, "record", "records");
        let hours = plural(self.hours.len() as u64, "hour", "hours");
        let pages = plural(self.not_pages, "file or page", "files or pages");
        format!("{records} of {hours}; {} quarantined; {pages} refused", count(quarantined))
    }
}

/// The text of the expected file.
fn expected(path: &Path, is_to_be_written: bool) -> Result<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(text),
        Err(cause) if is_to_be_written && cause.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(cause) => Err(Error::new(ErrorKind::Usage, format!("cannot read what is expected, {}", path.display()))
            .caused_by(cause)
            .hint("name the file that `etl test --expect FILE --write` wrote, or write it so")),
    }
}

/// Writes what is expected from now on, below the comments that the file begins with.
fn keep(path: &Path, before: &str, found: &str, play: &Play<'_>) -> Result<u8> {
    if !before.lines().all(is_ours) {
        let what = format!("{} has other lines than `etl test` writes: it is not replaced", path.display());
        return Err(Error::new(ErrorKind::Usage, what).hint("name another file, or move that one away"));
    }
    let comments: String = before.split_inclusive('\n').take_while(|line| line.starts_with('#')).collect();
    let comments = if comments.is_empty() { HEADER } else { &comments };
    output::replace(path, format!("{comments}{found}").as_bytes(), Form::PRIVATE)?;
    let said = format!("{} is written: {}\n", path.display(), play.summary());
    super::print::print(&said).map(|()| 0)
}

/// Whether this command could have written a line, or may leave it out.
fn is_ours(line: &str) -> bool {
    let is_record = line.split_once(" {").is_some_and(|(hour, _)| hour.parse::<Hour>().is_ok());
    is_record || line.is_empty() || ["#", AGAIN, QUARANTINED, NOT_A_PAGE].iter().any(|start| line.starts_with(start))
}

fn compare(path: &Path, expected: &str, found: &str, play: &Play<'_>) -> Result<u8> {
    let counts = |line: &&str| !line.is_empty() && !line.starts_with('#');
    let expected: Vec<&str> = expected.lines().filter(counts).collect();
    let found: Vec<&str> = found.lines().collect();
    let differences = first_differences(&expected, &found);
    if differences.is_empty() {
        super::print::print(&format!("as expected: {}\n", play.summary()))?;
        return Ok(0);
    }
    print_bytes(differences.as_bytes())?;
    let what = format!("the pages do not become what {} expects", path.display());
    Err(Error::new(ErrorKind::Mismatch, what)
        .hint("mend the configuration; if the lines with + are right, keep them with --write"))
}
