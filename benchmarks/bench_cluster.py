"""Bytes of a step's groups and seconds of a weight sync: two local ranks and two engines.

    python benchmarks/bench_cluster.py

A Qwen3.5 of about 100 M parameters with random weights, pictures of 0.4 megapixels, one rank and
one engine on each of two nodes, both on this machine. Bytes are those that reach another process:
a message that two ranks read counts twice. Appends to results/bench_cluster.jsonl.
"""

from __future__ import annotations

import contextlib
import io
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from common import record
from PIL import Image

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.config import Config, load
from zppo_core.models.renderer import Renderer
from zppo_core.run.session import Session, open_session
from zppo_core.store.objects import open_store
from zppo_core.types import Prompt

ROOT = Path(__file__).resolve().parents[1]
GROUPS, RESPONSES, TOKENS, SYNCS = 6, 2, 24, 5
WIDE, HIGH = 736, 544


def build(folder: Path) -> str:
    """A checkpoint whose weights take a while to move."""
    from transformers import Qwen3_5ForConditionalGeneration
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

    from zppo_core.models.nano import build as nano

    tokenizer = nano.build_tokenizer()
    config = nano.build_config(tokenizer)
    text, vision = config.text_config, config.vision_config
    text.hidden_size, text.intermediate_size = 1024, 4096
    text.num_hidden_layers, text.layer_types = 6, ["linear_attention", "full_attention"] * 3
    vision.out_hidden_size, vision.patch_size = 1024, 16
    model = Qwen3_5ForConditionalGeneration(config)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    images = Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 32 * 32, "longest_edge": 1024 * 1024},
        image_mean=[0.5] * 3,
        image_std=[0.5] * 3,
    )
    images.save_pretrained(folder)
    return str(folder)


def picture(seed: int) -> bytes:
    """A JPEG with smooth colours and some noise, as a photograph has them."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (12, 16, 3), np.uint8).astype(np.uint8))
    fine = np.asarray(coarse.resize((WIDE, HIGH), Image.Resampling.BICUBIC)).astype(np.int16)
    noisy = np.clip(fine + rng.normal(0, 4, fine.shape), 0, 255).astype(np.uint8)
    held = io.BytesIO()
    Image.fromarray(noisy).save(held, "JPEG", quality=90)
    return held.getvalue()


def groups(renderer: Renderer) -> list[TrainGroup]:
    rng, made = np.random.default_rng(0), []
    for i in range(GROUPS):
        encoded = renderer.encode(Prompt("What is seen here?", (picture(i),)))
        suffixes = []
        for _ in range(RESPONSES):
            ids = rng.integers(20, 200, TOKENS).astype(np.int32)
            zeros, weights = np.zeros(TOKENS, np.float32), np.full(TOKENS, rng.normal(), np.float32)
            suffixes.append(Suffix(ids, np.ones(TOKENS, bool), weights, zeros))
        made.append(TrainGroup(f"g{i}", "plain", encoded, tuple(suffixes)))
    return made


def configuration(model: str, *more: str) -> Config:
    return load(
        "nano",
        [
            f"student.model={model}",
            "run.method=grpo",
            "compute.update_hosts=2",
            "compute.update_processes=1",
            "compute.threads=1",
            "data.train_questions=8",
            *more,
        ],
    )


@contextlib.contextmanager
def opened(model: str, folder: Path) -> Iterator[tuple[Session, list[int]]]:
    """A session of two hosts, and the list of bytes that its trainer's messages had."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    config = configuration(model, f"compute.rendezvous=127.0.0.1:{port}")
    from zppo_core.cluster.remote import RemoteTrainer, workers_of

    workers = workers_of(config)
    assert workers is not None
    words = shlex.split(workers.elsewhere(1).replace(" python ", f" {sys.executable} "))
    other = subprocess.Popen(["env", *words], cwd=ROOT, start_new_session=True)
    sent: list[int] = []
    ask = RemoteTrainer._ask

    def counted(trainer: Any, message: bytes) -> bytes:
        answer = ask(trainer, message)
        # one socket to rank 0, from there a broadcast to the other rank; one answer
        sent.append(2 * len(message) + len(answer))
        return answer

    RemoteTrainer._ask = counted  # type: ignore[method-assign]
    try:
        session = open_session(config, open_store(str(folder)), lambda phase: lambda done, all_: None)
        try:
            yield session, sent
        finally:
            session.close()
    finally:
        RemoteTrainer._ask = ask  # type: ignore[method-assign]
        with contextlib.suppress(ProcessLookupError):
            os.killpg(other.pid, signal.SIGKILL)
        other.wait()


def main() -> int:
    """Print and record one row."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = build(folder / "model")
        started = time.perf_counter()
        with opened(model, folder / "cache") as (session, sent):
            start = time.perf_counter() - started
            batch = groups(session.renderer)
            session.sync()
            sent.clear()
            began = time.perf_counter()
            scores = session.trainer.score(batch)
            session.trainer.update(
                [g.with_old_logp(s) for g, s in zip(batch, scores, strict=True)]
            )
            update = time.perf_counter() - began
            moved = sum(sent)
            seconds = []
            for version in range(1, SYNCS + 1):
                session.state.step = version
                seconds.append(session.sync()["sync_seconds"])
            count = sum(p.numel() for p in session.model.parameters())
    row = {
        "transport": "sockets",
        "parameters": count,
        "picture_bytes": len(picture(0)),
        "step_bytes": moved,
        "step_seconds": update,
        "sync_seconds": sorted(seconds)[SYNCS // 2],
        "start_seconds": start,
    }
    settings = {"groups": GROUPS, "responses": RESPONSES, "tokens": TOKENS, "syncs": SYNCS}
    record("bench_cluster", settings, [row])
    return 0


if __name__ == "__main__":
    sys.exit(main())
