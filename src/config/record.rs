//! `[record]`: what a record is.
//!
//! Invariant: time and number can be neither dropped nor masked. The secret of the masks is read only when it is asked for, and never in an
//! error.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer};

use super::environment::{Variable, check_name};
use super::layers::Layers;
use super::paths::wrong;
use super::{keys, paths, value};
use crate::error::Result;
use crate::hour::time::TimeFormat;
use crate::pointer::Pointer;
use crate::secret::Secret;

/// A key that is shorter can be guessed.
const KEY_LENGTH: usize = 16;

/// `[record]`. What a command may do without is behind a method and fails only when asked for.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecordConfig {
    /// Where the time stands.
    #[serde(deserialize_with = "place")]
    pub(crate) time: Pointer,
    /// How it is spelled.
    #[serde(deserialize_with = "time_format")]
    pub(crate) time_format: TimeFormat,
    #[serde(deserialize_with = "optional_place")]
    id: Option<Pointer>,
    /// Whether values that no row can hold are kept as their text.
    #[serde(rename = "odd", deserialize_with = "odd_as_text")]
    pub(crate) odd_as_text: bool,
    /// What never reaches the lake.
    #[serde(deserialize_with = "places")]
    pub(crate) drop: Vec<Pointer>,
    /// What reaches it only as a mask.
    #[serde(deserialize_with = "places")]
    pub(crate) mask: Vec<Pointer>,
    #[serde(deserialize_with = "value::text")]
    mask_key: String,
    /// Where the secret of the masks is.
    #[serde(skip)]
    secret: Option<MaskSecret>,
    /// What errors call the place of `mask`.
    #[serde(skip)]
    mask_place: String,
}

/// Where a secret is.
#[derive(Debug, Clone)]
enum MaskSecret {
    File(PathBuf),
    Variable { name: String, found: Option<Variable> },
}

/// A JSON Pointer, or the name of a field.
fn parse_place(text: &str) -> Result<Pointer> {
    if text.is_empty() {
        return Err(wrong("names no field").hint("write a field's name, or a JSON Pointer such as \"/meta/time\""));
    }
    if !text.starts_with('/') {
        return Ok(Pointer::member(text));
    }
    Pointer::parse(text).map_err(|why| wrong(why.to_string()).hint("correct the JSON Pointer (RFC 6901)"))
}

fn place<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Pointer, D::Error> {
    value::parsed_by(from, parse_place)
}

fn optional_place<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Option<Pointer>, D::Error> {
    value::parsed_by(from, |text| if text.is_empty() { Ok(None) } else { parse_place(text).map(Some) })
}

/// A place as an element of an array.
#[derive(Deserialize)]
#[serde(transparent)]
struct Place(#[serde(deserialize_with = "place")] Pointer);

fn places<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<Vec<Pointer>, D::Error> {
    Ok(Vec::<Place>::deserialize(from)?.into_iter().map(|place| place.0).collect())
}

fn time_format<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<TimeFormat, D::Error> {
    value::parsed_by(from, |text| {
        TimeFormat::parse(text).ok_or_else(|| {
            wrong("not a format that gives date and time").hint(
                "write \"auto\", \"epoch-s\", \"epoch-ms\", \"epoch-us\", \"epoch-ns\", or a pattern of strptime such as \"%d/%b/%Y:%H:%M:%S %z\"",
            )
        })
    })
}

fn odd_as_text<'de, D: Deserializer<'de>>(from: D) -> std::result::Result<bool, D::Error> {
    value::parsed_by(from, |text| match text {
        "quarantine" => Ok(false),
        "text" => Ok(true),
        _ => Err(wrong("not what can be done with odd values").hint(
            "\"quarantine\" sets the record aside, \"text\" keeps NaN, datetime(…) and their like as their text",
        )),
    })
}

impl RecordConfig {
    /// Where the number stands that the source increases by one for each record. `None`: there is none.
    #[must_use]
    pub(crate) const fn id(&self) -> Option<&Pointer> {
        self.id.as_ref()
    }

    /// Whether the time stands where the origin's records have it.
    #[must_use]
    pub(crate) fn is_of_the_origin(&self) -> bool {
        matches!(self.time.steps(), [only] if only == "inDate")
    }

    /// Completes what was read by `sequence`, which is what `id` was called in `[source]`, and by where the secret is.
    pub(super) fn resolve(&mut self, layers: &Layers<'_>, sequence: Option<&str>) -> Result<()> {
        if let Some(name) = sequence {
            self.take_sequence(layers, name)?;
        }
        // The origin sends texts: a number there is as odd as ever, unless somebody has said that it is not.
        let is_said = |key| layers.in_file(&["record", key]);
        if self.time_format == TimeFormat::Auto && self.is_of_the_origin() && !is_said("time_format") {
            self.time_format = TimeFormat::Text;
        }
        for (key, places) in [("drop", &self.drop), ("mask", &self.mask)] {
            self.check_places(layers, key, places)?;
        }
        self.secret = self.find_secret(layers)?;
        self.mask_place = layers.origin(&["record", "mask"]).to_string();
        Ok(())
    }

    fn take_sequence(&mut self, layers: &Layers<'_>, name: &str) -> Result<()> {
        let old = ["source", "sequence"];
        if layers.in_file(&["record", "id"]) {
            return Err(layers
                .error(&old, "the number is named in two places")
                .hint("keep record.id: it is what source.sequence was called before"));
        }
        self.id = (!name.is_empty()).then(|| Pointer::member(name));
        layers.note("record.id", self.id.as_ref().map_or_else(String::new, Pointer::to_string), layers.origin(&old));
        Ok(())
    }

    /// Time and number decide where a record lies, and what is missing: both must stay as they are.
    fn check_places(&self, layers: &Layers<'_>, key: &str, places: &[Pointer]) -> Result<()> {
        let needed = [("record.time", Some(&self.time)), ("record.id", self.id.as_ref())];
        for (name, needed) in needed.into_iter().filter_map(|(name, place)| Some((name, place?))) {
            if let Some(place) = places.iter().find(|place| needed.steps().starts_with(place.steps())) {
                let hint = match name {
                    "record.id" => "leave it out, or set record.id = \"\" if nothing numbers the records",
                    _ => "leave it out: it decides which hour a record is of",
                };
                return Err(layers
                    .error(&["record", key], format!("\"{place}\" has {name} in it, \"{needed}\""))
                    .hint(hint));
            }
        }
        Ok(())
    }

    fn find_secret(&self, layers: &Layers<'_>) -> Result<Option<MaskSecret>> {
        let path = ["record", "mask_key"];
        if self.mask_key.is_empty() {
            return Ok(None);
        }
        if let Some(name) = self.mask_key.strip_prefix("env:").map(str::trim) {
            check_name(name, |what| layers.error(&path, what))?;
            let found = layers.environment.get(name)?;
            return Ok(Some(MaskSecret::Variable { name: name.to_owned(), found }));
        }
        if !self.mask_key.starts_with("file:") {
            return Err(layers
                .error(&path, "a secret does not belong in the file")
                .hint("put it into a variable, mask_key = \"env:ETL_MASK_KEY\", or into a file, \"file:mask.key\""));
        }
        let file = layers.parse(&path, &self.mask_key, |text, base| {
            paths::absolute(paths::after_file(text.trim_start_matches("file:"))?, base)
        })?;
        Ok(Some(MaskSecret::File(file)))
    }

    /// The secret of the masks. `None`: nothing is masked.
    ///
    /// # Errors
    /// `Config`: it is not named, not set, cannot be read, or is so short that it can be guessed. Never holds it.
    pub fn mask_key(&self) -> Result<Option<Secret>> {
        if self.mask.is_empty() {
            return Ok(None);
        }
        let secret = self.secret.as_ref().ok_or_else(|| {
            wrong(format!("{}: record.mask: a mask needs a key", self.mask_place))
                .hint("set record.mask_key to \"env:NAME\" or \"file:PATH\"; `openssl rand -hex 32` makes one")
        })?;
        let key = match secret {
            MaskSecret::File(path) => Secret::new(keys::read_private(path)?.trim()),
            MaskSecret::Variable { name, found: None } => {
                return Err(wrong(format!("no key for record.mask: {name} is not set"))
                    .hint(format!("set {name} in the environment or in .env; `openssl rand -hex 32` makes one")));
            }
            MaskSecret::Variable { found: Some(found), .. } => found.value.clone(),
        };
        if key.expose().len() < KEY_LENGTH {
            return Err(wrong(format!("record.mask_key leads to a key of fewer than {KEY_LENGTH} characters")).hint(
                "use one that cannot be guessed, as of `openssl rand -hex 32`: whoever knows it can try values",
            ));
        }
        Ok(Some(key))
    }
}
