"""A process that has read its records ends with the status that it wants."""

from __future__ import annotations

import subprocess
import sys

import pytest

READS = """
import os
from zppo_core.records.schema import decode, encode

row = {"run_key": "a", "step": 0, "phase": "plain", "seconds": 1.0}
data = encode("phases", [row])
before = len(os.listdir("/proc/self/task"))
assert decode("phases", data).to_pylist()[0]["phase"] == "plain"
print(before, len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_records_are_read_in_the_callers_thread() -> None:
    """A thread of Arrow's may hold the bytes last, and giving them back at the end aborts."""
    done = subprocess.run([sys.executable, "-c", READS], capture_output=True, text=True, check=True)
    before, after = done.stdout.split()
    assert before == after
