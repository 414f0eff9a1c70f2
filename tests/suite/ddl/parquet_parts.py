import json, os, sys
import pyarrow as pa, pyarrow.parquet as pq

ts = pa.timestamp("us", tz="UTC")
S = pa.schema([("event_time", ts), ("event_time_text", pa.string()), ("user_id", pa.string()), ("record_id", pa.int64()), ("product_id", pa.int64()),
    ("activity", pa.string()), ("url", pa.string()), ("method", pa.string()), ("name", pa.string()),
    ("detail", pa.struct([("message", pa.string()), ("levelname", pa.string())])), ("extra", pa.string()), ("raw", pa.string())])
text = lambda v: v if v is None or isinstance(v, str) else json.dumps(v)
hours = {}
for line in sys.stdin:
    r = json.loads(line)
    o = r["original"]
    row, extra = {"event_time": r["micros"], "event_time_text": r["text"]}, {}
    for name, v in o.items():
        if name in ("user_id", "activity", "url", "method", "name"):
            row[name] = text(v)
            if not isinstance(v, str): extra[name] = v
        elif name in ("record_id", "product_id"):
            ok = type(v) is int and -2**63 <= v < 2**63
            row[name] = v if ok else None
            if not ok: extra[name] = v
        elif name == "detail":
            if isinstance(v, dict):
                row[name] = {k: text(v.get(k)) for k in ("message", "levelname")}
            extra[name] = v
        elif name != "inDate":
            extra[name] = v
    row["extra"] = json.dumps(extra) if extra else None
    row["raw"] = None
    hours.setdefault(r["dt"], []).append(row)
for dt, rows in hours.items():
    d = os.path.join(sys.argv[1], "parquet", dt)
    os.makedirs(d)
    pq.write_table(pa.Table.from_pylist([{f.name: r.get(f.name) for f in S} for r in rows], schema=S), d + "/part-00000.parquet", compression="zstd")
