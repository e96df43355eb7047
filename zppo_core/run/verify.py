"""`zppo verify`: a rollout step of a run is computed again, and compared bit for bit.

Student and optimizer come from the newest checkpoint before the step; the steps between are read
from the journal and updated again. The step itself is computed without its records: rollouts,
rewards, teacher texts, losses and buffer must come out the same. So must the weights, where a
checkpoint of after the step is there. The teacher draws anew unless it is behind an endpoint.
Nothing is written to the run. Times, and what the teacher cache had, are not compared.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from zppo_core.config.load import from_record
from zppo_core.errors import UserError
from zppo_core.models import lora
from zppo_core.models.weights import MTP, weight_hash
from zppo_core.processes.command_line import command, reported
from zppo_core.protocols import silent
from zppo_core.records.phases import RUN_UNIT, step_unit
from zppo_core.records.schema import decode
from zppo_core.run.changes import began_with, changes, settings_at
from zppo_core.run.loop import one_step
from zppo_core.run.preflight import check_machine
from zppo_core.run.resume import restore, same_beginning
from zppo_core.run.session import Session, open_session
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import Checkpoint, checkpoint_of, steps
from zppo_core.store.journal import Journal
from zppo_core.store.objects import DamagedObjectError, LocalStore, ObjectStore, open_store

PHASES = ("plain", "teacher", "reformulate", "augmented", "update")
# wall time, and whether a text was in the cache: no part of what was learned
UNTOLD = frozenset(("seconds", "cached"))


@dataclass(frozen=True)
class Verdict:
    """What was compared, and what was not the same."""

    run: str
    step: int  # from 0
    began_at: int  # rollout steps of the checkpoint that it went on from
    files: int  # of the journal
    rows: int  # in them
    weights: str  # SHA-256 of the student after the step; empty: there is no checkpoint of it
    differences: tuple[str, ...]
    seconds: float


class Witness:
    """The run's journal without one step, whose units are taken down apart."""

    def __init__(self, journal: Journal, step: int) -> None:
        self.journal, self.step = journal, step
        self.units: dict[str, dict[str, bytes]] = {}

    def read(self, unit: str) -> dict[str, bytes] | None:
        """The unit as the run has it; the step's own only as computed here."""
        of_step = unit.startswith(step_unit(self.step, ""))
        return self.units.get(unit) if of_step else self.journal.read(unit)

    def commit(self, unit: str, files: Mapping[str, bytes]) -> None:
        """Take the unit down; the run's journal stays as it is."""
        self.units[unit] = dict(files)


def recorded_run(store: ObjectStore, key: str) -> Run:
    """The run `key` of `store` by its own records; UserError if there is none."""
    journal = Journal(store, f"{key}/journal")
    began = began_with(journal)
    if began is None:
        raise UserError(f"no run {key} in {store.url}; zppo runs lists them, --store says where")
    row = decode("runs", (journal.read(RUN_UNIT) or {})["runs.parquet"]).to_pylist()[0]
    created: datetime = row["created_at"]
    config = from_record(began)
    cache = config.store.cache or f"{store.url}/teacher_cache"
    return Run(key, config, created.isoformat(), store.url, cache, config.store.database)


def verify(run: Run, step: int | None = None) -> Verdict:
    """Compute rollout step `step` (from 0) again; None: the last that a checkpoint closes.

    UserError if the run has no such step, or changed its settings on the way to it.
    """
    began_clock = time.monotonic()
    kept = steps(run.store, run.key)
    step = _default(run, kept) if step is None else step
    if run.journal.manifest(step_unit(step, "update")) is None:
        raise UserError(f"run {run.key} has no finished rollout step {step}; see zppo runs")
    # plain rollouts of an update ago need the weights of then
    stale = min(step, run.config.compute.staleness)
    latest = _sound(run, [s for s in kept if s <= step - stale])
    start = 0 if latest is None else latest.step
    changed = changes(run.journal)
    if between := [c for c in changed if start < c.step <= step]:
        raise UserError(
            f"{between[0].field} changed at rollout step {between[0].step}, between the "
            f"checkpoint at {start} and step {step}; verify a step before it"
        )
    config = settings_at(run.config, began_with(run.journal) or {}, changed, step)
    check_machine(config)
    witness = Witness(run.journal, step)
    with tempfile.TemporaryDirectory() as folder:
        cache = run.cache if config.teacher.endpoint else LocalStore(folder)
        session = open_session(config, cache, lambda phase: silent)
        try:
            same_beginning(session, run)
            restore(session, latest)
            while session.state.step <= step:
                one_step(session, run, journal=witness, begin_next=session.state.step < step)
            rows, files, differences = _compare(run.journal, witness, step)
            digest = ""
            if step + 1 in kept:
                digest, recorded = weights_of(session, checkpoint_of(run.store, run.key, step + 1))
                differences += [] if digest == recorded else [f"weights after step {step}"]
        finally:
            session.close()
    seconds = time.monotonic() - began_clock
    return Verdict(run.key, step, start, files, rows, digest, tuple(differences), seconds)


def _default(run: Run, kept: Sequence[int]) -> int:
    if kept:
        return max(kept) - 1
    finished = [u for u in run.journal.units("step-") if u.endswith("/update")]
    if not finished:
        raise UserError(f"run {run.key} has no finished rollout step yet; wait for the first")
    return int(finished[-1].partition("/")[0].removeprefix("step-"))


def _sound(run: Run, kept: Sequence[int]) -> Checkpoint | None:
    """The newest undamaged checkpoint of `kept`; None: from the base model."""
    for step in sorted(kept, reverse=True):
        try:
            checkpoint = checkpoint_of(run.store, run.key, step)
            checkpoint.verify()
        except DamagedObjectError:
            continue
        return checkpoint
    return None


def _compare(journal: Journal, witness: Witness, step: int) -> tuple[int, int, list[str]]:
    """Rows and files compared, and the places of those that differ."""
    rows = files = 0
    differences = []
    for unit in (step_unit(step, phase) for phase in PHASES):
        before, now = journal.read(unit) or {}, witness.units.get(unit, {})
        for name in sorted((before.keys() | now.keys()) - {"phases.parquet"}):
            recorded, computed = _told(name, before.get(name)), _told(name, now.get(name))
            files, rows = files + 1, rows + len(recorded)
            if recorded != computed:
                at = next(
                    (
                        i
                        for i, p in enumerate(zip(recorded, computed, strict=False))
                        if p[0] != p[1]
                    ),
                    None,
                )
                where = (
                    f"row {at}" if at is not None else f"{len(recorded)} rows, now {len(computed)}"
                )
                differences.append(f"{unit}/{name}: {where}")
    return rows, files, differences


def _told(name: str, data: bytes | None) -> list[str]:
    """The rows of a file as text that shows every bit, without what is not compared."""
    if data is None:
        return []
    if not name.endswith(".parquet"):
        return [data.hex()]
    table = name.removesuffix(".parquet")
    rows = decode(table, data).to_pylist()
    if table == "costs":  # of the teacher's tokens those count that no cache had
        rows = [row for row in rows if row["role"] != "teacher"]
    return [repr({k: v for k, v in row.items() if k not in UNTOLD}) for row in rows]


def weights_of(session: Session, after: Checkpoint) -> tuple[str, str]:
    """SHA-256 of the student as it is now, and as the checkpoint has it."""
    from safetensors.torch import load_file

    model = session.model
    computed = lora.merged(model)
    with tempfile.TemporaryDirectory() as folder:
        after.fetch(folder, "student")
        recorded = {
            name: tensor
            for path in sorted(Path(folder).rglob("*.safetensors"))
            for name, tensor in load_file(path).items()
            if not name.startswith(MTP)
        }
    now = weight_hash((name, computed[name].cpu()) for name in recorded if name in computed)
    return now, weight_hash(recorded.items())


@contextmanager
def aside() -> Iterator[None]:
    """What a session says of itself goes to the standard error: the output is the verdict."""
    with redirect_stdout(sys.stderr):
        yield


def text(verdict: Verdict) -> str:
    """The verdict in words."""
    head = f"{verdict.run}, rollout step {verdict.step}, from the checkpoint at {verdict.began_at}"
    if verdict.differences:
        return "\n".join([f"{head}: NOT the same", *(f"  {d}" for d in verdict.differences)])
    weights = (
        f"weights the same, SHA-256 {verdict.weights[:16]}"
        if verdict.weights
        else "no checkpoint after it, so weights were not compared"
    )
    return (
        f"{head}: the same bit for bit\n  {verdict.rows:,} rows in {verdict.files} files; "
        f"{weights}; {verdict.seconds:.1f} s"
    )


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo verify`; 0, 1 if something differs, or 2 with a line for each fault."""
    reader = command("verify", __doc__ or "", "zppo verify my-run --step 39")
    reader.add_argument("run", help="the run's key, or the path of its folder")
    reader.add_argument("--step", type=int, help="from 0 (default: the last before a checkpoint)")
    reader.add_argument("--store", default="runs", metavar="URL", help="default: %(default)s")
    reader.add_argument("--json", action="store_true", help="print one JSON object")
    options = reader.parse_args(arguments)
    above, slash, key = options.run.rstrip("/").rpartition("/")
    store = open_store(above or "/") if slash else open_store(options.store)
    with aside():
        verdict = verify(recorded_run(store, key), options.step)
    print(json.dumps(asdict(verdict)) if options.json else text(verdict))
    return 1 if verdict.differences else 0


if __name__ == "__main__":
    sys.exit(main())
