//! What an audit finds: the shape of `etl verify --json`, and its text. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::digests::Walked;
use crate::hour::Hour;
use crate::output::plain_text::clean;
use crate::view::table::plural;

/// What is wrong with an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The ledger has a receipt for it, and it is not there.
    Missing,
    /// It differs from what the ledger says.
    Changed,
    /// The ledger does not know it.
    Foreign,
}

impl Fault {
    const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Changed => "changed",
            Self::Foreign => "foreign",
        }
    }
}

/// An object with a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What is wrong with it.
    pub fault: Fault,
    /// Its hour, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hour: Option<Hour>,
    /// Its key.
    pub key: String,
    /// How it differs.
    pub detail: String,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// The version of this shape.
    pub schema: u32,
    /// Hours with parts.
    pub hours: u64,
    /// Parts that were looked at.
    pub parts: u64,
    /// Records in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Whether they were downloaded and decoded.
    pub deep: bool,
    /// Empty: the store has all parts as the ledger says.
    pub findings: Vec<Finding>,
    /// What a comparison with the archive found, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archive: Option<Comparison>,
    /// What a walk along the digests found, where one was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) digests: Option<Walked>,
}

impl Verification {
    /// A verification that has not looked at anything yet.
    pub(crate) const fn new(deep: bool) -> Self {
        Self {
            schema: 1,
            hours: 0,
            parts: 0,
            rows: 0,
            bytes: 0,
            deep,
            findings: Vec::new(),
            archive: None,
            digests: None,
        }
    }

    pub(crate) fn is_well(&self) -> bool {
        let is_archive_well = self.archive.as_ref().is_none_or(|archive| archive.findings.is_empty());
        let are_digests_well = self.digests.as_ref().is_none_or(|walked| walked.findings.is_empty());
        self.findings.is_empty() && is_archive_well && are_digests_well
    }

    /// The comparison with the ledger, for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Finding { fault, hour, key, detail } in &self.findings {
            let hour = hour.map_or_else(String::new, |hour| format!("hour {hour}: "));
            let _ = writeln!(text, "{}  {}  {hour}{}", fault.word(), clean(key), clean(detail));
        }
        let looked = if self.deep { "downloaded and decoded" } else { "looked at" };
        let _ = writeln!(
            text,
            "{} of {} with {} {looked}: {}",
            plural(self.parts, "part", "parts"),
            plural(self.hours, "hour", "hours"),
            plural(self.rows, "record", "records"),
            verdict(&self.findings, "all as the ledger says")
        );
        text
    }
}

/// What a comparison with the archive found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Comparison {
    /// Archived parts.
    pub files: u64,
    /// Logs in them that the store gives back.
    pub rows: u64,
    /// Empty: the store gives back all of them.
    pub findings: Vec<Finding>,
}

impl Comparison {
    /// The same for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for Finding { key, detail, .. } in &self.findings {
            let _ = writeln!(text, "archive  {}  {}", clean(key), clean(detail));
        }
        let (files, rows) = (plural(self.files, "archived part", "archived parts"), plural(self.rows, "log", "logs"));
        let verdict = verdict(&self.findings, "all as the archive has them");
        let _ = writeln!(text, "{files} compared, {rows} equal in the store: {verdict}");
        text
    }
}

fn verdict(findings: &[Finding], well: &str) -> String {
    match findings.len() as u64 {
        0 => well.to_owned(),
        n => plural(n, "difference", "differences"),
    }
}
