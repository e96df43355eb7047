"""The `evaluate` step: base, student and teacher on a share of the suite's benchmarks.

A model goes through the whole share before the next one starts, so that a process starts each
engine once. Nothing is asked twice: what the run's journal holds stands, and weights that any run
has scored under the same protocol are found by their content.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TypedDict
from urllib.parse import quote, unquote

from eval import harness, suite
from eval.benchmark import Benchmark
from eval.engines import LazyEngine
from eval.harness import Part, SampleRow, ScoredPart, ScoreRow
from eval.models import EvalModel, eval_models, evaluator_of
from eval.protocol import EvalSample, Evaluator
from zppo_core.models.threads import set_threads
from zppo_core.processes.watchdog import HUNG, Watchdog
from zppo_core.records.schema import decode, encode
from zppo_core.run.changes import began_with, changes, settings_at
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.spec import Run
from zppo_core.run.timing import record_stage, stopwatch
from zppo_core.store.journal import Journal

Files = dict[str, bytes]
Answers = dict[str, list[SampleRow]]  # by role


class Item(TypedDict):
    """Part `index` of `of` of a benchmark."""

    benchmark: str
    index: int
    of: int


ItemShare = list[Item]  # what one task of the fan-out does
Show = Callable[[Item, Benchmark, list[ScoreRow], Answers, Evaluator], None]


def nothing(
    item: Item, record: Benchmark, rows: list[ScoreRow], answers: Answers, exam: Evaluator
) -> None:
    """Shows nothing."""


def plan(run: Run) -> list[ItemShare]:
    """The tasks of the fan-out: `evaluation.tasks` shares of the suite; 0: one for each item.

    An item is a benchmark, or a part of a large one. Shares have about equally many samples: the
    next largest item goes to the share with the fewest. Within a share the suite's order stands.
    """
    protocol = run.config.evaluation
    items: list[tuple[Item, int]] = [
        (
            {"benchmark": b.name, "index": part.index, "of": part.of},
            len(part.cut(harness.expected_of(b, protocol.limit))),
        )
        for b in suite.benchmarks(protocol.suite)
        for part in harness.parts_of(b, protocol.limit, protocol.shard)
    ]
    shares: list[list[int]] = [[] for _ in range(min(protocol.tasks or len(items), len(items)))]
    load = [0] * len(shares)
    for i in sorted(range(len(items)), key=lambda i: (-items[i][1], i)):
        least = min(range(len(shares)), key=lambda j: (load[j], len(shares[j]), j))
        shares[least].append(i)
        load[least] += items[i][1]
    return [[items[i][0] for i in sorted(share)] for share in sorted(shares, key=min)]


def evaluate(
    run: Run, share: ItemShare, show: Show = nothing, alone: bool = True
) -> list[ScoreRow]:
    """Score base, student and teacher on the share's items; rows of eval_scores, item by item.

    `alone`: the process does nothing else, and its start counts as this stage's.
    """
    seconds = stopwatch(alone)
    if (began := began_with(run.journal)) is not None:  # weights have the type they ended with
        run = replace(run, config=settings_at(run.config, began, changes(run.journal)))
    set_threads(run.config, alone=False)
    evaluator, teacher = evaluator_of(run.config, run.cache)
    rows = run_share(run, evaluator, eval_models(run, teacher), share, show)
    record_stage(run, f"evaluate/{stage_name(share)}", seconds=seconds())
    return rows


def stage_name(share: ItemShare) -> str:
    """What a share is called where its seconds are filed: its first item, and how many more."""
    first = share[0]
    name = first["benchmark"] + (f"-{first['index']}" if first["of"] > 1 else "")
    return name + (f"+{len(share) - 1}" if len(share) > 1 else "")


def run_share(
    run: Run,
    evaluator: Evaluator,
    models: Iterator[EvalModel],
    share: ItemShare,
    show: Show = nothing,
) -> list[ScoreRow]:
    """Every model on every item; rows of eval_scores, item by item, of the part if it is one.

    An engine is opened when it is first asked. A model's is closed after its last item, the judge's
    at the end. `show` is given each benchmark, its rows, every answer by role, how it was asked.
    """
    stores = [
        score_store(
            run,
            evaluator,
            suite.find(evaluator.protocol.suite, item["benchmark"]),
            Part(item["index"], item["of"]),
        )
        for item in share
    ]
    roles = []
    judge = None if evaluator.judge is None else evaluator.judge.engine
    with Watchdog(run.config.compute.patience, HUNG) as watchdog:
        if isinstance(judge, LazyEngine):
            judge.watch(watchdog, "judge")
        try:
            for model in models:
                roles.append(model.role)
                model.engine.watch(watchdog, model.role)
                try:
                    for store in stores:
                        print(line(store.scores(model)), flush=True)
                finally:
                    model.close()
        finally:
            if judge is not None:
                judge.close()
    rows: list[ScoreRow] = []
    # answers are read again: those of a whole suite would not fit in memory
    for item, store in zip(share, stores, strict=True):
        kept = {role: store.kept(role) for role in roles}
        here = [row for row, _ in kept.values()]
        answers = {role: replies for role, (_, replies) in kept.items()}
        show(item, store.benchmark, here, answers, evaluator)
        rows += here
    return rows


def score_store(run: Run, evaluator: Evaluator, benchmark: Benchmark, part: Part) -> ScoreStore:
    """Where scores of the benchmark's part are looked up and filed."""
    shared = Journal(run.cache, "evaluations")
    return ScoreStore(evaluator, run.journal, shared, run.recorded_key, benchmark, part)


def line(row: ScoreRow) -> str:
    """A score in one line."""
    shown = "no score" if row["score"] is None else f"{100 * row['score']:.1f} %"
    missing = f": {row['missing_reason']}" if row["missing_reason"] else ""
    return f"{row['benchmark']}: {row['role']} {shown} of {row['n']}{missing}"


@dataclass
class ScoreStore:
    """The scores of one benchmark, or of a part: reads what is stored, has the rest asked."""

    evaluator: Evaluator
    journal: Journal  # the run's
    shared: Journal  # everyone's: by suite, benchmark, protocol and weights
    run_key: str | None  # None: a model outside any run
    benchmark: Benchmark
    part: Part

    def scores(self, model: EvalModel) -> ScoreRow:
        """The model's row of eval_scores; what is not stored is asked and filed."""
        whole = whole_unit(model.role, self.benchmark.name)
        part = part_unit(model.role, self.benchmark.name, self.part)
        if self.journal.manifest(whole) is None:
            if self.part.of == 1:
                files = stamped(self._files(model), self.run_key, model.role)
                self.journal.commit(whole, files)
            elif self.journal.manifest(part) is None:
                identity = {"key": model.key, "protocol": self.evaluator.key(model.thinking)}
                files = {"marked.json": pack(self._scored(model)), "about.json": dump(identity)}
                self.journal.commit(part, files)
        return self.kept(model.role)[0]

    def kept(self, role: str) -> tuple[ScoreRow, list[SampleRow]]:
        """The role's row of eval_scores and rows of eval_samples, which `scores` has filed."""
        files = self.journal.read(whole_unit(role, self.benchmark.name))
        if files is None:
            files = self.journal.read(part_unit(role, self.benchmark.name, self.part)) or {}
            identity = json.loads(files["about.json"])
            scored = unpack(files["marked.json"])
            tables = self._tables(identity["key"], identity["protocol"], [scored])
            files = stamped(tables, self.run_key, role)
        return rows_in(files)

    def merge_parts(self, role: str, parts: Sequence[ScoredPart], key: str, protocol: str) -> None:
        """File the whole of a benchmark that was run in parts."""
        tables = self._tables(key, protocol, parts)
        if all(sound(part) for part in parts) and complete(tables):
            tables = self.shared.keep(self._place(key, protocol), tables)
        unit = whole_unit(role, self.benchmark.name)
        self.journal.commit(unit, stamped(tables, self.run_key, role))

    def _place(self, key: str, protocol: str) -> str:
        return f"{self.evaluator.protocol.suite}/{self.benchmark.name}/{protocol}/{key}"

    def _files(self, model: EvalModel) -> Files:
        """The tables of the whole benchmark, with no run's name in them."""
        protocol = self.evaluator.key(model.thinking)
        place = self._place(model.key, protocol)
        stored = self.shared.read(place)
        if stored is not None:
            return stored
        scored = score(self, model)
        tables = self._tables(model.key, protocol, [scored])
        # another run may have been quicker; what could not be had now may be there next time
        return self.shared.keep(place, tables) if sound(scored) and complete(tables) else tables

    def _scored(self, model: EvalModel) -> ScoredPart:
        place = self._place(model.key, self.evaluator.key(model.thinking))
        place += f"/{self.part.index}-of-{self.part.of}"
        stored = self.shared.read(place)
        if stored is None:
            scored = score(self, model)
            whole = harness.expected_of(self.benchmark, self.evaluator.protocol.limit)
            if not sound(scored) or len(scored.samples) != len(self.part.cut(whole)):
                return scored
            stored = self.shared.keep(place, {"marked.json": pack(scored)})
        return unpack(stored["marked.json"])

    def _tables(self, key: str, protocol: str, parts: Sequence[ScoredPart]) -> Files:
        record = self.benchmark
        identity = harness.Scored(
            key, "", "", self.evaluator.protocol.suite, protocol, record.name, record.family
        )
        total = harness.summarise(record, self.evaluator, parts)
        sample_rows, score_row = harness.rows_of(
            identity, [s for part in parts for s in part.samples], total
        )
        return {
            "eval_samples.parquet": encode("eval_samples", sample_rows),
            "eval_scores.parquet": encode("eval_scores", [score_row]),
        }


def score(store: ScoreStore, model: EvalModel) -> ScoredPart:
    """Ask the model."""
    return harness.run_part(
        model.engine,
        store.benchmark,
        store.evaluator,
        model.thinking,
        store.part,
        Heartbeat().progress(store.benchmark.name),
    )


def conclude(run: Run) -> None:
    """Make one score of the parts of each large benchmark, from the run's journal alone."""
    journal = run.journal
    parts_of: dict[tuple[str, str], list[list[str]]] = {}
    for unit in journal.units("parts/"):
        _, role, name, place = unit.split("/")
        parts_of.setdefault((unquote(role), name), []).append([unit, *place.split("-of-")])
    if not parts_of:
        return
    evaluator, _ = evaluator_of(run.config, run.cache)
    for (role, name), units in parts_of.items():
        of = int(units[0][2])
        if journal.manifest(whole_unit(role, name)) is not None or len(units) < of:
            continue
        files = [journal.read(unit) or {} for unit, *_ in sorted(units, key=lambda u: int(u[1]))]
        identity = json.loads(files[0]["about.json"])
        record = suite.find(run.config.evaluation.suite, name)
        store = score_store(run, evaluator, record, harness.WHOLE)
        scored = [unpack(f["marked.json"]) for f in files]
        store.merge_parts(role, scored, identity["key"], identity["protocol"])


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


def sound(scored: ScoredPart) -> bool:
    """Whether the result is the model's doing alone, and worth keeping for other runs."""
    return not scored.fault and not scored.unreadable


def complete(tables: Files) -> bool:
    """Whether nothing is missing: a copy of the data with some of its rows may be whole later."""
    score, _ = rows_in(tables)
    return score["missing_reason"] is None


def dump(value: object) -> bytes:
    return json.dumps(value, sort_keys=True).encode()


def pack(scored: ScoredPart) -> bytes:
    """A part's result as JSON."""
    return dump(asdict(scored))


def unpack(data: bytes) -> ScoredPart:
    """What `pack` wrote."""
    value = json.loads(data)
    samples = tuple(EvalSample(**s) for s in value["samples"])
    return ScoredPart(samples, tuple(value["unreadable"]), value["fault"])


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
