"""The configuration's engines for real: vLLM for both models, and a vLLM server as the teacher."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
import torch

if os.environ.get("ZPPO_TEST_VLLM") != "1":
    pytest.skip("needs the environment of `make test-vllm`", allow_module_level=True)

from test_vllm_engine import GREEDY, flat, prompts, say

from zppo_core import models
from zppo_core.algorithm.rollout_step import rollout_step
from zppo_core.config import load
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.openai import OpenAIEngine
from zppo_core.errors import UserError
from zppo_core.models.nano import resolve
from zppo_core.protocols import Sampling, silent
from zppo_core.run.session import open_session
from zppo_core.store.objects import open_store
from zppo_core.types import Prompt


def test_zppo_steps_with_vllm_for_student_and_teacher(tmp_path) -> None:
    sets = [
        "compute.engine=vllm",
        "data.train_questions=96",
        "rollout.new_prompts=24",
        "trainer.max_mismatch=0.02",
    ]
    config = load("nano", sets)
    world = open_session(config, open_store(str(tmp_path)), lambda phase: silent)
    assert world.teacher_params > 100_000
    try:
        for step in range(2):
            start = time.perf_counter()
            result = rollout_step(
                world.state, world.roles, world.corpus, config, lambda phase, compute: compute()
            )
            world.sync()
            assert {c.version for g in result.plain for c in g.completions} == {step}
            assert result.update.mismatch_mean < 0.02
            say(
                f"zppo step {step} with vllm",
                f"{time.perf_counter() - start:.1f} s, mismatch of "
                f"sampler and trainer {result.update.mismatch_mean:.4f} nats",
            )
        assert result.augmented  # the teacher answered
    finally:
        world.roles.student.inner.close()
        world.teacher.engine.close()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """vLLM's OpenAI-compatible server of the nano teacher, which asks for a key."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "vllm.entrypoints.openai.api_server",
            "--host",
            "127.0.0.1",
            "--port",
            str(port),
            "--model",
            str(resolve("nano:teacher")),
            "--served-model-name",
            "nano:teacher",
            "--api-key",
            "open-sesame",
            "--dtype",
            "bfloat16",
            "--max-model-len",
            "1024",
            "--enforce-eager",
            "--no-enable-chunked-prefill",
            "--no-enable-prefix-caching",
            "--generation-config",
            "vllm",
            "--limit-mm-per-prompt",
            '{"image": 64, "video": 0}',
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until_it_listens(process, port)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:  # it is busy starting
            process.kill()
            process.wait(60)


def wait_until_it_listens(process: subprocess.Popen[bytes], port: int, seconds: int = 400) -> None:
    """Return once the port answers: an engine takes minutes to start on a busy machine."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        with socket.socket() as asked:
            if asked.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.5)
    raise TimeoutError(f"no server after {seconds} s")


def test_a_vllm_server_is_a_teacher(server, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "open-sesame")
    engine = OpenAIEngine(server, "nano:teacher", retries=12)
    engine.check()  # waits until it is up
    model, renderer = models.load("nano:teacher", torch.float32)
    local, asked = HfEngine(model, renderer, "t"), prompts()
    for thinking in (False, True):
        given = [Prompt(p.text, p.images, thinking) for p in asked]
        start = time.perf_counter()
        far = [c.text for c in flat(engine.generate(given, GREEDY, range(24)))]
        seconds = time.perf_counter() - start
        near = [c.text for c in flat(local.generate(given, GREEDY, range(24)))]
        same = sum(a == b for a, b in zip(far, near, strict=True))
        say(
            f"a vLLM server as teacher, thinking {thinking}",
            f"{same} of 24 greedy responses equal the transformers engine's; {seconds:.1f} s",
        )
        assert same >= 22
    history = (("user", "What is 1 + 1?"), ("assistant", r"\boxed{2}"))
    late = [Prompt("And 2 + 2?", (), False, history)]
    assert flat(engine.generate(late, GREEDY, [0]))[0].text == (
        flat(local.generate(late, GREEDY, [0]))[0].text
    )
    sampling = Sampling(32, n=4)
    first, again, other = (
        [c.text for c in flat(engine.generate(asked, sampling, range(s, s + 24)))]
        for s in (0, 0, 500)
    )
    assert sum(a == b for a, b in zip(first, again, strict=True)) >= 90  # batches differ in bf16
    assert sum(a != b for a, b in zip(first, other, strict=True)) >= 10
    monkeypatch.setenv("OPENAI_API_KEY", "wrong")
    with pytest.raises(UserError, match="refuses the key"):
        engine.generate(asked[:1], GREEDY, [0])
