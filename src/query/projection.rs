//! Partition projection: from which hour to which Athena and Trino look for folders, and how a folder follows from the keys.
//!
//! Pure. Invariant: without `--years` every hour that the store has is within; an hour that is not is named.

use std::collections::BTreeSet;
use std::str::FromStr;

use super::{Keys, Table, spell};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::key::{Field, Layout, Piece};

/// The first year where nothing is known of the store.
const UNKNOWN: u16 = 2020;
/// Years after this one that integer keys cover: their range cannot end now.
const AHEAD: u16 = 10;
/// How many hours outside are named.
const NAMED: usize = 5;

/// Years, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Years {
    pub(super) from: u16,
    pub(super) to: u16,
}

impl FromStr for Years {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Usage, format!("{text:?} are no years; write them as in 2020-2039"));
        let year = |text: &str| text.parse::<u16>().ok().filter(|year| (1000..=9999).contains(year));
        let (from, to) = text.split_once('-').and_then(|(from, to)| year(from).zip(year(to))).ok_or_else(wrong)?;
        if from <= to { Ok(Self { from, to }) } else { Err(wrong()) }
    }
}

/// What projection looks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Span {
    pub(super) years: Years,
    /// Whether it ends with the present hour, and not with the last year.
    ends_now: bool,
    /// How many folders a query without a condition asks for.
    folders: u64,
    /// Hours of the store that it does not cover.
    outside: Vec<Hour>,
    /// Whether the store said which hours it has.
    asked: bool,
}

impl Span {
    /// The years given, else those of the hours `seen` in the store (`None`: nobody could look) and this one.
    pub(crate) fn new(given: Option<Years>, seen: Option<&BTreeSet<Hour>>, now: Hour, keys: Keys) -> Self {
        let none = BTreeSet::new();
        let hours = seen.unwrap_or(&none);
        let this = year(now);
        let first = hours.first().map_or(this, |hour| year(*hour));
        let last = hours.last().map_or(this, |hour| year(*hour)).max(this);
        let years = given.unwrap_or_else(|| Years {
            from: if seen.is_some() { first.min(this) } else { UNKNOWN.min(this) },
            to: if keys == Keys::Hour { last.max(this.saturating_add(AHEAD)) } else { last },
        });
        let tomorrow = now.date().tomorrow().unwrap_or(now.date());
        let is_later = |hour: &&Hour| hour.date() > tomorrow && year(**hour) <= years.to;
        let ends_now = keys == Keys::Dt && years.to >= this && hours.iter().rev().find(is_later).is_none();
        let covered = |hour: &Hour| (years.from..=years.to).contains(&year(*hour));
        let outside = hours.iter().copied().filter(|hour| !covered(hour)).collect();
        Self { years, ends_now, folders: folders_asked_for(years, ends_now, now, keys), outside, asked: seen.is_some() }
    }

    /// A sentence about the hours that no query will find; `None` where there are none.
    pub(crate) fn warning(&self) -> Option<String> {
        let (first, last) = (self.outside.first()?, self.outside.last()?);
        let named: Vec<String> = self.outside.iter().take(NAMED).map(Hour::to_string).collect();
        let more = if self.outside.len() > NAMED { ", …" } else { "" };
        let Years { from, to } = self.years;
        let hours = if self.outside.len() == 1 { "hour is" } else { "hours are" };
        let all = (year(*first).min(from), year(*last).max(to));
        Some(format!(
            "{} {hours} outside of the years {from}-{to}, and no query finds them: {}{more}. --years {}-{} covers all",
            self.outside.len(),
            named.join(", "),
            all.0,
            all.1
        ))
    }

    /// What a reader of the statements should know of it.
    pub(super) fn comments(&self, keys: Keys) -> Vec<String> {
        let Years { from, to } = self.years;
        let end = if self.ends_now { "now".to_owned() } else { format!("the end of {to}") };
        let mut lines = vec![
            format!("It looks for hours from the start of {from} to {end}: a query without a condition on"),
            format!("{} asks for {} folders. Give a condition.", condition_on(keys), self.folders),
        ];
        if keys == Keys::Hour {
            lines.push(format!(
                "Print it again before {to} ends. `--keys dt` has one key instead, whose range ends now."
            ));
        }
        if !self.asked {
            lines.push(format!(
                "The store was not asked which years it has: a record of a year before {from} is not found."
            ));
        }
        lines.extend(self.warning().map(|warning| format!("WARNING: {warning}.")));
        lines
    }
}

const fn condition_on(keys: Keys) -> &'static str {
    match keys {
        Keys::Hour => "year, month and day",
        Keys::Dt => "dt",
    }
}

fn year(hour: Hour) -> u16 {
    u16::try_from(hour.date().year()).unwrap_or(0)
}

fn folders_asked_for(years: Years, ends_now: bool, now: Hour, keys: Keys) -> u64 {
    let whole = u64::from(years.to - years.from + 1);
    match keys {
        Keys::Hour => whole * 12 * 31 * 24,
        Keys::Dt if ends_now => {
            let days = u64::try_from(now.date().day_of_year()).unwrap_or(0);
            (whole - 1) * 8766 + days * 24
        }
        Keys::Dt => whole * 8766,
    }
}

/// How a key is projected.
pub(super) struct Projected {
    /// The key.
    pub(super) name: &'static str,
    /// `integer` or `date`.
    pub(super) kind: &'static str,
    /// Its first and last value.
    pub(super) range: [String; 2],
    /// Digits of an integer.
    pub(super) digits: Option<usize>,
    /// How Java spells a date.
    pub(super) format: Option<String>,
}

/// The keys.
pub(super) fn keys(table: &Table) -> Vec<Projected> {
    let Span { years, ends_now, .. } = &table.span;
    match table.keys {
        Keys::Hour => Field::ALL
            .iter()
            .map(|field| {
                let (from, to) = match field {
                    Field::Year => (years.from, years.to),
                    Field::Month => (1, 12),
                    Field::Day => (1, 31),
                    Field::Hour => (0, 23),
                };
                let range = [from.to_string(), to.to_string()];
                Projected { name: field.name(), kind: "integer", range, digits: Some(field.width()), format: None }
            })
            .collect(),
        Keys::Dt => {
            let ahead = if table.ahead == 0 { String::new() } else { format!("+{}HOURS", table.ahead) };
            let end = if *ends_now { format!("NOW{ahead}") } else { folders(&table.layout, years.to, 12, 31, 23) };
            let format = spell(&table.layout, |field| java(field).to_owned(), |text| format!("'{text}'"));
            let range = [folders(&table.layout, years.from, 1, 1, 0), end];
            vec![Projected { name: "dt", kind: "date", range, digits: None, format: Some(format) }]
        }
    }
}

/// The folder of a partition, with `${key}` for its keys.
pub(super) fn template(table: &Table, data: &str) -> String {
    let folders = match table.keys {
        Keys::Hour => spell(&table.layout, |field| format!("${{{}}}", field.name()), str::to_owned),
        Keys::Dt => "${dt}".to_owned(),
    };
    format!("{data}{folders}/")
}

/// How to give a condition.
pub(super) fn example(table: &Table) -> String {
    match table.keys {
        Keys::Hour => "year = 2023 AND month = 3 AND day = 10 AND hour = 1".to_owned(),
        Keys::Dt => {
            let hour = |hour| super::Quoted(&folders(&table.layout, 2023, 3, 10, hour)).to_string();
            if in_order(&table.layout) {
                format!("dt BETWEEN {} AND {}", hour(0), hour(23))
            } else {
                format!("dt IN ({}, {})", hour(0), hour(1))
            }
        }
    }
}

const fn java(field: Field) -> &'static str {
    match field {
        Field::Year => "yyyy",
        Field::Month => "MM",
        Field::Day => "dd",
        Field::Hour => "HH",
    }
}

/// The folders of an hour, below `data/`.
fn folders(layout: &Layout, year: u16, month: i8, day: i8, hour: i8) -> String {
    let date = jiff::civil::Date::new(year.cast_signed(), month, day).unwrap_or(jiff::civil::Date::MIN);
    Hour::new(date, hour).map_or_else(|_| String::new(), |hour| layout.folders(hour))
}

/// Whether the texts of the layout sort as time does.
fn in_order(layout: &Layout) -> bool {
    let fields = layout.pieces().iter().filter_map(|piece| match piece {
        Piece::Field(field) => Some(*field),
        Piece::Literal(_) => None,
    });
    fields.eq(Field::ALL)
}
