//! No record makes a query fail: each kind of odd record beside clean ones, in the engines, field by field against `etl restore`.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use etl::store::ObjectStore;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{duckdb, python};
use crate::support::cli::{Place, gunzip};
use crate::support::java::java;
use crate::support::python::{skip, venv};
use crate::support::trino::{Trino, trino};
use crate::support::{TestS3, s3, unique_prefix};

/// A line a record: what is odd about it, a tab, the plaintext.
const RECORDS: &str = include_str!("../../fixtures/odd-records.txt");
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

/// The view's columns, in their order.
const COLUMNS: [&str; 12] = [
    "event_time",
    "user_id",
    "record_id",
    "product_id",
    "activity",
    "url",
    "method",
    "name",
    "detail",
    "inDate",
    "dt",
    "line",
];

/// What was loaded: the originals as `etl restore` gives them, each beside its row and its hour's folders.
struct Lake {
    place: Place,
    prefix: String,
    records: Vec<(String, String, Value)>,
}

impl Lake {
    fn hours(&self) -> String {
        let hours: std::collections::BTreeSet<String> =
            self.records.iter().map(|(hour, _, _)| format!("'{hour}'")).collect();
        hours.into_iter().collect::<Vec<_>>().join(", ")
    }

    fn ddl(&self, args: &[&str]) -> String {
        self.place.etl(&[&["ddl"], args].concat()).exits(0).out
    }
}

/// All records of the fixture in S3.
fn lake(at: &TestS3, prefix: &str) -> Lake {
    let load = at.load(prefix);
    let mut place =
        Place::new(&format!("[source]\nurl = \"file:pages/*\"\n[hours]\nmax_future = \"30000d\"\n[load]\n{load}"));
    place.trust(at);
    let plaintexts: Vec<String> = RECORDS.lines().map(|line| line.split_once('\t').unwrap().1.to_owned()).collect();
    place.page("pages/1", &plaintexts);
    place.etl(&["run", "--drain"]).exits(0);
    let data = format!("{prefix}data/");
    let mut rows = Vec::new();
    for key in at.keys(&data) {
        let (hour, _) = key.strip_prefix(&data).unwrap().rsplit_once('/').unwrap();
        rows.extend(gunzip(&at.store().get(&key).unwrap()).into_iter().map(|line| (hour.to_owned(), line)));
    }
    let restored = place.etl(&["restore"]).exits(0).out;
    let originals: Vec<Value> = restored.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((rows.len(), originals.len()), (plaintexts.len(), plaintexts.len()), "nothing was refused");
    let records = rows.into_iter().zip(originals).map(|((hour, line), original)| (hour, line, original)).collect();
    Lake { place, prefix: prefix.to_owned(), records }
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

/// Checks that the rows of a view are the originals, and the lines the lake's.
#[track_caller]
fn are_the_originals(lake: &Lake, rows: &[Value], digits: usize) {
    let mut wrong = Vec::new();
    let mut by_line: BTreeMap<&str, &Map<String, Value>> = BTreeMap::new();
    by_line.extend(rows.iter().map(|row| (row["line"].as_str().unwrap(), row.as_object().unwrap())));
    assert_eq!((rows.len(), by_line.len()), (lake.records.len(), lake.records.len()));
    for (hour, line, original) in &lake.records {
        let row = by_line[line.as_str()];
        let field = |name: &str| row.get(name).or_else(|| row.get(&name.to_lowercase())).unwrap();
        let mut check = |name: &str, fits: bool| {
            if !fits {
                let original: String = original.to_string().chars().take(400).collect();
                wrong.push(format!("{name} of {original} is {}", field(name)));
            }
        };
        for name in ["user_id", "activity", "url", "method", "name", "inDate"] {
            check(name, text(original.get(name), field(name)));
        }
        check("record_id", integer(original.get("record_id"), field("record_id")));
        check("detail", detail(original.get("detail"), field("detail")));
        check("dt", field("dt") == hour.as_str());
        check("event_time", field("event_time").as_str().is_some_and(|time| *time == instant(original, digits)));
    }
    assert!(wrong.is_empty(), "{}, as {:#?}", wrong.len(), wrong.get(..wrong.len().min(5)));
}

/// `inDate` in UTC, with so many digits of a second; digits beyond are cut off.
fn instant(original: &Value, digits: usize) -> String {
    let text = original["inDate"].as_str().unwrap().to_uppercase().replace(',', ".").replacen(' ', "T", 1);
    let at: Timestamp = match text.as_str() {
        "2023-03-10T18:59:60Z" => "2023-03-10T18:59:59.999999999Z".parse().unwrap(),
        "2023-03-10T13:40:07-05" => "2023-03-10T18:40:07Z".parse().unwrap(),
        text if text.len() < 24 && !text.ends_with('Z') => format!("{text}Z").parse().unwrap(),
        text => text.parse().unwrap(),
    };
    let text = at.strftime("%Y-%m-%d %H:%M:%S.%9f").to_string();
    text[..20 + digits].to_owned()
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
fn no_record_breaks_the_view_in_duckdb() {
    let Some(at) = s3() else { return };
    let lake = lake(&at, &unique_prefix("odd"));
    let times = "strftime(event_time, '%Y-%m-%d %H:%M:%S.%f') AS event_time";
    let query = format!("SELECT * REPLACE ({times}, CAST(line AS VARCHAR) AS line) FROM logs");
    let sql = lake.ddl(&["--for", "duckdb"]);
    let Some(rows) = duckdb(&lake.place, &sql, &query, Some(&at)) else { return };
    are_the_originals(&lake, &rows, 6);
    for row in &rows {
        let (_, _, original) = lake.records.iter().find(|(_, line, _)| row["line"] == line.as_str()).unwrap();
        assert!(integer(original.get("product_id"), &row["product_id"]), "{row}");
    }
    let named = duckdb(&lake.place, &sql, "SELECT column_name AS name FROM (DESCRIBE logs)", Some(&at)).unwrap();
    let names: Vec<&str> = named.iter().map(|row| row["name"].as_str().unwrap()).collect();
    assert_eq!(names, COLUMNS);
    let sql = lake.ddl(&[&["--for", "duckdb"], columns().as_slice()].concat());
    let rows = duckdb(&lake.place, &sql, "SELECT * FROM logs", Some(&at)).unwrap();
    added_columns_hold_what_fits(&rows);
    let count =
        duckdb(&lake.place, &sql, "SELECT count(*) AS n, count(DISTINCT dt) AS hours FROM logs", Some(&at)).unwrap();
    assert_eq!(count, [json!({"n": lake.records.len(), "hours": 4})]);
}

/// The rows of the last statement.
fn ask(trino: &Trino, sql: &str) -> Vec<Value> {
    let address = trino.address();
    let rows = python(include_str!("trino_rows.py"), &[&address, "lake", "web"], sql).unwrap();
    rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A catalog that keeps its tables in a folder, and reads from S3.
fn catalog(trino: &Trino, at: &TestS3) -> String {
    let dir = trino.dir.display();
    fs::create_dir_all(trino.dir.join("meta")).unwrap();
    format!(
        "CREATE CATALOG lake USING hive WITH (\"hive.metastore\" = 'file', \"hive.metastore.catalog.dir\" = 'local:///meta',
         \"fs.native-local.enabled\" = 'true', \"local.location\" = '{dir}', \"fs.native-s3.enabled\" = 'true',
         \"s3.endpoint\" = '{}', \"s3.region\" = '{}', \"s3.path-style-access\" = 'true', \"s3.aws-access-key\" = '{}',
         \"s3.aws-secret-key\" = '{}', \"hive.partition-projection-enabled\" = 'true', \"hive.security\" = 'allow-all');
         CREATE SCHEMA lake.web WITH (location = 'local:///web');\n",
        at.endpoint, at.region, at.key, at.secret
    )
}

/// The view of a script for Athena, over Trino's table of lines.
fn athena_view(script: &str) -> &str {
    script.split_once(");\n\n").unwrap().1
}

#[test]
fn no_record_breaks_the_view_in_trino_nor_athena_s() {
    let Some(at) = s3() else { return };
    let Some(trino) = trino() else { return };
    let lake = lake(&at, &unique_prefix("odd-trino"));
    let hours = lake.hours();
    let mut sql = catalog(&trino, &at);
    sql += &lake.ddl(&["--for", "trino", "--database", "web"]);
    sql += &format!("SELECT * FROM logs WHERE dt IN ({hours});\n");
    are_the_originals(&lake, &ask(&trino, &sql), 6);

    // The text for Athena, over the same lines.
    let mut sql =
        athena_view(&lake.ddl(&["--database", "web", "--table", "athena"])).replace("athena_line", "logs_line");
    sql += &format!("SELECT * FROM athena WHERE dt IN ({hours});\n");
    are_the_originals(&lake, &ask(&trino, &sql), 3);

    let args = ["--for", "trino", "--database", "web", "--keys", "hour", "--table", "more"];
    let more: Vec<&str> =
        columns().into_iter().map(|column| if column == "day:date" { "day_of:date" } else { column }).collect();
    let mut sql = lake.ddl(&[&args[..], &more].concat());
    sql += "SELECT * FROM more WHERE year = 2023 AND month = 3 AND day = 10 AND hour = 18;\n";
    let rows = ask(&trino, &sql);
    assert_eq!(rows.len(), lake.records.iter().filter(|(hour, _, _)| hour.ends_with("18_h")).count());

    let each = ask(&trino, &format!("SELECT dt, count(*) AS n FROM logs WHERE dt IN ({hours}) GROUP BY dt;\n"));
    let total: u64 = each.iter().map(|row| row["n"].as_u64().unwrap()).sum();
    assert_eq!((each.len(), total), (4, lake.records.len() as u64));

    // Typed columns read the hours in which every record fits.
    let table = lake.ddl(&["--for", "trino", "--database", "web", "--table", "typed"]);
    let (table, _) = table.split_once(");\n\n").unwrap();
    let script = lake.ddl(&["--serde", "hive", "--database", "web", "--table", "typed"]);
    let table = table.replace("typed_line", "typed_compact").replace("TEXTFILE", "JSON");
    let mut sql = table.replace("  line varchar,\n", &typed_columns(&script)) + ");\n";
    sql += athena_view(&script);
    sql += &format!(
        "SELECT typed.*, logs.line FROM typed JOIN logs ON typed.dt = logs.dt AND typed.dt IN ({CLEAN}) \
                     AND logs.dt IN ({CLEAN});\n"
    );
    let clean = |(hour, _, _): &&(String, String, Value)| CLEAN.contains(hour.as_str());
    let records: Vec<_> = lake.records.iter().filter(clean).cloned().collect();
    assert_eq!(records.len(), 3);
    are_the_originals(&Lake { records, ..lake }, &ask(&trino, &sql), 3);
}

/// The hours of the fixture with clean records only.
const CLEAN: &str = "'1999_y/12_m/31_d/23_h', '2023_y/03_m/11_d/04_h', '2099_y/01_m/01_d/00_h'";

/// The typed columns of a script for Athena, as Trino declares them.
fn typed_columns(script: &str) -> String {
    let lines = script.lines().filter_map(|line| line.strip_prefix("  `")?.split_once("` "));
    lines
        .map(|(name, rest)| {
            let ty = rest.split(" COMMENT").next().unwrap().trim_end_matches(',');
            let ty = ty.replace("string", "varchar").replace("struct<", "ROW(").replace(':', " ").replace('>', ")");
            format!("  {name} {ty},\n")
        })
        .collect()
}

#[test]
fn no_record_breaks_the_view_in_spark() {
    let Some(home) = spark() else { return };
    let Some(at) = s3() else { return };
    let lake = lake(&at, &unique_prefix("odd-spark"));
    // Spark's reader of S3 is a thing of its own to install; the text over a folder differs in the folder only.
    for (key, object) in at.keys(&lake.prefix).into_iter().map(|key| (key.clone(), at.store().get(&key).unwrap())) {
        let file = lake.place.path("copy").join(key.strip_prefix(&lake.prefix).unwrap());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, object).unwrap();
    }
    let args = ["--for", "spark", "--location", "copy"];
    let plain = lake.ddl(&args);
    let more = lake.ddl(&[&args[..], &["--table", "more"], &columns()].concat());
    let time = "date_format(event_time, 'yyyy-MM-dd HH:mm:ss.SSSSSS') AS event_time";
    let sql = format!(
        "{plain}{more}SELECT * EXCEPT (event_time), {time} FROM logs;\nSELECT * FROM more;\n\
                       SELECT dt, count(*) AS n FROM logs WHERE dt BETWEEN '2023' AND '2024' GROUP BY dt ORDER BY dt;\n"
    );
    let mut child = Command::new(home.0.join("bin/python"))
        .args(["-c", include_str!("spark_rows.py")])
        .env("JAVA_HOME", home.1)
        .current_dir(lake.place.path(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let found: Vec<Vec<Value>> = serde_json::from_slice(&output.stdout).unwrap();
    are_the_originals(&lake, &found[0], 6);
    added_columns_hold_what_fits(&found[1]);
    let odd = lake.records.iter().filter(|(hour, _, _)| hour == "2023_y/03_m/10_d/18_h").count();
    let each = [json!({"dt": "2023_y/03_m/10_d/18_h", "n": odd}), json!({"dt": "2023_y/03_m/11_d/04_h", "n": 1})];
    assert_eq!(found[2], each);
}

/// Spark's virtual environment, and the home of a Java that it runs on.
fn spark() -> Option<(PathBuf, PathBuf)> {
    match java(17..=21) {
        Ok(home) => Some((venv("spark", &["pyspark==4.1.0"])?, home)),
        Err(why) => {
            let how = "install a Java of 17 to 21, or name one with ETL_TEST_JAVA_HOME";
            skip("ETL_TEST_REQUIRE_TRINO", &format!("SKIPPED (needs Spark): {why}. How to get it: {how}"));
            None
        }
    }
}

#[test]
fn hours_outside_of_the_years_are_named_and_those_of_the_store_are_within() {
    let Some(at) = s3() else { return };
    let lake = lake(&at, &unique_prefix("odd-years"));
    let sql = lake.ddl(&[]);
    assert!(sql.contains("'1999_y/01_m/01_d/00_h,2099_y/12_m/31_d/23_h'") && !sql.contains("WARNING"), "{sql}");
    let sql = lake.ddl(&["--keys", "hour"]);
    assert!(sql.contains("'projection.year.range' = '1999,2099'"), "{sql}");
    for engine in ["athena", "trino"] {
        let ran = lake.place.etl(&["ddl", "--for", engine, "--years", "2023-2030"]).exits(0);
        for text in [&ran.out, &ran.err] {
            assert!(text.contains("2 hours are outside of the years 2023-2030"), "{ran:?}");
            assert!(text.contains("1999-12-31T23, 2099-01-01T00. --years 1999-2099 covers all"), "{ran:?}");
        }
    }
}
