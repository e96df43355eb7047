"""Type every command that README and docs print, in a fresh shell of a fresh clone.

    python tools/commands.py                      # clone, make setup, all of CPU size
    python tools/commands.py --only 'zppo plan'   # those that begin so
    python tools/commands.py --venv .venv         # with an environment that is there already
    python tools/commands.py --again              # those that failed; their lines are replaced

`make commands` calls it. Each line of the result, benchmarks/results/commands.txt, is a command
with its exit code and seconds, or why it was not typed. Placeholders (KEY, RUN) get the name of a
run that comes first. Runs and sweeps get settings that shorten them, which the result shows;
with --whole they are typed as printed.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RESULT = ROOT / "benchmarks" / "results" / "commands.txt"
COMMAND = re.compile(
    r"(?:zppo [a-z]|zppo$|python3? (?:flows/|examples/|-m (?:eval|steps|zppo_core)))"
)
READERS = r"my_|MY_|my\.toml|/data/|FOLDER|PATH|CHECKPOINT|NAME|CASES|picture\.png|\bSCALE\b"
# why a printed command is not typed here
NOT_HERE = {
    r"(?<!plan )--scale (?!nano)": "a scale that needs GPUs",
    r"s3://|kubernetes|compute\.ray": "needs a cluster or a bucket",
    r"endpoint=|http://": "needs a server",
    r"trackers=": "needs a tracker's package",
    r"\bserver\b": "runs until it is stopped",
    r"--suite paper31|--model PATH|--judge": "needs the benchmarks' data sets",
    r"make evidence|--preset (?:evidence|zone)": "hours",
    r"\[|<|\.\.\.": "a pattern, not a command",
    READERS: "names a file of the reader's",
    r"RUN/epoch|--step 39": "names a task or a step of the reader's run",
    r"(?:zppo|zppo_flow\.py) resume": "needs a run that failed",
    r"trial\.duckdb|mechanism|zone-zone-": "of runs that the page trains first",
    r"zppo nano (?:build|zone)": "half an hour",
}
SHORT = " --set run.rollout_steps=2 --set data.train_questions=96 --set evaluation.limit=20"
FIRST = (f"zppo run --name first{SHORT}", f"zppo run --name second --seed 1{SHORT}")
WHOLE = re.compile(r"(?:zppo (?:run|train|sweep)|python flows/(?:zppo|sweep)_flow\.py run)\b")
VALUES = {"RUN_A": "first", "RUN_B": "second", "RUN": "first", "KEY": "first"}
CHEAP = re.compile(r"zppo (?:doctor|plan(?!.*--hours)|memory|completion|cost --plan)\b")


def printed() -> Iterator[tuple[str, str]]:
    """(page, command) of every fenced block, comments and continuations resolved, each once."""
    seen = set()
    for page in PAGES:
        for block in re.findall(r"^```(?:\w*)\n(.*?)^```", page.read_text("utf-8"), re.M | re.S):
            for line in block.replace("\\\n", " ").splitlines():
                bare = " ".join(re.split(r"\s#\s", line)[0].split())
                if COMMAND.match(bare) and bare not in seen:
                    seen.add(bare)
                    yield str(page.relative_to(ROOT)), bare


def typed(command: str, values: Mapping[str, str]) -> tuple[str, str]:
    """(the command with values for its placeholders, why it is not typed or "")."""
    for pattern, why in NOT_HERE.items():
        if re.search(pattern, command):
            return command, why
    named = re.sub(r"\b(" + "|".join(values) + r")\b", lambda m: values[m[0]], command)
    return named, ""


def shell(command: str, folder: Path, limit: float) -> tuple[int, float, str]:
    """(exit code, seconds, last line) of a command in a shell with nothing in its environment."""
    kept = ("HOME", "LANG", "USER", "PIP_INDEX_URL", "PIP_CONFIG_FILE")
    environment = {n: os.environ[n] for n in kept if n in os.environ}
    environment |= {"PATH": "/usr/local/bin:/usr/bin:/bin", "HF_HUB_OFFLINE": "1"}
    if (folder / ".venv").is_symlink():  # its packages are the clone's all the same
        environment["PYTHONPATH"] = str(folder)
    began = time.monotonic()
    try:
        done = subprocess.run(
            ["bash", "--noprofile", "--norc", "-c", f". .venv/bin/activate && {command}"],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=limit,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 124, time.monotonic() - began, f"longer than {limit:.0f} s"
    said = (done.stderr.strip() or done.stdout.strip() or "-").splitlines()[-1]
    return done.returncode, time.monotonic() - began, said[:160]


def ready_of(command: str, whole: bool) -> tuple[str, str]:
    """(the command as it is typed here, why it is not or "")."""
    ready, why = typed(command, VALUES)
    if not why and not whole and WHOLE.match(ready) and "rollout_steps" not in ready:
        ready += SHORT
    return ready, why


def filed(head: str, lines: list[str], again: bool) -> None:
    """Write the result; `again` puts lines in the place of the ones that failed."""
    if again:
        begins, *older = RESULT.read_text("utf-8").splitlines()
        new = iter(lines)
        lines = [next(new) if line.startswith("FAILED") else line for line in older]
        head = f"{begins}; what had failed again: {head.removeprefix('# ')}"
    RESULT.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def unsound(
    commands: list[tuple[str, str]], lines: list[str], whole: bool
) -> list[tuple[str, str]]:
    """The commands of the pages that have no line without a failure in a result.

    ValueError if they are not as many as failed: then the pages have changed.
    """
    sound = {line.partition(": ")[2] for line in lines if not line.startswith("FAILED")}
    left = [
        (page, command)
        for page, command in commands
        if not {f"{x}  [{page}]" for x in (command, ready_of(command, whole)[0])} & sound
    ]
    if len(left) != sum(line.startswith("FAILED") for line in lines):
        raise ValueError(f"the pages have changed since: {left}; type all commands")
    return left


def clone(folder: Path, venv: str) -> None:
    """A fresh clone with its environment: `make setup`, or one that is there."""
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    if venv:
        (folder / ".venv").symlink_to(Path(venv).resolve())
    else:
        subprocess.run(["make", "setup"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    """Type them all; 1 if one failed."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--only", default="")
    reader.add_argument("--again", action="store_true", help="those that failed before")
    reader.add_argument("--cheap", action="store_true", help="those of seconds, without a run")
    reader.add_argument("--venv", default="")
    reader.add_argument("--whole", action="store_true", help="runs and sweeps in their full size")
    reader.add_argument("--minutes", type=float, default=1e6, help="then no further one is typed")
    reader.add_argument("--limit", type=float, default=1800.0, help="seconds of one command")
    given = reader.parse_args()
    lines: list[str] = []
    chosen = [at for at in printed() if at[1].startswith(given.only)]
    if given.again:
        chosen = unsound(chosen, RESULT.read_text("utf-8").splitlines(), given.whole)
    failed, began = 0, time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "zppo")
        clone(folder, given.venv)
        names_a_run = any(typed(command, VALUES)[0] != command for _, command in chosen)
        first = [("beforehand", command) for command in FIRST]
        if given.only or given.cheap or (given.again and not names_a_run):
            first = []
        for page, command in [*first, *chosen]:
            ready, why = ready_of(command, given.whole)
            if not why and given.cheap and not CHEAP.match(ready):
                why = "not cheap"
            if not why and time.monotonic() - began > 60 * given.minutes:
                why = "no time was left"
            if why:
                lines.append(f"not typed ({why}): {command}  [{page}]")
                continue
            code, seconds, said = shell(ready, folder, given.limit)
            failed += code != 0
            verdict = "ok" if code == 0 else f"FAILED {code} ({said})"
            lines.append(f"{verdict}, {seconds:.1f} s: {ready}  [{page}]")
            print(lines[-1], flush=True)
    when = datetime.now(UTC).isoformat(timespec="minutes")
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    how = "an environment that was there" if given.venv else "make setup in the clone"
    only = f", only {given.only!r}" if given.only else ""
    only += ", only the cheap ones" if given.cheap else ""
    head = f"# {when}, commit {commit}, {sys.platform}, {how}{only}, load {os.getloadavg()[0]:.1f}"
    if given.again:  # their lines are there already
        lines = [line for line in lines if not line.endswith("[beforehand]")]
    filed(head, lines, given.again)
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
