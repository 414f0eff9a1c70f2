//! What `etl check` found: steps, each with its result and what to do about it. Pure.

use std::fmt::Write as _;

use serde::Serialize;

use crate::error::{Error, ErrorKind};
use crate::output::plain_text::clean;

/// How a step came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    Ok,
    /// It works, and the user should know something.
    Warning,
    Failed,
    /// There was nothing to look at, or an earlier step failed.
    Skipped,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Checked {
    pub(crate) step: &'static str,
    pub(crate) result: Verdict,
    pub(crate) text: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) fix: Option<String>,
    #[serde(skip)]
    kind: Option<ErrorKind>,
}

impl Checked {
    pub(crate) fn ok(step: &'static str, text: impl Into<String>) -> Self {
        Self { step, result: Verdict::Ok, text: text.into(), fix: None, kind: None }
    }

    pub(crate) fn warning(step: &'static str, text: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { step, result: Verdict::Warning, text: text.into(), fix: Some(fix.into()), kind: None }
    }

    pub(crate) fn skipped(step: &'static str, text: impl Into<String>) -> Self {
        Self { step, result: Verdict::Skipped, text: text.into(), fix: None, kind: None }
    }

    pub(crate) fn failed(step: &'static str, error: &Error) -> Self {
        let fix = error.next_step().map(str::to_owned);
        Self { step, result: Verdict::Failed, text: error.chain(), fix, kind: Some(error.kind()) }
    }
}

/// All steps, in their order: the shape of `etl check --json`.
#[derive(Debug, Serialize)]
pub(crate) struct Findings {
    pub(crate) schema: u32,
    pub(crate) exit: u8,
    pub(crate) steps: Vec<Checked>,
}

impl Findings {
    /// The exit code is that of the most pressing failure.
    pub(crate) fn new(steps: Vec<Checked>) -> Self {
        let worst = steps.iter().filter_map(|step| step.kind).min();
        Self { schema: 1, exit: worst.map_or(0, ErrorKind::exit_code), steps }
    }

    /// A line a step, and what to do below it.
    pub(crate) fn text(&self) -> String {
        let width = self.steps.iter().map(|step| step.step.len()).max().unwrap_or(0);
        let mut text = String::new();
        for step in &self.steps {
            let mark = match step.result {
                Verdict::Ok => '✓',
                Verdict::Warning => '!',
                Verdict::Failed => '✗',
                Verdict::Skipped => '–',
            };
            let _ = writeln!(text, "{mark} {:<width$}  {}", step.step, clean(&step.text));
            if let Some(fix) = &step.fix {
                let _ = writeln!(text, "  {:<width$}  → {}", "", clean(fix));
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_has_its_mark_and_the_most_pressing_decides() {
        let failed = |kind| Checked::failed("key", &Error::new(kind, "no key opens it").hint("add the key"));
        let found = Findings::new(vec![
            Checked::ok("configuration", "etl.toml"),
            failed(ErrorKind::Unavailable),
            failed(ErrorKind::Credentials),
            Checked::warning("clock", "2 min ahead", "set it"),
            Checked::skipped("store", "none"),
        ]);
        assert_eq!(found.exit, 77);
        let text = found.text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines[..3],
            ["✓ configuration  etl.toml", "✗ key            no key opens it", "                 → add the key"]
        );
        assert!(lines[5].starts_with("! clock") && lines[7].starts_with("– store"), "{text}");
        assert_eq!(Findings::new(vec![Checked::warning("clock", "", "")]).exit, 0);
    }
}
