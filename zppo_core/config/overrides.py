"""The command line's part of a configuration: a preset, a method, a seed, and `--set` texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zppo_core.config.load import load
from zppo_core.config.schema import Config

_FIELD = re.compile(r"\w+\.\w+\s*=")


def resolve(scale: str, method: str, seed: str, overrides: Sequence[str]) -> Config:
    """Preset, then `--method` and `--seed`, then each `--set`, later ones winning."""
    named = [f"run.method={method}"] if method else []
    named += [f"run.seed={seed}"] if seed != "" else []
    return load(scale, [*named, *overrides])


def split_overrides(text: str) -> tuple[str, ...]:
    """The `section.field=value` parts of one `--set` text, separated by semicolons.

    What does not begin like a field belongs to the value before it: settings of evaluation are
    separated by semicolons themselves.
    """
    parts: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        if parts and not _FIELD.match(part):
            parts[-1] += f";{part}"
        else:
            parts.append(part)
    return tuple(parts)
