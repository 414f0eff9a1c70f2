"""Prints the record ids of a table, sorted, as one JSON array."""

import json
import sys

from pyiceberg.catalog import load_catalog

table = load_catalog("default").load_table(sys.argv[1])
has_columns = bool(table.schema().columns)
rows = table.scan(selected_fields=("record_id",)).to_arrow() if has_columns else {"record_id": []}
print(json.dumps(sorted(int(str(row)) for row in rows["record_id"])))
