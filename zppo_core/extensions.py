"""Objects of a user's own, named `package.module:name` or `path/to/file.py:name`.

A configuration holds the name alone, so that every process of a run, on any machine, finds the same
object by itself: nothing is registered, and no state is shared.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from zppo_core.errors import UserError

T = TypeVar("T")


def is_outside(name: str) -> bool:
    """Whether `name` is that of an object outside the package: it has a colon."""
    return ":" in name


def load(name: str, kind: type[T], what: str) -> T:
    """The object `name`; UserError unless it can be imported and is an instance of `kind`.

    `what` says in messages what was looked for, like "reformulation".
    """
    value = imported(name)
    if not isinstance(value, kind):
        raise UserError(f"{name!r} is no {what}: it is {value!r}, not a {kind.__name__}")
    return value


def imported(name: str) -> object:
    """The object at "package.module:name" or "path/to/file.py:name"; UserError if there is none."""
    place, colon, inside = name.rpartition(":")
    if not (colon and place and inside):
        raise UserError(f"{name!r} names no object; write it as package.module:name")
    try:
        module = _file(place) if place.endswith(".py") else import_module(place)
        value: object = getattr(module, inside)
    except (ImportError, AttributeError, OSError) as error:
        raise UserError(f"cannot import {name!r} ({error}); is its folder in PYTHONPATH?") from None
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"the import of {place} fails: {one_line(error)}") from error
    return value


def _file(place: str) -> ModuleType:
    """The module of a file, run once a process."""
    path = Path(place).expanduser().resolve()
    module_name = str(
        path
    )  # so that f"{__name__}:NAME" in the file names an object for every process
    if module_name not in sys.modules:
        spec = spec_from_file_location(module_name, path)
        if spec is None or spec.loader is None:
            raise ImportError(f"{path} is no Python file")
        module = module_from_spec(spec)
        sys.modules[module_name] = module  # dataclasses look their module up while it runs
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[module_name]
            raise
    return sys.modules[module_name]


def one_line(error: Exception) -> str:
    """An error's type and text without line breaks, at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
