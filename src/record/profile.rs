//! What a state and a store record of a schema: that which decides in which hour a record lies, and which records are the same.
//!
//! Pure data. The default is the origin's, which is what is not said means: states and stores of before have no profile.

use serde::{Deserialize, Serialize};

use super::schema::{IN_DATE, place_name};
use super::{Dating, MaskKey};
use crate::pointer::Pointer;

/// The guarded part of a schema, in the words of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    time: String,
    time_format: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    drop: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    mask: Vec<String>,
    /// Tells the key of the masks from others. Empty: nothing is masked.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    mask_key: String,
}

impl Default for Profile {
    fn default() -> Self {
        let time = Pointer::member(IN_DATE).to_string();
        let time_format = "auto".to_owned();
        Self { time, time_format, drop: Vec::new(), mask: Vec::new(), mask_key: String::new() }
    }
}

/// A setting that is not as it was recorded: its key, what it is, and what it was.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub(crate) key: &'static str,
    pub(crate) now: String,
    pub(crate) before: String,
}

impl Profile {
    /// That of records that are dated so, without what is dropped and masked.
    pub(crate) fn new(dating: &Dating, dropped: &[Pointer], masked: &[Pointer], key: Option<MaskKey>) -> Self {
        // Their order changes nothing.
        let names = |places: &[Pointer]| {
            let mut names: Vec<String> = places.iter().map(place_name).collect();
            names.sort();
            names.dedup();
            names
        };
        Self {
            time: dating.place().to_string(),
            time_format: dating.format().name().to_owned(),
            drop: names(dropped),
            mask: names(masked),
            mask_key: key.map_or_else(String::new, |key| key.fingerprint()),
        }
    }

    /// Whether it is the origin's, about which nothing is recorded.
    pub(crate) fn is_of_the_origin(&self) -> bool {
        *self == Self::default()
    }

    /// The first setting in which it is not `before`.
    pub(crate) fn difference(&self, before: &Self) -> Option<Difference> {
        let list = |names: &[String]| format!("{names:?}");
        let all = [
            ("record.time", format!("{:?}", self.time), format!("{:?}", before.time)),
            ("record.time_format", format!("{:?}", self.time_format), format!("{:?}", before.time_format)),
            ("record.drop", list(&self.drop), list(&before.drop)),
            ("record.mask", list(&self.mask), list(&before.mask)),
            // The keys themselves are never said.
            ("record.mask_key", format!("key {}", self.mask_key), format!("key {}", before.mask_key)),
        ];
        let (key, now, before) = all.into_iter().find(|(_, now, before)| now != before)?;
        Some(Difference { key, now, before })
    }
}

#[cfg(test)]
mod tests {
    use jiff::tz::TimeZone;

    use super::*;
    use crate::hour::time::TimeFormat;

    fn dated(time: &str, format: &str) -> Dating {
        Dating::new(Pointer::parse(time).unwrap(), TimeFormat::parse(format).unwrap(), TimeZone::UTC)
    }

    #[test]
    fn origins_is_the_default_and_others_are_pinned() {
        assert!(Profile::new(&Dating::of_the_origin(TimeZone::UTC), &[], &[], None).is_of_the_origin());
        assert!(Profile::new(&dated("/inDate", "auto"), &[], &[], None).is_of_the_origin());
        let [dropped, masked] = ["/a~1b", "/u/mail"].map(|text| vec![Pointer::parse(text).unwrap()]);
        let other = Profile::new(&dated("/meta/at", "epoch-ms"), &dropped, &masked, Some(MaskKey::of("secret")));
        let text = serde_json::to_string(&other).unwrap();
        let expected = r#"{"time":"/meta/at","time_format":"epoch-ms","drop":["a/b"],"mask":["/u/mail"],"mask_key":"a07a1a72f72c40da"}"#;
        assert_eq!(text, expected);
        assert_eq!(serde_json::from_str::<Profile>(&text).unwrap(), other);
    }

    #[test]
    fn each_difference_is_named_and_no_key_is_shown() {
        let usual = Profile::default();
        let [a, b] = ["/a", "/b"].map(|text| Pointer::parse(text).unwrap());
        let at = || dated("/inDate", "auto");
        let key = |secret| Some(MaskKey::of(secret));
        for (other, name) in [
            (Profile::new(&dated("/at", "auto"), &[], &[], None), "record.time"),
            (Profile::new(&dated("/inDate", "epoch-s"), &[], &[], None), "record.time_format"),
            (Profile::new(&at(), std::slice::from_ref(&a), &[], None), "record.drop"),
            (Profile::new(&at(), &[], std::slice::from_ref(&a), key("secret")), "record.mask"),
        ] {
            assert_eq!(other.difference(&usual).map(|found| found.key), Some(name));
        }
        let masked = |secret| Profile::new(&at(), &[], std::slice::from_ref(&a), key(secret));
        let found = masked("secret").difference(&masked("another")).unwrap();
        assert!(found.key == "record.mask_key" && !format!("{found:?}").contains("secret"), "{found:?}");
        let order = [Profile::new(&at(), &[a.clone(), b.clone()], &[], None), Profile::new(&at(), &[b, a], &[], None)];
        assert_eq!(order[0], order[1]);
    }
}
