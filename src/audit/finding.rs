//! What an audit finds: the shape of `etl verify --json`, and its text. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use super::digests::Walked;
use crate::hour::Hour;
use crate::output::plain_text::clean;
pub use crate::state::status::verified::{Fault, Finding};
use crate::view::table::plural;

/// What to do about a part with a fault: the commands.
pub(crate) fn hint(fault: Fault, hour: Hour) -> String {
    match fault {
        Fault::Missing => {
            format!("`etl repair` puts it back; where it is gone for good, `etl repair --accept-loss {hour}` says so")
        }
        Fault::Changed => {
            "look at it, move it away or bring its earlier version back, then `etl repair` puts back what is missing"
                .to_owned()
        }
        Fault::Foreign | Fault::Unsigned | Fault::Forked => {
            "if another etl put it there, `etl replay --from-s3` takes it over; else move it away".to_owned()
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_zero(n: &u64) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands a reference over")]
const fn is_false(flag: &bool) -> bool {
    !*flag
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
    /// Parts that were given up, or deleted by the lifecycle rule that is configured, and are not looked at.
    #[serde(skip_serializing_if = "is_zero")]
    pub expired: u64,
    /// Records in them.
    pub rows: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Objects that were looked at: parts, dictionaries and what the ledger does not know.
    pub objects: u64,
    /// Whether they were downloaded and decoded.
    pub deep: bool,
    /// Whether parts were compared with what the store itself says of them: in a cluster no ledger knows all.
    #[serde(skip_serializing_if = "is_false")]
    pub by_manifests: bool,
    /// Parts of lanes that have no manifest (yet).
    #[serde(skip_serializing_if = "is_zero")]
    pub without_manifest: u64,
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
            expired: 0,
            rows: 0,
            bytes: 0,
            objects: 0,
            deep,
            by_manifests: false,
            without_manifest: 0,
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

    /// All that was found: by the ledger, by the archive, and along the digests.
    pub(crate) fn all_findings(&self) -> Vec<Finding> {
        let by_archive = self.archive.iter().flat_map(|archive| &archive.findings);
        let by_digests = self.digests.iter().flat_map(|walked| &walked.findings);
        self.findings.iter().chain(by_archive).chain(by_digests).cloned().collect()
    }

    /// The comparison with the ledger, for people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        listed(&self.findings, &mut text, |Finding { fault, hour, key, detail, .. }| {
            let hour = hour.map_or_else(String::new, |hour| format!("hour {hour}: "));
            format!("{}  {}  {hour}{}", fault.word(), clean(key), clean(detail))
        });
        if self.expired > 0 {
            let _ =
                writeln!(text, "{} gone for good, and not looked for", plural(self.expired, "part is", "parts are"));
        }
        if self.without_manifest > 0 {
            let parts = plural(self.without_manifest, "part has", "parts have");
            let _ = writeln!(
                text,
                "{parts} no manifest: a machine is about to write it, or ended in between; the parts are sound without"
            );
        }
        let looked = if self.deep { "downloaded and decoded" } else { "looked at" };
        let _ = writeln!(
            text,
            "{} of {} with {} {looked}: {}",
            plural(self.parts, "part", "parts"),
            plural(self.hours, "hour", "hours"),
            plural(self.rows, "record", "records"),
            verdict(
                &self.findings,
                if self.by_manifests { "all as their manifests say" } else { "all as the ledger says" }
            )
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
        listed(&self.findings, &mut text, |Finding { key, detail, .. }| {
            format!("archive  {}  {}", clean(key), clean(detail))
        });
        let (files, rows) = (plural(self.files, "archived part", "archived parts"), plural(self.rows, "log", "logs"));
        let verdict = verdict(&self.findings, "all as the archive has them");
        let _ = writeln!(text, "{files} compared, {rows} equal in the store: {verdict}");
        text
    }
}

/// Adds each finding on a line, and what to do below the last of those that have the same hint.
pub(super) fn listed(findings: &[Finding], text: &mut String, line: impl Fn(&Finding) -> String) {
    for (n, finding) in findings.iter().enumerate() {
        let _ = writeln!(text, "{}", line(finding));
        if findings.get(n + 1).is_none_or(|next| next.hint != finding.hint) {
            let _ = writeln!(text, "  hint: {}", clean(&finding.hint));
        }
    }
}

pub(super) fn verdict(findings: &[Finding], well: &str) -> String {
    match findings.len() as u64 {
        0 => well.to_owned(),
        n => plural(n, "difference", "differences"),
    }
}
