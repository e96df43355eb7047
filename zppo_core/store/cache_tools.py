"""Looking after a teacher cache: what it holds, what it saved, what is damaged, what may go.

Only what a cache itself keeps is ever touched: draws, memos, usage records, and the evaluations
that runs share. A store that holds something else as well loses nothing here.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from zppo_core.protocols import Progress
from zppo_core.store.journal import MANIFEST, Journal
from zppo_core.store.objects import (
    DamagedObjectError,
    MissingObjectError,
    ObjectStore,
    in_parallel,
    join,
)
from zppo_core.store.teacher_cache import DRAWS, MEMO, USAGE, stored_draws, unseal

EVALUATIONS = "evaluations"  # a journal of scored weights, written by the `evaluate` step


@dataclass(frozen=True)
class CacheReport:
    """Size and health of a cache. `bytes` is of all `objects`: draws, memos and evaluations."""

    objects: int
    draws: int
    tokens: int  # of the draws
    memos: int
    evaluations: int
    bytes: int
    damaged: tuple[str, ...]  # keys; for an evaluation, its manifest's


@dataclass(frozen=True)
class CacheUsage:
    """What all users of a cache did together."""

    sessions: int
    hits: int  # draws found
    misses: int  # draws made
    tokens: int  # generated
    saved: int  # tokens of the draws found

    @property
    def hit_rate(self) -> float:
        """Share of the draws asked for that were there, in [0, 1]; 0 if none was asked for."""
        return self.hits / (self.hits + self.misses) if self.hits + self.misses else 0.0


@dataclass(frozen=True)
class _Found:
    size: int = 0
    draws: int = 0
    tokens: int = 0
    sound: bool = True


def verify(store: ObjectStore, prefix: str = "", progress: Progress | None = None) -> CacheReport:
    """Read every object of the cache below `prefix`: how much there is, and which are damaged."""
    keys = _sealed(store, prefix, DRAWS)
    draws = len(keys)
    keys += _sealed(store, prefix, MEMO)

    def look(key: str) -> _Found:
        try:
            data = store.get(key)
        except MissingObjectError:  # deleted since it was listed
            return _Found()
        except DamagedObjectError:
            return _Found(sound=False)
        content = unseal(data)
        if content is None:
            return _Found(len(data), sound=False)
        if f"/{MEMO}/" in f"/{key.removeprefix(prefix)}":
            return _Found(len(data))
        draws = stored_draws(content)
        return _Found(len(data), len(draws), sum(len(d["ids"]) for d in draws))

    files = in_parallel(look, keys, progress)
    size, broken = (
        sum(f.size for f in files),
        [key for key, f in zip(keys, files, strict=True) if not f.sound],
    )
    journal = Journal(store, join(prefix, EVALUATIONS))
    units = journal.units()
    for unit in units:
        try:
            size += sum(map(len, (journal.read(unit) or {}).values()))
        except DamagedObjectError:
            broken.append(join(prefix, EVALUATIONS, unit, MANIFEST))
    return CacheReport(
        len(keys) + len(units),
        sum(f.draws for f in files),
        sum(f.tokens for f in files),
        len(keys) - draws,
        len(units),
        size,
        tuple(broken),
    )


def usage(store: ObjectStore, prefix: str = "") -> CacheUsage:
    """The counters of every user of the cache, added up; a damaged record counts as none."""

    def read(key: str) -> dict[str, int]:
        try:
            record = unseal(store.get(key))
        except (MissingObjectError, DamagedObjectError):
            return {}
        return record if isinstance(record, dict) else {}

    records = [r for r in in_parallel(read, _sealed(store, prefix, USAGE)) if r]
    return CacheUsage(
        len(records),
        *(sum(r[name] for r in records) for name in ("hits", "misses", "tokens", "saved")),
    )


def prune(
    store: ObjectStore, prefix: str = "", everything: bool = False, older_than: float | None = None
) -> int:
    """Delete what is damaged; how many objects went.

    `older_than`: also what was written so many seconds ago; `everything`: all that is the cache's.
    What killed writers left half written an hour ago goes as well, uncounted.
    """
    limit = time.time() - older_than if older_than is not None else 0.0
    doomed = set() if everything else set(verify(store, prefix).damaged)
    for folder in (DRAWS, MEMO, USAGE, EVALUATIONS):
        place = join(prefix, folder)
        doomed |= {e.key for e in store.entries(f"{place}/") if everything or e.modified < limit}
        store.sweep(place)
    # manifests first: a unit is gone as a whole
    for key in sorted(doomed, key=lambda k: (not k.endswith(f"/{MANIFEST}"), k)):
        store.delete(key)
    return len(doomed)


def _sealed(store: ObjectStore, prefix: str, folder: str) -> list[str]:
    return [k for k in store.list(f"{join(prefix, folder)}/") if k.endswith(".json")]
