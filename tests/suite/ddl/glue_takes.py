"""Sends what `etl ddl --glue` printed (stdin) to a Glue, and prints the table and the partitions that it then has, as JSON."""

import json
import os
import sys

os.environ |= {"AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x", "AWS_DEFAULT_REGION": "us-east-1"}

import boto3
from moto import mock_aws

asked = json.load(sys.stdin)
with mock_aws():
    glue = boto3.client("glue")
    database = asked["CreateTable"]["DatabaseName"]
    glue.create_database(DatabaseInput={"Name": database})
    glue.create_table(**asked["CreateTable"])
    for batch in asked["BatchCreatePartition"]:
        assert len(batch["PartitionInputList"]) <= 100
        answer = glue.batch_create_partition(**batch)
        assert not answer.get("Errors"), answer
    name = asked["CreateTable"]["TableInput"]["Name"]
    table = glue.get_table(DatabaseName=database, Name=name)["Table"]
    pages = glue.get_paginator("get_partitions").paginate(DatabaseName=database, TableName=name)
    partitions = [p for page in pages for p in page["Partitions"]]
print(json.dumps({"table": table, "partitions": partitions}, default=str))
