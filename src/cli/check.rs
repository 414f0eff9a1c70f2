//! `etl check`: tests what a run needs, step by step. Fetches one page and keeps nothing; makes no state directory.

use std::cell::RefCell;

use clap::Args;
use jiff::{SignedDuration, Timestamp};

use super::print::{print, print_json};
use super::setup::{self, Place};
use super::{check_auth, check_record};
use crate::config::{Config, Destination, SigningKey, SourceLocation};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::{Clock, SystemClock};
use crate::job::{self, Source};
use crate::net::ping;
use crate::page::decode::Decoded;
use crate::page::decrypt::KeyRing;
use crate::secret::SourceUrl;
use crate::source::file::PageFile;
use crate::source::{self, EachPage, Fetched, HttpSource, PageRequest};
use crate::state::files::access;
use crate::state::files::free_space::Disk;
use crate::state::{Ledger, Lock};
use crate::stop::Stop;
use crate::store::minisign::Signer;
use crate::store::once::CreateOnly;
use crate::store::probe;
use crate::store::s3::aws_endpoint;
use crate::view::findings::{Checked, Findings};
use crate::view::table::{bytes, count, plural};

/// The examples of the help.
pub(super) const EXAMPLES: &str = "\
Examples:
  etl check                                  each step with its result, and what to do
  etl check --json                           the same for programs
  etl check --read-only                      do not put a probe object into the store

It fetches one page and keeps nothing of it. It puts one small object into S3, <prefix>check/…, the same every time, to test
that the store refuses to replace it, with If-None-Match and, by the policy of `etl init --bucket-policy`, without. That object
stays. It writes nothing where parts are, and deletes nothing.";

/// `etl check`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct CheckArgs {
    /// Print the findings as one JSON object
    #[arg(long)]
    json: bool,
    /// Do not put a probe object into the store, and so do not test whether it refuses to replace objects
    #[arg(long)]
    read_only: bool,
}

/// A clock this far off makes records of the present look late or of the future.
const SKEW: SignedDuration = SignedDuration::from_secs(60);
/// S3 refuses requests from a clock this far off.
const S3_SKEW: SignedDuration = SignedDuration::from_mins(15);

/// Takes all steps, and prints the result of each.
///
/// # Errors
/// Only those of stdout; what is wrong is in the exit code.
pub(super) fn check(config: Result<Config>, args: &CheckArgs) -> Result<u8> {
    let steps = match config {
        Ok(config) => steps(&config, args),
        Err(error) => vec![Checked::failed("configuration", &error)],
    };
    let found = Findings::new(steps);
    if args.json {
        print_json(&found)?
    } else {
        print(&found.text())?
    }
    Ok(found.exit)
}

fn steps(config: &Config, args: &CheckArgs) -> Vec<Checked> {
    let file =
        config.file.as_ref().map_or("no file: only the environment".to_owned(), |file| file.display().to_string());
    let mut steps = vec![Checked::ok("configuration", file)];
    steps.extend(check_auth::steps(config));
    steps.extend(source_and_key(config));
    steps.extend(clocks(config));
    steps.push(state(config));
    steps.extend(store(config, args.read_only));
    #[cfg(feature = "kafka")]
    steps.extend(config.cluster.iter().flat_map(|cluster| super::cluster::check::steps(config, cluster)));
    steps.extend(config.load.signing.as_ref().map(|key| step("signing", signing(key))));
    steps
}

/// Whether digests can be signed.
fn signing(key: &SigningKey) -> Result<Checked> {
    let signer = Signer::read(key)?;
    signer.sign(b"check", "check")?;
    let public = signer.public();
    Ok(Checked::ok(
        "signing",
        format!("digests are signed with the key {}: minisign -P {}", public.id(), public.text()),
    ))
}

/// A step from what it found, or from its failure.
fn step(name: &'static str, found: Result<Checked>) -> Checked {
    found.unwrap_or_else(|error| Checked::failed(name, &error))
}

fn source_and_key(config: &Config) -> Vec<Checked> {
    let (ring, shape) = (setup::ring(config), setup::shape(config));
    let body = match page(config) {
        Ok(Some(body)) => body,
        Ok(None) => return vec![no_page(), key_alone(ring, "no page to try them on")],
        Err(error) => {
            return vec![Checked::failed("source", &error), key_alone(ring, "no page to try them on")];
        }
    };
    let elements = match crate::page::parse::parse(&body, &shape) {
        Ok(elements) => elements.len() as u64,
        Err(reason) => {
            let what = format!("the response is not a page: {reason}{}", reason.instead(&body));
            let error = Error::new(ErrorKind::Unavailable, what).hint(reason.way_out(&body, &shape));
            return vec![Checked::failed("source", &error), key_alone(ring, "no page to try them on")];
        }
    };
    let source = Checked::ok("source", format!("{} on a page", plural(elements, "log", "logs")));
    [source, step("key", key(config, &body))].into_iter().chain(check_record::step(config, &body)).collect()
}

fn no_page() -> Checked {
    Checked::warning("source", "no file matches source.url", "correct the pattern, or put pages there")
}

/// The first page of the source. `None`: its pattern matches no file.
fn page(config: &Config) -> Result<Option<Vec<u8>>> {
    let mut config = config.clone();
    // A person waits at the terminal.
    config.source.retries = config.source.retries.min(1);
    let stop = Stop::new();
    let mut client = setup::client(&config, &stop)?;
    match setup::source(&config, client.as_mut())? {
        Source::Http { client, template } => {
            let page = job::first_page(&config.state.dir, &template, SystemClock.now())?;
            first_page(client, &page).map(Some)
        }
        Source::Files { pattern, max_page_bytes } => {
            let listing = source::file::list(&pattern)?;
            let Some(first) = listing.files.first() else {
                return listing.unreadable.into_iter().next().map_or(Ok(None), Err);
            };
            PageFile::open(first, &setup::shape(&config), max_page_bytes)?.next(Vec::new())
        }
    }
}

/// The page that is asked for; of lines, the first of their pages is enough.
fn first_page(client: &mut HttpSource, page: &PageRequest) -> Result<Vec<u8>> {
    let first = RefCell::new(None);
    let each = RefCell::new(|page| {
        *first.borrow_mut() = Some(page);
        Err(Error::new(ErrorKind::Unavailable, "the first page is enough"))
    });
    let fetched = client.fetch(page, None, || Ok(EachPage::new(&each)));
    match (first.take(), fetched) {
        (Some(page), _) => Ok(page),
        (None, Ok(Fetched::Page { sink, .. })) => Ok(sink.into_last()),
        (None, Ok(_)) => Err(Error::new(ErrorKind::Unavailable, "the source sent no page")),
        (None, Err(error)) => Err(error),
    }
}

/// The step of the keys where there is not a page to try them on.
fn key_alone(ring: Result<KeyRing>, why: &str) -> Checked {
    match ring {
        Ok(_) => Checked::skipped("key", format!("well-formed; {why}")),
        Err(error) => Checked::failed("key", &error),
    }
}

fn key(config: &Config, body: &[u8]) -> Result<Checked> {
    let decoded = setup::decoder(config)?.page(body, SystemClock.now()).unwrap_or_default();
    if decoded.key_is_wrong() {
        let what = format!("none of the keys opens any of {}", plural(decoded.elements, "log", "logs"));
        return Err(Error::new(ErrorKind::Credentials, what).hint("add the right key, newest first"));
    }
    Ok(judge_tokens(&decoded))
}

fn judge_tokens(decoded: &Decoded) -> Checked {
    let (records, odd) = (decoded.records.len() as u64, decoded.odd.len() as u64);
    if decoded.elements == 0 {
        return Checked::skipped("key", "the page is empty: no token to try them on");
    }
    let read = format!("{} of {} read", count(records), plural(decoded.elements, "log", "logs"));
    match decoded.odd.first() {
        None => Checked::ok("key", read),
        Some(first) => Checked::warning(
            "key",
            format!("{read}; {odd} would be quarantined, the first of them for {}", first.reason),
            "`etl quarantine list` names the reasons after a run",
        ),
    }
}

/// This machine's clock against those of source and store.
fn clocks(config: &Config) -> Vec<Checked> {
    let mut steps = Vec::new();
    if let Ok(SourceLocation::Http(url)) = config.source.location() {
        steps.push(clock("clock, source", url, SignedDuration::MAX));
    }
    let s3 = matches!(config.load.destination(), Ok(Destination::S3 { .. }));
    if s3
        && let Ok(access) = config.load.s3()
        && let Some(url) = SourceUrl::parse(&access.endpoint.unwrap_or_else(|| aws_endpoint(&access.region)))
    {
        steps.push(clock("clock, store", &url, S3_SKEW));
    }
    steps
}

fn clock(name: &'static str, url: &SourceUrl, refused_from: SignedDuration) -> Checked {
    match ping::clock_of(url) {
        Ok(Some(theirs)) => step(name, judge_clock(name, SystemClock.now(), theirs, refused_from)),
        Ok(None) => Checked::skipped(name, "its answers have no Date"),
        Err(error) => Checked::skipped(name, format!("{url}: {}", error.chain())),
    }
}

fn judge_clock(
    name: &'static str,
    ours: Timestamp,
    theirs: Timestamp,
    refused_from: SignedDuration,
) -> Result<Checked> {
    let ahead = ours.duration_since(theirs);
    let way = if ahead.is_negative() { "behind" } else { "ahead of" };
    let off = format!("this clock is {:#} {way} theirs", SignedDuration::from_secs(ahead.abs().as_secs()));
    let fix = "set the clock, by NTP";
    match ahead.abs() {
        far if far >= refused_from => {
            Err(Error::new(ErrorKind::Unavailable, format!("{off}: requests are refused")).hint(fix))
        }
        far if far >= SKEW => Ok(Checked::warning(name, off, fix)),
        _ => Ok(Checked::ok(name, "the same within a minute")),
    }
}

fn state(config: &Config) -> Checked {
    step("state", look_at_state(config))
}

fn look_at_state(config: &Config) -> Result<Checked> {
    let dir = &config.state.dir;
    access::check(dir)?;
    let disk = Disk::of(dir)?;
    if dir.is_dir()
        && let Some(ledger) = Ledger::open(dir)?
    {
        ledger.settings().allow(&setup::settings(config)?)?;
    }
    let system = disk.file_system.unwrap_or("a file system without a well-known name");
    let there = match (dir.is_dir(), Lock::is_held(dir)) {
        (false, _) => "; it will be made",
        (true, true) => "; a run is at work",
        (true, false) => "",
    };
    let text = format!("{}: {system}, {} free{there}", dir.display(), bytes(disk.free));
    if disk.free < config.state.min_free {
        let what = format!("{text}: less than state.min_free, so nothing would be fetched");
        return Err(Error::new(ErrorKind::State, what).hint("free some space, or choose another disk with state.dir"));
    }
    Ok(match disk.doubt {
        Some(doubt) => Checked::warning("state", text, doubt),
        None => Checked::ok("state", text),
    })
}

fn store(config: &Config, read_only: bool) -> Vec<Checked> {
    let place = match setup::place(config) {
        Ok(place) => place,
        Err(error) => return vec![Checked::failed("store", &error)],
    };
    if let Ok(Destination::Files(lake)) = config.load.destination() {
        let found = access::check_writable(lake, "load.to").and_then(|()| Disk::of(lake));
        let found =
            found.map(|disk| Checked::ok("store", format!("the folder {}, {} free", lake.display(), bytes(disk.free))));
        return vec![step("store", found), Checked::ok("create-only", "a folder: files are linked, never replaced")];
    }
    match reach(&place) {
        Ok(()) => {
            let found = Checked::ok("store", format!("{}: credentials and region are accepted", place.store.place()));
            [vec![found], create_only(&place, read_only)].concat()
        }
        Err(error) => {
            vec![Checked::failed("store", &error), Checked::skipped("create-only", "the store cannot be reached")]
        }
    }
}

/// Whether the store lists, as `etl verify` needs it; the first answer is enough.
fn reach(place: &Place) -> Result<()> {
    let mut reached = false;
    let listed = place.store.list(&place.layout.data_prefix(&place.prefix), &mut |_, _| {
        reached = true;
        Err(Error::new(ErrorKind::Bug, "the first key is enough"))
    });
    if reached { Ok(()) } else { listed }
}

fn create_only(place: &Place, read_only: bool) -> Vec<Checked> {
    let name = "create-only";
    if read_only {
        return vec![Checked::skipped(name, "not tested: that would put an object into the store")];
    }
    let key = probe::key(&place.prefix);
    let found = match probe::ask(&*place.store, &place.prefix) {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::Credentials => {
            let hint = error.next_step().unwrap_or_default();
            let hint = format!(
                "{hint} (etl puts settings.json, in a cluster cluster.json, and below {}, dict/, manifest/, digest/ and expired/; check/ is for this probe, which --read-only leaves out)",
                place.layout.format().encoding.root()
            );
            return vec![Checked::failed(name, &Error::new(error.kind(), error.chain()).hint(hint))];
        }
        Err(error) => return vec![Checked::failed(name, &error)],
    };
    let honoured = match found.create_only {
        CreateOnly::Proven => Checked::ok(name, "If-None-Match is honoured: an existing object is never replaced"),
        CreateOnly::NotHonoured => Checked::warning(
            name,
            "If-None-Match is ignored or refused here: before each PUT the store is asked whether the object exists",
            "let only one machine write to this prefix: two that write the same part in the same second could replace it",
        ),
        CreateOnly::Unknown => Checked::warning(
            name,
            format!("cannot tell: {key} is not the probe object"),
            "remove that object, and check again",
        ),
    };
    let policy = (found.create_only == CreateOnly::Proven).then(|| policy(found.refuses_to_replace, &key));
    [honoured].into_iter().chain(policy).collect()
}

/// Whether the bucket itself refuses what etl never does. Nobody needs that: without it, it is up to those who may write there.
fn policy(refuses_to_replace: Option<bool>, probe: &str) -> Checked {
    let name = "bucket policy";
    match refuses_to_replace {
        Some(true) => Checked::ok(
            name,
            format!("in force: replacing {probe} was refused, for lack of If-None-Match (deleting is not tried)"),
        ),
        Some(false) => Checked::skipped(
            name,
            format!(
                "not in force: whoever may write here could replace objects ({probe}, the probe, was put again with the same \
                 bytes); `etl init --bucket-policy` prints one"
            ),
        ),
        None => {
            Checked::skipped(name, format!("cannot tell: a PUT of {probe} without If-None-Match had no clear answer"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::findings::Verdict;

    #[test]
    fn clock_is_judged_by_how_far_it_is_off() {
        let now: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let judge = |seconds| judge_clock("clock, store", now, now - SignedDuration::from_secs(seconds), S3_SKEW);
        assert_eq!(judge(-59).unwrap().result, Verdict::Ok);
        let behind = judge(-125).unwrap();
        assert_eq!((behind.result, behind.text.as_str()), (Verdict::Warning, "this clock is 2m 5s behind theirs"));
        assert_eq!(judge(900).unwrap_err().kind(), ErrorKind::Unavailable);
    }
}
