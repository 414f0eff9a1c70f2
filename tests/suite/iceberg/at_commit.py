"""Runs the committer, and lets something happen around its first commit to the table: dies-before, dies-after or overtaken."""

import os
import runpy
import subprocess
import sys

from pyiceberg.catalog.sql import SqlCatalog

what, script, *args = sys.argv[1:]
commit_table = SqlCatalog.commit_table


def first_commit(self, table, requirements, updates):
    SqlCatalog.commit_table = commit_table
    if what == "dies-before":
        os._exit(9)
    if what == "overtaken":
        subprocess.run([sys.executable, script, *args], check=True, stdout=subprocess.DEVNULL)
    response = commit_table(self, table, requirements, updates)
    if what == "dies-after":
        os._exit(9)
    return response


SqlCatalog.commit_table = first_commit
sys.argv = [script, *args]
runpy.run_path(script, run_name="__main__")
