"""Parses a script of Athena's SQL from stdin, and prints what it creates, as JSON."""

import json
import sys

import sqlglot
from sqlglot import exp

found = []
# One by one: Athena's tables are in Hive's dialect, its views in Trino's, and the beginning of a text decides.
for text in sys.stdin.read().split(";\n\n"):
    statement = sqlglot.parse_one(text, dialect="athena")
    # What it does not know becomes a Command, which says nothing.
    assert type(statement) is exp.Create, type(statement)
    table = statement.find(exp.Table)
    properties = {p.this.name: p.args["value"].name for p in statement.find_all(exp.Property) if type(p) is exp.Property}
    columns = [d.name for d in statement.this.find_all(exp.ColumnDef) if d.parent is statement.this]
    found.append({"kind": statement.kind, "name": table.name, "db": table.db, "columns": columns, "properties": properties})
print(json.dumps(found))
