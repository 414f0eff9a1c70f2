//! No record makes a query fail: each kind of odd record beside clean ones, as lines and as columns, in the engines, field by field
//! against `etl restore`.

mod spark;
mod trino;

use std::collections::BTreeSet;

use etl::store::ObjectStore;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Map, Value, json};

use super::{duckdb, python};
use crate::support::cli::{Place, gunzip};
use crate::support::{TestS3, s3, unique_prefix};

/// A line a record: what is odd about it, a tab, the plaintext.
const RECORDS: &str = include_str!("../../../fixtures/odd-records.txt");
/// Columns that the known ones have not, and one that is not what a known one is.
const MORE: [&str; 8] = [
    "session:string",
    "items:array<bigint>",
    "flag:boolean",
    "pi:double",
    "big:decimal(38,0)",
    "when:timestamp",
    "day:date",
    "product_id:string",
];

/// The columns of the logs, in their order, whatever the parts are made of.
const COLUMNS: [&str; 10] = [
    "event_time",
    "event_time_text",
    "user_id",
    "record_id",
    "product_id",
    "activity",
    "url",
    "method",
    "name",
    "detail",
];

/// What parts are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Gzip,
    Zstd,
    Parquet,
}

impl Form {
    const ALL: [Self; 3] = [Self::Gzip, Self::Zstd, Self::Parquet];

    /// Its keys of `[load]`.
    fn load(self) -> &'static str {
        match self {
            Self::Gzip => "",
            Self::Zstd => "compression = \"zstd\"\n",
            Self::Parquet => "format = \"parquet\"\ncompression = \"zstd\"\n",
        }
    }

    /// The folders of an hour.
    fn layout(self) -> &'static str {
        if self == Self::Parquet { "year=%Y/month=%m/day=%d/hour=%H" } else { "%Y_y/%m_m/%d_d/%H_h" }
    }

    /// What the columns are followed by.
    fn last(self) -> [&'static str; 3] {
        if self == Self::Parquet { ["extra", "raw", "dt"] } else { ["inDate", "dt", "line"] }
    }

    /// The lines of a part, where it has lines.
    fn lines(self, object: &[u8]) -> Vec<String> {
        match self {
            Self::Gzip => gunzip(object),
            Self::Zstd => {
                String::from_utf8(zstd::decode_all(object).unwrap()).unwrap().lines().map(str::to_owned).collect()
            }
            Self::Parquet => Vec::new(),
        }
    }
}

/// A record that was loaded.
#[derive(Clone)]
struct Odd {
    /// The folders of its hour.
    dt: String,
    /// Its row, where rows are lines.
    line: Option<String>,
    /// As `etl restore` gives it.
    original: Value,
}

/// What was loaded.
struct Lake {
    place: Place,
    prefix: String,
    bucket: String,
    form: Form,
    records: Vec<Odd>,
}

impl Lake {
    fn hours(&self) -> String {
        let hours: BTreeSet<String> = self.records.iter().map(|record| format!("'{}'", record.dt)).collect();
        hours.into_iter().collect::<Vec<_>>().join(", ")
    }

    fn ddl(&self, args: &[&str]) -> String {
        let location = format!("s3://{}/{}", self.bucket, self.prefix);
        let form: &[&str] = match self.form {
            Form::Parquet if !args.contains(&"--location") => &["ddl", "--location", &location],
            _ => &["ddl"],
        };
        self.place.etl(&[form, args].concat()).exits(0).out
    }
}

/// All records of the fixture in S3.
fn lake(at: &TestS3, form: Form) -> Lake {
    let prefix = unique_prefix("odd");
    let load =
        format!("{}{}", at.load(&prefix), if form == Form::Parquet { "layout = \"hive\"\n" } else { form.load() });
    let mut place =
        Place::new(&format!("[source]\nurl = \"file:pages/*\"\n[hours]\nmax_future = \"30000d\"\n[load]\n{load}"));
    place.trust(at);
    let plaintexts: Vec<String> = RECORDS.lines().map(|line| line.split_once('\t').unwrap().1.to_owned()).collect();
    place.page("pages/1", &plaintexts);
    place.etl(&["run", "--drain"]).exits(0);
    let restored = place.etl(&["restore"]).exits(0).out;
    let originals: Vec<Value> = restored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(originals.len(), plaintexts.len(), "nothing was refused");
    let keys: Vec<String> = at.keys(&prefix).into_iter().filter(|key| key.contains("/part-")).collect();
    let mut lines = keys.iter().flat_map(|key| form.lines(&at.store().get(key).unwrap()));
    let records: Vec<Odd> = originals
        .into_iter()
        .map(|original| Odd {
            dt: instant(&original).strftime(form.layout()).to_string(),
            line: lines.next(),
            original,
        })
        .collect();
    if form == Form::Parquet {
        let data = format!("{prefix}data/");
        let part = |key: &String| (key.strip_prefix(&data).unwrap().to_owned(), gunzip(&at.store().get(key).unwrap()));
        temporary(at, &format!("{prefix}pq/"), &keys.iter().map(part).collect::<Vec<_>>());
    }
    let prefix = if form == Form::Parquet { prefix + "pq/" } else { prefix };
    Lake { place, prefix, form, records, bucket: at.bucket.clone() }
}

fn put(at: &TestS3, key: &str, bytes: &[u8]) {
    let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&path, bytes).unwrap();
    let identity = etl::hour::part::PartIdentity { rows: 3, bytes: 5, sha256: "x".into(), content_sha256: "y".into() };
    let meta = etl::store::PartMeta { identity, hour: "2023-03-10T01".into(), dict: "d1".into() };
    at.store().put_new(key, &path, &meta).unwrap();
}

fn temporary(at: &TestS3, prefix: &str, parts: &[(String, Vec<String>)]) {
    let settings = r#"{"schema":1,"timezone":"UTC","layout":"year={year}/month={month}/day={day}/hour={hour}","format":"parquet","compression":"zstd"}"#;
    put(at, &format!("{prefix}settings.json"), settings.as_bytes());
    let dictionaries = etl::record::row::Codecs::default();
    let compactor = etl::record::row::Compactor::new(&dictionaries);
    let columns = etl::part::parquet::Columns::new(&[], &TimeZone::UTC).unwrap();
    for (key, lines) in parts {
        let mut object = Vec::new();
        let zstd = etl::hour::format::Compression::Zstd;
        let mut writer = etl::part::parquet::ParquetWriter::begin(&columns, &compactor, zstd, &mut object).unwrap();
        lines.iter().for_each(|line| writer.write(format!("{line}\n").as_bytes()).unwrap());
        writer.finish(lines.len() as u64).unwrap();
        put(at, &format!("{prefix}parquet/{}", key.replace(".ndjson.gz", ".parquet")), &object);
    }
}

/// A text as it is, any other value but null as JSON.
fn text(value: Option<&Value>, found: &Value) -> bool {
    match (value.unwrap_or(&Value::Null), found) {
        (Value::Null, found) => found.is_null(),
        (value @ Value::String(_), found) => value == found,
        (value, Value::String(found)) => serde_json::from_str(found).is_ok_and(|found: Value| same(value, &found)),
        _ => false,
    }
}

/// Equal, whichever way an engine spells a number.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (one, other) => one == other,
    }
}

/// An integer of 64 bits, and nothing rounded or parsed.
fn integer(value: Option<&Value>, found: &Value) -> bool {
    value.and_then(Value::as_i64).map_or(Value::Null, Value::from) == *found
}

fn detail(value: Option<&Value>, found: &Value) -> bool {
    let Some(Value::Object(value)) = value else { return found.is_null() };
    found.is_object() && ["message", "levelname"].iter().all(|name| text(value.get(*name), &found[*name]))
}

/// The time of a record; digits beyond microseconds are cut off.
fn instant(original: &Value) -> jiff::Zoned {
    let text = original["inDate"].as_str().unwrap().to_uppercase().replace(',', ".").replacen(' ', "T", 1);
    let at: Timestamp = match text.as_str() {
        "2023-03-10T18:59:60Z" => "2023-03-10T18:59:59.999999Z".parse().unwrap(),
        "2023-03-10T13:40:07-05" => "2023-03-10T18:40:07Z".parse().unwrap(),
        text if text.len() < 24 && !text.ends_with('Z') => format!("{text}Z").parse().unwrap(),
        text => text.parse().unwrap(),
    };
    Timestamp::from_microsecond(at.as_microsecond()).unwrap().to_zoned(TimeZone::UTC)
}

/// How an engine shows a time.
#[derive(Clone, Copy)]
enum Clock {
    Microseconds,
    /// What is beyond is cut off.
    Milliseconds,
    /// To the nearest.
    RoundedToMilliseconds,
}

impl Clock {
    fn shows(self, at: &jiff::Zoned) -> String {
        match self {
            Self::Microseconds => at.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string(),
            Self::Milliseconds => at.strftime("%Y-%m-%d %H:%M:%S.%3f").to_string(),
            Self::RoundedToMilliseconds => Self::Milliseconds.shows(&at.round(jiff::Unit::Millisecond).unwrap()),
        }
    }
}

/// What is wrong in the row of a record.
fn wrong(record: &Odd, row: &Map<String, Value>, form: Form, clock: Clock) -> Vec<String> {
    let Odd { dt, line, original } = record;
    let field = |name: &str| row.get(name).or_else(|| row.get(&name.to_lowercase())).unwrap();
    let in_date = original["inDate"].as_str().unwrap();
    let at = instant(original);
    let usual = at.strftime("%Y-%m-%dT%H:%M:%S.%3fZ").to_string();
    let is_usual = usual == in_date && in_date.starts_with("20");
    let mut checks = vec![
        ("dt", field("dt") == dt.as_str()),
        ("event_time", field("event_time") == clock.shows(&at).as_str()),
        ("event_time_text", *field("event_time_text") == if is_usual { Value::Null } else { json!(in_date) }),
        ("record_id", integer(original.get("record_id"), field("record_id"))),
        ("detail", detail(original.get("detail"), field("detail"))),
    ];
    let texts = ["user_id", "activity", "url", "method", "name"];
    checks.extend(texts.map(|name| (name, text(original.get(name), field(name)))));
    // Some tests have it as a text.
    if field("product_id").is_number() {
        checks.push(("product_id", integer(original.get("product_id"), field("product_id"))));
    }
    if form == Form::Parquet {
        checks.push(("extra", extra(original, field("extra"), field("raw"))));
    } else {
        checks.push(("line", line.as_deref() == field("line").as_str()));
        checks.push(("inDate", field("inDate") == in_date));
    }
    checks.iter().filter(|(_, fits)| !fits).map(|(name, _)| format!("{name} is {}", field(name))).collect()
}

/// Whether the fields without a column are in `extra`, or the whole record is in `raw`.
fn extra(original: &Value, extra: &Value, raw: &Value) -> bool {
    let parsed = |text: &Value| text.as_str().map(|text| serde_json::from_str::<Value>(text).unwrap());
    if let Some(raw) = parsed(raw) {
        return same(original, &raw);
    }
    let extra = parsed(extra).unwrap_or(json!({}));
    let known = [&COLUMNS[..], &["inDate"]].concat();
    let others = original.as_object().unwrap().iter().filter(|(name, _)| !known.contains(&name.as_str()));
    let fits = |(name, value): (&String, &Value)| extra.get(name).is_some_and(|found| same(value, found));
    others.into_iter().all(fits)
}

/// Checks that the rows of a table are the originals, each once, and the lines the lake's.
#[track_caller]
fn are_the_originals(records: &[Odd], form: Form, rows: &[Value], clock: Clock) {
    assert_eq!(rows.len(), records.len());
    let mut left: Vec<&Map<String, Value>> = rows.iter().map(|row| row.as_object().unwrap()).collect();
    let mut failed = Vec::new();
    for record in records {
        let found = left.iter().map(|row| wrong(record, row, form, clock)).enumerate();
        let (nearest, what) = found.min_by_key(|(_, wrong)| wrong.len()).unwrap();
        left.swap_remove(nearest);
        if !what.is_empty() {
            let original: String = record.original.to_string().chars().take(400).collect();
            failed.push(format!("{original}: {}", what.join(", ")));
        }
    }
    assert!(failed.is_empty(), "{}, as {:#?}", failed.len(), failed.get(..failed.len().min(5)));
}

/// What the columns that were added have of the two records made for them.
#[track_caller]
fn added_columns_hold_what_fits(rows: &[Value]) {
    let with = |session: &str| rows.iter().find(|row| row["session"] == session).unwrap();
    let clean = with("s-1");
    let found = ["items", "flag", "day"].map(|name| &clean[name]);
    assert_eq!(found, [&json!([1, 2, 3]), &json!(true), &json!("2023-03-10")]);
    assert_eq!(clean["pi"].as_f64(), Some(std::f64::consts::PI));
    assert_eq!(clean["big"].to_string().trim_matches('"').parse::<f64>().ok(), Some(1e36));
    assert!(clean["when"].as_str().unwrap().starts_with("2023-03-09 16:02:03"), "{clean}");
    let odd = with("5");
    for name in ["flag", "pi", "when", "day", "big"] {
        assert!(odd[name].is_null(), "{name}: {odd}");
    }
    let products: Vec<&str> = rows.iter().filter_map(|row| row["product_id"].as_str()).collect();
    for text in ["P-77", "7.5", "true", "[1]"] {
        assert!(products.contains(&text), "{products:?}");
    }
}

fn columns() -> Vec<&'static str> {
    MORE.iter().flat_map(|column| ["--column", column]).collect()
}

#[test]
fn no_record_breaks_a_query_in_duckdb() {
    let Some(at) = s3() else { return };
    for form in Form::ALL {
        let lake = lake(&at, form);
        let sql = lake.ddl(&["--for", "duckdb"]) + "SET TimeZone = 'UTC';\n";
        let time = "strftime(event_time, '%Y-%m-%d %H:%M:%S.%f') AS event_time";
        let line = if form == Form::Parquet { "" } else { ", CAST(line AS VARCHAR) AS line" };
        let query = format!("SELECT * REPLACE ({time}{line}) FROM logs");
        let Some(rows) = duckdb(&lake.place, &sql, &query, Some(&at)) else { return };
        are_the_originals(&lake.records, form, &rows, Clock::Microseconds);
        let named = "SELECT column_name AS name FROM (DESCRIBE logs)";
        let named = duckdb(&lake.place, &sql, named, Some(&at)).unwrap();
        let names: Vec<&str> = named.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, [&COLUMNS[..], &form.last()].concat());
        let count = "SELECT count(*) AS n, count(DISTINCT dt) AS hours FROM logs";
        let count = duckdb(&lake.place, &sql, count, Some(&at)).unwrap();
        assert_eq!(count, [json!({"n": lake.records.len(), "hours": 4})]);
        if form == Form::Gzip {
            let sql = lake.ddl(&[&["--for", "duckdb"], columns().as_slice()].concat());
            let rows = duckdb(&lake.place, &sql, "SELECT * FROM logs", Some(&at)).unwrap();
            added_columns_hold_what_fits(&rows);
        }
    }
}

#[test]
fn hours_outside_of_the_years_are_named_and_those_of_the_store_are_within() {
    let Some(at) = s3() else { return };
    for form in [Form::Gzip, Form::Parquet] {
        let lake = lake(&at, form);
        let sql = lake.ddl(&[]);
        let range = match form {
            Form::Parquet => "'year=1999/month=01/day=01/hour=00,year=2099/month=12/day=31/hour=23'",
            _ => "'1999_y/01_m/01_d/00_h,2099_y/12_m/31_d/23_h'",
        };
        assert!(sql.contains(range) && !sql.contains("WARNING"), "{sql}");
        let sql = lake.ddl(&["--keys", "hour"]);
        assert!(sql.contains("'projection.year.range' = '1999,2099'"), "{sql}");
        for engine in ["athena", "trino"] {
            let location = format!("s3://{}/{}", lake.bucket, lake.prefix);
            let ran =
                lake.place.etl(&["ddl", "--for", engine, "--years", "2023-2030", "--location", &location]).exits(0);
            for text in [&ran.out, &ran.err] {
                assert!(text.contains("2 hours are outside of the years 2023-2030"), "{ran:?}");
                assert!(text.contains("1999-12-31T23, 2099-01-01T00. --years 1999-2099 covers all"), "{ran:?}");
            }
        }
    }
}
