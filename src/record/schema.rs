//! The names of the fields that this program knows by name: those with a compact form, and the one that numbers records.
//!
//! All other fields pass through as they are. Nothing else in `record` or `query` spells these names.

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
