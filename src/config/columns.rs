//! `[load.columns]`: fields of the logs that get a column of their own in Parquet, and in the views over lines.
//!
//! Pure. Invariant: a name or a type that an engine would refuse is refused here. The table is kept in the order of its names, so that the
//! same columns are the same schema however they are listed.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// As many columns as may be added.
const MOST: usize = 100;
/// The longest name.
const LONGEST: usize = 128;
/// Names that every table over parts uses for something else.
const TAKEN: [&str; 10] =
    ["event_time", "event_time_text", "extra", "raw", "filename", "line", "dt", "year", "month", "day"];

/// A field as a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadColumn {
    /// The field's name, and the column's.
    pub name: String,
    /// What the column holds.
    pub kind: ColumnKind,
}

/// What a column holds. A value of another type is not converted: it stays in `extra`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// A text as it is, and any other value but null as its JSON text.
    String,
    /// A whole number of 64 bits.
    Int64,
    /// A number with a fraction, and whole numbers that it holds exactly.
    Float64,
    /// `true` or `false`.
    Boolean,
    /// A text that is a time with its offset (RFC 3339).
    Timestamp,
}

impl ColumnKind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::String, Self::Int64, Self::Float64, Self::Boolean, Self::Timestamp];

    /// As the configuration spells it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Int64 => "int64",
            Self::Float64 => "float64",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
        }
    }
}

/// Reads the table.
pub(super) fn columns<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<LoadColumn>, D::Error> {
    let table = BTreeMap::<String, String>::deserialize(from)?;
    parse(table).map_err(serde::de::Error::custom)
}

fn parse(table: BTreeMap<String, String>) -> Result<Vec<LoadColumn>, String> {
    if table.len() > MOST {
        return Err(format!(
            "{} columns, and {MOST} are the most\nlist the fields that queries filter by",
            table.len()
        ));
    }
    let columns: Result<Vec<LoadColumn>, String> = table.into_iter().map(|(name, kind)| column(name, &kind)).collect();
    let columns = columns?;
    let mut folded: Vec<String> = columns.iter().map(|column| column.name.to_ascii_lowercase()).collect();
    folded.sort_unstable();
    match folded.windows(2).find_map(|pair| if let [a, b] = pair { (a == b).then_some(a) } else { None }) {
        Some(twice) => {
            Err(format!("two columns are named {twice:?}: engines do not tell capitals apart\nkeep one of them"))
        }
        None => Ok(columns),
    }
}

fn column(name: String, kind: &str) -> Result<LoadColumn, String> {
    if let Some(why) = wrong_name(&name) {
        return Err(format!(
            "{name:?} cannot be the name of a column: {why}\nleave it out: the field is found in `extra`"
        ));
    }
    let known = ColumnKind::ALL.iter().find(|known| known.name() == kind.trim());
    let Some(kind) = known else {
        let all = ColumnKind::ALL.map(ColumnKind::name).join(", ");
        return Err(format!("{name}: {kind:?} is not a type\nwrite one of {all}"));
    };
    Ok(LoadColumn { name, kind: *kind })
}

fn wrong_name(name: &str) -> Option<&'static str> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let starts = name.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_');
    let is_taken = TAKEN.iter().chain(&["hour"]).any(|taken| taken.eq_ignore_ascii_case(name));
    if !starts || !name.bytes().all(fits) {
        Some("letters, digits and _ only, no digit first")
    } else if name.len() > LONGEST {
        Some("it is too long")
    } else if is_taken {
        Some("another column or a folder has it")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(pairs: &[(&str, &str)]) -> Result<Vec<LoadColumn>, String> {
        parse(pairs.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect())
    }

    #[test]
    fn columns_are_in_the_order_of_their_names_whatever_the_order_in_the_file() {
        let columns = parsed(&[("session", "string"), ("price", "float64"), ("at", "timestamp")]).unwrap();
        let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
        assert_eq!(names, ["at", "price", "session"]);
        assert_eq!(columns[1].kind, ColumnKind::Float64);
    }

    #[test]
    fn name_or_type_that_no_engine_takes_is_refused() {
        for (name, kind, why) in [
            ("user-agent", "string", "letters, digits and _ only"),
            ("1st", "string", "no digit first"),
            ("", "string", "letters"),
            ("Raw", "string", "another column"),
            ("hour", "int64", "another column or a folder"),
            ("n", "decimal", "write one of string, int64, float64, boolean, timestamp"),
            (&"x".repeat(129), "string", "too long"),
        ] {
            let refused = parsed(&[(name, kind)]).unwrap_err();
            assert!(refused.contains(why), "{refused}");
            assert_eq!(refused.lines().count(), 2, "with a hint: {refused}");
        }
        assert!(parsed(&[("Name2", "string"), ("name2", "string")]).unwrap_err().contains("capitals"));
        let many: Vec<(String, String)> = (0..=MOST).map(|n| (format!("c{n}"), "int64".to_owned())).collect();
        assert!(parse(many.into_iter().collect()).unwrap_err().contains("100 are the most"));
    }
}
