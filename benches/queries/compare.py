"""Runs queries over lakes of the same records in each format, in turns, and prints medians of processor time and bytes read.

Arguments: the etl binary, how often each query runs, how many pages of 10 000 records."""

import os
import statistics
import subprocess
import sys
import tempfile
import time

import duckdb

ETL = os.path.abspath(sys.argv[1])
RUNS, PAGES = (int(text) for text in (sys.argv[2:] + ["5", "101"][len(sys.argv) - 2 :]))
FORMS = {
    "ndjson gzip": 'compression = "gzip"',
    "ndjson zstd": 'compression = "zstd"',
    "parquet zstd": 'format = "parquet"\ncompression = "zstd"',
}
HOUR = "year=2023/month=03/day=10/hour=07"
QUERIES = {
    "count by activity": "SELECT activity, count(*) FROM logs GROUP BY activity ORDER BY activity",
    "four fields, filtered": "SELECT count(*), count(DISTINCT user_id), max(record_id), count(DISTINCT url) FROM logs WHERE method = 'GET'",
    "a minute of an hour": f"SELECT user_id, url, detail.message FROM logs WHERE dt = '{HOUR}' "
    "AND event_time >= '2023-03-10 07:30:00' AND event_time < '2023-03-10 07:31:00' ORDER BY ALL",
}


def etl(folder, *arguments):
    return subprocess.run([ETL, *arguments], cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True).stdout


def lake(folder, pages, load):
    os.makedirs(folder)
    with open(folder + "/etl.toml", "w") as file:
        file.write(f'[source]\nurl = "file:{pages}/*"\n[load]\nto = "file:lake"\nlayout = "hive"\n{load}\n[state]\ndir = "state"\n')
    etl(folder, "run", "--drain")
    size = sum(os.path.getsize(os.path.join(at, name)) for at, _, names in os.walk(folder + "/lake") for name in names if name.startswith("part-"))
    return etl(folder, "ddl", "--for", "duckdb"), size


def bytes_read():
    with open("/proc/self/io") as file:
        return int(file.readline().split()[1])


with tempfile.TemporaryDirectory() as work:
    pages = work + "/pages"
    said = etl(work, "simulate", "--out", pages, "--pages", str(PAGES), "--window", "10000", "--advance", "10000", "--interval", "72ms", "--seed", "5")
    os.environ["FERNET_KEY"] = next(line.split("=", 1)[1] for line in said.splitlines() if "FERNET_KEY=" in line)
    connections = {}
    for name, load in FORMS.items():
        script, size = lake(f"{work}/{name.replace(' ', '-')}", pages, load)
        connections[name] = duckdb.connect()
        connections[name].execute(script + "SET TimeZone = 'UTC';")
        (count,) = connections[name].execute("SELECT count(*) FROM logs").fetchone()
        print(f"{name:14} {size / count:6.1f} bytes a record, {count} records")
    for title, query in QUERIES.items():
        took, read, answers = {}, {}, set()
        for _ in range(RUNS):
            for name, connection in connections.items():
                cpu, before = time.process_time(), bytes_read()
                answers.add(str(connection.execute(query).fetchall()))
                took.setdefault(name, []).append(time.process_time() - cpu)
                read.setdefault(name, []).append(bytes_read() - before)
        assert len(answers) == 1, "the formats differ"
        for name in FORMS:
            print(f"{title:22} {name:14} {statistics.median(took[name]) * 1000:9.1f} ms CPU {statistics.median(read[name]) / 1e6:8.2f} MB read")
