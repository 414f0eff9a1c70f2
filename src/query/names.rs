//! The parts' names for engines that read folders: a pattern that finds them, and the partition keys in them. Pure.

use super::{Keys, Table, spell};
use crate::error::{Error, ErrorKind, Result};
use crate::hour::key::Field;

/// Checks that an engine takes a place as it is, and not for a pattern; `special` has more characters that it reads.
pub(super) fn check(place: &str, engine: &str, special: &str) -> Result<()> {
    if place.contains(['*', '?', '[', ']', '\\', '\n']) || place.contains(|c| special.contains(c)) {
        let what = format!("{engine} would take {place} for a pattern of names");
        return Err(
            Error::new(ErrorKind::Usage, what).hint("give the folder another name, or a link to it, with --location")
        );
    }
    Ok(())
}

/// The partition keys, named, from a part's name; `extract` takes the first group of a pattern.
pub(super) fn keys(table: &Table, extract: impl Fn(String) -> String) -> Vec<String> {
    let escaped = |text: &str| text.replace('.', "[.]");
    let extract = |pattern: &str| extract(format!("/{}{pattern}/part-[^/]*$", table.layout.data_prefix("")));
    match table.keys {
        Keys::Dt => {
            let pattern = spell(&table.layout, |field| format!("[0-9]{{{}}}", field.width()), escaped);
            vec![format!("{} AS dt", extract(&format!("({pattern})")))]
        }
        Keys::Hour => {
            let of = |field: Field| {
                let digits = |other: Field| {
                    let digits = format!("[0-9]{{{}}}", other.width());
                    if other == field { format!("({digits})") } else { digits }
                };
                let number = extract(&spell(&table.layout, digits, escaped));
                format!("CAST({number} AS INTEGER) AS {}", field.name())
            };
            Field::ALL.map(of).to_vec()
        }
    }
}

/// A pattern of all parts' names.
pub(super) fn parts(table: &Table, data: &str) -> String {
    format!("{data}{}/part-*{}", folders(table), table.layout.format().suffix())
}

/// The layout as a pattern of names. Two stars in a row would cross folders.
fn folders(table: &Table) -> String {
    let mut pattern = spell(&table.layout, |_| "*".to_owned(), str::to_owned);
    while pattern.contains("**") {
        pattern = pattern.replace("**", "*");
    }
    pattern
}
