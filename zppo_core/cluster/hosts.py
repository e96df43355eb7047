"""The further hosts of a run: their engines, beside this host's as one pool a role."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from zppo_core.cluster.host import HostEngine
from zppo_core.cluster.listener import Door
from zppo_core.cluster.messages import pack, unpack
from zppo_core.config import Config
from zppo_core.engines.factory import Teacher
from zppo_core.engines.pool import EnginePool
from zppo_core.errors import UserError
from zppo_core.protocols import Engine

if TYPE_CHECKING:
    from zppo_core.cluster.remote import RemoteTrainer

PATIENCE = 1800.0  # seconds until every host's engines must have loaded their models


class Hosts:
    """Engines of hosts 1, 2, …, which connect to this one where the update's workers meet."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._door = Door(config.compute.rendezvous.rpartition(":")[0])
        self._engines: dict[str, dict[int, HostEngine]] = {}
        self._asking: list[Connection] = []
        # what the workers start on each further host, and where its engines report
        self.program = {
            "module": "zppo_core.cluster.engine_process",
            "address": f"{self._door.address}:{self._door.key.hex()}",
        }

    def meet(self, trainer: RemoteTrainer, teachers: int, judging: bool) -> None:
        """Wait for all engines; UserError if one does not come or the workers die."""
        others = self.config.compute.update_hosts - 1
        roles = 1 + (0 if self.config.teacher.endpoint else teachers)
        asking = self._asking = self._door.accept(others, PATIENCE, trainer.alive)
        about = pack({"config": self.config.to_dict(), "judging": judging})
        for connection in asking:
            connection.send_bytes(about)

        def well() -> bool:  # a program speaks on its first connection only when it fails
            return trainer.alive() and not any(c.poll() for c in asking)

        found = self._door.accept(len(asking) * roles, PATIENCE, well)
        if len(found) < others * roles:
            raise UserError(
                f"{len(found)} of {others * roles} engines of the other hosts came"
                f"{_fault(asking)}; see what their lines printed, then resume"
            )
        self._door.close()  # everybody is in
        for connection in found:
            own, _ = unpack(connection.recv_bytes())
            engine = HostEngine(connection, own["host"], own["name"], own["version"])
            self._engines.setdefault(own["role"], {})[own["host"]] = engine

    def join(self, role: str, engine: Engine) -> Engine:
        """`engine` and those of `role` on the other hosts, in the hosts' order, as one."""
        others = self._engines.get(role, {})
        return EnginePool([engine, *(others[h] for h in sorted(others))]) if others else engine

    def join_teachers(self, teachers: list[Teacher]) -> list[Teacher]:
        """Each teacher with its engines on the other hosts."""
        return [
            replace(t, engine=self.join(f"teacher {i}", t.engine)) for i, t in enumerate(teachers)
        ]

    def close(self) -> None:
        """Let the other hosts' engines end."""
        self._door.close()
        for by_host in self._engines.values():
            for engine in by_host.values():
                engine.close()
        for connection in self._asking:
            connection.close()


def _fault(asking: list[Connection]) -> str:
    """What the first program that failed said of it."""
    for connection in asking:
        with suppress(EOFError, OSError):
            if connection.poll():
                return f" ({unpack(connection.recv_bytes())[0]['fault']})"
    return ""
