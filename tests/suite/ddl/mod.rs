//! What `etl ddl` prints, in the hands of the programs that it is for.

mod odd;
mod parquet;

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::cli::{Place, page, record};
use crate::support::python::venv;
use crate::support::service::Service;
use crate::support::{TestS3, s3, unique_prefix};

/// DuckDB with its S3 extension, a parser of Athena's dialect, and a Glue to talk to.
const PACKAGES: [&str; 4] =
    ["duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5", "sqlglot==30.30.0", "moto[glue]==5.2.5"];
/// What the view has of known logs.
const FIELDS: [&str; 9] =
    ["user_id", "record_id", "product_id", "activity", "url", "method", "name", "inDate", "detail"];

/// Runs one of the scripts beside this file; `None` where Python's packages cannot be had.
fn python(script: &str, args: &[&str], stdin: &str) -> Option<String> {
    let venv = venv("sql", &PACKAGES)?;
    let mut child = Command::new(venv.join("bin/python"))
        .args(["-c", script])
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", output.status);
    Some(String::from_utf8(output.stdout).unwrap())
}

/// The rows of a query in DuckDB, after a script.
fn duckdb(place: &Place, sql: &str, query: &str, s3: Option<&TestS3>) -> Option<Vec<Value>> {
    let script = place.path("script.sql");
    fs::write(&script, sql).unwrap();
    let mut args = vec![script.to_str().unwrap(), query];
    if let Some(at) = s3 {
        args.extend([&*at.endpoint, &*at.key, &*at.secret, &*at.region]);
    }
    let rows = python(include_str!("duckdb_rows.py"), &args, "")?;
    Some(rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect())
}

/// The fields of known logs in an original: what is compact in the rows is a text in the view.
fn fields(original: &Value) -> Value {
    let field = |name: &&str| {
        let value = original.get(name).cloned().unwrap_or_default();
        let is_text = ["user_id", "url", "method", "inDate"].contains(name) && !value.is_null();
        ((*name).to_owned(), if is_text && !value.is_string() { json!(value.to_string()) } else { value })
    };
    Value::Object(FIELDS.iter().map(field).collect())
}

fn sorted(rows: impl IntoIterator<Item = Value>) -> Vec<String> {
    let mut rows: Vec<String> = rows.into_iter().map(|row| row.to_string()).collect();
    rows.sort_unstable();
    rows
}

/// Checks that the view's rows are what the service sent.
#[track_caller]
fn are_the_originals(rows: Vec<Value>, service: &Service) {
    let truth = service.truth();
    let originals = sorted(truth.iter().map(|line| fields(&serde_json::from_str(line).unwrap())));
    assert!(originals.len() > 100, "{}", originals.len());
    let rows = sorted(rows.iter().map(fields));
    assert_eq!(rows.len(), originals.len());
    for (row, original) in rows.iter().zip(&originals) {
        assert_eq!(row, original);
    }
}

/// A place that fetched a few pages of the service, and sealed and uploaded them.
fn filled(service: &Service, load: &str, s3: Option<&TestS3>) -> Place {
    let config = format!("[source]\nurl = \"{}\"\n[load]\n{load}\n", service.url);
    let mut place = Place::new(&config);
    place.set("FERNET_KEY", &service.key);
    if let Some(at) = s3 {
        place.trust(at);
    }
    for _ in 0..3 {
        place.etl(&["run"]).exits(0);
    }
    place.etl(&["run", "--drain"]).exits(0);
    place
}

#[test]
fn view_in_duckdb_over_s3_gives_all_logs_back_as_they_were_sent() {
    let Some(at) = s3() else { return };
    let service = Service::start(11, |options| {
        (options.late, options.duplicates, options.json_plain) = (5.0, 3.0, 20.0);
        options.interval = std::time::Duration::from_secs(60);
    });
    let place = filled(&service, &at.load(&unique_prefix("ddl")), Some(&at));
    let sql = place.etl(&["ddl", "--for", "duckdb"]).exits(0).out;
    assert!(!sql.contains(&at.secret) && sql.contains("CREATE OR REPLACE SECRET"), "{sql}");
    let Some(rows) = duckdb(&place, &sql, "SELECT * FROM logs", Some(&at)) else { return };
    are_the_originals(rows, &service);
}

#[test]
fn odd_logs_come_back_too_and_in_any_layout() {
    for layout in ["hive", "{hour}{day}-x{month}/{year}.y"] {
        let service = Service::start(12, |options| options.odd = 90.0);
        let place = filled(&service, &format!("to = \"file:it's a lake\"\nlayout = \"{layout}\""), None);
        let more = ["--keys", "hour", "--column", "url_raw:string", "--column", "numbers:array<double>"];
        let args = [&["ddl", "--for", "duckdb"], &more[..]].concat();
        let sql = place.etl(&args).exits(0).out;
        let Some(rows) = duckdb(&place, &sql, "SELECT * FROM logs", None) else { return };
        let own: Vec<&Value> = rows.iter().map(|row| &row["url_raw"]).filter(|value| !value.is_null()).collect();
        assert!(!own.is_empty() && own.iter().all(|value| **value == "a key of the record's own"), "{own:?}");
        assert!(rows.iter().any(|row| row["numbers"][2] == 1e22));
        let in_its_hour = |row: &Value| {
            let keys = ["year", "month", "day", "hour"].map(|key| row[key].as_i64().unwrap());
            let [year, month, day, hour] = keys;
            row["event_time"].as_str().unwrap().starts_with(&format!("{year}-{month:02}-{day:02} {hour:02}:"))
        };
        assert!(rows.iter().all(in_its_hour));
        are_the_originals(rows, &service);
    }
}

#[test]
fn times_without_an_offset_are_those_of_the_zone() {
    let service = Service::start(13, |options| options.odd = 50.0);
    let place = filled(&service, "to = \"file:lake\"\n[hours]\ntimezone = \"Asia/Seoul\"", None);
    let sql = place.etl(&["ddl", "--for", "duckdb"]).exits(0).out;
    let query = "SELECT *, strftime(event_time + INTERVAL 9 HOUR, '%Y_y/%m_m/%d_d/%H_h') AS local FROM logs";
    let Some(rows) = duckdb(&place, &sql, query, None) else { return };
    assert!(rows.iter().any(|row| row["inDate"].as_str().is_some_and(|text| !text.ends_with('Z'))));
    for row in &rows {
        assert_eq!(row["dt"], row["local"], "{row}");
    }
    are_the_originals(rows, &service);
}

#[test]
fn condition_on_the_hour_opens_only_its_parts() {
    let place = Place::new("[load]\nto = \"file:lake\"\n[source]\nurl = \"file:pages/*\"\n");
    let at = |n: u64| record(n, &format!("2023-03-10T{n:02}:00:00.000Z"));
    place.page("pages/1", &(0..12).map(at).collect::<Vec<_>>());
    place.etl(&["run"]).exits(0);
    for (keys, condition) in [("hour", "day = 10 AND hour = 7"), ("dt", "dt = '2023_y/03_m/10_d/07_h'")] {
        let sql = place.etl(&["ddl", "--for", "duckdb", "--keys", keys]).exits(0).out;
        let broken = place.path("lake/data/2023_y/03_m/10_d/03_h/part-00000.ndjson.gz");
        fs::write(&broken, "no gzip at all").unwrap();
        let query = format!("SELECT record_id FROM logs WHERE {condition}");
        let Some(rows) = duckdb(&place, &sql, &query, None) else { return };
        assert_eq!(rows, [json!({"record_id": 7})], "{keys}");
    }
}

#[test]
fn athena_s_dialect_knows_every_statement() {
    let place = Place::new("[load]\nto = \"s3://my-logs/a/b/\"\n[hours]\ntimezone = \"Asia/Seoul\"\n");
    for layout in ["{year}_y/{month}_m/{day}_d/{hour}_h", "hive", "{hour}{day}-x{month}/{year}"] {
        place.configure(&format!(
            "[load]\nto = \"s3://my-logs/a/b/\"\nlayout = \"{layout}\"\n[compact]\nurl = {{ \"/it's\" = 3 }}\n"
        ));
        let typed = ["--keys", "hour", "--serde", "openx", "--column", "user:struct<a:array<int>>"];
        for more in [&["--keys", "hour"][..], &[], &typed] {
            let args = [&["ddl", "--database", "web", "--table", "Visits", "--years", "2020-2039"], more].concat();
            let sql = place.etl(&args).exits(0).out;
            let table = if more.len() > 2 { "visits_compact" } else { "visits_line" };
            let Some(found) = python(include_str!("athena_parses.py"), &[], &sql) else { return };
            let found: Value = serde_json::from_str(&found).unwrap();
            let created = found.as_array().unwrap();
            assert_eq!(created.len(), 2, "{sql}");
            assert_eq!((&created[0]["kind"], &created[0]["name"]), (&json!("TABLE"), &json!(table)));
            assert_eq!((&created[1]["kind"], &created[1]["name"]), (&json!("VIEW"), &json!("visits")));
            assert!(created.iter().all(|one| one["db"] == "web"), "{created:?}");
            projects_every_key(&created[0], layout, more.is_empty());
        }
    }
}

/// Checks the projection of the table against the layout.
#[track_caller]
fn projects_every_key(table: &Value, layout: &str, by_dt: bool) {
    let properties = &table["properties"];
    assert_eq!(properties["projection.enabled"], "true");
    let hive = "year={year}/month={month}/day={day}/hour={hour}";
    let layout = if layout == "hive" { hive } else { layout };
    let location = "s3://my-logs/a/b/data/";
    if by_dt {
        assert_eq!(properties["storage.location.template"], format!("{location}${{dt}}/"));
        let format = properties["projection.dt.format"].as_str().unwrap();
        let fields = [("{year}", "yyyy"), ("{month}", "MM"), ("{day}", "dd"), ("{hour}", "HH")];
        let spelled = fields.iter().fold(layout.to_owned(), |text, (field, java)| text.replace(field, java));
        assert_eq!(format.replace('\'', ""), spelled);
        return;
    }
    let template = layout.replace('{', "${");
    assert_eq!(properties["storage.location.template"], format!("{location}{template}/"));
    for (key, digits, range) in
        [("year", "4", "2020,2039"), ("month", "2", "1,12"), ("day", "2", "1,31"), ("hour", "2", "0,23")]
    {
        let of = |what: &str| properties[format!("projection.{key}.{what}")].clone();
        assert_eq!([of("type"), of("digits"), of("range")], [json!("integer"), json!(digits), json!(range)]);
    }
}

#[test]
fn glue_takes_the_table_and_every_hour_as_a_partition() {
    glue_takes("layout = \"hive\"\n", "data", "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe");
    let serde = "org.apache.hadoop.hive.ql.io.parquet.serde.ParquetHiveSerDe";
    glue_takes("format = \"parquet\"\n", "parquet", serde);
}

fn glue_takes(format: &str, root: &str, serde: &str) {
    let Some(at) = s3() else { return };
    let load = format!("{}{format}", at.load(&unique_prefix("glue")));
    let mut place = Place::new(&format!("[source]\nurl = \"file:pages/*\"\n[load]\n{load}\n"));
    place.trust(&at);
    // More hours than one call takes.
    let hours = (0..107).map(|n: u64| record(n, &format!("2023-03-{:02}T{:02}:00:00.000Z", 1 + n / 24, n % 24)));
    let text = page(&place.key, &hours.collect::<Vec<_>>());
    fs::create_dir(place.path("pages")).unwrap();
    fs::write(place.path("pages/1"), text).unwrap();
    place.etl(&["run"]).exits(0);
    for (keys, names, values) in [
        ("hour", json!(["year", "month", "day", "hour"]), json!(["2023", "03", "05", "09"])),
        ("dt", json!(["dt"]), json!(["year=2023/month=03/day=05/hour=09"])),
    ] {
        let asked = place.etl(&["ddl", "--glue", "--keys", keys, "--until", "2023-03-05T09"]).exits(0).out;
        let Some(found) = python(include_str!("glue_takes.py"), &[], &asked) else { return };
        let found: Value = serde_json::from_str(&found).unwrap();
        let keys: Value =
            found["table"]["PartitionKeys"].as_array().unwrap().iter().map(|k| k["Name"].clone()).collect();
        assert_eq!(keys, names);
        assert_eq!(found["table"]["StorageDescriptor"]["SerdeInfo"]["SerializationLibrary"], serde);
        let partitions = found["partitions"].as_array().unwrap();
        assert_eq!(partitions.len(), 106);
        let last = partitions.iter().find(|p| p["Values"] == values).unwrap();
        let location = last["StorageDescriptor"]["Location"].as_str().unwrap();
        assert!(
            location.starts_with("s3://") && location.ends_with(&format!("/{root}/year=2023/month=03/day=05/hour=09/")),
            "{location}"
        );
    }
}

#[test]
fn places_that_an_engine_cannot_read_are_refused_with_the_way_out() {
    let place = Place::new("[load]\nto = \"file:lake\"\n");
    for args in [&["ddl"][..], &["ddl", "--glue"]] {
        let ran = place.etl(args).exits(2);
        assert!(ran.err.contains("--location s3://bucket/prefix/"), "{ran:?}");
    }
    let ran = place.etl(&["ddl", "--for", "duckdb", "--location", "what?"]).exits(2);
    assert!(ran.err.contains("pattern"), "{ran:?}");
    for column in
        ["url:string", "indate:string", "event_time:string", "Hour:int", "line:string", "a b:int", "x:strin", "x"]
    {
        place.etl(&["ddl", "--location", "s3://b", "--keys", "hour", "--column", column]).exits(2);
    }
    place.etl(&["ddl", "--location", "s3://b", "--column", "hour:int"]).exits(0);
    for engine in ["duckdb", "spark", "trino"] {
        place.etl(&["ddl", "--location", "s3://b", "--serde", "hive", "--for", engine]).exits(2);
    }
}
