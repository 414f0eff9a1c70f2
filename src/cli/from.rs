//! `etl init --from`: one page of a source, and the configuration that it seems to ask for.
//!
//! Invariant: nothing of the page is kept, and only names, places and kinds of it get into the configuration, never values. What cannot be
//! told is said, with the key to set.

use std::cell::RefCell;
use std::path::Path;

use super::setup;
use crate::config::{Change, Config};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::job::{self, Source};
use crate::page::decrypt::KeyRing;
use crate::page::recognise::{Paging, Recognised, Sealed, Time, recognise};
use crate::source::file::{self, PageFile};
use crate::source::{EachPage, Fetched, HttpSource, PageRequest};
use crate::stop::Stop;
use crate::view::table::{count, plural};

/// Stands for the address in the variable `API_URL`, which may hold a secret.
pub(super) const API_URL: &str = "env:API_URL";
/// Other times that are named.
const OTHERS: usize = 5;

/// A page, and what it seems to ask for.
pub(super) struct Found {
    /// For the keys of the configuration.
    pub(super) changes: Vec<Change>,
    body: Vec<u8>,
    variables: &'static [&'static str],
}

/// Fetches a page from `from` with these headers, each as in `NAME=env:VARIABLE`, and recognises it.
///
/// # Errors
/// `Usage`: a header whose value is not elsewhere. Those of the source and of its configuration.
pub(super) fn look(from: &str, headers: &[String], folder: &Path) -> Result<Found> {
    let auth = if headers.is_empty() { None } else { Some(auth(headers)?) };
    let config = bare_config(from, auth.as_deref(), folder)?;
    let (body, has_link) = fetch(&config)?;
    let ring = config.source.keys().and_then(|keys| KeyRing::new(&keys));
    let seen = recognise(&body, ring.as_ref().ok(), has_link);
    let mut changes: Vec<Change> = auth.map(|auth| Change::new("auth", auth)).into_iter().collect();
    changes.extend(of_pages(&seen, ring.err().as_ref()));
    changes.extend(of_records(&seen));
    Ok(Found { changes, body, variables: left_out(from) })
}

impl Found {
    /// What the written configuration makes of the page, in a sentence.
    pub(super) fn tried(&self, text: &str, folder: &Path) -> String {
        let decoder = Config::of_text(text, folder, self.variables).and_then(|config| setup::decoder(&config));
        let decoder = match decoder {
            Ok(decoder) => decoder,
            Err(error) => return format!("It was not tried on the page: {}.", error.chain()),
        };
        match decoder.page(&self.body, SystemClock.now()) {
            Err(reason) => format!("With it the page is not read yet: {reason}. The comments in it say what to set."),
            Ok(decoded) => {
                let (read, logs) = (decoded.records.len() as u64, plural(decoded.elements, "log", "logs"));
                let first = decoded.odd.first().map(|odd| format!(", the others not, the first for {}", odd.reason));
                format!("With it {} of {logs} on the page are read{}.", count(read), first.unwrap_or_default())
            }
        }
    }
}

/// What is given on the command line goes before the variable.
fn left_out(from: &str) -> &'static [&'static str] {
    if from == API_URL { &[] } else { &["API_URL"] }
}

/// A configuration that takes any page.
fn bare_config(from: &str, auth: Option<&str>, folder: &Path) -> Result<Config> {
    let url = if from == API_URL { String::new() } else { format!("url = {}\n", toml::Value::from(from)) };
    let auth = auth.map_or_else(String::new, |auth| format!("auth = {auth}\n"));
    let text = format!("[source]\n{url}{auth}items = \"\"\ntoken = \"\"\nencryption = \"none\"\nretries = 1\n");
    Config::of_text(&text, folder, left_out(from))
}

/// The value of `source.auth` for headers of the command line.
fn auth(headers: &[String]) -> Result<String> {
    let mut table = toml::Table::new();
    for header in headers {
        let elsewhere =
            header.split_once('=').filter(|(_, value)| value.starts_with("env:") || value.starts_with("file:"));
        let Some((name, value)) = elsewhere else {
            // Everybody on the machine can read a command line, so what it says is not repeated either.
            return Err(Error::new(ErrorKind::Usage, "--header does not say where its value is")
                .hint("write it as in --header Authorization=env:API_TOKEN, or =file:token"));
        };
        table.insert(name.to_owned(), value.into());
    }
    Ok(format!("{{ style = \"headers\", headers = {} }}", toml::Value::from(table)))
}

/// The first page of the source, and whether its answer names the next in a header.
fn fetch(config: &Config) -> Result<(Vec<u8>, bool)> {
    let stop = Stop::new();
    let mut client = setup::client(config, &stop)?;
    match setup::source(config, client.as_mut())? {
        Source::Http { client, template } => {
            let page = job::first_page(&config.state.dir, &template, SystemClock.now())?;
            first_page(client, &page)
        }
        Source::Files { pattern, max_page_bytes } => {
            let listing = file::list(&pattern)?;
            let first = listing.files.first().ok_or_else(|| {
                Error::new(ErrorKind::Usage, "no file matches --from")
                    .hint("name a file with a page, as in file:pages/*.json")
            })?;
            let body = PageFile::open(first, &setup::shape(config), max_page_bytes)?.next(Vec::new())?;
            Ok((body.unwrap_or_default(), false))
        }
    }
}

fn first_page(client: &mut HttpSource, page: &PageRequest) -> Result<(Vec<u8>, bool)> {
    let first = RefCell::new(None);
    let each = RefCell::new(|page| {
        *first.borrow_mut() = Some(page);
        Err(Error::new(ErrorKind::Unavailable, "the first page is enough"))
    });
    let fetched = client.fetch(page, None, || Ok(EachPage::new(&each)));
    match (first.take(), fetched) {
        (Some(page), _) => Ok((page, false)),
        (None, Ok(Fetched::Page { sink, head })) => Ok((sink.into_last(), head.link.is_some())),
        (None, Ok(_)) => Err(Error::new(ErrorKind::Unavailable, "the source sent no page").hint("try again later")),
        (None, Err(error)) => Err(error),
    }
}

fn of_pages(seen: &Recognised, no_key: Option<&Error>) -> Vec<Change> {
    let elements = plural(seen.elements, "element", "elements");
    let items = match &seen.items {
        Some(_) if seen.is_lines => Change::noted("items", "found: lines of JSON"),
        Some(at) => Change::new("items", quoted(at)).note(format!("found: an array of {elements}")),
        None => Change::noted("items", "NOT FOUND: no array with elements was on the page; set where it is"),
    };
    if seen.elements == 0 {
        return vec![items, paging(seen)];
    }
    let token = Change::new("token", quoted(&seen.token));
    let encryption = match (seen.sealed, no_key) {
        (Sealed::Plain, _) => {
            Change::new("encryption", quoted("none")).note("found: nothing that begins like a Fernet token")
        }
        (Sealed::Opened, _) => Change::noted("encryption", "found: Fernet tokens, which a key opens"),
        (Sealed::Closed, Some(error)) => {
            Change::noted("encryption", format!("found: Fernet tokens; not opened: {}", error.chain()))
        }
        (Sealed::Closed, None) => {
            Change::noted("encryption", "found: Fernet tokens; NO KEY opens any: set the right FERNET_KEY")
        }
    };
    vec![items, token, encryption, paging(seen)]
}

fn paging(seen: &Recognised) -> Change {
    let change = |value: String, note: String| Change::new("paging", value).note(note);
    match &seen.paging {
        Paging::Link => Change::noted("paging", "found: a Link header with rel=\"next\""),
        Paging::NextUrl(at) => {
            change(format!("{{ style = \"next-url\", next = {} }}", quoted(at)), format!("found: an address at {at}"))
        }
        Paging::Cursor { next, param } => change(
            format!("{{ style = \"cursor\", next = {}, param = {} }}", quoted(next), quoted(param)),
            format!("found: a cursor at {next}; THAT IT GOES BACK AS {param} IS A GUESS: look it up, and set param"),
        ),
        Paging::Maybe(at) => Change::noted(
            "paging",
            format!("NOT FOUND: nothing stands at {at} on this page; if it leads on elsewhere, set style and next"),
        ),
        Paging::Counts(at) => Change::noted(
            "paging",
            format!(
                "NOT FOUND, but counts at {}: if pages are asked for by number, set style, param and size",
                at.join(", ")
            ),
        ),
        Paging::Unknown => {
            Change::noted("paging", "NOT FOUND: nothing on the page leads to the next; if there are more, set style")
        }
    }
}

fn of_records(seen: &Recognised) -> Vec<Change> {
    if seen.logs == 0 {
        let again =
            "NOT FOUND: no log could be read; with the keys set and logs on the page, run `etl init --from` again";
        return vec![Change::noted("time", again)];
    }
    let mut changes = times(&seen.times);
    changes.push(match &seen.id {
        Some(at) => Change::new("id", quoted(at)).note(format!("found: whole numbers without a hole at {at}")),
        None => Change::new("id", quoted(""))
            .note("NOT FOUND: no whole number rises by one; if there is one, set where it stands"),
    });
    let codecs = seen.codecs.iter().map(|codec| format!("{} = {}", codec.field, quoted(codec.name)));
    changes
        .push(Change::new("compact", codecs.collect::<Vec<_>>().join("\n")).note("found: fields with a compact form"));
    changes
}

fn times(times: &[Time]) -> Vec<Change> {
    let Some(first) = times.first().filter(|time| time.is_likely) else {
        let numbers = match times.first() {
            Some(time) => format!(", but a number of that size at {}", time.at),
            None => String::new(),
        };
        return vec![Change::noted(
            "time",
            format!("NOT FOUND: no field looks like a time{numbers}; set time and time_format"),
        )];
    };
    let others: Vec<String> =
        times.iter().skip(1).take(OTHERS).map(|time| format!("{} ({})", time.at, time.format)).collect();
    let time =
        Change::new("time", quoted(&first.at)).note(format!("found: times at {}, spelled {}", first.at, first.format));
    let time = if others.is_empty() { time } else { time.note(format!("found also: {}", others.join(", "))) };
    vec![time, Change::new("time_format", quoted(first.format))]
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}
