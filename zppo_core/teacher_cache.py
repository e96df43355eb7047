"""Teacher draws, made once and shared by every run with the same teacher.

A draw is keyed by (teacher, prompt, sampling, question, visit, index), and its seed is derived from
the key: a visit gets draws that no earlier visit saw, and another run that asks the same question
on the same visit finds them. Writers may meet: an object is whole, and both would write the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from zppo_core.engines.base import Engine, Progress, Sampling
from zppo_core.store.objects import MissingObjectError, ObjectStore, join
from zppo_core.streams import derive_seed
from zppo_core.types import Completion, Finish, Prompt

CHUNK = 128  # prompts generated between writes: what a kill can lose
READERS = 8


@dataclass(frozen=True)
class DrawRequest:
    """The teacher is to answer `prompt` of a question, asked for the `visit`-th time by a run."""

    question_id: str
    prompt: Prompt
    visit: int


@dataclass(frozen=True, eq=False)
class Draw:
    """One teacher response; `cached` says that no token was generated for it now."""

    text: str
    token_ids_T: np.ndarray  # int32
    finish: Finish
    cached: bool


@dataclass
class Counters:
    """What a cache did since it was opened."""

    hits: int = 0  # draws found
    misses: int = 0  # draws made
    tokens: int = 0  # generated
    saved: int = 0  # tokens of the draws found
    damaged: int = 0  # objects that had to be made again


class TeacherCache:
    """Draws below `prefix` of `store`: one object for each question and visit."""

    def __init__(self, store: ObjectStore, prefix: str = "") -> None:
        self.store, self.prefix = store, prefix
        self.counters = Counters()

    def draws(self, requests: Sequence[DrawRequest], engine: Engine, sampling: Sampling,
              progress: Progress | None = None) -> list[tuple[Draw, ...]]:  # fmt: skip
        """`sampling.n` draws for each request, in order: found, or made by `engine` and kept."""
        keys = [self._key(r, engine.name, sampling) for r in requests]
        with ThreadPoolExecutor(READERS) as readers:
            found = list(readers.map(self._load, keys))
        complete = [draws[: sampling.n] for draws in found]
        self.counters.hits += sum(map(len, complete))
        self.counters.saved += sum(len(d.token_ids_T) for draws in complete for d in draws)
        missing = [i for i, draws in enumerate(complete) if len(draws) < sampling.n]
        for start in range(0, len(missing), CHUNK):
            part = missing[start : start + CHUNK]
            outputs = engine.generate(
                [requests[i].prompt for i in part], sampling,
                [derive_seed(0, "teacher draw", keys[i]) for i in part],
            )  # fmt: skip
            for i, completions in zip(part, outputs, strict=True):
                # draws that an earlier, smaller request left stay what they are
                new = [_draw(c) for c in completions[len(complete[i]) :]]
                complete[i] = [*complete[i], *new]
                self.counters.misses += len(new)
                self.counters.tokens += sum(len(d.token_ids_T) for d in new)
                self._save(keys[i], complete[i])
            if progress is not None:
                progress(len(requests) - len(missing) + start + len(part), len(requests))
        return [tuple(draws) for draws in complete]

    def _key(self, request: DrawRequest, teacher: str, sampling: Sampling) -> str:
        # the number of draws is not part of it: a larger request adds to a smaller one's
        how = [sampling.max_tokens, sampling.temperature, sampling.top_p, sampling.top_k,
               sampling.min_p, sampling.presence_penalty, sampling.repetition_penalty]  # fmt: skip
        identity = json.dumps(
            [teacher, request.prompt.digest(), how, request.question_id, request.visit]
        )
        digest = hashlib.sha256(identity.encode()).hexdigest()
        return join(self.prefix, "draws", digest[:2], f"{digest}.json")

    def _load(self, key: str) -> list[Draw]:
        try:
            content = unseal(self.store.get(key))
        except MissingObjectError:
            return []
        if content is None:
            self.counters.damaged += 1
            return []
        return [Draw(d["text"], np.array(d["ids"], np.int32), d["finish"], True) for d in content]

    def _save(self, key: str, draws: Sequence[Draw]) -> None:
        content = [
            {"text": d.text, "ids": d.token_ids_T.tolist(), "finish": d.finish} for d in draws
        ]
        self.store.put(key, seal(content))


def _draw(completion: Completion) -> Draw:
    return Draw(completion.text, completion.token_ids_T, completion.finish, False)


def seal(content: Any) -> bytes:
    """JSON with its own checksum."""
    body = json.dumps(content, ensure_ascii=True, sort_keys=True)
    return json.dumps([hashlib.sha256(body.encode()).hexdigest(), body]).encode()


def unseal(data: bytes) -> Any:
    """What `seal` closed; None if it was damaged since."""
    try:
        digest, body = json.loads(data)
        if hashlib.sha256(body.encode()).hexdigest() != digest:
            return None
        return json.loads(body)
    except (ValueError, AttributeError, TypeError):
        return None


@dataclass
class Memo:
    """Values by the content they were made from: compressed candidates, judge verdicts."""

    store: ObjectStore
    prefix: str = ""
    counters: Counters = field(default_factory=Counters)

    def _key(self, kind: str, parts: Sequence[Any]) -> str:
        digest = hashlib.sha256(json.dumps([kind, *parts]).encode()).hexdigest()
        return join(self.prefix, kind, digest[:2], f"{digest}.json")

    def get(self, kind: str, *parts: Any) -> Any:
        """The value kept for `parts` (JSON-ready); None if there is none or it is damaged."""
        try:
            value = unseal(self.store.get(self._key(kind, parts)))
        except MissingObjectError:
            self.counters.misses += 1
            return None
        if value is None:
            self.counters.damaged += 1
            return None
        self.counters.hits += 1
        return value

    def put(self, value: Any, kind: str, *parts: Any) -> None:
        """Keep `value` (JSON-ready, not None) for `parts`."""
        self.store.put(self._key(kind, parts), seal(value))


@dataclass(frozen=True)
class CacheReport:
    """Size and health of a cache."""

    objects: int
    draws: int
    tokens: int
    bytes: int
    damaged: tuple[str, ...]


def _objects(store: ObjectStore, prefix: str) -> Iterator[str]:
    for key in store.list(prefix):
        if key.endswith(".json"):
            yield key


def verify(store: ObjectStore, prefix: str = "") -> CacheReport:
    """Read every object below `prefix`: how much there is, and which are damaged."""
    objects = draws = tokens = size = 0
    damaged = []
    for key in _objects(store, prefix):
        data = store.get(key)
        content = unseal(data)
        objects, size = objects + 1, size + len(data)
        if content is None:
            damaged.append(key)
        elif "draws/" in key:
            draws += len(content)
            tokens += sum(len(d["ids"]) for d in content)
    return CacheReport(objects, draws, tokens, size, tuple(damaged))


def prune(store: ObjectStore, prefix: str = "", everything: bool = False) -> int:
    """Delete the damaged objects below `prefix`, or all of them; how many went."""
    keys = list(_objects(store, prefix)) if everything else list(verify(store, prefix).damaged)
    for key in keys:
        store.delete(key)
    return len(keys)
