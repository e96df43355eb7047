"""The `evaluate` step: base, student and teacher on one benchmark of the suite, or a part of it.

Nothing is asked twice: what the run's journal holds stands, and weights that any run has scored
under the same protocol are found by their content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypedDict
from urllib.parse import quote, unquote

from eval import harness, suite
from eval.benchmark import Benchmark
from eval.harness import Marked, Part, SampleRow, ScoreRow
from eval.models import Contestant, contestants, exam_of
from eval.protocol import EvalSample, Exam
from zppo_core.models.threads import set_threads
from zppo_core.records.schema import decode, encode
from zppo_core.run.changes import began_with, changes, settings_at
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.spec import Run
from zppo_core.run.timing import record_stage, stopwatch
from zppo_core.store.journal import Journal

Files = dict[str, bytes]
Answers = dict[str, list[SampleRow]]  # by role
Show = Callable[[Benchmark, list[ScoreRow], Answers, Exam], None]


class Item(TypedDict):
    """What one task of the fan-out does: part `index` of `of` of a benchmark."""

    benchmark: str
    index: int
    of: int


def nothing(record: Benchmark, rows: list[ScoreRow], answers: Answers, exam: Exam) -> None:
    """Shows nothing."""


def plan(run: Run) -> list[Item]:
    """One item for each benchmark of the run's suite, several for a large one."""
    protocol = run.config.evaluation
    return [
        {"benchmark": b.name, "index": part.index, "of": part.of}
        for b in suite.benchmarks(protocol.suite)
        for part in harness.parts_of(b, protocol.limit, protocol.shard)
    ]


def evaluate(run: Run, item: Item, show: Show = nothing, alone: bool = True) -> list[ScoreRow]:
    """Score base, student and teacher on the item; a row of eval_scores each.

    `alone`: the process does nothing else, and its start counts as this stage's.
    """
    seconds = stopwatch(alone)
    if (began := began_with(run.journal)) is not None:  # weights have the type they ended with
        run = replace(run, config=settings_at(run.config, began, changes(run.journal)))
    set_threads(run.config, alone=False)
    exam, teacher = exam_of(run.config, run.cache)
    rows = run_item(run, exam, contestants(run, teacher), item, show)
    name = item["benchmark"] + (f"-{item['index']}" if item["of"] > 1 else "")
    record_stage(run, f"evaluate/{name}", seconds=seconds())
    return rows


def run_item(
    run: Run, exam: Exam, rivals: Iterator[Contestant], item: Item, show: Show = nothing
) -> list[ScoreRow]:
    """Every contestant on the item; a row of eval_scores each, of the part alone if it is one.

    `show` is given the benchmark, the rows, every answer by role, and how it was asked.
    """
    record = suite.find(exam.protocol.suite, item["benchmark"])
    desk = desk_of(run, exam, record, Part(item["index"], item["of"]))
    rows: list[ScoreRow] = []
    answers: Answers = {}
    for rival in rivals:
        row, answers[rival.role] = desk.take(rival)
        rows.append(row)
        print(line(row), flush=True)
    show(record, rows, answers, exam)
    return rows


def desk_of(run: Run, exam: Exam, benchmark: Benchmark, part: Part) -> Desk:
    """Where scores of the benchmark's part are looked up and filed."""
    kept = Journal(run.cache, "evaluations")
    return Desk(exam, run.journal, kept, run.recorded_key, benchmark, part)


def line(row: ScoreRow) -> str:
    """A score in one line."""
    shown = "no score" if row["score"] is None else f"{100 * row['score']:.1f} %"
    missing = f": {row['missing_reason']}" if row["missing_reason"] else ""
    return f"{row['benchmark']}: {row['role']} {shown} of {row['n']}{missing}"


@dataclass
class Desk:
    """One benchmark, or a part of one: takes up what is known, has the rest asked, and files it."""

    exam: Exam
    journal: Journal  # the run's
    kept: Journal  # everyone's: by suite, benchmark, protocol and weights
    run_key: str | None  # None: a model outside any run
    benchmark: Benchmark
    part: Part

    def take(self, rival: Contestant) -> tuple[ScoreRow, list[SampleRow]]:
        """The contestant's row of eval_scores and rows of eval_samples."""
        unit = whole_unit(rival.role, self.benchmark.name)
        files = self.journal.read(unit)
        if files is None and self.part.of == 1:
            files = stamped(self._files(rival), self.run_key, rival.role)
            self.journal.commit(unit, files)
        if files is not None:
            return rows_in(files)
        unit = part_unit(rival.role, self.benchmark.name, self.part)
        files = self.journal.read(unit)
        if files is None:
            about = {"key": rival.key, "protocol": self.exam.key(rival.thinking)}
            files = {"marked.json": pack(self._marked(rival)), "about.json": dump(about)}
            self.journal.commit(unit, files)
        marked = unpack(files["marked.json"])
        tables = self._tables(rival.key, self.exam.key(rival.thinking), [marked])
        tables = stamped(tables, self.run_key, rival.role)
        return rows_in(tables)

    def conclude(self, role: str, parts: Sequence[Marked], key: str, protocol: str) -> None:
        """File the whole of a benchmark that was run in parts."""
        tables = self._tables(key, protocol, parts)
        if all(sound(part) for part in parts) and complete(tables):
            tables = self.kept.keep(self._place(key, protocol), tables)
        unit = whole_unit(role, self.benchmark.name)
        self.journal.commit(unit, stamped(tables, self.run_key, role))

    def _place(self, key: str, protocol: str) -> str:
        return f"{self.exam.protocol.suite}/{self.benchmark.name}/{protocol}/{key}"

    def _files(self, rival: Contestant) -> Files:
        """The tables of the whole benchmark, with no run's name in them."""
        protocol = self.exam.key(rival.thinking)
        place = self._place(rival.key, protocol)
        found = self.kept.read(place)
        if found is not None:
            return found
        marked = score(self, rival)
        tables = self._tables(rival.key, protocol, [marked])
        # another run may have been quicker; what could not be had now may be there next time
        return self.kept.keep(place, tables) if sound(marked) and complete(tables) else tables

    def _marked(self, rival: Contestant) -> Marked:
        place = self._place(rival.key, self.exam.key(rival.thinking))
        place += f"/{self.part.index}-of-{self.part.of}"
        found = self.kept.read(place)
        if found is None:
            marked = score(self, rival)
            whole = harness.expected_of(self.benchmark, self.exam.protocol.limit)
            if not sound(marked) or len(marked.samples) != len(self.part.cut(whole)):
                return marked
            found = self.kept.keep(place, {"marked.json": pack(marked)})
        return unpack(found["marked.json"])

    def _tables(self, key: str, protocol: str, parts: Sequence[Marked]) -> Files:
        record = self.benchmark
        whose = harness.Scored(
            key, "", "", self.exam.protocol.suite, protocol, record.name, record.family
        )
        total = harness.summarise(record, self.exam, parts)
        sample_rows, score_row = harness.rows_of(
            whose, [s for part in parts for s in part.samples], total
        )
        return {
            "eval_samples.parquet": encode("eval_samples", sample_rows),
            "eval_scores.parquet": encode("eval_scores", [score_row]),
        }


def score(desk: Desk, rival: Contestant) -> Marked:
    """The contestant asked, and its engine closed again."""
    engine = rival.open()
    try:
        return harness.run_part(
            engine,
            desk.benchmark,
            desk.exam,
            rival.thinking,
            desk.part,
            Heartbeat().progress(desk.benchmark.name),
        )
    finally:
        rival.close()


def conclude(run: Run) -> None:
    """Make one score of the parts of each large benchmark, from the run's journal alone."""
    journal = run.journal
    found: dict[tuple[str, str], list[list[str]]] = {}
    for unit in journal.units("parts/"):
        _, role, name, place = unit.split("/")
        found.setdefault((unquote(role), name), []).append([unit, *place.split("-of-")])
    if not found:
        return
    exam, _ = exam_of(run.config, run.cache)
    for (role, name), units in found.items():
        of = int(units[0][2])
        if journal.manifest(whole_unit(role, name)) is not None or len(units) < of:
            continue
        files = [journal.read(unit) or {} for unit, *_ in sorted(units, key=lambda u: int(u[1]))]
        about = json.loads(files[0]["about.json"])
        record = suite.find(run.config.evaluation.suite, name)
        desk = desk_of(run, exam, record, harness.WHOLE)
        marked = [unpack(f["marked.json"]) for f in files]
        desk.conclude(role, marked, about["key"], about["protocol"])


def rows_in(files: Mapping[str, bytes]) -> tuple[ScoreRow, list[SampleRow]]:
    """The one row of eval_scores, and the rows of eval_samples, of a unit of the journal."""
    (score,) = decode("eval_scores", files["eval_scores.parquet"]).to_pylist()
    return score, decode("eval_samples", files["eval_samples.parquet"]).to_pylist()


def whole_unit(role: str, benchmark: str) -> str:
    """Where a score is filed."""
    return f"eval/{_key_part(role)}/{benchmark}"


def part_unit(role: str, benchmark: str, part: Part) -> str:
    """Where a part of a benchmark is filed until the whole is there."""
    return f"parts/{_key_part(role)}/{benchmark}/{part.index}-of-{part.of}"


def _key_part(role: str) -> str:
    """A role, which may be an address or a path, as one part of a key; `unquote` gives it back."""
    text = quote(role, safe="")
    return f"%2E{text[1:]}" if text.startswith(".") else text


def sound(marked: Marked) -> bool:
    """Whether the result is the model's doing alone, and worth keeping for other runs."""
    return not marked.fault and not marked.unreadable


def complete(tables: Files) -> bool:
    """Whether nothing is missing: a copy of the data with some of its rows may be whole later."""
    score, _ = rows_in(tables)
    return score["missing_reason"] is None


def dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def pack(marked: Marked) -> bytes:
    """A part's result as JSON."""
    return dump(asdict(marked))


def unpack(data: bytes) -> Marked:
    """What `pack` wrote."""
    value = json.loads(data)
    samples = tuple(EvalSample(**s) for s in value["samples"])
    return Marked(samples, tuple(value["unreadable"]), value["fault"])


def stamped(files: Files, run_key: str | None, role: str) -> Files:
    """The tables as this run's own."""
    return {
        f"{table}.parquet": encode(
            table,
            [
                row | {"run_key": run_key, "role": role}
                for row in decode(table, files[f"{table}.parquet"]).to_pylist()
            ],
        )
        for table in ("eval_samples", "eval_scores")
    }
