"""Stands in for `etl` over a lake of Parquet: its answers, with parts that are copies in Parquet of those in the lake."""

import gzip
import json
import os
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

TEXT = ["user_id", "activity", "name"]
SCHEMA = pa.schema(
    [("event_time", pa.timestamp("us", "UTC")), ("record_id", pa.int64())]
    + [(name, pa.string()) for name in TEXT]
    + [("detail", pa.struct([("message", pa.string()), ("levelname", pa.string())]))]
)


def row(line):
    fields = json.loads(line)
    time = datetime.strptime("20" + fields["inDate"] + "000", "%Y%m%d%H%M%S%f").replace(tzinfo=timezone.utc)
    return {"event_time": time, **{name: fields.get(name) for name in SCHEMA.names[1:]}}


def copied(lake, one):
    key = one["key"].replace("data/", "parquet/").replace(".ndjson.gz", ".parquet")
    file = lake / key
    if not file.exists() and not (lake / "gone").exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        rows = [row(line) for line in gzip.open(lake / one["key"])]
        pq.write_table(pa.Table.from_pylist(rows, SCHEMA), draft)
        draft.rename(file)
    size = file.stat().st_size if file.exists() else 1
    return {**one, "key": key, "bytes": size}


ran = subprocess.run([os.environ["ETL_BIN"], *sys.argv[1:]], stdout=subprocess.PIPE)
answer = json.loads(ran.stdout)
for hour in answer.get("hours", []):
    hour["objects"] = [copied(Path(sys.argv[2]).parent / "lake", one) for one in hour["objects"]]
print(json.dumps(answer))
sys.exit(ran.returncode)
