//! The settings that a state directory records, because the parts that it has named depend on them. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

/// What parts depend on. Recorded, because a part must be the same whoever seals it, and whenever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The time zone of the hours.
    pub timezone: String,
    /// The template of the keys.
    pub layout: String,
    /// Where the parts go.
    pub destination: String,
    /// The dictionary of `url`.
    pub url: BTreeMap<String, i64>,
    /// The dictionary of `method`.
    pub method: BTreeMap<String, i64>,
}

impl Settings {
    /// Checks that a state recorded under these settings can go on under `new`: dictionaries may gain entries, the rest
    /// stays.
    ///
    /// # Errors
    /// `Config`, naming the setting.
    pub fn allow(&self, new: &Self) -> Result<()> {
        let fixed = [
            ("hours.timezone", &self.timezone, &new.timezone),
            ("load.layout", &self.layout, &new.layout),
            ("load.to", &self.destination, &new.destination),
        ];
        for (key, old, new) in fixed {
            if old != new {
                let prefix = if key == "load.to" { "" } else { " and another prefix in load.to" };
                let hint = format!("change it back, or use another state.dir{prefix} for the new setting");
                return Err(changed(key, &format!("{old:?}, now {new:?}")).hint(hint));
            }
        }
        for (key, old, new) in [("compact.url", &self.url, &new.url), ("compact.method", &self.method, &new.method)] {
            if let Some((entry, _)) = old.iter().find(|(entry, code)| new.get(*entry) != Some(code)) {
                return Err(changed(key, &format!("an entry {entry:?} that is now missing or different")));
            }
        }
        Ok(())
    }
}

fn changed(key: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{key} has changed: the state directory was made with {what}"))
        .hint("change it back; what is to be written the new way needs another state.dir and another prefix in load.to")
}
