//! DuckDB's SQL. Pure.

use super::super::Quoted;
use super::super::column::Type;
use super::Dialect;
use super::instant::{self, Spelling};

/// DuckDB.
pub(in crate::query) struct DuckDb;

/// What `json_type` calls integers, and numbers.
const INTEGERS: &str = "'UBIGINT', 'BIGINT'";
const NUMBERS: &str = "'UBIGINT', 'BIGINT', 'HUGEINT', 'UHUGEINT', 'DOUBLE'";

impl Dialect for DuckDb {
    fn ident(&self, name: &str) -> String {
        format!("\"{name}\"")
    }

    fn literal(&self, text: &str) -> String {
        Quoted(text).to_string()
    }

    fn scalar(&self, path: &str) -> String {
        self.text(path)
    }

    fn text(&self, path: &str) -> String {
        format!("json_extract_string(line, '{path}')")
    }

    fn matches(&self, text: &str, pattern: &str) -> String {
        format!("regexp_matches({text}, '{pattern}')")
    }

    fn value(&self, path: &str, ty: &Type) -> String {
        let text = self.text(path);
        let kinds = match ty {
            Type::Plain("boolean", _) => "'BOOLEAN'",
            Type::Plain("double" | "float", _) | Type::Decimal(..) => NUMBERS,
            Type::Plain(..) => INTEGERS,
            ty => return format!("TRY_CAST(json_extract(line, '{path}') AS {})", ty.duckdb()),
        };
        format!("CASE WHEN json_type(line, '{path}') IN ({kinds}) THEN TRY_CAST({text} AS {}) END", ty.duckdb())
    }

    fn is_object(&self, path: &str) -> String {
        format!("json_type(line, '{path}') = 'OBJECT'")
    }

    fn pack(&self, _: &Type, fields: &[(&str, String)]) -> String {
        let fields: Vec<String> =
            fields.iter().map(|(name, expression)| format!("\"{name}\" := {expression}")).collect();
        format!("struct_pack({})", fields.join(", "))
    }

    /// Its base64 wants the padding, and knows no URLs.
    fn uuid_pair(&self, text: &str) -> String {
        let half = |from: u8| {
            format!("hex(from_base64(translate(nullif(substr({text}, {from}, 22), ''), '-_', '+/') || '=='))")
        };
        format!("lower({} || {})", half(23), half(1))
    }

    fn hex(&self, text: &str) -> String {
        let padded = format!("{text} || repeat('=', (4 - length({text}) % 4) % 4)");
        format!("lower(hex(from_base64(nullif(translate({padded}, '-_', '+/'), ''))))")
    }

    fn at_micros(&self, micros: &str) -> String {
        format!("make_timestamp({micros})")
    }

    fn instant(&self, text: &str, zone: &str) -> String {
        let spelling = Spelling {
            like: "regexp_matches",
            ty: "TIMESTAMP",
            digits: 6,
            utc: "",
            later: |time, minutes| format!("{time} + to_minutes({minutes})"),
            in_zone: |time, zone| format!("{time} AT TIME ZONE {} AT TIME ZONE 'UTC'", Quoted(zone)),
        };
        instant::instant(text, zone, &spelling)
    }
}
