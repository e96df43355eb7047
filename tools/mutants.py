"""Does a test fail when the method is wrong? `make mutants` tries wrong changes, one at a time.

`tools/mutants/*.toml` list them as exact replacements of text, each with a name, and say which
tests concern a file. Every change is made in a copy of the tree; the tests run until the first
failure. A change that no test minds survives, and is printed. A change whose text stands nowhere,
or at two places, is an error: it would say nothing.

Results are kept in results/mutants.jsonl with the content of file, change and test that they rest
on: a run goes on where the last one was stopped, and tries again what has changed since.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import hashlib
import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LISTS = ROOT / "tools" / "mutants"
KEPT = ROOT / "results" / "mutants.jsonl"
GOAL = 0.97
_ROW = re.compile(r"^\| (\w+) \| `([^`]+)` \| (\d+) \| (\d+) \| \d+ \|$", re.MULTILINE)
_SURVIVOR = re.compile(r"^- `(\w+)` \(.*$(?:\n  .*$)*", re.MULTILINE)
WIDTH = 118  # of the page's rows
HEAVY = ("hypothesis", "pandas", "pyarrow.parquet", "torch", "transformers")  # before any fork
PYTEST = (
    "-x",
    "-q",
    "--no-header",
    "--assert=plain",  # rewriting costs more than most tests
    "--hypothesis-seed=0",
    *("-o", "addopts=--strict-markers"),
    *(f"-pno:{name}" for name in ("cacheprovider", "unraisableexception", "threadexception")),
)


class MutantError(ValueError):
    """A list that cannot be carried out; the text says what to mend."""


@dataclass(frozen=True)
class Mutant:
    """One wrong change: in `file`, `old` becomes `new`. `argued`: why no test can tell, if so."""

    name: str
    section: str  # of the summary: algorithm, rewards, trainer, records, presets
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    argued: str = ""

    def applied(self, text: str) -> str:
        """`text` of the file with the change; MutantError unless it stands there exactly once.

        And unless what comes out can be read.
        """
        found = text.count(self.old)
        if found != 1:
            raise MutantError(
                f"{self.name}: its text stands {found} times in {self.file}, not once"
            )
        if self.old == self.new:
            raise MutantError(f"{self.name}: changes nothing")
        changed = text.replace(self.old, self.new)
        try:  # what cannot be read would be killed by anything
            if self.file.endswith(".py"):
                compile(changed, self.file, "exec")
            elif self.file.endswith(".toml"):
                tomllib.loads(changed)
        except (SyntaxError, tomllib.TOMLDecodeError) as fault:
            raise MutantError(f"{self.name}: {self.file} cannot be read then: {fault}") from None
        return changed


@dataclass(frozen=True)
class Result:
    """What became of a mutant: "killed" by `by`, "timeout" (killed too), "survived" or "error".

    `proof`: digest of the tests that say so.
    """

    key: str
    name: str
    outcome: str
    by: str
    seconds: float
    proof: str = ""

    @property
    def killed(self) -> bool:
        return self.outcome in ("killed", "timeout")


def read_lists(folder: Path | None = None) -> list[Mutant]:
    """All mutants of `folder` (default: ours).

    MutantError on a name that comes twice, or a file without tests.
    """
    mutants: list[Mutant] = []
    for path in sorted((folder or LISTS).glob("*.toml")):
        content = tomllib.loads(path.read_text("utf-8"))
        tests = {name: tuple(own) for name, own in content["tests"].items()}
        for one in content.get("mutant", []):
            file = one["file"]
            if file not in tests:
                raise MutantError(f"{path.name}: no tests are named for {file}")
            own = tuple(one.get("tests", tests[file]))
            mutants.append(
                Mutant(
                    one["name"], path.stem, file, one["old"], one["new"], own, one.get("argued", "")
                )
            )
    twice = [name for name, n in Counter(m.name for m in mutants).items() if n > 1]
    if twice:
        raise MutantError(f"two mutants are named {twice[0]}")
    return mutants


def digest(parts: Iterable[str | bytes]) -> str:
    h = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        h.update(len(data).to_bytes(8, "big") + data)
    return h.hexdigest()[:24]


def tracked(root: Path) -> list[str]:
    """Files of the working tree that git knows or would take."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    out = subprocess.run(command, cwd=root, check=True, capture_output=True).stdout
    return sorted({n for n in out.decode().split("\0") if n and (root / n).is_file()})


def copy_tree(root: Path, to: Path) -> None:
    """The working tree without what git ignores."""
    for name in tracked(root):
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(root / name, target)


def forget_compiled(path: Path) -> None:
    """Python knows a file by size and second: a change of one letter would not be seen."""
    for compiled in (path.parent / "__pycache__").glob(f"{path.stem}.*"):
        compiled.unlink()


def run_tests(folder: Path, tests: Sequence[str], log: Path) -> int:
    """Fork a child that runs `tests` in `folder`, with its output in `log`; its process id.

    Forked after the heavy imports, which are most of the time of a run.
    """
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setpgid(0, 0)
        os.chdir(folder)
        sys.dont_write_bytecode = False  # a copy lives for hundreds of runs
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPATH"] = str(folder)
        sys.path[:] = [str(folder), *(p for p in sys.path if Path(p or ".").resolve() != ROOT)]
        with log.open("wb") as out:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
        sys.stdout = sys.stderr = os.fdopen(1, "w", buffering=1)
        import pytest
        from hypothesis import Phase, settings

        # a failure is enough: its smallest example would take minutes
        phases = (Phase.explicit, Phase.generate)
        settings.register_profile("mutants", phases=phases, database=None)
        settings.load_profile("mutants")
        code = int(pytest.main([*PYTEST, *tests]))
        own = sys.modules.get("zppo_core") if (folder / "zppo_core").is_dir() else None
        if own is not None and not str(own.__file__).startswith(str(folder)):
            print(f"tested {own.__file__}, not the copy", flush=True)
            code = 71
    finally:
        sys.stdout.flush()
        os._exit(code)


def first_failure(log: str) -> str:
    """The test that failed first, from pytest's summary; empty if none is named."""
    for line in log.splitlines():
        if line.startswith(("FAILED ", "ERROR ")):
            return line.split(" ", 1)[1].split(" - ")[0]
    return ""


class Bench:
    """Copies of the tree, one a job, and the children that run in them."""

    def __init__(self, jobs: int, limit: float) -> None:
        self.limit = limit
        self.folder = Path(tempfile.mkdtemp(prefix="zppo-mutants-"))
        self.copies = [self.folder / f"copy{i}" for i in range(jobs)]
        for copy in self.copies:
            copy_tree(ROOT, copy)
        self.running: dict[int, tuple[Path, Mutant | None, str, float]] = {}

    def free(self) -> Path | None:
        used = {copy for copy, *_ in self.running.values()}
        return next((copy for copy in self.copies if copy not in used), None)

    def begin(self, copy: Path, mutant: Mutant | None, tests: Sequence[str], key: str) -> None:
        """Run `tests` in `copy`, changed by `mutant`."""
        if mutant is not None:
            place = copy / mutant.file
            forget_compiled(place)
            shutil.copy2(place, copy.with_suffix(".original"))
            place.write_text(mutant.applied(place.read_text("utf-8")), "utf-8")
        pid = run_tests(copy, tests, copy.with_suffix(".log"))
        self.running[pid] = copy, mutant, key, time.monotonic()

    def finished(self) -> list[Result]:
        """Results of children that have ended or were too long, with their copies mended."""
        done = []
        for pid, (copy, mutant, key, began) in list(self.running.items()):
            seconds = time.monotonic() - began
            ended, status = os.waitpid(pid, os.WNOHANG)
            late = not ended and seconds > (self.limit if mutant else 10 * self.limit)
            if not ended and not late:
                continue
            _end_group(pid)  # what a test left behind, too
            if late:
                os.waitpid(pid, 0)
            del self.running[pid]
            if mutant is not None:
                shutil.copy2(copy.with_suffix(".original"), copy / mutant.file)
                forget_compiled(copy / mutant.file)
            log = copy.with_suffix(".log").read_text("utf-8", errors="replace")
            code = os.waitstatus_to_exitcode(status)
            name = "unchanged tree" if mutant is None else mutant.name
            if late:
                outcome, by = "timeout", f"more than {self.limit:g} s"
            elif code in (1, 2) or code < 0:  # 2: a test file could not be imported
                outcome, by = "killed", first_failure(log) or f"exit {code}"
            elif code == 0:
                outcome, by = "survived", ""
            else:
                outcome, by = "error", f"pytest ended with {code}: {log.strip()[-300:]}"
            proof = "" if mutant is None else proof_of(mutant, outcome, by, copy)
            done.append(Result(key, name, outcome, by, round(seconds, 1), proof))
        return done

    def close(self) -> None:
        for pid in self.running:
            _end_group(pid)
            os.waitpid(pid, 0)
        shutil.rmtree(self.folder, ignore_errors=True)


def _end_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def load_kept() -> dict[str, Result]:
    if not KEPT.is_file():
        return {}
    lines = KEPT.read_text("utf-8").splitlines()
    return {r.key: r for r in (Result(**json.loads(line)) for line in lines if line)}


def key_of(mutant: Mutant) -> str:
    """What is changed, in what, and which tests look."""
    m = mutant
    return digest([m.file, m.old, m.new, (ROOT / m.file).read_bytes(), *m.tests])


def proof_of(mutant: Mutant, outcome: str, by: str, root: Path | None = None) -> str:
    """Digest of the tests that a result rests on: the one that failed, else all; with helpers."""
    root = root or ROOT
    failed = by.partition("::")[0]
    files = {test.partition("::")[0] for test in mutant.tests}
    if outcome == "killed" and failed in files:
        files = {failed}
    folders = {root / "tests", *((root / f).parent for f in files)}
    helpers = {p for f in folders for p in f.glob("*.py") if not p.name.startswith("test_")}
    return digest(p.read_bytes() for p in sorted({*helpers, *(root / f for f in files)}))


def work(
    mutants: Sequence[Mutant], keys: Mapping[str, str], jobs: int, limit: float
) -> list[Result]:
    """Try `mutants`, after the unchanged tree has passed all tests that they name."""
    for name in HEAVY:
        importlib.import_module(name)
    gc.freeze()  # what is here now need not be looked through by every child
    KEPT.parent.mkdir(parents=True, exist_ok=True)
    bench = Bench(jobs, limit)
    every = tuple(dict.fromkeys(test for m in mutants for test in m.tests))
    queue: list[tuple[Mutant | None, tuple[str, ...], str]] = [(None, every, "")]
    queue += [(m, m.tests, keys[m.name]) for m in mutants]
    found: list[Result] = []
    try:
        with KEPT.open("a", encoding="utf-8") as kept:
            while queue or bench.running:
                while queue and (copy := bench.free()) is not None:
                    if any(mutant is None for _, mutant, *_ in bench.running.values()):
                        break  # the unchanged tree comes first
                    bench.begin(copy, *queue.pop(0))
                for result in bench.finished():
                    print(
                        f"{result.outcome:9} {result.seconds:6.1f} s  {result.name:44} {result.by}",
                        flush=True,
                    )
                    if not result.key:
                        if result.outcome != "survived":
                            raise MutantError(f"the unchanged tree fails {result.by}")
                        continue
                    found.append(result)
                    kept.write(json.dumps(asdict(result)) + "\n")
                    kept.flush()
                time.sleep(0.05)
    finally:
        bench.close()
    return found


def stands(mutant: Mutant, result: Result | None) -> bool:
    """Whether a result of before is still true: what it rests on is as it was."""
    return (
        result is not None
        and result.outcome != "error"
        and result.proof == proof_of(mutant, result.outcome, result.by)
    )


def _survivor(mutant: Mutant) -> str:
    """The page's item of a mutant that no test kills, in rows of at most `WIDTH` characters."""
    text = f"- `{mutant.name}` ({mutant.file}): {mutant.argued or '**not argued**'}"
    return textwrap.fill(
        text,
        WIDTH,
        subsequent_indent="  ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def report(mutants: Sequence[Mutant], results: Mapping[str, Result], before: str = "") -> str:
    """The page docs/mutants.md: a summary by file, then the survivors with their arguments.

    A file of which not all `mutants` have results keeps its lines of the page `before`, if it has
    any there.
    """
    lines = [
        "# Wrong changes that the tests must catch",
        "",
        "`make mutants` writes this page. Each entry of `tools/mutants/*.toml` is one wrong change",
        "to the method. It is made in a copy of the tree, and the tests that concern the file",
        "run there. A change is killed if a test fails or does not end. It survives if all tests",
        "pass. The reason why no test can fail is then given below.",
        "",
        "| part | file | tried | killed | survived |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    rows = {m.group(1, 2): (int(m.group(3)), int(m.group(4))) for m in _ROW.finditer(before)}
    said = {m.group(1): m.group() for m in _SURVIVOR.finditer(before)}
    left, counts = [], []
    for section, file in dict.fromkeys((m.section, m.file) for m in mutants):
        own = [m for m in mutants if (m.section, m.file) == (section, file)]
        if all(m.name in results for m in own):
            tried, killed = len(own), sum(results[m.name].killed for m in own)
            survivors = [m for m in own if not results[m.name].killed]
            left += [_survivor(m) for m in survivors]
        elif (section, file) in rows:
            tried, killed = rows[section, file]
            left += [said[m.name] for m in own if m.name in said]
        else:
            continue
        counts.append((tried, killed))
        lines.append(f"| {section} | `{file}` | {tried} | {killed} | {tried - killed} |")
    tried, killed = (sum(column) for column in zip((0, 0), *counts, strict=True))
    lines += [
        f"| **all** | | **{tried}** | **{killed}** | **{tried - killed}** |",
        "",
        f"{100 * killed / max(tried, 1):.1f} % killed; the goal is {100 * GOAL:.0f} %.",
        "",
        "## Survivors",
        "",
    ]
    return "\n".join(lines + (left or ["None."])) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--limit", type=float, default=240.0, help="seconds for one mutant")
    parser.add_argument("--only", default="", help="names or files that contain this text")
    parser.add_argument("--fresh", action="store_true", help="forget what was found before")
    parser.add_argument("--check", action="store_true", help="only look whether all texts match")
    parser.add_argument("--lists", type=Path, default=None, help="a folder of lists beside ours")
    parser.add_argument(
        "--report", default="", help="write the page there; files not tried keep their lines"
    )
    asked = parser.parse_args(argv)
    try:
        mutants = read_lists(asked.lists)
    except MutantError as fault:
        print(f"mutants: {fault}", file=sys.stderr)
        return 2
    faults = []
    for m in mutants:
        try:
            m.applied((ROOT / m.file).read_text("utf-8"))
        except (MutantError, FileNotFoundError) as fault:
            faults.append(str(fault))
    for fault in faults:
        print(f"mutants: {fault}", file=sys.stderr)
    if asked.check or faults:
        print(f"{len(mutants)} wrong changes in {len({m.file for m in mutants})} files")
        return 2 if faults else 0
    chosen = [m for m in mutants if asked.only in m.name or asked.only in m.file]
    keys = {m.name: key_of(m) for m in chosen}
    kept = {} if asked.fresh else load_kept()
    todo = [m for m in chosen if not stands(m, kept.get(keys[m.name]))]
    print(f"{len(chosen)} wrong changes, {len(chosen) - len(todo)} known from before", flush=True)
    try:
        new = {r.key: r for r in (work(todo, keys, asked.jobs, asked.limit) if todo else [])}
    except MutantError as fault:
        print(f"mutants: {fault}", file=sys.stderr)
        return 2
    results = {m.name: (kept | new)[keys[m.name]] for m in chosen}
    print(report(chosen, results))
    if asked.report:
        place = Path(asked.report)
        before = place.read_text("utf-8") if place.is_file() else ""
        place.write_text(report(mutants, results, before), "utf-8")
    errors = [r for r in results.values() if r.outcome == "error"]
    unargued = [m for m in chosen if not results[m.name].killed and not m.argued]
    killed = sum(r.killed for r in results.values())
    for r in errors:
        print(f"mutants: {r.name}: {r.by}", file=sys.stderr)
    return 0 if not errors and not unargued and killed >= GOAL * len(chosen) else 1


if __name__ == "__main__":
    sys.exit(main())
