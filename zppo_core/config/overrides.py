"""The command line's part of a configuration: scale, file, method, seed, and `--set` texts."""

from __future__ import annotations

import re
from collections.abc import Sequence

from zppo_core.config.load import Resolved, Source, resolved
from zppo_core.config.schema import Config

_FIELD = re.compile(r"\w+\.\w+\s*=")


def resolve(
    scale: str, method: str, seed: str, overrides: Sequence[str], source: Source | None = None
) -> Config:
    """Preset, file, then `--method` and `--seed`, then each `--set`, later ones winning."""
    return with_origins(scale, method, seed, overrides, source).config


def with_origins(
    scale: str, method: str, seed: str, overrides: Sequence[str], source: Source | None = None
) -> Resolved:
    """As `resolve`, and where each field comes from."""
    options = {"method": method, "seed": seed}
    named = {name: text for name, text in options.items() if text != ""}
    return resolved(scale, overrides, source, named)


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
