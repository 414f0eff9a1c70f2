//! Object keys: the one place that spells them, with the inverse beside it.
//!
//! A part's key is `<prefix>data/<layout>/part-00000.ndjson.gz`. Invariant: [`Layout::parse_key`] reads exactly the keys that
//! [`Layout::key`] makes, so anything else below `data/` is a stranger. Pure; nothing here touches disk.
//!
//! Within an hour the byte order of the keys is the order of the part numbers. Parts 0–99999 have five digits; longer numbers begin
//! with a letter for their length (`part-a100000`, `part-b1000000`, …), because digits sort before letters and `part-100000` would
//! sort before `part-99999`.

use std::fmt;

use jiff::civil::Date;

use crate::error::{Error, ErrorKind, Result};
use crate::hour::Hour;

/// The default layout.
pub const DEFAULT_LAYOUT: &str = "{year}_y/{month}_m/{day}_d/{hour}_h";

/// What `layout = "hive"` stands for.
pub const HIVE_LAYOUT: &str = "year={year}/month={month}/day={day}/hour={hour}";

const PART: &str = "part-";
const SUFFIX: &str = ".ndjson.gz";
/// The first characters of part numbers with 6, 7, 8, 9 and 10 digits; 32 bits have no more.
const LENGTH_LETTERS: [char; 5] = ['a', 'b', 'c', 'd', 'e'];

/// How the folders of an hour are spelled, between `data/` and the part's name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    template: String,
    pieces: Vec<Piece>,
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
        Ok(Self { template: template.to_owned(), pieces })
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
        format!("{}{PART}{}{SUFFIX}", self.hour_prefix(prefix, hour), part_number(part))
    }

    /// The key of that part's manifest: outside `data/`, which holds only parts.
    #[must_use]
    pub(crate) fn manifest_key(&self, prefix: &str, hour: Hour, part: u32) -> String {
        format!("{}{}/{PART}{}.json", manifest_prefix(prefix), self.folders(hour), part_number(part))
    }

    /// The inverse of [`Layout::manifest_key`]. `None` for a string that it never makes.
    #[must_use]
    pub(crate) fn parse_manifest_key(&self, prefix: &str, key: &str) -> Option<(Hour, u32)> {
        let rest = key.strip_prefix(&manifest_prefix(prefix))?.strip_suffix(".json")?;
        self.parse_key(prefix, &format!("{}{rest}{SUFFIX}", data_prefix(prefix)))
    }

    /// The beginning of the keys of all parts of `hour`, with the last `/`.
    #[must_use]
    pub(crate) fn hour_prefix(&self, prefix: &str, hour: Hour) -> String {
        format!("{}{}/", data_prefix(prefix), self.folders(hour))
    }

    /// The folders of `hour`, below `data/`.
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
        let mut rest = key.strip_prefix(prefix)?.strip_prefix("data/")?;
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
        let number = rest.strip_prefix('/')?.strip_prefix(PART)?.strip_suffix(SUFFIX)?;
        let part = number.trim_start_matches(LENGTH_LETTERS).parse().ok()?;
        let date = Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        let hour = Hour::new(date, hour.try_into().ok()?).ok()?;
        // Compared with the key made again: "+1", a wrong letter or a missing zero is not a part.
        (self.key(prefix, hour, part) == key).then_some((hour, part))
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.template)
    }
}

/// The beginning of every part's key. Only parts are written below it.
#[must_use]
pub(crate) fn data_prefix(prefix: &str) -> String {
    format!("{prefix}data/")
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
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn default_layout() -> Layout {
        Layout::parse(DEFAULT_LAYOUT).unwrap()
    }

    fn hour(text: &str) -> Hour {
        text.parse().unwrap()
    }

    #[test]
    fn keys_are_spelled_as_the_design_says() {
        let at = hour("2023-03-01T09");
        let hive = Layout::parse("hive").unwrap();
        assert_eq!(default_layout().key("", at, 0), "data/2023_y/03_m/01_d/09_h/part-00000.ndjson.gz");
        assert_eq!(hive.key("a/b/", at, 12), "a/b/data/year=2023/month=03/day=01/hour=09/part-00012.ndjson.gz");
        assert_eq!(hive.hour_prefix("", hour("0007-12-31T23")), "data/year=0007/month=12/day=31/hour=23/");
    }

    #[test]
    fn keys_of_an_hour_sort_as_their_numbers_do() {
        let numbers = [0, 1, 9, 10, 99_999, 100_000, 999_999, 1_000_000, 99_999_999, 100_000_000, u32::MAX];
        let keys: Vec<_> = numbers.iter().map(|n| default_layout().key("p/", hour("2023-03-10T01"), *n)).collect();
        assert!(keys.is_sorted(), "{keys:?}");
    }

    #[test]
    fn strangers_are_no_parts() {
        let layout = default_layout();
        for stranger in [
            "",
            "p/data/",
            "data/2023_y/03_m/01_d/09_h/part-00000.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-0000.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-000000.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-100000.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-b100000.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-a00001.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-+0001.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-99999999999.ndjson.gz",
            "p/data/2023_y/3_m/01_d/09_h/part-00000.ndjson.gz",
            "p/data/+023_y/03_m/01_d/09_h/part-00000.ndjson.gz",
            "p/data/2023_y/02_m/30_d/09_h/part-00000.ndjson.gz",
            "p/data/2023_y/03_m/01_d/24_h/part-00000.ndjson.gz",
            "p/data/2023_y/03_m/01_d/09_h/part-00000.ndjson.gz ",
            "p/data/2023_y/03_m/01_d/09_h/x/part-00000.ndjson.gz",
            "p/data/202é_y/03_m/01_d/09_h/part-00000.ndjson.gz",
        ] {
            assert_eq!(layout.parse_key("p/", stranger), None, "{stranger}");
        }
    }

    #[test]
    fn templates_that_name_no_hour_are_refused() {
        for template in [
            "",
            "{year}/{month}/{day}",
            "{year}/{month}/{day}/{hour}/{hour}",
            "{year}/{month}/{day}/{minute}",
            "{year}/{month}/{day}/{hour",
            "{year}/{month}/{day}/hour}{hour}",
            "/{year}/{month}/{day}/{hour}",
            "{year}/{month}/{day}/{hour}/",
            "{year}//{month}/{day}/{hour}",
            "../{year}/{month}/{day}/{hour}",
            "{year} {month} {day} {hour}",
        ] {
            let error = Layout::parse(template).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{template}");
        }
    }

    #[test]
    fn key_of_dictionaries_has_an_inverse_and_nothing_else_passes_for_one() {
        let key = dictionaries_key("p/", "6e548bf8a74a589c");
        assert_eq!(key, "p/dict/6e548bf8a74a589c.json");
        assert_eq!(parse_dictionaries_key("p/", &key), Some("6e548bf8a74a589c"));
        for stranger in [
            "dict/6e548bf8a74a589c.json",
            "p/dict/6E548BF8A74A589C.json",
            "p/dict/6e548bf8a74a589.json",
            "p/dict/6e548bf8a74a589c.json.tmp",
            "p/dict/../data/6e548bf8a74.json",
            "p/data/6e548bf8a74a589c.json",
        ] {
            assert_eq!(parse_dictionaries_key("p/", stranger), None, "{stranger}");
        }
    }

    fn any_hour() -> impl Strategy<Value = Hour> {
        (0_i16..=9999, 1_i8..=12, 1_i8..=28, 0_i8..24)
            .prop_map(|(y, m, d, h)| Hour::new(Date::new(y, m, d).unwrap(), h).unwrap())
    }

    proptest! {
        #[test]
        fn inverse_of_a_key_is_what_it_was_made_of(
            at in any_hour(),
            part in prop_oneof![0_u32..200_000, any::<u32>()],
            prefix in prop_oneof![Just(""), Just("p/"), Just("a/data/")],
            template in prop_oneof![Just(DEFAULT_LAYOUT), Just("hive"), Just("{hour}{day}-x{month}/{year}")],
        ) {
            let layout = Layout::parse(template).unwrap();
            prop_assert_eq!(layout.parse_key(prefix, &layout.key(prefix, at, part)), Some((at, part)));
        }

        #[test]
        fn what_parses_is_spelled_the_same_again(key in "p/data/20[0-9]{2}_y/[0-9]{1,2}_m/[0-9]{2}_d/[0-9]{2}_h/part-[a-f]?[0-9]{4,7}\\.ndjson\\.gz") {
            let layout = default_layout();
            if let Some((at, part)) = layout.parse_key("p/", &key) {
                prop_assert_eq!(layout.key("p/", at, part), key);
            }
        }
    }
}
