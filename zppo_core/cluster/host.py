"""Engines of other hosts: a step asks them over a connection, messages are arrays and JSON.

On the other side `serve` answers. Weights do not travel here: the update's workers, which have them
on every host, leave them in a file there before the step says "load".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

import numpy as np

from zppo_core.cluster.messages import pack, unpack
from zppo_core.engines.base import BaseEngine
from zppo_core.errors import UserError
from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.types import Completion, Prompt

if TYPE_CHECKING:
    import torch


class HostEngine(BaseEngine):
    """`engines.base.Engine` at the other end of `connection`, on host number `host`."""

    def __init__(self, connection: Connection, host: int, name: str, version: int) -> None:
        self._connection, self.host = connection, host
        self.name, self.version = name, version

    def generate(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,
        seeds: Sequence[int],
        progress: Progress | None = None,
    ) -> list[tuple[Completion, ...]]:
        """`sampling.n` completions for each prompt, in order; see `engines.base.Engine`.

        UserError if the host has gone away or its engine failed.
        """
        if not prompts:
            return []
        header = {"command": "generate", "sampling": asdict(sampling), "seeds": list(seeds)}
        found = completions_of(*self._ask(pack_prompts(header, prompts), progress))
        return [tuple(found[i : i + sampling.n]) for i in range(0, len(found), sampling.n)]

    def load_weights(
        self, weights: Mapping[str, torch.Tensor], version: int, path: str = ""
    ) -> None:
        """Have the engine take the weights that the update's workers left on its host.

        A `path` is another host's, and of no use there.
        """
        self._ask(pack({"command": "load", "version": version}), None)
        self.version = version

    def sleep(self) -> None:
        """Have it leave its GPUs to the update, if it can."""
        self._ask(pack({"command": "sleep"}), None)

    def close(self) -> None:
        """End the engine's process."""
        self._connection.close()

    def _ask(self, message: bytes, progress: Progress | None) -> Any:
        try:
            self._connection.send_bytes(message)
            while True:
                header, arrays = unpack(self._connection.recv_bytes())
                if "finished" not in header:
                    break
                if progress is not None:
                    progress(header["finished"], header["total"])
        except (EOFError, OSError):
            raise UserError(
                f"host {self.host} went away while it was asked; start its line again, then resume"
            ) from None
        if "fault" in header:
            raise UserError(f"host {self.host}: {header['fault']}")
        return header, arrays


def serve(engine: Engine, connection: Connection, weights: Callable[[], Any]) -> None:
    """Answer a `HostEngine` until it goes away; `weights` reads what the workers left here."""

    def told(finished: int, total: int) -> None:
        connection.send_bytes(pack({"finished": finished, "total": total}))

    def obey(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> bytes:
        command = header["command"]
        if command == "generate":
            prompts, sampling = prompts_of(header, arrays), Sampling(**header["sampling"])
            groups = engine.generate(prompts, sampling, header["seeds"], told)
            return pack_completions([c for group in groups for c in group])
        if command == "load":
            engine.load_weights(weights(), header["version"])
        elif command == "sleep":
            engine.sleep()
        else:
            raise ValueError(f"no command {command!r}")
        return pack({})

    while True:
        try:
            message = connection.recv_bytes()
        except (EOFError, OSError):
            return  # the step is gone
        try:
            answer = obey(*unpack(message))
        except Exception as error:  # told to the step, which stops the run with it
            line = f"{type(error).__name__}: {error}".splitlines()[0][:500]
            answer = pack({"fault": line})
        connection.send_bytes(answer)


def pack_prompts(header: Mapping[str, Any], prompts: Sequence[Prompt]) -> bytes:
    """A message with prompts; pictures as they are encoded."""
    arrays = {
        f"{i}.{k}": np.frombuffer(image, np.uint8)
        for i, p in enumerate(prompts)
        for k, image in enumerate(p.images)
    }
    about = [{**asdict(p), "images": len(p.images)} for p in prompts]
    return pack({**header, "prompts": about}, arrays)


def prompts_of(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[Prompt]:
    """The prompts of a message."""
    return [
        Prompt(
            p["text"],
            tuple(arrays[f"{i}.{k}"].tobytes() for k in range(p["images"])),
            p["thinking"],
            tuple((a, b) for a, b in p["history"]),
            tuple(p["forced"]),
        )
        for i, p in enumerate(header["prompts"])
    ]


def pack_completions(completions: Sequence[Completion]) -> bytes:
    """A message with completions."""
    arrays: dict[str, np.ndarray] = {}
    about = []
    for i, c in enumerate(completions):
        arrays |= {f"{i}.ids": c.token_ids_T, f"{i}.logp": c.logp_T}
        about.append({"text": c.text, "finish": c.finish, "version": c.version, "forced": c.forced})
    return pack({"completions": about}, arrays)


def completions_of(header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> list[Completion]:
    """The completions of a message."""
    return [
        Completion(
            c["text"],
            arrays[f"{i}.ids"],
            arrays[f"{i}.logp"],
            c["finish"],
            c["version"],
            c["forced"],
        )
        for i, c in enumerate(header["completions"])
    ]
