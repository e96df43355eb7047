"""What a run may be called: its name is a folder of the store and a key of the database."""

from __future__ import annotations

import os
import re

from zppo_core.errors import UserError

LENGTH = 128  # characters: files below the run's folder have names of their own
# what lies in a store or in a run's folder, and would be taken for a run or torn by one
RESERVED = frozenset(
    (
        "cache",
        "checkpoints",
        "corpus.json",
        "draws",
        "evaluations",
        "journal",
        "lock.json",
        "manifest.json",
        "memo",
        "sweeps",
        "teacher_cache",
        "usage",
    )
)
_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+@-]*", re.ASCII)


def check_name(name: str) -> str:
    """`name` if a run may have it; else UserError, in one line, that says what a name may be."""
    parts = name.split("/")
    fault = ""
    if len(name) > LENGTH:
        fault = f"it has {len(name)} characters, {LENGTH} are allowed"
    elif reserved := [part for part in parts if part.casefold() in RESERVED]:
        fault = f"{reserved[0]!r} is reserved for what lies in a store"
    elif any(not _PART.fullmatch(part) or part.endswith(".") for part in parts):
        fault = (
            "give letters, digits and . _ - + = @, beginning with a letter or a digit; slashes "
            "stand between such parts alone"
        )
    if fault:
        raise UserError(f"no run can be named {shortened(name)}: {fault}")
    return name


def check_apart(name: str, root: str, cache: str) -> None:
    """UserError if the run's folder below `root` would lie in the cache, or the cache in it."""
    run = f"{root.rstrip('/')}/{name}"
    run, cache = (p if "://" in p else os.path.abspath(p) for p in (run, cache.rstrip("/")))
    if f"{run}/".startswith(f"{cache}/") or f"{cache}/".startswith(f"{run}/"):
        raise UserError(
            f"the run {name} and store.cache={cache} would share a folder; choose another --name"
        )


def shortened(name: str) -> str:
    """A name as one short line."""
    text = repr(name)
    return text if len(text) <= 60 else f"{text[:56]}...'"
