//! Trino's SQL, which Athena speaks too. Pure.

use super::super::Quoted;
use super::super::column::Type;
use super::Dialect;
use super::instant::{self, Spelling};

/// Trino, or Athena.
pub(in crate::query) struct Trino {
    /// Athena's timestamps hold milliseconds.
    pub(in crate::query) athena: bool,
}

impl Dialect for Trino {
    /// Names have no upper case.
    fn ident(&self, name: &str) -> String {
        format!("\"{}\"", name.to_ascii_lowercase())
    }

    fn literal(&self, text: &str) -> String {
        Quoted(text).to_string()
    }

    fn scalar(&self, path: &str) -> String {
        format!("json_extract_scalar(line, '{path}')")
    }

    fn text(&self, path: &str) -> String {
        format!("coalesce({}, nullif({}, 'null'))", self.scalar(path), json(path))
    }

    /// One look at the row where nothing is stored, which is nearly always.
    fn raw_or(&self, raw: &str, inverse: &str) -> String {
        format!("CASE WHEN json_extract(line, '{raw}') IS NULL THEN {inverse} ELSE {} END", self.text(raw))
    }

    /// A number's JSON is its digits, a text's has quotes, so a cast of it takes no text for a number.
    fn value(&self, path: &str, ty: &Type) -> String {
        let json = json(path);
        match ty {
            Type::Plain("boolean", _) => format!("CASE {json} WHEN 'true' THEN true WHEN 'false' THEN false END"),
            Type::Decimal(..) => {
                let number = format!("TRY_CAST({} AS {})", self.scalar(path), ty.trino());
                format!("CASE WHEN TRY_CAST({json} AS double) IS NOT NULL THEN {number} END")
            }
            Type::Plain(..) => format!("TRY_CAST({json} AS {})", ty.trino()),
            ty => format!("TRY(CAST(json_extract(line, '{path}') AS {}))", ty.trino()),
        }
    }

    fn is_object(&self, path: &str) -> String {
        format!("{} LIKE '{{%'", json(path))
    }

    fn pack(&self, ty: &Type, fields: &[(&str, String)]) -> String {
        let fields: Vec<&str> = fields.iter().map(|(_, expression)| expression.as_str()).collect();
        format!("CAST(ROW({}) AS {})", fields.join(", "), ty.trino())
    }

    fn uuid_pair(&self, text: &str) -> String {
        let half = |from: u8| format!("to_hex(from_base64url(substr({text}, {from}, 22)))");
        format!("nullif(lower({} || {}), '')", half(23), half(1))
    }

    fn hex(&self, text: &str) -> String {
        format!("nullif(lower(to_hex(from_base64url({text}))), '')")
    }

    fn at_micros(&self, micros: &str) -> String {
        let (nanos, ty) = match self.athena {
            true => (format!("{micros} / 1000 * 1000000"), "timestamp"),
            false => (format!("{micros} * 1000"), "timestamp(6)"),
        };
        format!("CAST(at_timezone(from_unixtime_nanos({nanos}), 'UTC') AS {ty})")
    }

    fn instant(&self, text: &str, zone: &str) -> String {
        let spelling = Spelling {
            like: "regexp_like",
            ty: if self.athena { "timestamp" } else { "timestamp(6)" },
            digits: if self.athena { 3 } else { 6 },
            utc: "",
            later: |time, minutes| format!("date_add('minute', {minutes}, {time})"),
            in_zone: if self.athena { milliseconds_in_zone } else { microseconds_in_zone },
        };
        instant::instant(text, zone, &spelling)
    }
}

fn json(path: &str) -> String {
    format!("json_format(json_extract(line, '{path}'))")
}

fn milliseconds_in_zone(time: &str, zone: &str) -> String {
    format!("CAST(at_timezone(with_timezone({time}, {}), 'UTC') AS timestamp)", Quoted(zone))
}

fn microseconds_in_zone(time: &str, zone: &str) -> String {
    format!("CAST(at_timezone(with_timezone({time}, {}), 'UTC') AS timestamp(6))", Quoted(zone))
}
