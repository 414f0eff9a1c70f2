//! Object keys: the one place that spells them, with the inverse beside it.
//!
//! A part's key is `<prefix>data/<layout>/part-00000.ndjson.gz`, or what its [`Format`] makes of `data/` and of the suffix. Invariant:
//! [`Layout::parse_key`] reads exactly the keys that [`Layout::key`] makes, so anything else below there is a stranger, a part of another
//! format as well: a number has one key. Pure; nothing here touches disk.
//!
//! Within an hour the byte order of the keys is the order of the part numbers. Parts 0–99999 have five digits; longer numbers begin
//! with a letter for their length (`part-a100000`, `part-b1000000`, …), because digits sort before letters and `part-100000` would
//! sort before `part-99999`.

use std::fmt;

use jiff::civil::Date;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;
use crate::hour::format::Format;

/// The default layout.
pub const DEFAULT_LAYOUT: &str = "{year}_y/{month}_m/{day}_d/{hour}_h";

/// What `layout = "hive"` stands for.
pub const HIVE_LAYOUT: &str = "year={year}/month={month}/day={day}/hour={hour}";

const PART: &str = "part-";
/// The first characters of part numbers with 6, 7, 8, 9 and 10 digits; 32 bits have no more.
const LENGTH_LETTERS: [char; 5] = ['a', 'b', 'c', 'd', 'e'];

/// How the folders of an hour are spelled, between `data/` and the part's name, and what the format adds before and behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    template: String,
    pieces: Vec<Piece>,
    format: Format,
}

/// What a template is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Piece {
    /// This text.
    Literal(String),
    /// A number of the hour.
    Field(Field),
}

/// A number that an hour's folders are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Field {
    /// Four digits.
    Year,
    /// Two digits, as are the others.
    Month,
    /// Of the month.
    Day,
    /// Of the day.
    Hour,
}

impl Field {
    /// From the largest to the smallest.
    pub const ALL: [Self; 4] = [Self::Year, Self::Month, Self::Day, Self::Hour];

    /// Its name in a template.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Year => "year",
            Self::Month => "month",
            Self::Day => "day",
            Self::Hour => "hour",
        }
    }

    /// How many digits it has.
    #[must_use]
    pub(crate) const fn width(self) -> usize {
        if matches!(self, Self::Year) { 4 } else { 2 }
    }

    /// Its value in an hour.
    #[must_use]
    pub(crate) fn of(self, hour: Hour) -> i16 {
        match self {
            Self::Year => hour.date().year(),
            Self::Month => hour.date().month().into(),
            Self::Day => hour.date().day().into(),
            Self::Hour => hour.hour_of_day().into(),
        }
    }
}

impl Layout {
    /// Reads a template: `{year}`, `{month}`, `{day}` and `{hour}`, each exactly once, with letters, digits and
    /// `_ - . = /` around them; or `hive`, which stands for [`HIVE_LAYOUT`].
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where the template would not name each hour by one folder of its own.
    pub fn parse(template: &str) -> Result<Self> {
        let template = if template == "hive" { HIVE_LAYOUT } else { template };
        let wrong = |why: &str| {
            Error::new(ErrorKind::Config, format!("the layout {template:?}: {why}"))
                .hint(format!("write it as in {DEFAULT_LAYOUT:?}, or \"hive\""))
        };
        let pieces = split(template).map_err(|why| wrong(&why))?;
        for field in Field::ALL {
            let found = pieces.iter().filter(|piece| **piece == Piece::Field(field)).count();
            if found != 1 {
                return Err(wrong(&format!("{{{}}} is there {found} times, not once", field.name())));
            }
        }
        if template.split('/').any(|folder| matches!(folder, "" | "." | "..")) {
            return Err(wrong("a folder's name is empty or made of dots"));
        }
        Ok(Self { template: template.to_owned(), pieces, format: Format::default() })
    }

    /// The same folders for parts of this format.
    #[must_use]
    pub fn of_format(self, format: Format) -> Self {
        Self { format, ..self }
    }

    /// The format of the parts.
    #[must_use]
    pub const fn format(&self) -> Format {
        self.format
    }

    /// The format of the part with this key: as it is named.
    #[must_use]
    pub(crate) fn format_of(&self, key: &str) -> Format {
        Format::of_name(key).unwrap_or(self.format)
    }

    /// The beginning of every part's key. Only parts are written below it.
    #[must_use]
    pub(crate) fn data_prefix(&self, prefix: &str) -> String {
        format!("{prefix}{}", self.format.encoding.root())
    }

    /// The template, with `hive` spelled out.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The template's pieces, in order.
    #[must_use]
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// The key of the part number `part` of `hour`. `prefix` is empty or ends with `/`.
    #[must_use]
    pub fn key(&self, prefix: &str, hour: Hour, part: u32) -> String {
        format!("{}{PART}{}{}", self.hour_prefix(prefix, hour), part_number(part), self.format.suffix())
    }

    /// The key of that part's manifest: outside `data/`, which holds only parts.
    #[must_use]
    pub(crate) fn manifest_key(&self, prefix: &str, hour: Hour, part: u32) -> String {
        format!("{}{}/{PART}{}.json", manifest_prefix(prefix), self.folders(hour), part_number(part))
    }

    /// The inverse of [`Layout::manifest_key`]. `None` for a string that it never makes.
    #[must_use]
    pub(crate) fn parse_manifest_key(&self, prefix: &str, key: &str) -> Option<(Hour, u32)> {
        self.parse_beside(&manifest_prefix(prefix), key)
    }

    /// The key of what says that the part is gone for good: outside `data/` too.
    #[must_use]
    pub(crate) fn expired_key(&self, prefix: &str, hour: Hour, part: u32) -> String {
        format!("{}{}/{PART}{}.json", expired_prefix(prefix), self.folders(hour), part_number(part))
    }

    /// The inverse of [`Layout::expired_key`]. `None` for a string that it never makes.
    #[must_use]
    pub(crate) fn parse_expired_key(&self, prefix: &str, key: &str) -> Option<(Hour, u32)> {
        self.parse_beside(&expired_prefix(prefix), key)
    }

    fn parse_beside(&self, folder: &str, key: &str) -> Option<(Hour, u32)> {
        let rest = key.strip_prefix(folder)?.strip_suffix(".json")?;
        self.parse_key("", &format!("{}{rest}{}", self.data_prefix(""), self.format.suffix()))
    }

    /// The beginning of the keys of all parts of `hour`, with the last `/`.
    #[must_use]
    pub(crate) fn hour_prefix(&self, prefix: &str, hour: Hour) -> String {
        format!("{}{}/", self.data_prefix(prefix), self.folders(hour))
    }

    /// The folders of `hour`, below [`Layout::data_prefix`].
    #[must_use]
    pub(crate) fn folders(&self, hour: Hour) -> String {
        let mut key = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => key.push_str(text),
                Piece::Field(field) => key.push_str(&format!("{:0width$}", field.of(hour), width = field.width())),
            }
        }
        key
    }

    /// The inverse of [`Layout::key`]. `None` for a string that it never makes.
    #[must_use]
    pub fn parse_key(&self, prefix: &str, key: &str) -> Option<(Hour, u32)> {
        let mut rest = key.strip_prefix(prefix)?.strip_prefix(self.format.encoding.root())?;
        let [mut year, mut month, mut day, mut hour] = [0_i16; 4];
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => rest = rest.strip_prefix(text.as_str())?,
                Piece::Field(field) => {
                    let (digits, after) = rest.split_at_checked(field.width())?;
                    let slot = match field {
                        Field::Year => &mut year,
                        Field::Month => &mut month,
                        Field::Day => &mut day,
                        Field::Hour => &mut hour,
                    };
                    *slot = digits.parse().ok()?;
                    rest = after;
                }
            }
        }
        let number = rest.strip_prefix('/')?.strip_prefix(PART)?.strip_suffix(self.format.suffix())?;
        let part = number.trim_start_matches(LENGTH_LETTERS).parse().ok()?;
        let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        let hour = Hour::new(date, hour.try_into().ok()?).ok()?;
        // Compared with the key made again: "+1", a wrong letter or a missing zero is not a part.
        (self.key(prefix, hour, part) == key).then_some((hour, part))
    }
}

impl Default for Layout {
    /// [`DEFAULT_LAYOUT`].
    fn default() -> Self {
        let pieces = split(DEFAULT_LAYOUT).unwrap_or_default();
        Self { template: DEFAULT_LAYOUT.to_owned(), pieces, format: Format::default() }
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

/// The key of the settings that all parts below `prefix` are made under.
#[must_use]
pub(crate) fn settings_key(prefix: &str) -> String {
    format!("{prefix}settings.json")
}

/// The key of the object that says which cluster writes below `prefix`.
#[must_use]
#[cfg_attr(not(feature = "kafka"), expect(dead_code, reason = "only a cluster has one"))]
pub(crate) fn cluster_key(prefix: &str) -> String {
    format!("{prefix}cluster.json")
}

/// The beginning of the key of everything that says that a part is gone for good.
#[must_use]
pub(crate) fn expired_prefix(prefix: &str) -> String {
    format!("{prefix}expired/")
}

/// The beginning of every manifest's key.
#[must_use]
pub(crate) fn manifest_prefix(prefix: &str) -> String {
    format!("{prefix}manifest/")
}

/// The beginning of the key of every digest, and of its signature.
#[must_use]
pub(crate) fn digest_prefix(prefix: &str) -> String {
    format!("{prefix}digest/")
}

/// The beginning of the key of every object with dictionaries.
#[must_use]
pub(crate) fn dictionaries_prefix(prefix: &str) -> String {
    format!("{prefix}dict/")
}

/// The key of the dictionaries with this id.
#[must_use]
pub(crate) fn dictionaries_key(prefix: &str, id: &str) -> String {
    format!("{}{id}.json", dictionaries_prefix(prefix))
}

/// The inverse of [`dictionaries_key`]. `None` for a string that it never makes.
#[must_use]
pub(crate) fn parse_dictionaries_key<'a>(prefix: &str, key: &'a str) -> Option<&'a str> {
    let id = key.strip_prefix(prefix)?.strip_prefix("dict/")?.strip_suffix(".json")?;
    is_dictionaries_id(id).then_some(id)
}

/// Whether `id` can be that of dictionaries: 16 lower-case hexadecimal digits.
#[must_use]
pub(crate) fn is_dictionaries_id(id: &str) -> bool {
    id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn part_number(part: u32) -> String {
    let digits = format!("{part:05}");
    match digits.len().checked_sub(6).and_then(|beyond| LENGTH_LETTERS.get(beyond)) {
        Some(letter) => format!("{letter}{digits}"),
        None => digits,
    }
}

fn split(template: &str) -> std::result::Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while !rest.is_empty() {
        let (literal, after) = rest.split_once('{').unwrap_or((rest, ""));
        if let Some(odd) = literal.chars().find(|c| !c.is_ascii_alphanumeric() && !"_-.=/".contains(*c)) {
            return Err(format!("{odd:?} cannot be in an object key"));
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal.to_owned()));
        }
        if literal.len() == rest.len() {
            break;
        }
        let (name, after) = after.split_once('}').ok_or("a { has no }")?;
        let field = Field::ALL.into_iter().find(|field| field.name() == name);
        pieces.push(Piece::Field(field.ok_or_else(|| format!("{{{name}}} is no part of an hour"))?));
        rest = after;
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests;
