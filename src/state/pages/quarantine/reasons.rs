//! How many tokens there are of each reason, without reading them.
//!
//! ```text
//! quarantine/reasons      JSON behind a checksum: the reasons with their counts
//! ```
//! A view, not fsynced: where its sum is not the number of tokens, or it is damaged, the tokens are counted again.

use std::collections::BTreeMap;
use std::path::Path;

use super::Quarantine;
use crate::error::Result;
use crate::output::draft::Survives;
use crate::state::files::checked;

const NAME: &str = "reasons";

/// The counts in the file, where their sum is `tokens`.
pub(super) fn read(dir: &Path, tokens: u64) -> Result<Option<BTreeMap<String, u64>>> {
    let noted = checked::read_json::<BTreeMap<String, u64>>(&dir.join(NAME))?;
    let reasons = if tokens == 0 { Some(BTreeMap::new()) } else { noted };
    Ok(reasons.filter(|reasons| reasons.values().sum::<u64>() == tokens))
}

impl Quarantine {
    /// How many tokens there are of each reason.
    pub(crate) fn reasons(&mut self) -> Result<BTreeMap<String, u64>> {
        if let Some(reasons) = &self.reasons {
            return Ok(reasons.clone());
        }
        let mut reasons: BTreeMap<String, u64> = BTreeMap::new();
        for segment in self.segments(None) {
            for token in self.tokens(segment)?.into_iter().flatten() {
                *reasons.entry(token?.reason).or_default() += 1;
            }
        }
        self.note(&reasons)?;
        self.reasons = Some(reasons.clone());
        Ok(reasons)
    }

    /// Counts added and released tokens.
    pub(super) fn count_reasons(&mut self, came: &BTreeMap<String, u64>, went: &BTreeMap<String, u64>) -> Result<()> {
        let Some(mut reasons) = self.reasons.take() else { return Ok(()) };
        came.iter().for_each(|(reason, count)| *reasons.entry(reason.clone()).or_default() += count);
        for (reason, count) in went {
            if let Some(left) = reasons.get_mut(reason) {
                *left = left.saturating_sub(*count);
            }
        }
        reasons.retain(|_, count| *count > 0);
        self.note(&reasons)?;
        self.reasons = Some(reasons);
        Ok(())
    }

    fn note(&self, reasons: &BTreeMap<String, u64>) -> Result<()> {
        checked::write_json(&self.dir.join(NAME), reasons, Survives::Nothing)
    }
}

#[cfg(test)]
mod tests {
    use super::super::OddToken;
    use super::*;

    fn odd(identity: &str, reason: &str) -> OddToken {
        OddToken {
            identity: identity.into(),
            reason: reason.into(),
            detail: String::new(),
            token: String::new(),
            encoding: None,
            received: "2023-03-10T01:00:00Z".parse().unwrap(),
            due: None,
        }
    }

    /// The reasons now, and those that a new start knows.
    fn reasons(quarantine: &mut Quarantine, state: &Path) -> Vec<(String, u64)> {
        let now = quarantine.reasons().unwrap();
        assert_eq!(Quarantine::open(state).unwrap().reasons().unwrap(), now);
        now.into_iter().collect()
    }

    #[test]
    fn reasons_follow_what_comes_and_goes_and_are_counted_again_where_they_cannot_be_right() {
        let dir = tempfile::tempdir().unwrap();
        let mut quarantine = Quarantine::open(dir.path()).unwrap();
        assert_eq!(reasons(&mut quarantine, dir.path()), []);
        quarantine.add(1, [odd("a", "x"), odd("b", "y")]).unwrap();
        quarantine.add(2, [odd("b", "y"), odd("c", "y")]).unwrap();
        assert_eq!(reasons(&mut quarantine, dir.path()), [("x".to_owned(), 1), ("y".to_owned(), 2)]);
        quarantine.add(2, [odd("d", "z"), odd("c", "y")]).unwrap();
        let all = [("x".to_owned(), 1), ("y".to_owned(), 2), ("z".to_owned(), 1)];
        assert_eq!(reasons(&mut quarantine, dir.path()), all);
        for damage in ["", "garbage"] {
            std::fs::write(dir.path().join("quarantine").join(NAME), damage).unwrap();
            assert_eq!(reasons(&mut Quarantine::open(dir.path()).unwrap(), dir.path()), all);
        }
        quarantine.release(2, &mut |token| token.reason != "y", &|| false).unwrap();
        assert_eq!(
            reasons(&mut quarantine, dir.path()),
            [("x".to_owned(), 1), ("y".to_owned(), 1), ("z".to_owned(), 1)]
        );
        for segment in [1, 2] {
            quarantine.release(segment, &mut |_| false, &|| false).unwrap();
        }
        assert_eq!(reasons(&mut quarantine, dir.path()), []);
    }
}
