//! What `etl ddl` prints, in the hands of the programs that it is for.

use std::process::Command;

use crate::support::python::venv;

/// DuckDB with its S3 extension, a parser of Athena's dialect, and a Glue to talk to.
const PACKAGES: [&str; 4] =
    ["duckdb==1.5.5", "duckdb-extension-httpfs==1.5.5", "sqlglot==30.30.0", "moto[glue]==5.2.5"];

#[test]
fn python_has_the_packages() {
    let Some(venv) = venv("sql", &PACKAGES) else { return };
    let import = ["-c", "import duckdb, duckdb_extension_httpfs, moto, sqlglot"];
    assert!(Command::new(venv.join("bin/python")).args(import).status().unwrap().success());
}
