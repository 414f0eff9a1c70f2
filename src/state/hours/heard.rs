//! The file `heard`: when the source was heard without a break. JSON behind a checksum, bounded, replaced as a whole.
//!
//! Nothing depends on it but what certificates claim: where it is missing or damaged, nothing was heard.

use std::path::{Path, PathBuf};

use crate::error::Result;
use crate::hour::heard::Heard;
use crate::output::draft::Survives;
use crate::state::files::checked;

/// What was heard so far.
pub(crate) fn read(state: &Path) -> Result<Heard> {
    Ok(checked::read_json(&path(state))?.unwrap_or_default())
}

/// Replaces it. Durable on return.
pub(crate) fn write(state: &Path, heard: &Heard) -> Result<()> {
    checked::write_json(&path(state), heard, Survives::Everything)
}

fn path(state: &Path) -> PathBuf {
    state.join("heard")
}
