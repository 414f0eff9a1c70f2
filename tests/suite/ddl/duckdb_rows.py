"""Runs a script of SQL in DuckDB, then a query, and prints its rows as JSON, one a line.

Arguments: the script, the query, and for S3 the endpoint, key, secret and region."""

import glob
import os
import sys

import duckdb
import duckdb_extension_httpfs

script, query, *s3 = sys.argv[1:]
connection = duckdb.connect()
if s3:
    folder = os.path.dirname(duckdb_extension_httpfs.__file__)
    (extension,) = glob.glob(folder + "/extensions/*/httpfs.duckdb_extension")
    connection.execute(f"LOAD '{extension}'")
    endpoint, key, secret, region = s3
    connection.execute(
        f"CREATE SECRET s (TYPE s3, KEY_ID '{key}', SECRET '{secret}', REGION '{region}', "
        f"ENDPOINT '{endpoint.removeprefix('http://')}', URL_STYLE 'path', USE_SSL false)"
    )
with open(script) as file:
    connection.execute(file.read())
for (row,) in connection.execute(f"SELECT to_json(t) FROM ({query}) AS t").fetchall():
    print(row)
