//! What a record is, by configuration; and the names of the fields that the origin's records have.
//!
//! [`Schema`] says where the time and the number stand, whether odd values are kept as text, and what never reaches the lake. The names are
//! those that have a compact form or a meaning without any configuration. All other fields pass through as they are. Nothing else in
//! `record` or `query` spells these names.

use jiff::tz::TimeZone;

use super::dating::Dating;
use super::edit::Edits;
use super::value::{Fields, Value, value_at};
use crate::pointer::Pointer;

/// The user: 64 hexadecimal digits.
pub(crate) const USER_ID: &str = "user_id";
/// The number that rises by one at the source.
pub(crate) const RECORD_ID: &str = "record_id";
/// The product, in logs about products.
pub(crate) const PRODUCT_ID: &str = "product_id";
/// What the user did.
pub(crate) const ACTIVITY: &str = "activity";
/// The path that was asked for.
pub(crate) const URL: &str = "url";
/// The HTTP method.
pub(crate) const METHOD: &str = "method";
/// The logger.
pub(crate) const NAME: &str = "name";
/// What was logged: a dict of [`DETAIL_FIELDS`].
pub(crate) const DETAIL: &str = "detail";
/// The texts in [`DETAIL`].
pub(crate) const DETAIL_FIELDS: [&str; 2] = ["message", "levelname"];
/// The time that dates a record.
pub(crate) const IN_DATE: &str = "inDate";

/// What a record is. Fixed for a run.
#[derive(Debug, Clone)]
pub struct Schema {
    /// How records are dated.
    pub dating: Dating,
    id: Option<Pointer>,
    keeps_odd: bool,
    edits: Edits,
}

impl Schema {
    /// Records that are dated so, with nothing else about them.
    #[must_use]
    pub fn new(dating: Dating) -> Self {
        Self { dating, id: None, keeps_odd: false, edits: Edits::default() }
    }

    /// The origin's records; a time without an offset and the hours are in `zone`.
    #[must_use]
    pub fn of_the_origin(zone: TimeZone) -> Self {
        Self { id: Some(Pointer::member(RECORD_ID)), ..Self::new(Dating::of_the_origin(zone)) }
    }

    /// The same with the source's rising number in the field `name`. Empty: in none.
    #[must_use]
    pub fn with_id_in(self, name: &str) -> Self {
        self.with_id((!name.is_empty()).then(|| Pointer::member(name)))
    }

    /// The same with the source's rising number there.
    #[must_use]
    pub(crate) fn with_id(self, id: Option<Pointer>) -> Self {
        Self { id, ..self }
    }

    /// The same; whether NaN, `datetime(…)` and their like are kept as their text.
    #[must_use]
    pub(crate) fn with_odd_as_text(self, keeps_odd: bool) -> Self {
        Self { keeps_odd, ..self }
    }

    /// The same without what never reaches the lake.
    #[must_use]
    pub(crate) fn with_edits(self, edits: Edits) -> Self {
        Self { edits, ..self }
    }

    /// What the time is called in messages.
    #[must_use]
    pub(crate) fn time_name(&self) -> String {
        place_name(self.dating.place())
    }

    pub(super) const fn keeps_odd(&self) -> bool {
        self.keeps_odd
    }

    pub(super) const fn edits(&self) -> &Edits {
        &self.edits
    }

    /// What the number is called where it is stored: the field's name, or the pointer to it. Empty: there is none.
    #[must_use]
    pub(crate) fn id_name(&self) -> String {
        self.id.as_ref().map_or_else(String::new, place_name)
    }

    /// The value that numbers a record.
    #[must_use]
    pub(crate) fn id_of<'v, 'a>(&self, fields: &'v Fields<'a>) -> Option<&'v Value<'a>> {
        value_at(fields, self.id.as_ref()?.steps())
    }
}

/// A place as people and files name it: a field by its name, what is within it by a pointer.
#[must_use]
pub(crate) fn place_name(place: &Pointer) -> String {
    match place.steps() {
        [name] if !name.is_empty() && !name.starts_with('/') => name.clone(),
        _ => place.to_string(),
    }
}
