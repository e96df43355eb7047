"""Set up and test what is committed under other Pythons: a line of the result for each.

    python tools/pythons.py python3.12 python3.13
    python tools/pythons.py --folder CLONES python3.12   # goes on with the clone that is there
    python tools/pythons.py python3.13 --tests tests/core

`make pythons` calls it with PYTHONS. The lines go to benchmarks/results/pythons.txt,
where one of the same Python takes the older one's place.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "pythons.txt"
SAYS = "import platform as p, torch, transformers as t; print(p.python_version(), 'torch', \
torch.__version__, 'transformers', t.__version__)"


def said(command: Sequence[str], folder: Path) -> tuple[int, list[str]]:
    """Exit status of a command, and the lines that it has printed."""
    done = subprocess.run(
        command,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.strip().splitlines()


def minor(python: str) -> str | None:
    """py312, say; None if it does not start, as a shim of pyenv's without a version behind it."""
    asked = "import sys; print('py%d%d' % sys.version_info[:2])"
    status, lines = said([python, "-c", asked], ROOT)
    return None if status else lines[-1]


def cloned(folder: Path) -> str:
    """A clean clone of HEAD in `folder`, or the one there brought to HEAD: its commit."""
    if not folder.exists():
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=ROOT, text=True).strip()
    subprocess.run(["git", "fetch", "--quiet", str(ROOT), "HEAD"], cwd=folder, check=True)
    subprocess.run(["git", "checkout", "--quiet", "--detach", head], cwd=folder, check=True)
    return head[:7]


def tried(python: str, folder: Path, tests: Sequence[str]) -> tuple[str, bool]:
    """A line on set-up and tests under a Python, and whether both ended well."""
    there = (folder / ".venv").exists()
    commit = cloned(folder)
    start = time.monotonic()
    status, lines = said(["make", "setup", f"PYTHON={python}"], folder)
    if status:
        return f"{python}: make setup ended with {status}: {lines[-1]}", False
    ready = time.monotonic()
    _, (versions, *_) = said([".venv/bin/python", "-c", SAYS], folder)
    status, lines = said([".venv/bin/python", "-m", "pytest", "-n", "auto", *tests], folder)
    failed = [line for line in lines if line.startswith(("FAILED", "ERROR"))]
    for line in failed:
        print(line)
    end = time.monotonic()
    counts = lines[-1].strip("= ").rpartition(" in ")[0]
    what = " ".join(tests) or "all tests"
    day = datetime.now(UTC).date()
    took = f"tests {end - ready:.0f} s"
    if not there:
        took = f"set-up {ready - start:.0f} s, {took}"
    return f"Python {versions}: {what}: {counts} ({took}, {day}, {commit})", status == 0


def filed(line: str) -> None:
    """Put a line in the place of the same Python's."""
    older = RESULT.read_text("utf-8").splitlines() if RESULT.exists() else []
    kept = [old for old in older if old.split(".")[:2] != line.split(".")[:2]]
    RESULT.write_text("\n".join(sorted([*kept, line])) + "\n", "utf-8")


def main() -> int:
    """Try them one after another; 1 if one is not here or fails."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pythons", nargs="+", metavar="PYTHON")
    parser.add_argument("--folder", type=Path, help="where clones lie and stay")
    parser.add_argument("--tests", nargs="*", default=[], help="files or folders; all without it")
    asked = parser.parse_args()
    well = True
    with tempfile.TemporaryDirectory(prefix="zppo-pythons-") as passing:
        for python in asked.pythons:
            if shutil.which(python) is None or (name := minor(python)) is None:
                line, ended_well = f"{python}: not on this machine", False
            else:
                folder = (asked.folder or Path(passing)) / name
                line, ended_well = tried(python, folder.resolve(), asked.tests)
            print(line, flush=True)
            if line.startswith("Python") and not asked.tests:
                filed(line)
            well &= ended_well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
