//! That tables and views say what the configuration says. Owns nothing, keeps nothing on the disk.

use super::*;
use crate::config::ColumnKind;
use crate::hour::format::{Compression, Format};

fn dating() -> Dating {
    Dating::of_the_origin(jiff::tz::TimeZone::UTC)
}

fn column(text: &str) -> Result<Column> {
    text.parse()
}

#[test]
fn type_is_spelled_again_for_hive_and_for_duckdb() {
    for (text, hive, duckdb) in [
        ("a:string", "string", "VARCHAR"),
        ("a:INT", "int", "INTEGER"),
        ("a:decimal(10)", "decimal(10,0)", "DECIMAL(10,0)"),
        ("a:array< array<double> >", "array<array<double>>", "DOUBLE[][]"),
        ("a:map<string,decimal(38,2)>", "map<string,decimal(38,2)>", "MAP(VARCHAR, DECIMAL(38,2))"),
        (
            "a:struct<Id:bigint,b:struct<c:date>>",
            "struct<Id:bigint,b:struct<c:date>>",
            "STRUCT(\"Id\" BIGINT, \"b\" STRUCT(\"c\" DATE))",
        ),
    ] {
        let ty = column(text).unwrap().ty;
        assert_eq!((ty.hive().as_str(), ty.duckdb().as_str()), (hive, duckdb), "{text}");
    }
}

#[test]
fn what_is_no_column_is_refused() {
    let deep = format!("a:{}int{}", "array<".repeat(20), ">".repeat(20));
    for text in [
        "",
        "a",
        ":int",
        "a:",
        "a-b:int",
        "1a:int",
        "a:text",
        "a:array<int",
        "a:array<int>>",
        "a:decimal(39,0)",
        "a:decimal(2,3)",
        "a:struct<>",
        "a:struct<b>",
        "a:map<int>",
        "a:int,b:int",
        "a:é",
        &deep,
    ] {
        assert_eq!(column(text).unwrap_err().kind(), ErrorKind::Usage, "{text}");
    }
}

#[test]
fn given_column_takes_the_place_of_a_known_one_or_comes_last() {
    let given = [column("record_id:string").unwrap(), column("inDate_raw:int").unwrap()];
    let columns = Table::columns(&dating(), &Codecs::default(), &[], &given, Keys::Hour).unwrap();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!((names[1], names.last()), ("record_id", Some(&"inDate_raw")));
    assert_eq!(columns[1].ty.hive(), "string");
    assert_eq!(
        columns.last().unwrap().stored,
        "inDate_raw_raw",
        "rows have one more _raw for a field of the record's own"
    );
}

fn hours(labels: &[&str]) -> BTreeSet<Hour> {
    labels.iter().map(|label| label.parse().unwrap()).collect()
}

#[test]
fn span_covers_the_store_and_names_what_the_years_given_do_not() {
    let now: Hour = "2026-11-26T16".parse().unwrap();
    let years = |span: &Span| (span.years.from, span.years.to);
    for (seen, keys, covered) in [
        (Some(&["2023-03-10T01", "2026-11-26T17"][..]), Keys::Dt, (2023, 2026)),
        (Some(&["1999-12-31T23", "2026-11-26T15"]), Keys::Dt, (1999, 2026)),
        (Some(&["2023-03-10T01", "2099-01-01T00"]), Keys::Dt, (2023, 2099)),
        (Some(&["2023-03-10T01"]), Keys::Hour, (2023, 2036)),
        (Some(&["2099-01-01T00"]), Keys::Hour, (2026, 2099)),
        (Some(&[]), Keys::Dt, (2026, 2026)),
        (None, Keys::Dt, (2020, 2026)),
    ] {
        let seen = seen.map(hours);
        let span = Span::new(None, seen.as_ref(), now, keys);
        assert_eq!((years(&span), span.warning()), (covered, None), "{seen:?}");
    }
    let seen = hours(&["1999-12-31T23", "2023-03-10T01", "2099-01-01T00"]);
    let span = Span::new(Some("2000-2026".parse().unwrap()), Some(&seen), now, Keys::Dt);
    let warning = span.warning().unwrap();
    assert!(warning.starts_with("2 hours are outside of the years 2000-2026"), "{warning}");
    assert!(warning.contains("1999-12-31T23, 2099-01-01T00. --years 1999-2099"), "{warning}");
    let past = Span::new(Some("2000-2005".parse().unwrap()), Some(&seen), now, Keys::Dt);
    assert!(past.comments(Keys::Dt).iter().any(|line| line.contains("to the end of 2005")), "{past:?}");
}

#[test]
fn years_are_two_and_in_order() {
    assert_eq!("2020-2039".parse::<Years>().unwrap(), projection::Years { from: 2020, to: 2039 });
    for text in ["2020", "2020-", "2039-2020", "20-21", "2020-99999", "-1-2"] {
        assert!(text.parse::<Years>().is_err(), "{text}");
    }
}

/// A table over parts of this format, with a configured column.
fn table(encoding: Encoding) -> Table {
    let configured = [LoadColumn { name: "Session".to_owned(), kind: ColumnKind::String }];
    Table {
        database: None,
        name: "logs".to_owned(),
        place: Destination::S3 { bucket: "b".to_owned(), prefix: String::new() },
        layout: Layout::default().of_format(Format { encoding, compression: Compression::Zstd }),
        keys: Keys::Dt,
        serde: None,
        columns: Table::columns(&dating(), &Codecs::default(), &configured, &[], Keys::Dt).unwrap(),
        dating: dating(),
        zone: "UTC".to_owned(),
        ahead: 0,
        span: Span::new(None, None, "2026-11-26T16".parse().unwrap(), Keys::Dt),
    }
}

#[test]
fn view_over_lines_has_the_columns_of_parquet_parts_in_their_order() {
    let columns = columnar::columns(&table(Encoding::Parquet));
    let names: Vec<String> = columns.iter().map(|column| column.name.to_lowercase()).collect();
    let shared = &names[..names.len() - 2];
    assert_eq!((shared[0].as_str(), shared.last().unwrap().as_str()), ("event_time", "session"));
    assert_eq!(names[shared.len()..], ["extra", "raw"]);
    let lines = table(Encoding::Ndjson);
    let dialects: [&dyn dialect::Dialect; 3] = [&dialect::DuckDb, &dialect::Spark, &dialect::Trino { athena: false }];
    for dialect in dialects {
        let query = dialect::query(&lines, dialect, "t");
        let (selected, _) = query.split_once("\nFROM (").unwrap();
        let found: Vec<String> = selected
            .lines()
            .skip(1)
            .filter_map(|line| line.trim_end_matches(',').rsplit(' ').next())
            .map(|name| name.trim_matches(['"', '`']).to_lowercase())
            .collect();
        let expected = [shared, &["indate".to_owned(), "dt".to_owned(), "line".to_owned()]].concat();
        assert_eq!(found, expected);
    }
}
