"""Runs statements in Spark (stdin, each ends in `;` at the end of a line), and prints the rows of each query as a JSON list of lists."""

import json
import os
import sys
import time

os.environ["TZ"] = "UTC"
time.tzset()

from pyspark.sql import SparkSession

builder = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.sql.session.timeZone", "UTC")
spark = builder.config("spark.sql.shuffle.partitions", "1").getOrCreate()
text = "".join(line for line in sys.stdin if not line.startswith("--"))
found = []
for statement in text.split(";\n"):
    if statement.strip():
        result = spark.sql(statement.strip())
        if result.columns:
            found.append([row.asDict(recursive=True) for row in result.collect()])
print(json.dumps(found, default=str))
