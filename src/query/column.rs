//! A column: a field of the logs, its type, and how each engine spells that.
//!
//! Pure. Invariant: a name or type that an engine would refuse is refused here.

use std::str::FromStr;

use super::Keys;
use crate::config::{ColumnKind, LoadColumn};
use crate::error::{Error, ErrorKind, Result};
use crate::record::row::{Codec, Codecs};
use crate::record::schema;

/// Names that the view uses for something else.
const TAKEN: [&str; 4] = ["event_time", "event_time_text", "filename", "line"];
/// How deep types may nest.
const DEEPEST: u8 = 16;

/// A field of the logs as a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// The field.
    pub(super) name: String,
    pub(super) ty: Type,
    /// What its readers should know.
    pub(super) comment: &'static str,
    /// The compact form that rows hold of it, and perhaps `<name>_raw`.
    pub(super) codec: Option<Codec>,
    /// The key that rows have for it.
    pub(super) stored: String,
}

/// What a column holds, as Hive knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Type {
    /// Hive's name and DuckDB's.
    Plain(&'static str, &'static str),
    Decimal(u8, u8),
    Array(Box<Self>),
    Map(Box<Self>, Box<Self>),
    Struct(Vec<(String, Self)>),
}

const PLAIN: [(&str, &str); 10] = [
    ("string", "VARCHAR"),
    ("bigint", "BIGINT"),
    ("int", "INTEGER"),
    ("smallint", "SMALLINT"),
    ("tinyint", "TINYINT"),
    ("double", "DOUBLE"),
    ("float", "FLOAT"),
    ("boolean", "BOOLEAN"),
    ("date", "DATE"),
    ("timestamp", "TIMESTAMP"),
];
pub(super) const STRING: Type = Type::Plain("string", "VARCHAR");
pub(super) const BIGINT: Type = Type::Plain("bigint", "BIGINT");
pub(super) const TIMESTAMP: Type = Type::Plain("timestamp", "TIMESTAMP");

/// The fields of the logs that the origin is known to send.
pub(super) fn known() -> Vec<Column> {
    let column = |name: &str, ty, comment| Column { comment, ..Column::new(name, ty) };
    let detail = Type::Struct(schema::DETAIL_FIELDS.map(|name| (name.to_owned(), STRING)).into());
    vec![
        column(schema::USER_ID, STRING, ""),
        column(schema::RECORD_ID, BIGINT, "rises by one at the source"),
        column(schema::PRODUCT_ID, BIGINT, "of product logs only"),
        column(schema::ACTIVITY, STRING, "view, cart or purchase"),
        column(schema::URL, STRING, ""),
        column(schema::METHOD, STRING, ""),
        column(schema::NAME, STRING, "the logger"),
        column(schema::DETAIL, detail, "what was logged"),
        column(schema::IN_DATE, STRING, ""),
    ]
}

impl Column {
    /// A column of `[load.columns]`.
    pub(super) fn configured(column: &LoadColumn) -> Self {
        let ty = match column.kind {
            ColumnKind::String => STRING,
            ColumnKind::Int64 => BIGINT,
            ColumnKind::Float64 => Type::Plain("double", "DOUBLE"),
            ColumnKind::Boolean => Type::Plain("boolean", "BOOLEAN"),
            ColumnKind::Timestamp => TIMESTAMP,
        };
        Self::new(&column.name, ty)
    }

    /// A column of a field that rows hold as it is.
    pub(super) fn new(name: &str, ty: Type) -> Self {
        Self { name: name.to_owned(), ty, comment: "", codec: None, stored: name.to_owned() }
    }

    /// The same in rows that were written with these codecs.
    pub(super) fn in_rows_of(self, codecs: &Codecs) -> Self {
        let codec = codecs.codec(&self.name).cloned();
        let comment = match &codec {
            Some(Codec::UuidPair) => "64 hex digits as two base64url UUIDs, the second half first",
            Some(Codec::Digits) => "yymmddhhmmssmmm, UTC: a text, since a number would lose its leading zero",
            Some(Codec::Hex) => "hex digits as base64url",
            Some(Codec::Dictionary(_)) => "its number in [compact], 0 where it has none",
            None => self.comment,
        };
        Self { comment, stored: codecs.stored_key(&self.name), codec, ..self }
    }

    /// The type of what rows hold.
    pub(super) fn stored_type(&self) -> &Type {
        match &self.codec {
            Some(Codec::Dictionary(_)) => &BIGINT,
            Some(_) => &STRING,
            None => &self.ty,
        }
    }

    /// Whether rows hold a compact value of it, and perhaps `<name>_raw`.
    pub(super) const fn is_compact(&self) -> bool {
        self.codec.is_some()
    }

    /// Whether it can be a column beside the others.
    pub(super) fn check(&self, keys: Keys, codecs: &Codecs) -> Result<()> {
        let name = self.name.as_str();
        let keys: &[&str] = if keys == Keys::Hour { &["year", "month", "day", "hour"] } else { &["dt"] };
        let is = |taken: &&str| taken.eq_ignore_ascii_case(name);
        let why = if codecs.codec(name).is_some() {
            "is compact in the rows: the view gives the original back, and its type cannot change"
        } else if known().iter().any(|known| known.name != name && known.name.eq_ignore_ascii_case(name)) {
            "differs from a known field in upper and lower case only, which Athena cannot tell apart"
        } else if TAKEN.iter().chain(keys).any(is) {
            "is the name of another column of the view; with the other --keys it may be free"
        } else {
            return Ok(());
        };
        Err(Error::new(ErrorKind::Usage, format!("--column {name}: {name} {why}")).hint("give it another name"))
    }
}

impl FromStr for Column {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::new(ErrorKind::Usage, "write it as in session:string or items:array<bigint>");
        let (name, ty) = text.split_once(':').ok_or_else(wrong)?;
        check_name(name)?;
        Ok(Self::new(name, ty.parse()?))
    }
}

/// Checks that every engine accepts a name.
pub(crate) fn check_name(name: &str) -> Result<()> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    if starts && name.bytes().all(fits) && name.len() <= 128 {
        return Ok(());
    }
    let what = format!("{name:?} cannot be a name in Athena: letters, digits and _ only, no digit first");
    Err(Error::new(ErrorKind::Usage, what))
}

impl FromStr for Type {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let dense: String = text.split_whitespace().collect();
        match parse(&dense, DEEPEST) {
            Some((ty, "")) => Ok(ty),
            _ => {
                let plain: Vec<&str> = PLAIN.iter().map(|(hive, _)| *hive).collect();
                let what = format!("{text:?} is no type");
                let known = "decimal(p,s), array<…>, map<…,…> or struct<name:…,…>";
                Err(Error::new(ErrorKind::Usage, format!("{what}; use {}, {known}", plain.join(", "))))
            }
        }
    }
}

/// The type at the start of `text`, and what follows.
fn parse(text: &str, depth: u8) -> Option<(Type, &str)> {
    let depth = depth.checked_sub(1)?;
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(text.len());
    let (word, rest) = text.split_at_checked(end)?;
    match word.to_ascii_lowercase().as_str() {
        "array" => {
            let (item, rest) = parse(rest.strip_prefix('<')?, depth)?;
            Some((Type::Array(Box::new(item)), rest.strip_prefix('>')?))
        }
        "map" => {
            let (key, rest) = parse(rest.strip_prefix('<')?, depth)?;
            let (value, rest) = parse(rest.strip_prefix(',')?, depth)?;
            Some((Type::Map(Box::new(key), Box::new(value)), rest.strip_prefix('>')?))
        }
        "struct" => parse_struct(rest.strip_prefix('<')?, depth),
        "decimal" => parse_decimal(rest.strip_prefix('(')?),
        word => PLAIN.iter().find(|(hive, _)| *hive == word).map(|(hive, duck)| (Type::Plain(hive, duck), rest)),
    }
}

fn parse_struct(mut rest: &str, depth: u8) -> Option<(Type, &str)> {
    let mut fields = Vec::new();
    loop {
        let (name, after) = rest.split_once(':')?;
        check_name(name).ok()?;
        let (ty, after) = parse(after, depth)?;
        fields.push((name.to_owned(), ty));
        match after.strip_prefix(',') {
            Some(next) => rest = next,
            None => return Some((Type::Struct(fields), after.strip_prefix('>')?)),
        }
    }
}

fn parse_decimal(rest: &str) -> Option<(Type, &str)> {
    let (digits, rest) = rest.split_once(')')?;
    let (precision, scale) = digits.split_once(',').unwrap_or((digits, "0"));
    let (precision, scale) = (precision.parse().ok()?, scale.parse().ok()?);
    ((1..=38).contains(&precision) && scale <= precision).then_some((Type::Decimal(precision, scale), rest))
}

impl Type {
    /// As Hive, Athena and Glue spell it.
    pub(super) fn hive(&self) -> String {
        match self {
            Self::Plain(hive, _) => (*hive).to_owned(),
            Self::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
            Self::Array(item) => format!("array<{}>", item.hive()),
            Self::Map(key, value) => format!("map<{},{}>", key.hive(), value.hive()),
            Self::Struct(fields) => {
                let fields: Vec<String> = fields.iter().map(|(name, ty)| format!("{name}:{}", ty.hive())).collect();
                format!("struct<{}>", fields.join(","))
            }
        }
    }

    /// As Trino spells it.
    pub(super) fn trino(&self) -> String {
        match self {
            Self::Plain("string", _) => "varchar".to_owned(),
            Self::Plain("int", _) => "integer".to_owned(),
            Self::Plain("float", _) => "real".to_owned(),
            Self::Plain(hive, _) => (*hive).to_owned(),
            Self::Decimal(precision, scale) => format!("decimal({precision},{scale})"),
            Self::Array(item) => format!("array({})", item.trino()),
            Self::Map(key, value) => format!("map({},{})", key.trino(), value.trino()),
            Self::Struct(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, ty)| format!("\"{name}\" {}", ty.trino())).collect();
                format!("ROW({})", fields.join(", "))
            }
        }
    }

    /// As DuckDB spells it.
    pub(super) fn duckdb(&self) -> String {
        match self {
            Self::Plain(_, duck) => (*duck).to_owned(),
            Self::Decimal(precision, scale) => format!("DECIMAL({precision},{scale})"),
            Self::Array(item) => format!("{}[]", item.duckdb()),
            Self::Map(key, value) => format!("MAP({}, {})", key.duckdb(), value.duckdb()),
            Self::Struct(fields) => {
                let fields: Vec<String> =
                    fields.iter().map(|(name, ty)| format!("\"{name}\" {}", ty.duckdb())).collect();
                format!("STRUCT({})", fields.join(", "))
            }
        }
    }
}
