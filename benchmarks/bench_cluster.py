"""Bytes of a step's groups and seconds of a weight sync: two local ranks and two engines.

    python benchmarks/bench_cluster.py
    python benchmarks/bench_cluster.py beside     # the way of before Ray too, in turns

A Qwen3.5 of about 100 M parameters with random weights, pictures of 0.4 megapixels, one rank and
one engine on each of two nodes, both on this machine. Bytes are those that reach another process:
a message that two ranks read counts twice. Rows with the transport "sockets" are of commit
4440881, before Ray, whose own benchmark runs from a copy of it. Appends to
results/bench_cluster.jsonl.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from common import in_fresh_process, record
from PIL import Image

from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.cluster.connect import connect, prepare
from zppo_core.cluster.layout import Workers
from zppo_core.config import Config, load
from zppo_core.models.renderer import Renderer
from zppo_core.run.session import Session, open_session
from zppo_core.store.objects import open_store
from zppo_core.types import Prompt

ROOT = Path(__file__).resolve().parents[1]
BEFORE, TURNS = "4440881", 2
GROUPS, RESPONSES, TOKENS, SYNCS = 6, 2, 24, 5
APART = 1.0  # seconds before a sync: as after an update, the weights before have left Ray's store
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
            "trainer.token_budget=16384",
            "data.train_questions=8",
            *more,
        ],
    )


def quiet(phase: str) -> Any:
    return lambda done, of: None


@contextlib.contextmanager
def opened(model: str, folder: Path) -> Iterator[Session]:
    """A session of two nodes: a Ray on the loopback address, and a second raylet beside it."""
    config = configuration(model, "compute.ray=auto")
    prepare(load("nano"))  # before Ray is imported
    import ray
    from ray._private.node import Node
    from ray._private.parameter import RayParams

    connect(load("nano"), Workers(1))
    second = Node(
        RayParams(
            node_ip_address="127.0.0.1",
            gcs_address=ray.get_runtime_context().gcs_address,
            num_cpus=1,
            object_store_memory=2 << 30,
        ),
        head=False,
        shutdown_at_exit=False,
        spawn_reaper=False,
    )
    try:
        while sum(n["Alive"] for n in ray.nodes()) < 2:
            time.sleep(0.1)
        session = open_session(config, open_store(str(folder)), quiet)
        try:
            yield session
        finally:
            session.close()
    finally:
        second.kill_all_processes(check_alive=False, allow_graceful=True)
        ray.shutdown()


def measured() -> dict[str, Any]:
    """A row of ours."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = build(folder / "model")
        started = time.perf_counter()
        with opened(model, folder / "cache") as session:
            start = time.perf_counter() - started
            batch = groups(session.renderer)
            session.sync()
            began = time.perf_counter()
            scores = session.trainer.score(batch)
            told = [g.with_old_logp(s) for g, s in zip(batch, scores, strict=True)]
            metrics = session.trainer.update(told)
            update = time.perf_counter() - began
            # what came back is small: log-probabilities and metrics
            moved = metrics.sent_bytes + 4 * sum(len(s) for row in scores for s in row)
            seconds = []
            for version in range(1, SYNCS + 1):
                session.state.step = version
                time.sleep(APART)
                seconds.append(session.sync()["sync_seconds"])
            count = sum(p.numel() for p in session.model.parameters())
    return {
        "transport": "ray",
        "parameters": count,
        "picture_bytes": len(picture(0)),
        "step_bytes": moved,
        "step_seconds": update,
        "sync_seconds": sorted(seconds)[SYNCS // 2],
        "start_seconds": start,
    }


def before(folder: Path) -> dict[str, Any]:
    """A row of the copy of the old commit in `folder`, by its own benchmark."""
    benchmarks = folder / "benchmarks"
    subprocess.run(
        [sys.executable, str(benchmarks / "bench_cluster.py")],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        stdout=subprocess.DEVNULL,
        check=True,
    )
    last = (benchmarks / "results" / "bench_cluster.jsonl").read_text().splitlines()[-1]
    row: dict[str, Any] = json.loads(last)["rows"][0]
    return row


def in_turns() -> list[dict[str, Any]]:
    """Rows of both ways, one after the other."""
    rows = []
    with tempfile.TemporaryDirectory() as place:
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", BEFORE], capture_output=True, check=True
        ).stdout
        subprocess.run(["tar", "x", "-C", place], input=archive, check=True)
        for _ in range(TURNS):
            rows += [before(Path(place)), in_fresh_process(__file__, "row")]
            print(json.dumps(rows[-2:]), flush=True)
    return rows


def main(words: Sequence[str]) -> int:
    """Print and record one row, or with `beside` the rows of both ways."""
    if list(words) == ["row"]:
        print(json.dumps(measured()))
        return 0
    rows = in_turns() if list(words) == ["beside"] else [measured()]
    settings = {"groups": GROUPS, "responses": RESPONSES, "tokens": TOKENS, "syncs": SYNCS}
    record("bench_cluster", settings, rows)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
