//! Which source filled this state: another address is said once, and a backfill knows whether it goes into a live state.
//!
//! Owns `source.json` in the state directory: the HTTP address without query and userinfo, or the files of a backfill. A note, not
//! fsynced: where it is lost, or damaged, nothing is said, and the next run writes it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::fetch::Source;
use super::{increment, notes};
use crate::error::Result;
use crate::output::draft::Survives;
use crate::state::files::checked;

/// What is noted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Noted {
    /// The address of an API.
    Http(String),
    /// The pattern of files.
    Files(String),
}

fn path(dir: &Path) -> PathBuf {
    dir.join("source.json")
}

/// Notes where the pages come from. Where that is another address than before, says so, once; nothing that is known of the old one is
/// then asked of the new one.
pub(crate) fn note(dir: &Path, source: &Source<'_>) -> Result<()> {
    let now = match source {
        Source::Http { template, .. } => Noted::Http(template.to_string()),
        Source::Files { pattern, .. } => Noted::Files(pattern.clone()),
    };
    let before: Option<Noted> = checked::read_json(&path(dir))?;
    match (&before, &now) {
        // A backfill leaves the state to its live source.
        (Some(Noted::Http(_)), Noted::Files(_)) => return Ok(()),
        (Some(before), now) if before == now => return Ok(()),
        (Some(Noted::Http(before)), Noted::Http(now)) => {
            tracing::warn!(
                "the source is {now} now, and was {before}: its records go on in the same hours; for another source use another state.dir"
            );
            notes::forget_seen(dir)?;
            increment::forget(dir)?;
        }
        _ => {}
    }
    checked::write_json(&path(dir), &now, Survives::Nothing)
}

/// Whether the state is filled by an API. `None`: that is not known.
pub(crate) fn is_live(dir: &Path) -> Result<Option<bool>> {
    let noted: Option<Noted> = checked::read_json(&path(dir))?;
    Ok(noted.map(|noted| matches!(noted, Noted::Http(_))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pattern: &str) -> Source<'static> {
        Source::Files { pattern: pattern.to_owned(), max_page_bytes: 1 }
    }

    #[test]
    fn backfill_does_not_make_a_live_state_one_of_files() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(is_live(dir.path()).unwrap(), None);
        note(dir.path(), &files("a/*")).unwrap();
        assert_eq!(is_live(dir.path()).unwrap(), Some(false));
        let live = Noted::Http("https://a.example/log".into());
        checked::write_json(&path(dir.path()), &live, Survives::Nothing).unwrap();
        note(dir.path(), &files("b/*")).unwrap();
        assert_eq!(is_live(dir.path()).unwrap(), Some(true));
        std::fs::write(path(dir.path()), "damaged").unwrap();
        assert_eq!(is_live(dir.path()).unwrap(), None);
    }
}
