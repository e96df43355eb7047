"""A sweep: methods x scales x seeds, each member a run of the ZPPO flow under its own name.

A member's run is named after the sweep and itself, so that the same sweep started again finds what
is done, continues what died where it died, and runs alone what failed.
"""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import resources
from pathlib import Path

from zppo_core.config import Config, Source
from zppo_core.config.methods import find_method
from zppo_core.config.overrides import resolve, split_overrides
from zppo_core.errors import UserError, suggestion
from zppo_core.run.names import check_name
from zppo_core.run.setup import absolute


@dataclass(frozen=True)
class Sweep:
    """What to run; `sets` are overrides that all members share."""

    name: str
    methods: tuple[str, ...]
    scales: tuple[str, ...]
    seeds: tuple[int, ...]
    sets: tuple[str, ...] = ()
    config: str = ""  # the text of a TOML that all members share
    page: str = ""  # where the evidence is written at the end
    # a folder, committed, with a file for each member that is done, on whatever machine; "": none
    results: str = ""
    flows: bool = True  # whether a member is a Metaflow run with cards, or one plain process


@dataclass(frozen=True)
class Member:
    """One run of a sweep."""

    sweep: str
    method: str
    scale: str
    seed: int
    sets: tuple[str, ...]
    config: str = ""
    results: str = ""
    flows: bool = True

    @property
    def settings(self) -> Config:
        """The member's resolved configuration; UserError on a fault."""
        source = Source("--config", self.config) if self.config else None
        return resolve(self.scale, self.method, str(self.seed), self.sets, source)

    @property
    def name(self) -> str:
        """The run's key in store and database."""
        method = find_method(self.method).name  # of one's own: without the path to it
        return f"{self.sweep}-{self.scale}-{method}-s{self.seed}"


def plan(
    preset: str,
    name: str,
    methods: str,
    scales: str,
    seeds: str,
    sets: str | Iterable[str],
    config: str = "",
) -> Sweep:
    """A preset with whatever is given in its place; lists are separated by commas."""
    values: dict[str, list[object]] = {"methods": ["zppo"], "scales": ["nano"], "seeds": [0]}
    if preset:
        folder = resources.files("zppo_core.config") / "sweeps"
        file = folder / f"{preset}.toml"
        if not file.is_file():
            names = sorted(f.name.removesuffix(".toml") for f in folder.iterdir())
            raise UserError(f"no sweep preset {preset!r}; {suggestion(preset, names)}")
        values |= tomllib.loads(file.read_text(encoding="utf-8"))
    for key, text in (("methods", methods), ("scales", scales), ("seeds", seeds)):
        if text:
            values[key] = [part.strip() for part in text.split(",")]
    try:
        numbers = tuple(int(str(s)) for s in values["seeds"])
    except ValueError:
        raise UserError(f"--seeds {seeds!r}: write numbers with commas, like 0,1,2") from None
    overrides = (*map(str, values.get("set", [])), *split_overrides(sets))
    return Sweep(
        name=name or preset or "sweep",
        methods=tuple(map(str, values["methods"])),
        scales=tuple(map(str, values["scales"])),
        seeds=numbers,
        sets=overrides,
        config=config,
        page=str(values.get("page", "")),
        results=str(values.get("results", "")),
        flows=bool(values.get("flows", True)),
    )


def members(sweep: Sweep) -> list[Member]:
    """Every member, seeds outermost, so that a stopped sweep has whole seeds; UserError on a fault.

    All configurations are resolved before the first run starts.
    """
    planned = []
    for seed in sweep.seeds:
        for scale in sweep.scales:
            for method in sweep.methods:
                member = Member(
                    sweep.name,
                    method,
                    scale,
                    seed,
                    sweep.sets,
                    sweep.config,
                    sweep.results,
                    sweep.flows,
                )
                member = replace(member, method=member.settings.run.method)
                check_name(member.name)
                planned.append(member)
    return planned


def ledger(member: Member) -> Path:
    """Where it is noted that a member is done."""
    root = member.settings.store.root
    # a remote store's sweeps are noted here: members run from this machine
    folder = Path("runs" if "://" in root else absolute(root)) / "sweeps" / member.sweep
    return folder / f"{member.name}.json"


def identity(member: Member) -> str:
    """What a member is, as its note says it when it is done: JSON."""
    fields = asdict(member)
    del fields["results"], fields["flows"]  # where it is kept, and runs, does not change what it is
    if not member.config:
        del fields["config"]  # notes of before have none
    return json.dumps(fields, sort_keys=True)


def result_file(member: Member, folder: str) -> Path | None:
    """Where the member's measures are kept for other machines; None if the sweep keeps none.

    `folder` is the one that the sweep was started in.
    """
    return Path(folder) / member.results / f"{member.name}.json" if member.results else None


def write_note(note: Path, settings: str) -> None:
    """Note that a member with these settings is done: the whole note or none."""
    aside = note.with_suffix(".writing")  # a kill in the middle of writing must leave no half note
    aside.write_text(json.dumps({"settings": settings}))
    os.replace(aside, note)


def arguments(member: Member, note: Path) -> list[str]:
    """The options of the member's flow or process; a TOML is written beside its note."""
    options = ["--scale", member.scale, "--method", member.method, "--seed", str(member.seed)]
    options += ["--name", member.name]
    if member.flows:
        options += ["--max-workers", "1"]
    if member.config:
        file = note.with_suffix(".toml").absolute()
        file.write_text(member.config, encoding="utf-8")
        options += ["--config", str(file)]
    for override in member.sets:
        options += ["--set", override]
    return options


def environment(inherited: Mapping[str, str]) -> dict[str, str]:
    """A member's environment: without the sweep task's own Metaflow variables."""
    kept = ("METAFLOW_USER", "METAFLOW_DEFAULT_", "METAFLOW_DATASTORE_", "METAFLOW_S3_")
    return {
        name: value
        for name, value in inherited.items()
        if name.startswith(kept) or not name.startswith(("MF_", "METAFLOW_"))
    }


def noted(note: Path) -> str:
    """The settings with which a member is done; "" if it is not."""
    if not note.is_file():
        return ""
    try:
        return str(json.loads(note.read_text())["settings"])
    except (ValueError, KeyError, TypeError):
        print(f"{note} is damaged: its member runs again, from where its run is", flush=True)
        return ""


def report(results: Sequence[dict[str, str]]) -> str:
    """How many members are done, and which failed with where to look."""
    failed = [r for r in results if r["status"] == "failed"]
    lines = [f"{len(results) - len(failed)} of {len(results)} members done"]
    lines += [f"failed: {r['name']}, see {r['log']}" for r in failed]
    if failed:
        lines.append("start the same sweep again: it runs these alone")
    return "\n".join(lines)
