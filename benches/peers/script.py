"""The job as a good engineer writes it in an afternoon: fast libraries, no durability. Pages from a URL, gzipped lines by hour out.

With `swap` it parses a record as JSON where swapping the quotes makes it that: faster, and wrong. Of {'a': '","b":"'} it makes two fields.
"""

import ast
import base64
import gzip
import os
import sys
from collections import defaultdict
from pathlib import Path

import orjson
import requests
from cryptography.fernet import Fernet

URLS = {"/api/products/product/": 1}
METHODS = {"GET": 1, "POST": 2}


def pages(url):
    """The elements of the page at `url` and of those that it links to."""
    session = requests.Session()
    while url:
        response = session.get(url, timeout=30)
        response.raise_for_status()
        yield orjson.loads(response.content)
        following = response.links.get("next")
        url = requests.compat.urljoin(response.url, following["url"]) if following else None


def parse(plaintext):
    """A Python dict's repr, or else JSON."""
    try:
        return ast.literal_eval(plaintext.decode())
    except (ValueError, SyntaxError):
        return orjson.loads(plaintext)


def parse_swapped(plaintext):
    """The same for texts without quotes in them, at a tenth of the price."""
    try:
        return orjson.loads(plaintext.replace(b"'", b'"'))
    except orjson.JSONDecodeError:
        return parse(plaintext)


def short(hexadecimal):
    return base64.urlsafe_b64encode(bytes.fromhex(hexadecimal)).rstrip(b"=").decode()


def compact(record):
    """The record with short values; what they do not give back stands beside them."""
    row = {}
    for name, value in record.items():
        if name == "user_id":
            if isinstance(value, str) and len(value) == 64:
                row[name] = short(value[32:]) + short(value[:32])
            else:
                row[name], row["user_id_raw"] = "", value
        elif name == "url":
            row[name] = URLS.get(value, 0)
            if not row[name]:
                row["url_raw"] = value
        elif name == "method":
            row[name] = METHODS.get(value, 0)
            if not row[name]:
                row["method_raw"] = value
        elif name == "inDate":
            row[name] = value[2:4] + value[5:7] + value[8:10] + value[11:13] + value[14:16] + value[17:19] + value[20:23]
        else:
            row[name] = value
    return row


def records(url, fernet, parse):
    """Each distinct record once, with its hour."""
    seen = set()
    for page in pages(url):
        for element in page:
            plaintext = fernet.decrypt(element["data"])
            if plaintext not in seen:
                seen.add(plaintext)
                record = parse(plaintext)
                hour = record["inDate"][:13]
                yield hour, compact(record)


def main(url, out, way="whole"):
    hours = defaultdict(list)
    for hour, record in records(url, Fernet(os.environ["FERNET_KEY"]), parse_swapped if way == "swap" else parse):
        hours[hour].append(orjson.dumps(record))
    for hour, lines in hours.items():
        path = Path(out, hour, "part-00000.ndjson.gz")
        path.parent.mkdir(parents=True, exist_ok=True)
        lines.append(b"")
        path.write_bytes(gzip.compress(b"\n".join(lines), 6, mtime=0))


if __name__ == "__main__":
    main(*sys.argv[1:])
