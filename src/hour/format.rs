//! In which form an hour's records lie in the store: how they are encoded, and how that is compressed.
//!
//! Pure. It decides where parts lie, what their names end in and what a store says that they are; `part/` turns it into bytes and back.
//! Invariant: one prefix has one format, so a part number has one key; the settings in the store and in the state say which.
//! No part's identity depends on it: that is of its compact lines, whatever they are packed into.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// The form of parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Format {
    /// `load.format`.
    #[serde(default, rename = "format")]
    pub encoding: Encoding,
    /// `load.compression`.
    #[serde(default)]
    pub compression: Compression,
}

/// What an object is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// Compact rows, one a line.
    #[default]
    Ndjson,
    /// Columns.
    Parquet,
}

/// What makes it smaller: of lines the whole, of columns their pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// Read by everything.
    #[default]
    Gzip,
    /// About half of gzip's time, and smaller where an hour is large.
    Zstd,
}

impl Encoding {
    /// Both, the default first.
    pub(crate) const ALL: [Self; 2] = [Self::Ndjson, Self::Parquet];

    /// As the configuration and the settings spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ndjson => "ndjson",
            Self::Parquet => "parquet",
        }
    }

    /// What follows the prefix in the keys of parts. The two are kept apart, because a table that met both would read neither.
    #[must_use]
    pub(crate) const fn root(self) -> &'static str {
        match self {
            Self::Ndjson => "data/",
            Self::Parquet => "parquet/",
        }
    }
}

impl Compression {
    /// Both, the default first.
    pub(crate) const ALL: [Self; 2] = [Self::Gzip, Self::Zstd];

    /// As the configuration and the settings spell it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }
}

impl Format {
    /// Lines, compressed so.
    #[must_use]
    pub const fn ndjson(compression: Compression) -> Self {
        Self { encoding: Encoding::Ndjson, compression }
    }

    /// What the name of a part ends in.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match (self.encoding, self.compression) {
            (Encoding::Ndjson, Compression::Gzip) => ".ndjson.gz",
            (Encoding::Ndjson, Compression::Zstd) => ".ndjson.zst",
            (Encoding::Parquet, _) => ".parquet",
        }
    }

    /// What the name of a part's file ends in where all of them are parts.
    #[must_use]
    pub(crate) const fn extension(self) -> &'static str {
        match (self.encoding, self.compression) {
            (Encoding::Ndjson, Compression::Gzip) => "gz",
            (Encoding::Ndjson, Compression::Zstd) => "zst",
            (Encoding::Parquet, _) => "parquet",
        }
    }

    /// What an HTTP store says that a part is. No content encoding goes with it: a client would unpack what is meant to be kept packed.
    #[must_use]
    pub(crate) const fn content_type(self) -> &'static str {
        match self.encoding {
            Encoding::Ndjson => "application/x-ndjson",
            Encoding::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// The form of the part with this name, whatever is before its suffix. A Parquet file says by itself how its pages are compressed, and its name
    /// does not. `None`: parts do not have such names.
    #[must_use]
    pub(crate) fn of_name(name: &str) -> Option<Self> {
        let (_, name) = name.rsplit_once('/').unwrap_or(("", name));
        Self::all().find(|format| name.len() > format.suffix().len() && name.ends_with(format.suffix()))
    }

    /// The form of the part that is in a file with this extension, as the spool and copies have them. `None`: it is no part's.
    #[must_use]
    pub(crate) fn of_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?;
        Self::all().find(|format| extension == format.extension())
    }

    fn all() -> impl Iterator<Item = Self> {
        Encoding::ALL
            .into_iter()
            .flat_map(|encoding| Compression::ALL.map(|compression| Self { encoding, compression }))
    }

    /// Whether parts of both have the same names.
    #[must_use]
    pub(crate) fn has_names_of(self, other: Self) -> bool {
        self.suffix() == other.suffix()
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} with {}", self.encoding.name(), self.compression.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_of_a_part_is_read_off_its_name() {
        for (name, expected) in [
            ("p/data/x/part-00000.ndjson.gz", Some(Format::ndjson(Compression::Gzip))),
            ("part-00000.ndjson.zst", Some(Format::ndjson(Compression::Zstd))),
            (
                "parquet/x/part-00000.parquet",
                Some(Format { encoding: Encoding::Parquet, compression: Compression::Gzip }),
            ),
            ("part-00000.json", None),
            ("part-00000.ndjson.gz.tmp", None),
            ("x.parquet/part-00000", None),
            ("data/.ndjson.gz", None),
        ] {
            assert_eq!(Format::of_name(name), expected, "{name}");
        }
    }

    #[test]
    fn what_is_recorded_is_pinned_and_states_from_before_there_was_a_choice_are_gzip() {
        let zstd = Format { encoding: Encoding::Parquet, compression: Compression::Zstd };
        assert_eq!(serde_json::to_string(&zstd).unwrap(), r#"{"format":"parquet","compression":"zstd"}"#);
        assert_eq!(serde_json::from_str::<Format>("{}").unwrap(), Format::ndjson(Compression::Gzip));
    }
}
