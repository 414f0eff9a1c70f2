//! In Spark, over copies in folders.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use etl::store::ObjectStore;
use serde_json::{Value, json};

use super::{Clock, Form, Lake, added_columns_hold_what_fits, are_the_originals, columns, lake};
use crate::support::java::java;
use crate::support::python::{skip, venv};
use crate::support::{TestS3, s3};

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

/// The rows of each query of a script.
fn ask((venv, java): &(PathBuf, PathBuf), dir: PathBuf, sql: &str) -> Vec<Vec<Value>> {
    let mut child = Command::new(venv.join("bin/python"))
        .args(["-c", include_str!("../spark_rows.py")])
        .env("JAVA_HOME", java)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(sql.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Spark's reader of S3 is a thing of its own to install; the text over a folder differs in the folder only.
fn copy(at: &TestS3, lake: &Lake) {
    for key in at.keys(&lake.prefix) {
        let file = lake.place.path("copy").join(key.strip_prefix(&lake.prefix).unwrap());
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, at.store().get(&key).unwrap()).unwrap();
    }
}

#[test]
fn no_record_breaks_a_query_in_spark() {
    let Some(spark) = spark() else { return };
    let Some(at) = s3() else { return };
    let lakes = Form::ALL.map(|form| lake(&at, form));
    let mut sql = String::new();
    for lake in &lakes {
        copy(&at, lake);
        let table = format!("{:?}", lake.form).to_lowercase();
        sql += &lake.ddl(&["--for", "spark", "--location", "copy", "--table", &table]);
        let time = "date_format(event_time, 'yyyy-MM-dd HH:mm:ss.SSSSSS') AS event_time";
        sql += &format!("SELECT * EXCEPT (event_time), {time} FROM {table};\n");
        sql += &format!("SELECT count(*) AS n, count(DISTINCT dt) AS hours FROM {table} WHERE dt > '2000';\n");
    }
    sql += &lakes[0].ddl(&[&["--for", "spark", "--location", "copy", "--table", "more"], &columns()[..]].concat());
    sql += "SELECT * FROM more;\n";
    let found = ask(&spark, lakes[0].place.path(""), &sql);
    for (lake, rows) in lakes.iter().zip(found.chunks(2)) {
        are_the_originals(&lake.records, lake.form, &rows[0], Clock::Microseconds);
        let after = lake.records.iter().filter(|record| !record.dt.contains("1999")).count();
        // All of hive's folders come after the text.
        let expected = if lake.form == Form::Parquet { (lake.records.len(), 4) } else { (after, 3) };
        assert_eq!(rows[1], [json!({"n": expected.0, "hours": expected.1})], "{:?}", lake.form);
    }
    added_columns_hold_what_fits(&found[6]);
}
