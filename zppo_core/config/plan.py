"""A resolved configuration as TOML: every field, and where what is not the default comes from."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

from zppo_core.config.load import Resolved
from zppo_core.config.schema import Config

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def plan_text(resolved: Resolved) -> str:
    """TOML that `--config` reads back as the same configuration; origins are comments."""
    config, usual = resolved.config, Config()
    lines = [f"scale = {toml(config.scale)}"]
    for section in fields(config):
        content = getattr(config, section.name)
        if not is_dataclass(content):
            continue
        lines += ["", f"[{section.name}]"]
        for field in fields(content):
            value = getattr(content, field.name)
            line = f"{field.name} = {toml(value)}"
            if value != getattr(getattr(usual, section.name), field.name):
                line += f"  # {resolved.origins.get(f'{section.name}.{field.name}', 'given')}"
            lines.append(line)
    return "\n".join(lines) + "\n"


def toml(value: object) -> str:
    """A value as TOML writes it; TypeError if it has no such value."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return repr(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, Mapping):
        pairs = (f"{k if _BARE.fullmatch(k) else toml(k)} = {toml(v)}" for k, v in value.items())
        return "{" + ", ".join(pairs) + "}"
    if isinstance(value, Sequence):
        return "[" + ", ".join(map(toml, value)) + "]"
    raise TypeError(f"TOML has no {type(value).__name__}")
