//! What a tick did so far, and what went wrong: the failure of a step costs only that step.

use crate::cluster::route::Routed;
use crate::error::{Error, ErrorKind, Result};
use crate::job::{Outcome, Summary};

/// What a tick did so far.
#[derive(Default)]
pub(super) struct Done {
    pub(super) summary: Summary,
    pub(super) problems: Vec<Error>,
}

/// What a step came to.
pub(super) trait Step {
    fn add_to(self, done: &mut Done);
}

impl Step for () {
    fn add_to(self, _: &mut Done) {}
}

impl Step for Outcome {
    fn add_to(self, done: &mut Done) {
        done.summary.add(&self.summary);
        done.problems.extend(self.problems);
    }
}

impl Done {
    /// How the tick ends, as far as it has come.
    pub(super) fn exit(&self) -> u8 {
        let kinds = self.problems.iter().map(Error::kind);
        kinds.chain(self.summary.quarantine_problem().map(|odd| odd.kind())).min().map_or(0, ErrorKind::exit_code)
    }

    /// Notes what was routed.
    pub(super) fn routed(&mut self, routed: Routed) {
        self.summary.fetched += routed.elements;
        self.summary.quarantined += routed.odd;
        for (reason, count) in routed.reasons {
            *self.summary.quarantined_reasons.entry(reason).or_default() += count;
        }
        self.problems.extend(routed.problems);
    }

    /// Notes what a step came to: its failure costs only itself.
    pub(super) fn note(&mut self, step: Result<impl Step>) {
        match step {
            Ok(step) => step.add_to(self),
            Err(error) => self.problems.push(error),
        }
    }

    /// The outcome of the tick, which took so long.
    pub(super) fn end(self, seconds: f64) -> Outcome {
        let Self { mut summary, mut problems } = self;
        problems.extend(summary.quarantine_problem());
        problems.sort_by_key(Error::kind);
        summary.seconds = seconds;
        Outcome { summary, began: true, problems }
    }
}
