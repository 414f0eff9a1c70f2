//! The settings that a state directory records, because the parts that it has named depend on them. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::hour::format::{Encoding, Format};
use crate::hour::range::HashRange;
use crate::record::Profile;
use crate::record::row::Codecs;

/// What parts depend on. Recorded, because a part must be the same whoever seals it, and whenever.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The time zone of the hours.
    pub timezone: String,
    /// The template of the keys.
    pub layout: String,
    /// The form of the parts.
    #[serde(flatten)]
    pub format: Format,
    /// The configured columns with their types.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, String>,
    /// Where the parts go.
    pub destination: String,
    /// What dates records, and what is taken out of them. The origin's is not written, as it was not before there were others.
    #[serde(default, skip_serializing_if = "Profile::is_of_the_origin")]
    pub record: Profile,
    /// The compact forms: the dictionaries of `url` and `method`, as before there were others, or `codecs`.
    #[serde(flatten)]
    pub codecs: Codecs,
    /// Which records it may hold, where it is the state of a lane.
    #[serde(default, skip_serializing_if = "HashRange::is_all")]
    pub range: HashRange,
    /// Names the journal of a lane, which is not in the state directory. Empty: the journal is there.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub lane: String,
}

impl Settings {
    /// The settings of a lane: the state of the records in `range`, whose journal is called `lane`.
    #[must_use]
    pub fn of_lane(self, range: HashRange, lane: String) -> Self {
        Self { range, lane, ..self }
    }

    /// Checks that a state recorded under these settings can go on under `new`: dictionaries may gain entries, the rest
    /// stays.
    ///
    /// # Errors
    /// `Config`, naming the setting.
    pub fn allow(&self, new: &Self) -> Result<()> {
        // The format before the layout: it brings a layout of its own.
        let fixed = [
            ("hours.timezone", &*self.timezone, &*new.timezone),
            ("load.format", self.format.encoding.name(), new.format.encoding.name()),
            ("load.compression", self.format.compression.name(), new.format.compression.name()),
            ("load.layout", &self.layout, &new.layout),
            ("load.to", &self.destination, &new.destination),
            ("the lane", &self.lane, &new.lane),
        ];
        for (key, old, new) in fixed {
            if old != new {
                return Err(changed(key, &format!("{old:?}, now {new:?}")).hint(way_out(key)));
            }
        }
        if let Some(found) = new.record.difference(&self.record) {
            return Err(changed(found.key, &format!("{}, now {}", found.before, found.now)));
        }
        if let Some((field, had)) = new.codecs.change_since(&self.codecs) {
            return Err(changed(&format!("compact.{field}"), &had));
        }
        // Views over lines may have other columns any day: there is nothing of them in the parts.
        let gone = self.columns.iter().find(|(name, kind)| new.columns.get(*name) != Some(kind));
        match gone.filter(|_| self.format.encoding == Encoding::Parquet) {
            Some((name, kind)) => {
                Err(changed("load.columns", &format!("{name} = {kind:?}, which is now missing or different")))
            }
            None => Ok(()),
        }
    }
}

/// What to do about a setting that must not be another.
pub(crate) fn way_out(key: &str) -> String {
    let prefix = if key == "load.to" { "" } else { " and another prefix in load.to" };
    let export = match key {
        "load.format" | "load.compression" => {
            "; `etl export` writes what there is in the new form under another prefix"
        }
        _ => "",
    };
    format!("change it back, or use another state.dir{prefix} for the new setting{export}")
}

fn changed(key: &str, what: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{key} has changed: the state directory was made with {what}"))
        .hint("change it back; what is to be written the new way needs another state.dir and another prefix in load.to")
}
