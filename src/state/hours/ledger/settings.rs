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
        let Some((key, what)) = self.difference(new) else { return Ok(()) };
        let way_out = if FIXED.contains(&&*key) { way_out(&key) } else { OTHER_PLACE.to_owned() };
        Err(Error::new(ErrorKind::Config, format!("{key} has changed: the state directory was made with {what}"))
            .hint(way_out))
    }

    /// The first setting that cannot become that of `new`: its key, and what it was made with.
    pub(crate) fn difference(&self, new: &Self) -> Option<(String, String)> {
        // The format before the layout: it brings a layout of its own.
        let values = [
            (&*self.timezone, &*new.timezone),
            (self.format.encoding.name(), new.format.encoding.name()),
            (self.format.compression.name(), new.format.compression.name()),
            (&self.layout, &new.layout),
            (&self.destination, &new.destination),
            (&self.lane, &new.lane),
        ];
        let differs = FIXED.into_iter().zip(values).find(|(_, (old, new))| old != new);
        if let Some((key, (old, new))) = differs {
            return Some((key.to_owned(), format!("{old:?}, now {new:?}")));
        }
        if let Some(found) = new.record.difference(&self.record) {
            return Some((found.key.to_owned(), format!("{}, now {}", found.before, found.now)));
        }
        if let Some((field, had)) = new.codecs.change_since(&self.codecs) {
            return Some((format!("compact.{field}"), had));
        }
        // Views over lines may have other columns any day: there is nothing of them in the parts.
        let gone = self.columns.iter().find(|(name, kind)| new.columns.get(*name) != Some(kind));
        let (name, kind) = gone.filter(|_| self.format.encoding == Encoding::Parquet)?;
        Some(("load.columns".to_owned(), format!("{name} = {kind:?}, which is now missing or different")))
    }
}

/// Settings that are texts and stay what they are.
const FIXED: [&str; 6] = ["hours.timezone", "load.format", "load.compression", "load.layout", "load.to", "the lane"];
const OTHER_PLACE: &str =
    "change it back; what is to be written the new way needs another state.dir and another prefix in load.to";

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
