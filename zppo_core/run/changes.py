"""Settings that a run changed on its way: which may, and which hold at a rollout step.

A change is a unit of the run's journal with the step at which it took effect. Updates of before are
recomputed with what held then, so a run that was killed ends with the same weights, bit for bit.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from zppo_core.config import Config, from_dict
from zppo_core.records.phases import RUN_UNIT, step_unit
from zppo_core.records.schema import decode, encode
from zppo_core.run.spec import Run
from zppo_core.store.journal import Journal

FOLDER = "changes"
# what a run whose gradient is not finite may go on with; the checkpoint is good for any of them
CHANGEABLE = (
    "optimizer.lr",
    "optimizer.betas",
    "optimizer.eps",
    "optimizer.weight_decay",
    "optimizer.max_grad_norm",
    "loss.clip_low",
    "loss.clip_high",
    "loss.dual_clip",
    "loss.importance_cap",
    "student.dtype",
)
Wanted = Mapping[str, Sequence[Any]]  # field -> what it was, what it shall be


@dataclass(frozen=True)
class Change:
    """From rollout step `step` on the field held `after`; `number` counts changes of the run."""

    number: int
    step: int
    field: str
    before: Any
    after: Any


def began_with(journal: Journal) -> dict[str, Any] | None:
    """The configuration that the run began with; None if it did not begin."""
    files = journal.read(RUN_UNIT)
    if files is None:
        return None
    text = decode("runs", files["runs.parquet"]).to_pylist()[0]["config_json"]
    config: dict[str, Any] = json.loads(text)
    return config


def changes(journal: Journal) -> list[Change]:
    """The run's changes in the order in which they were made."""
    recorded = []
    for unit in journal.units(f"{FOLDER}/"):
        files = journal.read(unit) or {}
        for row in decode("changes", files["changes.parquet"]).to_pylist():
            before, after = json.loads(row["before"]), json.loads(row["after"])
            recorded.append(Change(row["number"], row["step"], row["field"], before, after))
    return sorted(recorded, key=lambda change: change.number)


def value_of(values: Mapping[str, Any], field: str) -> Any:
    """`section.field` of a configuration as nested mappings, as JSON has it; None if it is gone."""
    section, _, name = field.partition(".")
    return plain(values.get(section, {}).get(name))


def settings_at(
    config: Config, began: Mapping[str, Any], recorded: Sequence[Change], step: int | None = None
) -> Config:
    """`config` with what its run's changeable settings are at rollout step `step`; None: the last.

    They are those that the run `began` with, but for the changes of before.
    """
    first = {f: value_of(began, f) for f in CHANGEABLE}
    since = {c.field: c.after for c in recorded if step is None or c.step <= step}
    return with_fields(config, {f: v for f, v in first.items() if v is not None} | since)


def with_fields(config: Config, fields: Mapping[str, Any]) -> Config:
    """`config` with other values of `section.field`s."""
    values = config.to_dict()
    for field, value in fields.items():
        section, _, name = field.partition(".")
        values[section][name] = value
    return from_dict(values)


def wanted_changes(config: Config, now: Config, explicit: Collection[str]) -> Wanted:
    """What of `config` differs from the run's settings `now` and was named on the command line."""
    differ = {f: [value_of(c.to_dict(), f) for c in (now, config)] for f in CHANGEABLE}
    return {
        field: pair
        for field, pair in differ.items()
        if pair[0] != pair[1] and field in explicit and not refused(field, config)
    }


def refused(field: str, config: Config) -> bool:
    """Whether the field cannot change to what `config` has, though others of its kind can.

    Weights gain precision and never lose it; adapters know their base by its bytes.
    """
    return field == "student.dtype" and (
        config.student.dtype != "float32" or config.trainer.lora_rank > 0
    )


def pending_changes(changed: Wanted, now: Config) -> Wanted:
    """What of `wanted` is still as it was in the settings `now`.

    A task that starts again has its changes behind it; so has one whose run was changed since.
    """
    return {f: pair for f, pair in changed.items() if value_of(now.to_dict(), f) == pair[0]}


def record_changes(journal: Journal, run_key: str, changed: Wanted, step: int) -> None:
    """Commit changes that hold from rollout step `step` on: the first without updates yet."""
    number = len(journal.units(f"{FOLDER}/"))
    change = {"run_key": run_key, "number": number, "step": step}
    rows = [
        {**change, "field": f, "before": json.dumps(before), "after": json.dumps(after)}
        for f, (before, after) in changed.items()
    ]
    journal.commit(f"{FOLDER}/{number:04d}", {"changes.parquet": encode("changes", rows)})
    for field, (_, after) in changed.items():
        print(f"{field} is {after} from rollout step {step + 1} on", flush=True)


def next_update(journal: Journal, step: int) -> int:
    """The first rollout step from `step` on whose updates are not in the journal."""
    while journal.manifest(step_unit(step, "update")) is not None:
        step += 1
    return step


def next_change(recorded: Sequence[Change], step: int) -> int | None:
    """The rollout step at which the next change after `step` takes effect."""
    return min((c.step for c in recorded if c.step > step), default=None)


def plain(value: Any) -> Any:
    """As JSON has it: a tuple is a list there."""
    return json.loads(json.dumps(value))


def way_on(config: Config, run_key: str) -> str:
    """What a user can do where the gradient is not finite: names what is not so already."""
    ways = [f"--set optimizer.lr={config.optimizer.lr / 2:g}"]
    if config.optimizer.max_grad_norm == 0:
        ways.append("--set optimizer.max_grad_norm=1")
    if config.student.dtype != "float32" and config.trainer.lora_rank == 0:
        ways.append("--set student.dtype=float32")
    return (
        f"go on from there by `run --name {run_key}` with the run's own options and a change, like "
        f"{' or '.join(ways)} (docs/trainer.md)"
    )


class Settings(NamedTuple):
    """What a task trains with: up to rollout step `until`, if the settings change there.

    `changed`: they changed at the very step at which the task begins.
    """

    config: Config
    until: int | None = None
    changed: bool = False


def settle(run: Run, config: Config, step: int) -> Settings:
    """The run's settings at rollout step `step`; what `run` changes is written down first.

    For the holder of the run's lock.
    """
    journal = run.journal
    first = began_with(journal)
    if first is None:
        return Settings(config)
    pending = pending_changes(run.changes, settings_at(config, first, changes(journal)))
    if pending:
        since = next_update(journal, step)
        if since < run.rollout_steps:
            record_changes(journal, run.key, pending, since)
        else:
            print("all rollout steps are taken: settings stay what they were", flush=True)
    recorded = changes(journal)
    changed = any(change.step == step for change in recorded)
    return Settings(
        settings_at(config, first, recorded, step), next_change(recorded, step), changed
    )
