"""Runs statements in Trino (stdin, each ends in `;` at the end of a line), and prints the rows of the last one as JSON, one a line.

Arguments: the server's address, a catalog and a schema."""

import json
import sys
import urllib.request

address, catalog, schema = sys.argv[1:]
HEADERS = {"X-Trino-User": "test", "X-Trino-Catalog": catalog, "X-Trino-Schema": schema, "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME"}


def ask(url, statement=None):
    request = urllib.request.Request(url, statement and statement.encode(), HEADERS)
    with urllib.request.urlopen(request, timeout=120) as answer:
        return json.load(answer)


def plain(value, type):
    """A struct with its fields' names."""
    if type["rawType"] != "row" or value is None:
        return value
    fields = [field["value"] for field in type["arguments"]]
    return {field["fieldName"]["name"]: plain(one, field["typeSignature"]) for one, field in zip(value, fields)}


def rows(statement):
    answer = ask(address + "/v1/statement", statement)
    while True:
        if "error" in answer:
            error = answer["error"]
            raise SystemExit(f"{error['errorName']}: {error['message']}\n{statement}")
        columns = answer.get("columns", [])
        for row in answer.get("data", []):
            yield {column["name"]: plain(value, column["typeSignature"]) for column, value in zip(columns, row)}
        if "nextUri" not in answer:
            return
        answer = ask(answer["nextUri"])


text = "".join(line for line in sys.stdin if not line.startswith("--"))
found = []
for statement in text.split(";\n"):
    if statement.strip():
        found = list(rows(statement.strip()))
for row in found:
    print(json.dumps(row))
