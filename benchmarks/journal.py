"""How long a journal's commit and read take on the disk at hand: `python benchmarks/journal.py`."""

import argparse
import os
import platform
import statistics
import tempfile
import time
from pathlib import Path
from unittest import mock

from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore


def measure(folder: str, units: int, files: int, size: int) -> tuple[float, float, float]:
    """Median seconds of a commit and of a read, and of listing all `units`."""
    commits, reads = [], []
    with tempfile.TemporaryDirectory(dir=folder) as place:
        journal = Journal(LocalStore(Path(place)), "journal")
        for i in range(units):
            content = {f"{n}.parquet": os.urandom(size) for n in range(files)}
            start = time.perf_counter()
            journal.commit(f"step-{i:06d}/plain", content)
            commits.append(time.perf_counter() - start)
            start = time.perf_counter()
            journal.read(f"step-{i:06d}/plain")
            reads.append(time.perf_counter() - start)
        start = time.perf_counter()
        journal.units()
        return statistics.median(commits), statistics.median(reads), time.perf_counter() - start


def main() -> None:
    """Print the figures with the disk's flushes and without."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", default=".", help="on the disk to measure")
    parser.add_argument("--units", type=int, default=200)
    parser.add_argument("--files", type=int, default=6)
    parser.add_argument("--size", type=int, default=4000, help="bytes of a file")
    options = vars(parser.parse_args())
    print(f"{platform.machine()}, {os.cpu_count()} cores, {options}")
    for name, flush in (("flushed", os.fsync), ("not flushed", lambda descriptor: None)):
        with mock.patch("os.fsync", flush):
            commit, read, units = (1e3 * s for s in measure(**options))
        print(f"{name}: commit {commit:.2f} ms, read {read:.2f} ms, list all {units:.1f} ms")


if __name__ == "__main__":
    main()
