//! A record as a row and back, without loss.
//!
//! Four fields have a compact form, all others pass through: `user_id` (64 lower-case hexadecimal digits) as two
//! base64url UUIDs, the second half first; `method` and `url` as a code of a dictionary; `inDate` as its digits without
//! the century. Invariant: a compact value stands alone only where its inverse gives the original back. Otherwise `<field>_raw`, right
//! after it, holds the original, and the compact value is what the origin's function gives, or `0` or `""` where it gives nothing. A
//! record's own key of the form `url_raw`, `url_raw_raw` … gets one more `_raw`, so that the two cannot be confused. Field order is
//! kept. S3 stores rows: this must never change. Pure.

mod dictionaries;
mod in_date;
mod restore;
mod user_id;

use std::borrow::Cow;
use std::collections::BTreeMap;

pub use dictionaries::Dictionaries;

use crate::record::schema::{IN_DATE, METHOD, URL, USER_ID};
use crate::record::{Value, json};

const RAW: &str = "_raw";

/// The fields with a compact form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    UserId,
    Method,
    Url,
    InDate,
}

impl Column {
    fn named(key: &str) -> Option<Self> {
        match key {
            USER_ID => Some(Self::UserId),
            METHOD => Some(Self::Method),
            URL => Some(Self::Url),
            IN_DATE => Some(Self::InDate),
            _ => None,
        }
    }
}

/// Whether rows hold a compact value of the field `key`, and perhaps the original after it.
#[must_use]
pub(crate) fn is_compact(key: &str) -> bool {
    Column::named(key).is_some()
}

/// The key that rows have for the field `key` of a record.
#[must_use]
pub(crate) fn stored_key(key: &str) -> String {
    if looks_raw(key) { format!("{key}{RAW}") } else { key.to_owned() }
}

/// Whether a record's own `key` gets one more `_raw`, because it looks like the key of an original.
fn looks_raw(key: &str) -> bool {
    key.ends_with(RAW) && Column::named(key.trim_end_matches(RAW)).is_some()
}

/// One dictionary, in both directions. Codes are kept as the digits in a row.
#[derive(Debug, Default)]
struct Codes {
    by_text: BTreeMap<String, String>,
    by_code: BTreeMap<String, String>,
}

impl Codes {
    fn new(dictionary: &BTreeMap<String, i64>) -> Self {
        let digits = |(text, code): (&String, &i64)| (text.clone(), code.to_string());
        let by_text: BTreeMap<_, _> = dictionary.iter().map(digits).collect();
        let by_code = by_text.iter().map(|(text, code)| (code.clone(), text.clone())).collect();
        Self { by_text, by_code }
    }

    fn code(&self, value: &Value<'_>) -> Option<&str> {
        let Value::Str(text) = value else { return None };
        self.by_text.get(text.as_ref()).map(String::as_str)
    }
}

/// Turns records into rows and back, with one set of dictionaries.
#[derive(Debug)]
pub struct Compactor {
    dictionaries: Dictionaries,
    method: Codes,
    url: Codes,
}

impl Compactor {
    /// A compactor with these dictionaries.
    #[must_use]
    pub fn new(dictionaries: &Dictionaries) -> Self {
        let (method, url) = (Codes::new(dictionaries.method()), Codes::new(dictionaries.url()));
        Self { dictionaries: dictionaries.clone(), method, url }
    }

    /// Its dictionaries.
    #[must_use]
    pub const fn dictionaries(&self) -> &Dictionaries {
        &self.dictionaries
    }

    /// Appends the row of the record with these `fields` to `out`: one JSON object, no line end.
    pub fn write_row(&self, fields: &[(Cow<'_, str>, Value<'_>)], out: &mut Vec<u8>) {
        out.push(b'{');
        for (n, (key, value)) in fields.iter().enumerate() {
            if n > 0 {
                out.push(b',');
            }
            self.write_field(key, value, out);
        }
        out.push(b'}');
    }

    fn write_field(&self, key: &str, value: &Value<'_>, out: &mut Vec<u8>) {
        let stands_alone = match Column::named(key) {
            Some(Column::UserId) => user_id::write(value, out),
            Some(Column::InDate) => in_date::write(value, out),
            Some(Column::Method) => write_code(METHOD, self.method.code(value), out),
            Some(Column::Url) => write_code(URL, self.url.code(value), out),
            None => {
                write_own(key, value, out);
                true
            }
        };
        if !stands_alone {
            out.push(b',');
            write_suffixed(key, value, out);
        }
    }
}

/// Writes a known field's key and the colon: it is plain ASCII.
fn write_key(key: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"\":");
}

fn write_code(key: &str, code: Option<&str>, out: &mut Vec<u8>) -> bool {
    write_key(key, out);
    out.extend_from_slice(code.unwrap_or("0").as_bytes());
    code.is_some()
}

/// A field without a compact form.
fn write_own(key: &str, value: &Value<'_>, out: &mut Vec<u8>) {
    if looks_raw(key) {
        return write_suffixed(key, value, out);
    }
    json::write_text(key, out);
    out.push(b':');
    json::write(value, out);
}

/// `<key>_raw` and the value. The keys that come here are plain ASCII.
fn write_suffixed(key: &str, value: &Value<'_>, out: &mut Vec<u8>) {
    out.push(b'"');
    out.extend_from_slice(key.as_bytes());
    out.extend_from_slice(b"_raw\":");
    json::write(value, out);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::record::{Fields, Scratch, content_hash, generated, python};

    const ID: &str = "bc8960a923b8c1e9392456de3eb13b9046685257bdd640fb06671ad11c80317f";
    const COMPACT_ID: &str = "RmhSV73WQPsGZxrRHIAxfwvIlgqSO4wek5JFbePrE7kA";

    fn compactor() -> Compactor {
        Compactor::new(&Dictionaries::default())
    }

    fn fields(literal: &str) -> Fields<'_> {
        let Ok(Value::Dict(fields)) = python::parse(literal) else { panic!("no dict: {literal}") };
        fields
    }

    fn row(fields: &[(Cow<'_, str>, Value<'_>)]) -> String {
        let mut out = Vec::new();
        compactor().write_row(fields, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The row is the expected one, and gives the record back.
    fn becomes(literal: &str, expected: &str) {
        let original = fields(literal);
        let row = row(&original);
        assert_eq!(row, expected, "{literal}");
        assert_eq!(compactor().restore(&row), Ok(original), "{literal}");
    }

    #[test]
    fn known_record_becomes_the_origins_row() {
        let record = format!(
            "{{'user_id': '{ID}', 'record_id': 26869, 'activity': 'purchase', 'url': '/api/products/product/', \
             'method': 'GET', 'name': 'json_logger', 'inDate': '2023-03-24T17:05:37.432Z', \
             'detail': {{'message': 'POST view', 'levelname': 'INFO'}}}}"
        );
        let expected = format!(
            r#"{{"user_id":"{COMPACT_ID}","record_id":26869,"activity":"purchase","url":1,"method":1,"name":"json_logger","inDate":"230324170537432","detail":{{"message":"POST view","levelname":"INFO"}}}}"#
        );
        becomes(&record, &expected);
    }

    #[test]
    fn unknown_code_is_zero_and_raw() {
        for (field, value, raw) in [
            ("method", "'DELETE'", r#""DELETE""#),
            ("method", "'get'", r#""get""#),
            ("method", "' GET'", r#"" GET""#),
            ("method", "''", r#""""#),
            ("method", "1", "1"),
            ("method", "True", "true"),
            ("method", "('GET',)", r#"["GET"]"#),
            ("method", "{'m': 'GET'}", r#"{"m":"GET"}"#),
            ("url", "'/api/products/product'", r#""/api/products/product""#),
            ("url", "'/api/products/product/?page=2'", r#""/api/products/product/?page=2""#),
            ("url", "0", "0"),
            ("url", "None", "null"),
        ] {
            becomes(&format!("{{'{field}': {value}}}"), &format!(r#"{{"{field}":0,"{field}_raw":{raw}}}"#));
        }
        becomes("{'method': 'POST'}", r#"{"method":2}"#);
    }

    #[test]
    fn user_id_that_is_not_64_lower_case_digits_is_kept_raw() {
        let upper = ID.to_uppercase();
        becomes(
            &format!("{{'user_id': '{upper}'}}"),
            &format!(r#"{{"user_id":"{COMPACT_ID}","user_id_raw":"{upper}"}}"#),
        );
        for value in [
            "\"\"",
            "\"abc\"",
            &format!("\"{ID}a\""),
            &format!("\"{}\"", "g".repeat(64)),
            "\"b5122df875b17a55d4262982e43e4288{a2b5b498-5cb8-5aed-f5f6-2c976efb63b1}\"",
            "\"b5122df875b17a55d4262982e43e42880xb5b4985cb85aedf5f62c976efb63b1\"",
            "\"b5122df875b17a55d4262982e43e4288a2b5b4985cb85aedf5f62c976efb63b\\n\"",
            "\"b5122df875b17a55d4262982e43e4288orW0mFy4Wu319iyXbvtjsQ==\"",
            "12345",
            "1.5",
            "[\"b\"]",
        ] {
            becomes(&format!("{{'user_id': {value}}}"), &format!(r#"{{"user_id":"","user_id_raw":{value}}}"#));
        }
    }

    #[test]
    fn in_date_stands_alone_only_where_its_digits_give_it_back() {
        becomes("{'inDate': '2000-01-01T00:00:00.000Z'}", r#"{"inDate":"000101000000000"}"#);
        for (value, digits) in [
            ("2023-03-10T01:48:11Z", "230310014811"),
            ("2023-03-10T01:48:11+00:00", "2303100148110000"),
            ("2023-03-10T01:48:11.818123Z", "230310014811818123"),
            ("2023-03-10 01:48:11.818", "230310014811818"),
            ("2023-03-10t01:48:11.818z", "230310014811818"),
            ("2023-03-10T01:48:11.818z", "230310014811818"),
            ("2023-03-10 01:48:11,818", "230310014811818"),
            ("2023-03-10T01:48:11,818Z", "230310014811818"),
            ("2023-03-10T01:48:11.818+0900", "2303100148118180900"),
            ("2023-03-10T01:48:11+09", "23031001481109"),
            // As many digits as the usual form has.
            ("2023-03-10T01:48:11+090", "230310014811090"),
            ("2100-01-01T00:00:00.000Z", "000101000000000"),
            ("2", ""),
            ("", ""),
        ] {
            becomes(&format!("{{'inDate': '{value}'}}"), &format!(r#"{{"inDate":"{digits}","inDate_raw":"{value}"}}"#));
        }
        becomes("{'inDate': 20230310}", r#"{"inDate":"","inDate_raw":20230310}"#);
    }

    #[test]
    fn missing_odd_and_unknown_fields_pass_through_in_order() {
        becomes("{}", "{}");
        becomes(
            "{'zé': 'caf\\xe9', 'method': 'GET', 'n': 18446744073709551616, 'f': 1e22, 'trace': {'url': '/x', 'url_raw': None}}",
            r#"{"z\u00e9":"caf\u00e9","method":1,"n":18446744073709551616,"f":1e+22,"trace":{"url":"/x","url_raw":null}}"#,
        );
    }

    #[test]
    fn own_key_that_looks_raw_gets_one_more_suffix() {
        becomes("{'url_raw': 'x'}", r#"{"url_raw_raw":"x"}"#);
        becomes("{'url': '/x', 'url_raw': 'y'}", r#"{"url":0,"url_raw":"/x","url_raw_raw":"y"}"#);
        becomes("{'url_raw': 'y', 'url': '/x'}", r#"{"url_raw_raw":"y","url":0,"url_raw":"/x"}"#);
        becomes("{'url': '/api/products/product/', 'url_raw': 1}", r#"{"url":1,"url_raw_raw":1}"#);
        becomes("{'inDate_raw_raw': 1, 'user_id_raw': 2}", r#"{"inDate_raw_raw_raw":1,"user_id_raw_raw":2}"#);
        becomes("{'name_raw': 1, '_raw': 2, 'raw': 3, 'Url_raw': 4}", r#"{"name_raw":1,"_raw":2,"raw":3,"Url_raw":4}"#);
    }

    #[test]
    fn row_from_before_the_dictionary_gained_an_entry_is_restored() {
        let line = r#"{"method":0,"method_raw":"GET"}"#;
        assert_eq!(compactor().restore(line), Ok(fields("{'method': 'GET'}")));
    }

    #[test]
    fn row_that_was_not_written_here_is_refused() {
        let id = COMPACT_ID;
        for line in [
            "",
            "1",
            "[]",
            "{",
            r#"{"url":0}"#,
            r#"{"url":2}"#,
            r#"{"url":-1}"#,
            r#"{"url":1.0}"#,
            r#"{"url":"/x"}"#,
            r#"{"url":null}"#,
            r#"{"url":1,"url_raw":"/x"}"#,
            r#"{"url_raw":"/x"}"#,
            r#"{"url":0,"x":1,"url_raw":"/x"}"#,
            r#"{"url_raw":"/x","url":0}"#,
            r#"{"method":3}"#,
            r#"{"inDate":""}"#,
            r#"{"inDate":"23031001481181"}"#,
            r#"{"inDate":"2303100148118181"}"#,
            r#"{"inDate":"23031001481181x"}"#,
            r#"{"inDate":230310014811818}"#,
            r#"{"inDate":"230310014811818","inDate_raw":"2023-03-10T01:48:11.818Z"}"#,
            r#"{"inDate":"230310014812","inDate_raw":"2023-03-10T01:48:11Z"}"#,
            r#"{"inDate":"1","inDate_raw":1}"#,
            r#"{"user_id":""}"#,
            r#"{"user_id":1}"#,
            &format!(r#"{{"user_id":"{}"}}"#, &id[..43]),
            &format!(r#"{{"user_id":"{id}A"}}"#),
            &format!(r#"{{"user_id":"{}B"}}"#, &id[..43]),
            &format!(r#"{{"user_id":"{}="}}"#, &id[..43]),
            &format!(r#"{{"user_id":"+{}"}}"#, &id[1..]),
            &format!(r#"{{"user_id":"{id}","user_id_raw":"{ID}"}}"#),
            &format!(r#"{{"user_id":"{id}","user_id_raw":"abc"}}"#),
            &format!(r#"{{"user_id":"","user_id_raw":"{ID}"}}"#),
        ] {
            assert!(compactor().restore(line).is_err(), "{line}");
        }
    }

    proptest! {
        #[test]
        fn restored_record_is_the_original_and_has_its_hash(original in generated::fields()) {
            let row = row(&original);
            let restored = compactor().restore(&row);
            prop_assert_eq!(restored.as_ref(), Ok(&original), "{}", row);
            let mut scratch = Scratch::default();
            let hash = content_hash(&original, &mut scratch);
            prop_assert_eq!(content_hash(&restored.unwrap(), &mut scratch), hash);
        }

        #[test]
        fn any_line_is_refused_or_restored_to_what_gives_it_back(
            line in r#"\{("(url|method|inDate|user_id)(_raw){0,2}":(0|1|2|""|"GET"|"230310014811818"),?){0,4}\}"#,
        ) {
            if let Ok((restored, is_certain)) = compactor().restore_and_tell(&line) {
                let again = row(&restored);
                prop_assert!(!is_certain || again == line);
                prop_assert_eq!(compactor().restore(&again), Ok(restored));
            }
        }
    }
}
