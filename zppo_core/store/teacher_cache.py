"""Teacher draws, made once and shared by every run with the same teacher.

A draw is keyed by (teacher, prompt, sampling, question, visit, index), and its seed is derived from
the key: a visit gets draws that no earlier visit saw, and another run that asks the same question
on the same visit finds them. The number of the visit is the caller's to count. Writers may meet: an
object is whole, and what the first one kept, the others take over.
"""

from __future__ import annotations

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TypedDict, cast

import numpy as np

from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.store.objects import (
    DamagedObjectError,
    MissingObjectError,
    ObjectStore,
    in_parallel,
    join,
)
from zppo_core.streams import derive_seed
from zppo_core.types import Completion, Finish, Prompt

CHUNK = 128  # prompts of a batch that is written at its end: what a kill can lose
DRAWS, MEMO, USAGE = "draws", "memo", "usage"  # folders of a cache


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
    saved: int = 0  # tokens of the draws found, which nobody had to generate again
    damaged: int = 0  # objects that had to be made again


class TeacherCache:
    """Draws below `prefix` of `store`: one object for each question and visit."""

    def __init__(self, store: ObjectStore, prefix: str = "") -> None:
        self.store, self.prefix = store, prefix
        self.counters = Counters()
        self._session = uuid.uuid4().hex
        self._lock, self._noting = threading.Lock(), threading.Lock()

    def draws(
        self,
        requests: Sequence[DrawRequest],
        engine: Engine,
        sampling: Sampling,
        progress: Progress | None = None,
    ) -> list[tuple[Draw, ...]]:
        """`sampling.n` draws for each request, in order: found, or made by `engine` and kept.

        A request that has some of its draws keeps them; the engine makes the same ones again, since
        completion i depends on the request's seed and i alone, and those after them are added.
        """
        keys = [self._key(r, engine.name, sampling) for r in requests]
        prompts = {key: request.prompt for key, request in zip(keys, requests, strict=True)}
        cached = dict(zip(prompts, in_parallel(self._load, prompts), strict=True))
        have = {key: draws[: sampling.n] for key, draws in cached.items()}
        missing = [key for key, draws in have.items() if len(draws) < sampling.n]
        with self._lock:
            self.counters.hits += sum(len(have[key]) for key in keys)
            self.counters.saved += sum(
                len(d.token_ids_T)
                for key in keys
                if len(have[key]) == sampling.n
                for d in have[key]
            )
        # an engine that joins requests gives each back as it is finished: no batch has to end
        size = len(missing) if engine.joins else CHUNK
        for start in range(0, len(missing), max(size, 1)):
            part = missing[start : start + size]
            before = len(requests) - len(missing) + start
            finished = engine.stream(
                [prompts[key] for key in part],
                sampling,
                [derive_seed(0, "teacher draw", key) for key in part],
                None if progress is None else _shifted(progress, before, len(requests)),
            )
            answered = 0
            for together in finished:
                drawn = {part[i]: [_draw(c) for c in group] for i, group in together}
                with self._lock:
                    self.counters.misses += sum(len(drawn[k]) - len(have[k]) for k in drawn)
                    self.counters.tokens += sum(len(d.token_ids_T) for k in drawn for d in drawn[k])
                have |= self._keep(drawn, sampling.n)
                answered += len(together)
            if answered != len(part):
                raise ValueError(f"the teacher's answers are shorter than the {len(part)} prompts")
            if progress is not None:
                progress(before + len(part), len(requests))
        self._note_usage(engine.name)
        return [tuple(have[key]) for key in keys]

    def _key(self, request: DrawRequest, teacher: str, sampling: Sampling) -> str:
        # the number of draws is not part of it: a larger request adds to a smaller one's
        how = [
            sampling.max_tokens,
            sampling.temperature,
            sampling.top_p,
            sampling.top_k,
            sampling.min_p,
            sampling.presence_penalty,
            sampling.repetition_penalty,
        ]
        identity = json.dumps(
            [teacher, request.prompt.digest(), how, request.question_id, request.visit]
        )
        digest = hashlib.sha256(identity.encode()).hexdigest()
        # below the prefix only when it is stored: the seed is the same in every cache
        return join(DRAWS, digest[:2], f"{digest}.json")

    def _at(self, key: str) -> str:
        return join(self.prefix, key)

    def _load(self, key: str) -> list[Draw]:
        try:
            content = unseal(self.store.get(self._at(key)))
        except MissingObjectError:
            return []
        except DamagedObjectError:
            content = None
        if content is None:
            with self._lock:
                self.counters.damaged += 1
            return []
        return decode(content)

    def _keep(self, drawn: dict[str, list[Draw]], n: int) -> dict[str, list[Draw]]:
        """Store what was made; the draws that stand: of whoever kept them first, then ours."""
        kept = {}
        sealed = {self._at(key): seal(encode(draws)) for key, draws in drawn.items()}
        # not flushed to disk: after a power failure a draw may have to be made again
        taken = set(self.store.put_many(sealed, new=True, lasting=False))
        for key, draws in drawn.items():
            kept[key] = self._merge(key, draws) if self._at(key) in taken else draws
        return {key: draws[:n] for key, draws in kept.items()}

    def _merge(self, key: str, draws: list[Draw]) -> list[Draw]:
        while True:
            old = b""
            try:
                old = self.store.get(self._at(key))
                content = unseal(old)
            except (MissingObjectError, DamagedObjectError):
                content = None
            if content is None:
                self.store.put(self._at(key), seal(encode(draws)))
                return draws
            # tokens were spent on these all the same: they do not count as cached
            first = [replace(d, cached=False) for d in decode(content)]
            if len(first) >= len(draws):
                return first
            merged = [*first, *draws[len(first) :]]
            if self.store.swap(self._at(key), old, seal(encode(merged))):
                return merged

    def _note_usage(self, teacher: str) -> None:
        with self._noting:  # the last one to write knows of all before it
            record = {**asdict(self.counters), "teacher": teacher, "time": time.time()}
            key = self._at(f"{USAGE}/{self._session}.json")
            self.store.put_many({key: seal(record)}, lasting=False)


def _draw(completion: Completion) -> Draw:
    return Draw(completion.text, completion.token_ids_T, completion.finish, False)


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)


class StoredDraw(TypedDict):
    """A draw as its object holds it."""

    text: str
    ids: list[int]
    finish: Finish


def encode(draws: Sequence[Draw]) -> list[StoredDraw]:
    return [{"text": d.text, "ids": d.token_ids_T.tolist(), "finish": d.finish} for d in draws]


def stored_draws(content: object) -> list[StoredDraw]:
    """What `encode` wrote: the checksum of the object that held it has said so."""
    return cast("list[StoredDraw]", content)


def decode(content: object) -> list[Draw]:
    return [
        Draw(d["text"], np.array(d["ids"], np.int32), d["finish"], True)
        for d in stored_draws(content)
    ]


def seal(content: object) -> bytes:
    """JSON with its own checksum."""
    body = json.dumps(content, ensure_ascii=True, sort_keys=True)
    return json.dumps([hashlib.sha256(body.encode()).hexdigest(), body]).encode()


def unseal(data: bytes) -> object:
    """What `seal` closed; None if it was damaged since."""
    try:
        digest, body = json.loads(data)
        if hashlib.sha256(body.encode()).hexdigest() != digest:
            return None
        content: object = json.loads(body)
    except (ValueError, AttributeError, TypeError):
        return None
    return content


@dataclass
class Memo:
    """Values by the content they were made from: compressed candidates, judge verdicts."""

    store: ObjectStore
    prefix: str = ""
    counters: Counters = field(default_factory=Counters)

    def _key(self, kind: str, parts: Sequence[object]) -> str:
        digest = hashlib.sha256(json.dumps([kind, *parts]).encode()).hexdigest()
        return join(self.prefix, MEMO, kind, digest[:2], f"{digest}.json")

    def get(self, kind: str, *parts: object) -> object:
        """The value kept for `parts` (JSON-ready); None if there is none or it is damaged."""
        try:
            value = unseal(self.store.get(self._key(kind, parts)))
        except MissingObjectError:
            self.counters.misses += 1
            return None
        except DamagedObjectError:
            value = None
        if value is None:
            self.counters.damaged += 1
            return None
        self.counters.hits += 1
        return value

    def put(self, value: object, kind: str, *parts: object) -> None:
        """Keep `value` (JSON-ready, not None) for `parts`."""
        if value is None:
            raise ValueError("None says that there is no value")
        self.store.put_many({self._key(kind, parts): seal(value)}, lasting=False)
