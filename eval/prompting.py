"""Questions and judge prompts as Jinja templates.

A benchmark's stands in its own file; what several share, and the judges', in `eval/prompts/`. A
comment in each keeps what was stripped from the upstream prompt. A user's folder replaces any of
them by a file of the same name, like mmlu_pro.jinja.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from zppo_core.errors import UserError

_OURS = resources.files("eval") / "prompts"


@dataclass(frozen=True)
class Template:
    """A template by its name, under which a user's folder may replace its text."""

    name: str
    text: str

    def source(self, folder: str = "") -> str:
        """The user's file if there is one, else ours."""
        custom = Path(folder) / f"{self.name}.jinja" if folder else None
        if custom is not None and custom.is_file():
            return custom.read_text(encoding="utf-8")
        return self.text


def names() -> list[str]:
    """The templates that several share, sorted."""
    files = (f.name for f in _OURS.iterdir())
    return sorted(name.removesuffix(".jinja") for name in files if name.endswith(".jinja"))


@lru_cache(maxsize=64)
def shared(name: str) -> Template:
    """The shared template `name`."""
    return Template(name, (_OURS / f"{name}.jinja").read_text(encoding="utf-8"))


@lru_cache(maxsize=8)
def _environment(folder: str) -> Environment:
    if folder and not Path(folder).is_dir():
        raise UserError(f"prompt folder {folder!r} does not exist; create it or unset it")
    return Environment(
        loader=FunctionLoader(lambda name: shared(name).source(folder)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # plain text for a model, never HTML
    )


def render(template: Template, folder: str = "", **values: object) -> str:
    """The template filled in with `values`, stripped at both ends."""
    text = _environment(folder).from_string(template.source(folder))
    return text.render(**values).strip()


def digest(templates: Iterable[Template], folder: str = "") -> str:
    """SHA-256 (hex) over `templates` and those that are shared, as they are in use."""
    h = hashlib.sha256()
    by_name = {t.name: t for t in [*map(shared, names()), *templates]}
    for name in sorted(by_name):
        h.update(f"{name}\x1f{by_name[name].source(folder)}\x1e".encode())
    return h.hexdigest()
