"""Runs etl, the script and dlt in turns over the same pages, checks that all have the same records, and prints what each took.

The pages overlap by a fifth and are served from this process, which is not counted; each page links to the next.
"""

import gzip
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import duckdb
import orjson

HERE = Path(__file__).parent
WINDOW, ADVANCE = 1000, 800


def serve(directory):
    """The files of a directory, each with a link to the next. Gives the address of the first."""
    bodies = [path.read_bytes() for path in sorted(directory.iterdir())]

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self):
            number = int(self.path.strip("/"))
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(bodies[number])))
            if number + 1 < len(bodies):
                self.send_header("Link", f'</{number + 1}>; rel="next"')
            self.end_headers()
            self.wfile.write(bodies[number])

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}/0"


def measured(command, env, cwd):
    started = time.monotonic()
    process = subprocess.Popen(command, env={**os.environ, **env}, cwd=cwd, stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    wall = time.monotonic() - started
    if status:
        sys.exit(f"{command}: status {status}")
    return used.ru_utime + used.ru_stime, wall, used.ru_maxrss / 1024


def rows(directory):
    """The rows of all gzipped lines below a directory."""
    for path in directory.rglob("*.gz"):
        for line in gzip.decompress(path.read_bytes()).splitlines():
            yield orjson.loads(line)


def whole(row):
    return orjson.dumps(row, option=orjson.OPT_SORT_KEYS)


def digest(row, time):
    """What dlt leaves as it is."""
    return row["record_id"], row["activity"], str(row[time])


def main(etl, runs=3, pages=50):
    runs, pages, etl = int(runs), int(pages), str(Path(etl).absolute())
    work = Path(tempfile.mkdtemp(prefix="peers-"))
    made = subprocess.run(
        [etl, "simulate", "--out", work / "pages", "--pages", str(pages), "--window", str(WINDOW), "--advance", str(ADVANCE)],
        check=True, capture_output=True, text=True,
    )
    key = re.search(r"FERNET_KEY=(\S+)", made.stdout + made.stderr).group(1)
    env = {"FERNET_KEY": key, "RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL"}
    url = serve(work / "pages")
    (work / "etl").mkdir()
    config = f'[source]\nurl = "{url}"\n[load]\nto = "file:lake"\n'
    (work / "etl" / "etl.toml").write_text(config)
    commands = {
        "etl": ([etl, "run", "--drain"], ["lake", "etl-state"]),
        "script": ([sys.executable, HERE / "script.py", url, "lake"], ["lake"]),
        "script swap": ([sys.executable, HERE / "script.py", url, "lake", "swap"], ["lake"]),
        "dlt append": ([sys.executable, HERE / "with_dlt.py", url, ".", "append"], ["lake", "pipelines"]),
        "dlt merge": ([sys.executable, HERE / "with_dlt.py", url, ".", "merge"], ["lake.duckdb", "pipelines"]),
    }
    used = {name: [] for name in commands}
    for _ in range(runs):
        for name, (command, outputs) in commands.items():
            cwd = work / name
            cwd.mkdir(exist_ok=True)
            for output in outputs:
                shutil.rmtree(cwd / output, ignore_errors=True)
            used[name].append(measured(command, env, cwd))
    ours = sorted(map(whole, rows(work / "etl" / "lake")))
    for script in ("script", "script swap"):
        if ours != sorted(map(whole, rows(work / script / "lake"))):
            sys.exit(f"the {script} has other records")
    expected = sorted(digest(orjson.loads(row), "inDate") for row in ours)
    appended = [digest(row, "in_date") for row in rows(work / "dlt append" / "lake" / "logs" / "logs")]
    with duckdb.connect(work / "dlt merge" / "lake.duckdb") as database:
        found = database.sql("SELECT record_id, activity, in_date FROM logs.logs").fetchall()
    merged = [(number, activity, str(time)) for number, activity, time in found]
    if sorted(appended) != expected or sorted(merged) != expected:
        sys.exit("dlt has other records")
    shutil.rmtree(work)

    fetched = WINDOW * pages
    print(f"{fetched:,} logs in {pages} linked pages, {len(ours):,} of them distinct: the same for all; medians of {runs} runs in turns")
    print(f"{'':<12}{'CPU s':>8}{'µs a log':>10}{'wall s':>8}{'peak MiB':>10}{'of etl':>8}")
    medians = {name: [statistics.median(figure) for figure in zip(*taken)] for name, taken in used.items()}
    for name, (cpu, wall, peak) in medians.items():
        times = cpu / medians["etl"][0]
        print(f"{name:<12}{cpu:>8.2f}{cpu / fetched * 1e6:>10.2f}{wall:>8.2f}{peak:>10.1f}{times:>7.1f}×")
    for name, least in [("script", 6), ("script swap", 6), ("dlt append", 25), ("dlt merge", 25)]:
        times = medians[name][0] / medians["etl"][0]
        print(f"target  CPU of {name:<11} at least {least:>3} × etl's   measured {times:>6.1f} ×  {'ok' if times >= least else 'MISSED'}")


if __name__ == "__main__":
    main(*sys.argv[1:])
