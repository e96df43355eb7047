"""The kinds of reformulation, a file each; this folder is their table.

A method names its kinds: `bcq` is `bcq.py` here, `package.module:NAME` is a user's own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from importlib import import_module
from pkgutil import iter_modules

from zppo_core.algorithm.reformulation import Reformulation
from zppo_core.errors import UserError, suggestion
from zppo_core.extensions import is_outside, load
from zppo_core.prompts import Templates

NAMES = tuple(module.name for module in iter_modules(__path__))


def find(name: str) -> Reformulation:
    """The kind of this name; UserError if there is none."""
    if is_outside(name):
        return load(name, Reformulation, "reformulation")  # type: ignore[type-abstract]
    if name not in NAMES:
        raise UserError(f"unknown reformulation {name!r}; {suggestion(name, NAMES)}")
    kind: Reformulation = import_module(f"{__name__}.{name}").REFORMULATION
    return kind


def check(names: Iterable[str], templates: Templates) -> None:
    """Write a sample of each kind; UserError names its file, or what a template leaves out.

    UserError too if two kinds of a method have one name: groups are told apart by it.
    """
    names = tuple(names)
    called = ["plain", "replay", "resampled", *(find(name).name for name in names)]
    if twice := [name for name, count in Counter(called).items() if count > 1]:
        raise UserError(f"two kinds of groups are named {twice[0]!r}; give one another `name`")
    for kind in map(find, dict.fromkeys((*NAMES, *names))):
        templates.shows(kind.name, *kind.example(templates))
