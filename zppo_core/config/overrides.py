"""The command line's part of a configuration: options that name a field, and `--set` texts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from zppo_core.config.load import Source, resolved
from zppo_core.config.schema import Config

# options of flows and command line that stand for a field
OPTIONS = {
    "method": "run.method",
    "seed": "run.seed",
    "model": "student.model",
    "suite": "evaluation.suite",
    "source": "evaluation.source",
    "settings": "evaluation.settings",
    "limit": "evaluation.limit",
    "judge": "evaluation.judge",
    "thinking": "student.thinking",
}
_FIELD = re.compile(r"\w+\.\w+\s*=")


def resolve(
    scale: str, method: str, seed: str, overrides: Sequence[str], source: Source | None = None
) -> Config:
    """Preset, file, then `--method` and `--seed`, then each `--set`, later ones winning."""
    return resolved(scale, overrides, source, named({"method": method, "seed": seed})).config


def named(options: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """Options with the fields that they stand for and their text, as far as they are given."""
    return {f"--{o}": (OPTIONS[o], text) for o, text in options.items() if text != ""}


def split_overrides(given: str | Iterable[str]) -> tuple[str, ...]:
    """The `section.field=value` parts of `--set` texts, each of which may hold several.

    They are separated by semicolons. What does not begin like a field belongs to the value before
    it: settings of evaluation are separated by semicolons themselves.
    """
    if not isinstance(given, str):
        return tuple(part for text in given for part in split_overrides(text))
    parts: list[str] = []
    for part in filter(None, (part.strip() for part in given.split(";"))):
        if parts and not _FIELD.match(part):
            parts[-1] += f";{part}"
        else:
            parts.append(part)
    return tuple(parts)
