"""The job behind the lanes by Spark Structured Streaming: records from Kafka, each once, into gzipped JSON lines by hour.

It is easier than etl's: the records are plaintext already, and a hash for each is there. `fill` puts them into a topic, `run` is what is measured:
the same query twice in one process, over a topic each; the first is cold. ETL_TEST_KAFKA names the brokers.
"""

import glob
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ["TZ"] = "UTC"
time.tzset()

PARTITIONS = 6
TICKS = os.sysconf("SC_CLK_TCK")


def session():
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
    builder = builder.config("spark.ui.showConsoleProgress", "false").config("spark.driver.host", "127.0.0.1").config("spark.sql.session.timeZone", "UTC")
    builder = builder.config("spark.jars", ",".join(glob.glob(os.environ["ETL_SPARK_JARS"] + "/*.jar")))
    # The best of 1, 2, 6, 200: one a core.
    builder = builder.config("spark.sql.shuffle.partitions", "2")
    session = builder.getOrCreate()
    session.sparkContext.setLogLevel("ERROR")
    return session


def fill(lake, topic):
    """The lines of a lake into a topic, spread by their hashes."""
    from pyspark.sql import functions as f

    lines = session().read.option("recursiveFileLookup", "true").option("pathGlobFilter", "part-*.gz").text(lake)
    lines = lines.withColumn("key", f.md5("value")).withColumn("partition", f.expr(f"pmod(hash(key), {PARTITIONS})"))
    kafka = lines.write.format("kafka").option("kafka.bootstrap.servers", os.environ["ETL_TEST_KAFKA"])
    kafka.option("kafka.acks", "all").option("topic", topic).save()


def query(spark, topic, out):
    """Everything that a topic has now."""
    from pyspark.sql import functions as f

    kafka = spark.readStream.format("kafka").option("kafka.bootstrap.servers", os.environ["ETL_TEST_KAFKA"])
    rows = kafka.option("subscribe", topic).option("startingOffsets", "earliest").load()
    rows = rows.selectExpr("CAST(key AS STRING) AS hash", "CAST(value AS STRING) AS value")
    # The time of a compact line: yymmddHHMMSS and three digits.
    text = f.get_json_object("value", "$.inDate").substr(1, 12)
    rows = rows.withColumn("at", f.to_timestamp(text, "yyMMddHHmmss")).withWatermark("at", "1 day")
    rows = rows.dropDuplicates(["hash", "at"]).withColumn("hour", f.date_format("at", "yyyy-MM-dd-HH"))
    rows = rows.select("hour", "value").repartition("hour")
    sink = rows.writeStream.format("text").option("path", f"{out}/lake").option("checkpointLocation", f"{out}/checkpoint")
    sink = sink.option("compression", "gzip").partitionBy("hour").trigger(availableNow=True)
    sink.start().awaitTermination()


def used():
    """CPU seconds of this process and those below it, and the peak of the largest, in MiB."""
    seconds, peak = 0, 0
    for pid in [os.getpid(), *below(os.getpid())]:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        seconds += (int(fields[11]) + int(fields[12])) / TICKS
        status = Path(f"/proc/{pid}/status").read_text()
        peak = max(peak, int(status.split("VmHWM:")[1].split()[0]) / 1024)
    return seconds, peak


def below(pid):
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid for child in children for pid in [child, *below(child)]]


def run(records, *topics):
    began, before = time.monotonic(), 0
    work = tempfile.mkdtemp(prefix="streaming-")
    spark = session()
    for name, topic in zip(("cold", "warm"), topics):
        query(spark, topic, f"{work}/{topic}")
        seconds, peak = used()
        wall, began = time.monotonic() - began, time.monotonic()
        each = (seconds - before) * 1e6 / int(records)
        before = seconds
        print(f"spark {name:<8}{each:>8.2f} CPU µs a record {wall:>7.1f} s wall {peak:>8.1f} MiB peak", flush=True)
    for topic in topics:
        parts = glob.glob(f"{work}/{topic}/lake/*/*.gz")
        lines = subprocess.run(["gzip", "-cd", *parts], capture_output=True, check=True).stdout.count(b"\n")
        hours = len({Path(part).parent for part in parts})
        print(f"{topic}: {lines} records in {len(parts)} files of {hours} hours")
        if lines != int(records):
            sys.exit("these are not the records")
    shutil.rmtree(work)


def main(etl, records="300000"):
    """Makes the records with etl, fills the topics, and measures in a process of its own."""
    etl, work = Path(etl).absolute(), Path(tempfile.mkdtemp(prefix="peers-"))
    this = [sys.executable, __file__]
    topics = [f"peers-{work.name}-{n}" for n in (1, 2)]
    for seed, topic in enumerate(topics):
        place = work / topic
        place.mkdir()
        simulate = ["simulate", "--out", "pages", "--pages", str(int(records) // 1000), "--window", "1000", "--advance", "1000"]
        simulate += ["--seed", str(seed), "--interval", f"{86400000 // int(records)}ms"]
        made = subprocess.run([etl, *simulate], cwd=place, check=True, capture_output=True, text=True)
        key = (made.stdout + made.stderr).split("FERNET_KEY=")[1].split()[0]
        (place / "etl.toml").write_text('[source]\nurl = "file:pages/*.json"\n[load]\nto = "file:lake"\n')
        subprocess.run([etl, "run", "--drain"], cwd=place, check=True, stdout=subprocess.DEVNULL, env={**os.environ, "FERNET_KEY": key})
        subprocess.run([*this, "fill", place / "lake", topic], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*this, "run", records, *topics], check=True)
    shutil.rmtree(work)


if __name__ == "__main__":
    {"fill": fill, "run": run}.get(sys.argv[1], lambda *_: main(*sys.argv[1:]))(*sys.argv[2:])
