//! `etl hours`: what may be claimed of hours, and why. Reads the state directory without a lock, and beside a run.
//!
//! A range is gone through hour by hour and printed as it goes, so that it costs the memory of a few days, however long it is.

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;

use super::print::{print, print_bytes, print_json, styled};
use super::values::{check_range, hour};
use super::{cluster, setup};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::hour::lifecycle::HourRow;
use crate::hour::part::PartRow;
use crate::hour::verdict::{Verdict, Witness};
use crate::hour::{Clock, Hour, SystemClock};
use crate::output::plain_text::clean_json;
use crate::state::status::certificate::Certificate;
use crate::state::status::evidence::Known;
use crate::view::certificate;
use crate::view::table::{count, plural};

pub(super) const EXAMPLES: &str = "\
Examples:
  etl hours 2023-03-10T01                    the certificate of an hour, however old it is
  etl hours --since 2023-03-10T00 --until 2023-03-10T23
  etl hours --since 2023-01-01T00 --not complete
  etl hours                                  the newest 48 hours that have closed
  etl hours --json                           the same for programs

Exit 0 when all hours that were asked for are complete, else 66.";

/// Hours that are shown where no range is asked for.
const USUAL: usize = 48;
/// Hours that are printed at once.
const AT_ONCE: usize = 256;

/// `etl hours`.
#[derive(Debug, Clone, PartialEq, Eq, Args)]
pub(super) struct HoursArgs {
    /// This hour, as in 2023-03-10T01: its whole certificate
    #[arg(value_name = "HOUR", value_parser = hour, conflicts_with_all = ["since", "until", "not"])]
    hour: Option<Hour>,
    /// From this hour on, one line an hour [default: the newest 48; with --until the first known]
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    since: Option<Hour>,
    /// Up to and including this hour [default: the newest that has closed]
    #[arg(long, value_name = "HOUR", value_parser = hour)]
    until: Option<Hour>,
    /// Leave out the hours with this verdict: open, pending, incomplete, unproven or complete
    #[arg(long, value_name = "VERDICT")]
    not: Vec<Verdict>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Prints one certificate, or a line an hour.
pub(super) fn hours(config: &Config, args: &HoursArgs) -> Result<u8> {
    let mut known = known(config, SystemClock.now())?;
    match args.hour {
        Some(hour) => one(&mut known, hour, args.json),
        None => range(&mut known, args),
    }
}

/// `etl status --hour`: the certificate, in the form of the status.
pub(super) fn in_status(config: &Config, hour: Hour, json: bool, now: Timestamp) -> Result<u8> {
    let mut known = known(config, now)?;
    if !json {
        return one(&mut known, hour, false);
    }
    let (row, _, certificate) = certify(&mut known, hour)?;
    let mut status = known.status.clone();
    status.hours.retain(|one| one.hour == hour);
    if status.hours.is_empty() {
        status.hours.extend(row.as_ref().map(crate::state::status::sealed_hour));
    }
    let mut all = encode(&status)?;
    if let Value::Object(fields) = &mut all {
        fields.insert("certificate".to_owned(), encode(&certificate)?);
    }
    print_json(&all)?;
    Ok(exit_code(certificate.complete))
}

fn encode(value: &impl Serialize) -> Result<Value> {
    serde_json::to_value(value).map_err(|e| Error::new(ErrorKind::Bug, "cannot encode the result").caused_by(e))
}

const fn exit_code(is_complete: bool) -> u8 {
    if is_complete { 0 } else { ErrorKind::NotComplete.exit_code() }
}

fn known(config: &Config, now: Timestamp) -> Result<Known> {
    match cluster::known(config, now)? {
        Some(known) => Ok(known),
        None => Known::read(&config.state.dir, setup::judging(config), now),
    }
}

/// An hour's row, its records, and its certificate.
fn certify(known: &mut Known, hour: Hour) -> Result<(Option<HourRow>, u64, Certificate)> {
    let (row, pending, judged) = known.judge(hour)?;
    let sealing: u64 = row.iter().flat_map(HourRow::uploaded).map(|part| part.identity.rows).sum();
    let mut certificate = Certificate::of(row.as_ref(), judged, &known.evidence.zone);
    if known.evidence.lanes.is_some() {
        certificate = certificate.of_lanes(known.evidence.rules.closes_at(hour), row.as_ref());
    }
    Ok((row, sealing.saturating_add(pending), certificate))
}

fn one(known: &mut Known, hour: Hour, json: bool) -> Result<u8> {
    let (row, _, certificate) = certify(known, hour)?;
    if row.is_none() && !exists(known, hour) {
        let what = format!("there is no hour {hour} in {}: the clocks go forward over it", known.evidence.zone);
        return Err(Error::new(ErrorKind::Usage, what).hint("ask for the hour before or after"));
    }
    if json {
        #[derive(Serialize)]
        struct One<'a> {
            schema: u32,
            hour: Hour,
            #[serde(flatten)]
            certificate: &'a Certificate,
        }
        print_json(&One { schema: 1, hour, certificate: &certificate })?;
    } else {
        print(&certificate::text(&certificate, hour))?;
    }
    Ok(exit_code(certificate.complete))
}

/// Whether the clocks of the zone ever show this hour.
fn exists(known: &Known, hour: Hour) -> bool {
    let zone = &known.evidence.rules.zone;
    Hour::of(hour.starts_at(zone), zone) == Some(hour)
}

/// The hours that are asked for, from the first to the last.
fn asked(known: &Known, args: &HoursArgs) -> Result<(Hour, Hour)> {
    check_range(args.since, args.until)?;
    let evidence = &known.evidence;
    let newest_closed = evidence.now.checked_sub(evidence.rules.grace).ok();
    let newest_closed = newest_closed.and_then(|at| Hour::of(at, &evidence.rules.zone)).and_then(Hour::before);
    let no_range = || Error::new(ErrorKind::Usage, "the clock is out of range").hint("name --since and --until");
    let until = args.until.or(newest_closed).ok_or_else(no_range)?;
    let since = match (args.since, args.until) {
        (Some(since), _) => since,
        (None, Some(_)) => known.first()?.unwrap_or(until).min(until),
        (None, None) => {
            let usual = std::iter::successors(Some(until), |hour| hour.before()).take(USUAL).last().unwrap_or(until);
            known.first()?.map_or(until, |first| first.clamp(usual, until))
        }
    };
    if since > until {
        let what = format!("--since {since} is after {until}, the newest hour that has closed");
        return Err(Error::new(ErrorKind::Usage, what).hint("ask again when it has closed, or name an earlier hour"));
    }
    Ok((since, until))
}

/// An hour of a range.
#[derive(Serialize)]
struct Line<'a> {
    hour: Hour,
    verdict: Verdict,
    reason: &'a str,
    records: u64,
    parts: usize,
    /// The parts that are in the store.
    objects: Vec<Object<'a>>,
    witness: Option<Witness>,
}

/// A part in the store: what a program needs that goes on from the lake, as a table's catalog does.
#[derive(Serialize)]
struct Object<'a> {
    part: u32,
    key: &'a str,
    rows: u64,
    bytes: u64,
}

impl<'a> Object<'a> {
    fn of(part: &'a PartRow) -> Self {
        Self { part: part.part, key: &part.key, rows: part.identity.rows, bytes: part.identity.bytes }
    }
}

fn range(known: &mut Known, args: &HoursArgs) -> Result<u8> {
    let (since, until) = asked(known, args)?;
    let zone = known.evidence.zone.clone();
    let mut out = Out { json: args.json, text: String::new(), lines: 0, is_first: true };
    out.text = if args.json { head(&zone, since, until)? } else { certificate::head(&zone) };
    let mut sums = [0_u64; Verdict::ALL.len()];
    let mut next = Some(since);
    while let Some(hour) = next.filter(|hour| *hour <= until) {
        next = hour.next();
        let (row, records, certificate) = certify(known, hour)?;
        if row.is_none() && !exists(known, hour) {
            continue;
        }
        for (sum, verdict) in sums.iter_mut().zip(Verdict::ALL) {
            *sum += u64::from(verdict == certificate.verdict);
        }
        if !args.not.contains(&certificate.verdict) {
            out.hour(&certificate, hour, records, row.as_ref())?;
        }
    }
    out.end(&sums)?;
    let complete = sums.last().copied().unwrap_or(0);
    Ok(exit_code(complete == sums.iter().sum::<u64>()))
}

fn head(zone: &str, since: Hour, until: Hour) -> Result<String> {
    let zone = encode(&zone)?;
    Ok(format!("{{\"schema\":1,\"timezone\":{zone},\"since\":\"{since}\",\"until\":\"{until}\",\"hours\":["))
}

/// What is printed, some hundred hours at a time.
struct Out {
    json: bool,
    text: String,
    lines: usize,
    is_first: bool,
}

impl Out {
    fn hour(&mut self, certificate: &Certificate, hour: Hour, records: u64, row: Option<&HourRow>) -> Result<()> {
        if self.json {
            let line = Line {
                hour,
                verdict: certificate.verdict,
                reason: &certificate.reason,
                records,
                parts: certificate.parts.len(),
                objects: row.into_iter().flat_map(HourRow::uploaded).map(Object::of).collect(),
                witness: certificate.witness,
            };
            if !std::mem::take(&mut self.is_first) {
                self.text.push(',');
            }
            self.text.push_str(&encode(&line)?.to_string());
        } else {
            self.text.push_str(&certificate::line(certificate, hour, records));
        }
        self.lines += 1;
        if self.lines.is_multiple_of(AT_ONCE) { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        let text = std::mem::take(&mut self.text);
        let text = if self.json { clean_json(&text).into_owned() } else { styled(&text) };
        print_bytes(text.as_bytes())
    }

    fn end(&mut self, sums: &[u64]) -> Result<()> {
        let named = || Verdict::ALL.into_iter().zip(sums.iter().copied());
        if self.json {
            let counts: Vec<String> = named().map(|(verdict, sum)| format!("\"{verdict}\":{sum}")).collect();
            self.text.push_str(&format!("],\"counts\":{{{}}}}}\n", counts.join(",")));
        } else {
            let some: Vec<String> = named()
                .rev()
                .filter(|(_, sum)| *sum > 0)
                .map(|(verdict, sum)| format!("{} {verdict}", count(sum)))
                .collect();
            let all = plural(sums.iter().sum(), "hour", "hours");
            self.text.push_str(&format!("\n{all}: {}\n", some.join(", ")));
        }
        self.flush()
    }
}
