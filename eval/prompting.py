"""Questions and judge prompts as template files (`eval/prompts/*.jinja`).

A comment in each file keeps what was stripped from the upstream prompt. A user's folder replaces
any of them by a file of the same name.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from importlib import resources
from pathlib import Path

from jinja2 import Environment, FunctionLoader, StrictUndefined

from zppo_core.errors import UserError

_OURS = resources.files("eval") / "prompts"


def names() -> list[str]:
    """All templates, sorted, without their suffix."""
    files = (f.name for f in _OURS.iterdir())
    return sorted(name.removesuffix(".jinja") for name in files if name.endswith(".jinja"))


def source(name: str, folder: str = "") -> str:
    """The text of template `name`: the user's file if there is one, else ours."""
    own = Path(folder) / f"{name}.jinja" if folder else None
    if own is not None and own.is_file():
        return own.read_text(encoding="utf-8")
    return (_OURS / f"{name}.jinja").read_text(encoding="utf-8")


@lru_cache(maxsize=8)
def _environment(folder: str) -> Environment:
    if folder and not Path(folder).is_dir():
        raise UserError(f"prompt folder {folder!r} does not exist; create it or unset it")
    return Environment(
        loader=FunctionLoader(lambda name: source(name, folder)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # plain text for a model, never HTML
    )


def render(name: str, folder: str = "", **values: object) -> str:
    """The template `name` filled in with `values`, stripped at both ends."""
    return _environment(folder).get_template(name).render(**values).strip()


def digest(folder: str = "") -> str:
    """SHA-256 (hex) over all templates as they are in use."""
    h = hashlib.sha256()
    for name in names():
        h.update(f"{name}\x1f{source(name, folder)}\x1e".encode())
    return h.hexdigest()
