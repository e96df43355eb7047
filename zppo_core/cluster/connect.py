"""The Ray that a run works on: one of its own on the loopback address, or one by address."""

from __future__ import annotations

import importlib.util
import os
import secrets
import socket
import warnings
from pathlib import Path
from typing import Any

from zppo_core.cluster.layout import Place, Workers, places_of
from zppo_core.config import Config
from zppo_core.errors import UserError
from zppo_core.extensions import one_line

ANSWER = 5.0  # seconds until a cluster's head must have answered
FREE = 60.0  # seconds until the nodes that are there must be free
STORE = 2 << 30  # bytes that a local Ray without GPUs may keep for objects
TOKEN = "RAY_AUTH_TOKEN"
# tensors lie in Ray's store as they are, and who reads one looks at it there
TENSORS = {"RAY_ENABLE_ZERO_COPY_TORCH_TENSORS": "1"}
# a token for every call; nothing is sent to Ray's makers; seconds to find that nobody lets us in
SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_NUM_REDIS_GET_RETRIES": "3",
    **TENSORS,
}
# what binds all of Ray's sockets to 127.0.0.1, on every system; else they are on all addresses
LOCAL = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}


def prepare(config: Config) -> None:
    """Set what Ray reads when it is imported. Call it before that.

    UserError if Ray is missing, the cluster's address does not answer, or no token is there.
    """
    if importlib.util.find_spec("ray") is None:
        raise UserError(
            "several processes need Ray and it is not installed; pip install -e '.[gpu]', or take "
            "one process with --set compute.update_processes=1"
        )
    os.environ |= {name: os.environ.get(name, value) for name, value in SETTINGS.items()}
    address = config.compute.ray
    if not address:
        os.environ |= LOCAL
        os.environ.setdefault(TOKEN, secrets.token_hex(32))
        return
    if address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), ANSWER).close()
        except OSError as error:
            raise UserError(
                f"no Ray answers at compute.ray={address} ({error.strerror or error}); start one "
                "with `ray start --head`, or leave compute.ray empty for one of this machine"
            ) from None
    if not _token():
        raise UserError(
            f"no token for the Ray at {address}; put the one that it was started with into {TOKEN}"
        )


def connect(config: Config, workers: Workers) -> bool:
    """Connect this process to its Ray; whether it started one, which `shutdown` then ends.

    `prepare` comes first. UserError if there is none, its version or token is another.
    """
    import ray

    if ray.is_initialized():
        return False
    address = config.compute.ray
    options: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if not address:
        options |= {"num_cpus": workers.processes, "include_dashboard": False}
        if config.compute.device != "cuda":
            options |= {"num_gpus": 0, "object_store_memory": STORE}
    try:
        ray.init(address or "local", **options)
    except (ConnectionError, RuntimeError, OSError, ValueError) as error:
        raise UserError(_why(address, error)) from None
    for words in ("Zero-copy tensor serialization is enabled", "The given NumPy array is not wri"):
        warnings.filterwarnings("ignore", words)  # nobody writes to what lies in the store
    return not address


def _token() -> str:
    """The token that Ray would find."""
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH", "~/.ray/auth_token")).expanduser()
    return os.environ.get(TOKEN) or (path.read_text().strip() if path.is_file() else "")


def _why(address: str, error: Exception) -> str:
    """One line on a Ray that did not let this process in."""
    reason = str(error)
    if not address:
        return f"no Ray could be started on this machine: {one_line(error)}"
    if "Version mismatch" in reason:
        words = " ".join(reason.split())
        return f"the Ray at {address} is another one than ours: {words[:200]}; install the same"
    if "Could not find any running Ray" in reason:
        return "compute.ray=auto and no Ray runs on this machine; start it with `ray start`"
    if "Failed to connect" in reason:
        return (
            f"the Ray at {address} answers and lets nobody in; put the token that it was started "
            f"with into {TOKEN}"
        )
    return (
        f"cannot work on the Ray at {address}: {one_line(error)}; this machine must be one of its "
        f"nodes, as after `ray start --address={address} --num-cpus=0`"
    )


def place_nodes(config: Config, workers: Workers) -> list[tuple[Any, list[Place]]]:
    """For each node that the run asks for a placement group, and the places there.

    UserError if the cluster has fewer nodes, or fewer GPUs on them.
    """
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group

    places, hosts = places_of(config, workers), workers.hosts
    on_gpus = config.compute.device == "cuda"
    kind = "GPU" if on_gpus else "CPU"
    each = sum(p.gpus for p in places) if on_gpus else workers.processes
    have = [int(n["Resources"].get(kind, 0)) for n in ray.nodes() if n["Alive"]]
    if sum(n // each if on_gpus else n >= each for n in have) < hosts:
        raise UserError(
            f"scale {config.scale} needs {hosts} nodes of {each} {kind}s and this Ray has nodes of "
            f"{have}; add some with `ray start --address=...`, or take less with --set "
            "compute.update_hosts, compute.student_gpus or compute.update_processes"
        )
    if on_gpus:
        bundles: list[dict[str, float]] = [{"GPU": p.gpus} for p in places]
        groups = [placement_group(bundles, "STRICT_PACK") for _ in range(hosts)]
    else:
        groups = [placement_group([{"CPU": each}] * hosts, "STRICT_SPREAD")]
    ready, _ = ray.wait([g.ready() for g in groups], num_returns=len(groups), timeout=FREE)
    if len(ready) < len(groups):
        for group in groups:
            remove_placement_group(group)
        raise UserError(
            f"{hosts} nodes with {each} {kind}s are there and not free; end what else runs on this "
            "Ray, then `resume`"
        )
    return [(group, places) for group in groups * (hosts // len(groups))]
