//! Tables over Parquet parts: their columns, also those that came later; and the manual's lines for polars.

use std::fs;
use std::process::Command;

use serde_json::{Value, json};

use super::{duckdb, python};
use crate::support::cli::Place;
use crate::support::documents::{blocks, page};
use crate::support::python::venv;
use crate::support::service::Service;

/// A record with a field that has no column of its own.
fn with_session(id: u64, session: &str) -> String {
    format!("{{'record_id': {id}, 'activity': 'view', 'session': {session}, 'inDate': '2023-03-10T0{id}:00:00.000Z'}}")
}

/// The same for Parquet's parts.
const PARQUET: &str = "format = \"parquet\"\ncompression = \"zstd\"\n";

#[test]
fn column_that_came_later_is_null_in_older_parts_and_its_field_is_in_extra() {
    let config = format!("[source]\nurl = \"file:pages/*\"\n[load]\nto = \"file:lake\"\n{PARQUET}");
    let place = Place::new(&config);
    place.page("pages/1", &[with_session(1, "'old'")]);
    place.etl(&["run", "--drain"]).exits(0);
    place.configure(&format!("{config}columns = {{ session = \"string\", price = \"float64\" }}\n"));
    place.page("pages/2", &[with_session(2, "'new'"), with_session(3, "7")]);
    place.etl(&["run", "--drain"]).exits(0);
    let sql = place.etl(&["ddl", "--for", "duckdb"]).exits(0).out;
    let query = "SELECT record_id AS id, session, price, extra->>'session' AS extra FROM logs ORDER BY id";
    let Some(rows) = duckdb(&place, &sql, query, None) else { return };
    let row =
        |id: u64, session: Value, extra: Value| json!({"id": id, "session": session, "price": null, "extra": extra});
    let expected =
        [row(1, Value::Null, json!("old")), row(2, json!("new"), Value::Null), row(3, json!("7"), json!("7"))];
    assert_eq!(rows, expected);
    // The columns of views over lines are the same, whatever the parts were written with.
    let lines = Place::new(&config.replace(PARQUET, "columns = { session = \"string\", price = \"float64\" }\n"));
    let sql = lines.etl(&["ddl", "--for", "spark"]).exits(0).out;
    let at =
        ["`detail`", "`price`", "`session`", "`inDate`", "line"].map(|name| sql.rfind(&format!("\n  {name}")).unwrap());
    assert!(at.is_sorted(), "{sql}");
}

#[test]
fn athena_s_table_has_the_columns_and_no_view() {
    let place =
        Place::new(&format!("[load]\nto = \"s3://my-logs/a/\"\n{PARQUET}columns = {{ Session = \"string\" }}\n"));
    for (keys, key) in [("dt", "dt"), ("hour", "year")] {
        let sql = place.etl(&["ddl", "--keys", keys, "--years", "2023-2030"]).exits(0).out;
        assert!(sql.contains("STORED AS PARQUET\nLOCATION 's3://my-logs/a/parquet/'"), "{sql}");
        assert!(sql.contains(&format!("'projection.{key}.type'")), "{sql}");
        let Some(found) = python(include_str!("athena_parses.py"), &[], &sql) else { return };
        let found: Value = serde_json::from_str(&found).unwrap();
        assert_eq!(found.as_array().unwrap().len(), 1, "{sql}");
        let columns =
            ["event_time", "event_time_text", "user_id", "record_id", "product_id", "activity", "url", "method"];
        let columns = [&columns[..], &["name", "detail", "session", "extra", "raw"]].concat();
        assert_eq!((&found[0]["kind"], &found[0]["name"]), (&json!("TABLE"), &json!("logs")));
        assert_eq!(found[0]["columns"], json!(columns));
    }
}

#[test]
fn what_is_for_lines_is_refused_over_parquet_with_the_way_out() {
    let place = Place::new(&format!("[load]\nto = \"s3://my-logs/a/\"\n{PARQUET}"));
    for (args, way) in [(["--column", "session:string"], "[load.columns]"), (["--serde", "hive"], "leave --serde out")]
    {
        let ran = place.etl(&[&["ddl"], &args[..]].concat()).exits(2);
        assert!(ran.err.contains(way), "{ran:?}");
    }
}

#[test]
fn polars_reads_the_lake_as_the_manual_says() {
    let Some(polars) = venv("polars", &["polars==2.1.0"]) else { return };
    let examples: Vec<String> =
        blocks(&page("querying"), "python").into_iter().filter(|block| block.contains("import polars")).collect();
    let service = Service::start(14, |options| options.records = Some(300));
    let forms = [("", ""), ("compression = \"zstd\"\n", ".zst"), (PARQUET, "")];
    for (n, (load, suffix)) in forms.into_iter().enumerate() {
        let place = super::filled(&service, &format!("to = \"file:lake\"\n{load}"), None);
        let example = examples[n / 2]
            .replace(".ndjson.gz", &format!(".ndjson{}", if suffix.is_empty() { ".gz" } else { suffix }));
        let count = "\nprint(logs.group_by('activity').len().sort('activity').rows())\n";
        fs::write(place.path("example.py"), example + count).unwrap();
        let ran =
            Command::new(polars.join("bin/python")).arg("example.py").current_dir(place.path("")).output().unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let sql = place.etl(&["ddl", "--for", "duckdb"]).exits(0).out;
        let query = "SELECT activity, count(*) AS n FROM logs GROUP BY activity ORDER BY activity";
        let Some(rows) = duckdb(&place, &sql, query, None) else { return };
        let rows: Vec<String> =
            rows.iter().map(|row| format!("('{}', {})", row["activity"].as_str().unwrap(), row["n"])).collect();
        assert!(rows.len() > 1);
        assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), format!("[{}]", rows.join(", ")), "{load}");
    }
}
