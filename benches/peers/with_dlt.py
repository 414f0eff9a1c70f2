"""The same job with dlt as its documentation shows it: its REST client follows the links, a resource decrypts and drops what is
known, dlt flattens, types and writes. All settings are dlt's defaults.

append: gzipped JSON lines into a directory; what a run before brought is forgotten.
merge: dlt itself keeps each record once, over all runs, in the database that it suggests for a start.
"""

import os
import sys
from pathlib import Path

import dlt
from cryptography.fernet import Fernet
from dlt.sources.helpers.rest_client import RESTClient
from dlt.sources.helpers.rest_client.paginators import HeaderLinkPaginator

from script import compact, parse


@dlt.resource(name="logs")
def logs(url):
    fernet, seen = Fernet(os.environ["FERNET_KEY"]), set()
    base, _, path = url.rpartition("/")
    client = RESTClient(base_url=base, paginator=HeaderLinkPaginator())
    for page in client.paginate(path):
        fresh = []
        for element in page:
            plaintext = fernet.decrypt(element["data"])
            if plaintext not in seen:
                seen.add(plaintext)
                fresh.append(compact(parse(plaintext)))
        yield fresh


def main(url, out, way):
    if way == "append":
        destination = dlt.destinations.filesystem(bucket_url=Path(out, "lake").absolute().as_uri())
    else:
        destination = dlt.destinations.duckdb(str(Path(out, "lake.duckdb")))
    pipeline = dlt.pipeline("peer", pipelines_dir=str(Path(out, "pipelines")), destination=destination, dataset_name="logs")
    pipeline.run(logs(url), write_disposition=way, primary_key="record_id")


if __name__ == "__main__":
    main(*sys.argv[1:])
