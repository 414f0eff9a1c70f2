//! JSON Pointers (RFC 6901) into a text that is not parsed: the bytes of one value, found by brackets and strings alone.
//!
//! Owns how the configuration names a place within a page, and what is said where nothing stands there. Invariant: time is linear in the
//! text for each step of the pointer, there is no recursion, and nothing of the text is copied but names of members, bounded, for a message
//! and never a value. As lenient as the page parser: what the text holds elsewhere (`NaN`, a raw control character) does not matter, and of
//! equal names the last counts. Pure.

mod scan;

use std::fmt;

pub(crate) use scan::members;
pub use scan::{elements, text};

use scan::{Inside, kind_of, trim};

/// Names of an object's members that a message shows, and characters of each.
const SHOWN_NAMES: usize = 12;
const SHOWN_CHARACTERS: usize = 40;

/// A place within a JSON text. The default is the whole text.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Pointer {
    steps: Vec<String>,
}

/// Why a text is no JSON Pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It has steps, but no slash before the first.
    #[error("a JSON Pointer is empty or begins with \"/\", such as \"/meta/next\"")]
    NoSlash,
    /// A tilde that stands for nothing.
    #[error("in a JSON Pointer \"~\" is written \"~0\", and \"/\" within a name is \"~1\"")]
    Tilde,
}

/// What stands where a pointer leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// The bytes of the value, without white space around them.
    Value(&'a [u8]),
    /// Nothing: how far the pointer led, and what is there instead.
    Missing(Missing),
}

impl<'a> Found<'a> {
    /// The bytes, where there is a value.
    #[must_use]
    pub fn value(self) -> Option<&'a [u8]> {
        match self {
            Self::Value(bytes) => Some(bytes),
            Self::Missing(_) => None,
        }
    }
}

/// Where a pointer stopped leading anywhere. Shown as the end of a sentence; holds no value of the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The steps that were found, as a pointer: where `instead` stands.
    pub at: Pointer,
    /// The step that was not.
    pub step: String,
    /// What stands at `at`.
    pub instead: Instead,
}

/// What stands in a text, as it may be shown: its kind, and names, never values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Instead {
    /// An object, with the names of its first members.
    Object {
        /// The names, each cut to a length that can be shown.
        names: Vec<String>,
        /// How many members it has in all.
        members: usize,
    },
    /// An array of so many elements.
    Array(usize),
    /// `text`, `number`, `null`, …
    Scalar(&'static str),
    /// Brackets or strings that do not close.
    Broken,
}

impl Pointer {
    /// The pointer that `text` spells.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn parse(text: &str) -> Result<Self, Malformed> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let steps = text.strip_prefix('/').ok_or(Malformed::NoSlash)?;
        Ok(Self { steps: steps.split('/').map(unescape).collect::<Result<_, _>>()? })
    }

    /// The member `name` of the whole text.
    #[must_use]
    pub fn member(name: &str) -> Self {
        Self { steps: vec![name.to_owned()] }
    }

    /// Whether it is the whole text.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.steps.is_empty()
    }

    /// The names and indices that lead there, unescaped.
    #[must_use]
    pub fn steps(&self) -> &[String] {
        &self.steps
    }

    /// What stands in `json` where this leads.
    #[must_use]
    pub fn find<'a>(&self, json: &'a [u8]) -> Found<'a> {
        let mut value = trim(json);
        for (taken, step) in self.steps.iter().enumerate() {
            match scan::step_into(value, step) {
                Some(next) => value = next,
                None => return Found::Missing(self.missing(taken, step, value)),
            }
        }
        Found::Value(value)
    }

    fn missing(&self, taken: usize, step: &str, value: &[u8]) -> Missing {
        let at = Self { steps: self.steps.iter().take(taken).cloned().collect() };
        Missing { at, step: step.to_owned(), instead: Instead::of(value) }
    }
}

fn unescape(step: &str) -> Result<String, Malformed> {
    let mut pieces = step.split('~');
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let (character, rest) = match (piece.strip_prefix('0'), piece.strip_prefix('1')) {
            (Some(rest), _) => ('~', rest),
            (_, Some(rest)) => ('/', rest),
            _ => return Err(Malformed::Tilde),
        };
        text.push(character);
        text.push_str(rest);
    }
    Ok(text)
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.steps.iter().try_for_each(|step| write!(f, "/{}", step.replace('~', "~0").replace('/', "~1")))
    }
}

impl Instead {
    /// What `value` is.
    #[must_use]
    pub fn of(value: &[u8]) -> Self {
        let Some(inside) = Inside::of(value) else { return Self::Scalar(kind_of(value)) };
        let (is_object, mut names, mut members) = (inside.is_object(), Vec::new(), 0);
        let mut entries = inside;
        for entry in entries.by_ref() {
            members += 1;
            if let (true, Some(name)) = (names.len() < SHOWN_NAMES, entry.name) {
                names.push(shown(name));
            }
        }
        match (entries.is_closed(), is_object) {
            (false, _) => Self::Broken,
            (true, true) => Self::Object { names, members },
            (true, false) => Self::Array(members),
        }
    }
}

/// A member's name as a message may show it.
fn shown(name: &[u8]) -> String {
    let name = text(name).unwrap_or_else(|| String::from_utf8_lossy(name).into_owned());
    let mut characters = name.chars();
    let mut start: String =
        characters.by_ref().take(SHOWN_CHARACTERS).map(|c| if c.is_control() { '?' } else { c }).collect();
    if characters.next().is_some() {
        start.push('…');
    }
    start
}

impl fmt::Display for Instead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Object { names, members: 0 } if names.is_empty() => f.write_str("an object without members"),
            Self::Object { names, members } => {
                write!(f, "an object with \"{}\"", names.join("\", \""))?;
                match members.saturating_sub(names.len()) {
                    0 => Ok(()),
                    more => write!(f, " and {more} more"),
                }
            }
            Self::Array(1) => f.write_str("an array of 1 element"),
            Self::Array(elements) => write!(f, "an array of {elements} elements"),
            Self::Scalar(kind) => f.write_str(kind),
            Self::Broken => f.write_str("a text whose brackets do not close"),
        }
    }
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.at.is_whole() {
            true => write!(f, "the whole is {}, and has no \"{}\"", self.instead, self.step),
            false => write!(f, "at \"{}\" stands {}, and it has no \"{}\"", self.at, self.instead, self.step),
        }
    }
}

#[cfg(test)]
mod tests;
