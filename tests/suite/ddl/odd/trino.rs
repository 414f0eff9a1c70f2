//! In Trino, which is Athena's engine: one server for all forms of parts.

use std::fs;

use serde_json::Value;

use super::{Clock, Form, Lake, Odd, are_the_originals, columns, lake, python};
use crate::support::trino::{Trino, trino};
use crate::support::{TestS3, s3};

/// The hours of the fixture with clean records only.
const CLEAN: &str = "'1999_y/12_m/31_d/23_h', '2023_y/03_m/11_d/04_h', '2099_y/01_m/01_d/00_h'";

/// The rows of the last statement.
fn ask(trino: &Trino, sql: &str) -> Vec<Value> {
    let address = trino.address();
    let rows = python(include_str!("../trino_rows.py"), &[&address, "lake", "web"], sql).unwrap();
    rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A catalog that keeps its tables in a folder, and reads from S3; and `exact`, the same with microseconds.
fn catalogs(trino: &Trino, at: &TestS3) -> String {
    let dir = trino.dir.display();
    fs::create_dir_all(trino.dir.join("meta")).unwrap();
    let catalog = |name: &str, precision: &str| {
        format!(
            "CREATE CATALOG {name} USING hive WITH (\"hive.metastore\" = 'file', \"hive.metastore.catalog.dir\" = 'local:///meta',
             \"fs.native-local.enabled\" = 'true', \"local.location\" = '{dir}', \"fs.native-s3.enabled\" = 'true',
             \"s3.endpoint\" = '{}', \"s3.region\" = '{}', \"s3.path-style-access\" = 'true', \"s3.aws-access-key\" = '{}',
             \"s3.aws-secret-key\" = '{}', \"hive.partition-projection-enabled\" = 'true', \"hive.security\" = 'allow-all',
             \"hive.timestamp-precision\" = '{precision}');\n",
            at.endpoint, at.region, at.key, at.secret
        )
    };
    let both = catalog("lake", "MILLISECONDS") + &catalog("exact", "MICROSECONDS");
    both + "CREATE SCHEMA lake.web WITH (location = 'local:///web');\n"
}

/// The view of a script for Athena, over Trino's table of lines.
fn athena_view(script: &str) -> &str {
    script.split_once(");\n\n").unwrap().1
}

/// The rows of `table` are the lake's, hour by hour.
#[track_caller]
fn holds_every_hour(trino: &Trino, lake: &Lake, table: &str, clock: Clock) {
    let hours = lake.hours();
    let rows = ask(trino, &format!("SELECT * FROM {table} WHERE dt IN ({hours});\n"));
    are_the_originals(&lake.records, lake.form, &rows, clock);
    let each = ask(trino, &format!("SELECT dt, count(*) AS n FROM {table} WHERE dt IN ({hours}) GROUP BY dt;\n"));
    let total: u64 = each.iter().map(|row| row["n"].as_u64().unwrap()).sum();
    assert_eq!((each.len(), total), (4, lake.records.len() as u64));
}

#[test]
fn no_record_breaks_a_query_in_trino_nor_athena_s() {
    let Some(at) = s3() else { return };
    let Some(trino) = trino() else { return };
    ask(&trino, &catalogs(&trino, &at));
    for form in Form::ALL {
        let lake = lake(&at, form);
        let table = format!("{form:?}").to_lowercase();
        ask(&trino, &lake.ddl(&["--for", "trino", "--database", "web", "--table", &table]));
        if form == Form::Parquet {
            holds_every_hour(&trino, &lake, &table, Clock::RoundedToMilliseconds);
            holds_every_hour(&trino, &lake, &format!("exact.web.{table}"), Clock::Microseconds);
            reads_it_by_the_numbers_of_an_hour(&trino, &lake, &[]);
            continue;
        }
        holds_every_hour(&trino, &lake, &table, Clock::Microseconds);
        if form == Form::Gzip {
            // The text for Athena, over the same lines.
            let script = lake.ddl(&["--database", "web", "--table", "athena"]);
            ask(&trino, &athena_view(&script).replace("athena_line", "gzip_line"));
            holds_every_hour(&trino, &lake, "athena", Clock::Milliseconds);
            let more = columns();
            let free = |column: &'static str| if column == "day:date" { "day_of:date" } else { column };
            reads_it_by_the_numbers_of_an_hour(&trino, &lake, &more.into_iter().map(free).collect::<Vec<_>>());
            typed_columns_read_clean_hours(&trino, &lake);
        }
    }
}

fn reads_it_by_the_numbers_of_an_hour(trino: &Trino, lake: &Lake, more: &[&str]) {
    let args = ["--for", "trino", "--database", "web", "--keys", "hour", "--table"];
    let table = format!("hourly_{:?}", lake.form).to_lowercase();
    let sql = lake.ddl(&[&args[..], &[&table], more].concat());
    let query = format!("SELECT * FROM {table} WHERE year = 2023 AND month = 3 AND day = 10 AND hour = 18;\n");
    let records =
        lake.records.iter().filter(|record| record.dt.contains("10_d/18_h") || record.dt.contains("day=10/hour=18"));
    assert_eq!(ask(trino, &(sql + &query)).len(), records.count());
}

/// Typed columns read the hours in which every record fits.
fn typed_columns_read_clean_hours(trino: &Trino, lake: &Lake) {
    let table = lake.ddl(&["--for", "trino", "--database", "web", "--table", "typed"]);
    let (table, _) = table.split_once(");\n\n").unwrap();
    let script = lake.ddl(&["--serde", "hive", "--database", "web", "--table", "typed"]);
    let table = table.replace("typed_line", "typed_compact").replace("TEXTFILE", "JSON");
    let mut sql = table.replace("  line varchar,\n", &typed_columns(&script)) + ");\n";
    sql += athena_view(&script);
    sql += &format!(
        "SELECT typed.*, gzip.event_time_text, gzip.line FROM typed JOIN gzip ON typed.dt = gzip.dt AND typed.dt IN ({CLEAN}) \
                     AND gzip.dt IN ({CLEAN});\n"
    );
    let clean = |record: &&Odd| CLEAN.contains(record.dt.as_str());
    let records: Vec<Odd> = lake.records.iter().filter(clean).cloned().collect();
    assert_eq!(records.len(), 3);
    let rows = ask(trino, &sql);
    are_the_originals(&records, lake.form, &rows, Clock::Milliseconds);
}

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
