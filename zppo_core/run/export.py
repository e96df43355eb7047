"""Hand a run's student out as an ordinary Hugging Face folder, to a path or to S3."""

from __future__ import annotations

import re
from dataclasses import dataclass

from zppo_core.errors import UserError
from zppo_core.protocols import Progress
from zppo_core.run.model_card import extras, provenance
from zppo_core.store.checkpoint import Checkpoint, checkpoint_of, latest_checkpoint, step_of, steps
from zppo_core.store.objects import (
    DamagedObjectError,
    MissingObjectError,
    ObjectStore,
    in_parallel,
    join,
    open_store,
)

_PLACE = re.compile(r"(?P<run>.*?)/*checkpoints(/(?P<unit>step-[^/]*))?/*")
LAST = "config.json"  # loaders look for it first: until it is there, the folder is no model


@dataclass(frozen=True)
class Exported:
    """What was copied: of which step, how many files, to where."""

    step: int
    files: int
    to: str


def export(
    checkpoint: str,
    to: str,
    step: int | None = None,
    whole: bool = False,
    progress: Progress | None = None,
) -> Exported:
    """Copy the student of `checkpoint` to `to`, each file compared by its hash at the far end.

    `checkpoint` is a run (`runs/<key>`, or s3://…: its newest sound checkpoint, or that of `step`)
    or one checkpoint's own folder. `whole` copies optimizer and counters too; a student alone gets
    a README with its provenance, and a processor that loads without torchvision.
    UserError if there is no such checkpoint, if it is damaged, or if something is at `to` already.
    """
    if match := _PLACE.fullmatch(checkpoint):
        checkpoint = match["run"] or "."
        named = step_of(match["unit"]) if match["unit"] else step
        if named is None and match["unit"]:
            raise UserError(
                f"{match['unit']} is no checkpoint's own name, as step-000007 is; give one of "
                "those, or the run's folder and --step"
            )
        step = named if step is None else step
    source, target = open_store(checkpoint), open_store(to)
    chosen = _find(source, step)
    if next(iter(target.entries()), None) is not None:
        raise UserError(f"{to} is not empty; choose a new place or empty it")
    part = "" if whole else "student"
    names = chosen.files(part)
    if not names:
        raise UserError(
            f"the checkpoint of step {chosen.step} in {checkpoint} has no {part} folder"
        )
    below = f"{part}/" if part else ""

    def copy(name: str) -> None:
        with target.scratch() as folder:
            path = folder / "file"
            source.get_file(join(chosen.prefix, name), path)
            target.put_file(name.removeprefix(below), path, move=True)
        if target.digest(name.removeprefix(below)) != chosen.digests[name]:
            raise UserError(f"{name} arrived damaged in {to}; empty it and export again")

    first = [name for name in names if name.rpartition("/")[2] != LAST]
    in_parallel(copy, first, progress)
    if not whole:
        digests = {name.removeprefix(below): chosen.digests[name] for name in names}
        origin = provenance(source, chosen.step)
        config = chosen.read(f"{below}{LAST}")
        for name, data in extras(digests, config, origin).items():
            target.put(name, data)
    in_parallel(copy, [name for name in names if name not in first])
    return Exported(chosen.step, len(names), to)


def _find(source: ObjectStore, step: int | None) -> Checkpoint:
    if step is None:
        chosen = latest_checkpoint(source, "")
        if chosen is None:
            raise UserError(f"no sound checkpoint in {source.url}; give a run's folder, runs/<key>")
        return chosen
    try:
        return checkpoint_of(source, "", step)
    except MissingObjectError:
        there = ", ".join(map(str, steps(source, ""))) or "none"
        raise UserError(
            f"no checkpoint of step {step} in {source.url}; there is: {there}"
        ) from None
    except DamagedObjectError as error:
        raise UserError(f"checkpoint of step {step}: {error}; choose another --step") from None
