"""Two clean clones of what is committed train a small run each: all that matters is equal.

python tools/two_clones.py            # weights, optimizer, state, journal, database; times aside
python tools/two_clones.py --readme   # trains the README's run in a clone and compares its tables

The README's figures are of one kind of processor: another may round otherwise.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(Path(__file__).parent))
from same_run import differing  # noqa: E402

LAST = "Wall time per stage"  # what follows in the README depends on the machine
SMALL = (
    "import sys; sys.path.insert(0, 'tools'); import kill_matrix as k; from pathlib import Path; "
)
SMALL += "k.pipeline(Path(sys.argv[1]), {}, print)"


def cloned(folder: Path) -> Path:
    """A clean clone of HEAD."""
    subprocess.run(
        ["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(folder)], check=True
    )
    return folder


def called(clone: Path, *arguments: str) -> str:
    """What Python says in a clone: its own modules are imported, the packages are ours."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")}
    environment["PYTHONPATH"] = str(clone)
    environment.setdefault("USERNAME", "zppo")
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=clone,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{clone}: {' '.join(arguments)[:80]}: {done.stderr[-2000:]}")
    return done.stdout


def small_run(clone: Path, folder: Path) -> dict[str, str]:
    """The digests of a small run that a clone trains below `folder`."""
    folder.mkdir()
    called(clone, "-c", SMALL, str(folder))
    text = called(clone, "tools/same_run.py", str(folder))
    found: dict[str, str] = json.loads(text[: text.rindex("}") + 1])
    return found


def other_lines(readme: str, summary: str) -> list[str]:
    """Lines of the README's tables, but for those of times, that a summary does not have."""
    block = readme.partition("Accuracy, percent\n")[2].partition(LAST)[0]
    there = {" ".join(line.split()) for line in summary.splitlines()}
    return [
        line for line in block.splitlines() if line.strip() and " ".join(line.split()) not in there
    ]


def main() -> int:
    """The command line above; 1 if anything differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--readme", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        if options.readme:
            clone = cloned(Path(place, "clone"))
            called(clone, "flows/zppo_flow.py", "run")
            other = other_lines(
                (clone / "README.md").read_text(), called(clone, "-m", "eval.tables", "summary")
            )
            print(*(other or ["each line of the README's tables is the run's"]), sep="\n")
            return int(bool(other))
        runs = [
            small_run(cloned(Path(place, f"clone-{name}")), Path(place, f"run-{name}"))
            for name in "ab"
        ]
    other = differing(*runs)
    print(*(other or [f"{len(runs[0])} digests of two clones are equal"]), sep="\n")
    return int(bool(other))


if __name__ == "__main__":
    raise SystemExit(main())
