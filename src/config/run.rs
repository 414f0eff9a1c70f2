//! `[run]`: who watches the runs from outside.

use std::path::PathBuf;

use super::keys::variable_name;
use super::lookup::Lookup;
use crate::error::Result;
use crate::secret::Secret;

/// `[run]`.
#[derive(Debug, Clone, Default)]
pub struct RunConfig {
    /// The metrics file, absolute; `None` where none is written.
    pub metrics_file: Option<PathBuf>,
    /// The monitor's address, which is a secret; `None` where none is pinged.
    pub ping: Option<Secret>,
}

impl RunConfig {
    pub(super) fn load(lookup: &Lookup<'_>) -> Result<Self> {
        let name = lookup.get("run", "ping_env")?;
        let ping = match name.text()? {
            "" => None,
            text => lookup.environment.get(variable_name(&name, text)?)?.map(|variable| variable.value),
        };
        Ok(Self { metrics_file: lookup.get("run", "metrics_file")?.path()?, ping })
    }
}
