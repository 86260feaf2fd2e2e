import gzip
import itertools
import json
import os
import subprocess
import sys

import pytest

from lib.machine import ROOT
from report.press import read

SCRIPT = """
import gzip, json, sys
from pathlib import Path
from report.press import read
group, other, table = map(Path, sys.argv[1:])
print(json.dumps(read.account()))
for _ in range(2):
    gzip.decompress(group.read_bytes())
gzip.open(other).close()
other.with_name("written.json.gz").write_bytes(b"")
table.read_text()
Path(read.__file__).read_text()
print(json.dumps(read.account()))
"""


def group(folder, commit, dirty=False):
    """Write what counts of a stored group."""
    folder.mkdir(parents=True)
    file = folder / "trials-000-024.json.gz"
    file.write_bytes(gzip.compress(json.dumps({"provenance": {"commit": commit, "dirty": dirty}}).encode()))
    return file


@pytest.mark.parametrize(
    ("dirty", "said"), [(False, "0123456789"), (True, "0123456789 with uncommitted changes")], ids=["clean", "dirty"]
)
def test_what_was_read_is_known_and_of_which_commit_it_is(tmp_path, dirty, said):
    one, other = group(tmp_path / "results" / "SN-a", "0123456789abc", dirty), group(tmp_path / "also" / "WSN-b", "f0")
    other.write_bytes(b"no gzip")
    table = ROOT / "report" / "census.csv"
    command = [sys.executable, "-c", SCRIPT, *map(str, (one, other, table))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment, check=True)
    before, after = map(json.loads, done.stdout.splitlines())
    assert before == {}
    assert after == {"inputs": ["also/WSN-b", "report/census.csv", "results/SN-a"], "commits": [said]}


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", b"\x1f\x8b", *(gzip.compress(text) for text in (b"{}", b"[1]", b'{"provenance": null}'))],
    ids=["empty", "no gzip", "cut off", "nothing", "a list", "null"],
)
def test_a_file_without_a_commit_names_none(tmp_path, content):
    file = tmp_path / "trials-000-024.json.gz"
    file.write_bytes(content)
    assert read.commit(file) == ""
    assert read.commit(tmp_path / "missing.json.gz") == ""


def test_no_damaged_byte_of_a_group_stops_an_account(tmp_path):
    whole = bytearray(group(tmp_path / "results" / "SN-a", "0123456789abc").read_bytes())
    for position, bit in itertools.product(range(len(whole)), range(8)):  # zlib.error is none of the usual errors
        file = tmp_path / f"{position}-{bit}.json.gz"
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 1 << bit]) + whole[position + 1 :])
        assert isinstance(read.commit(file), str)
