"""What a rollout step costs besides the models, at nano and at the paper's shape.

    python benchmarks/bench_step_overhead.py [--tokens 4096 --steps 2]
    python benchmarks/bench_step_overhead.py --chain [--token-ms 2]

nano: real models, the share of a step's time outside of their calls. paper: Table 8's step of 384
new and 96 replayed questions with a picture each, groups of 8, responses of `tokens` tokens, 96
reformulated prompts, 4 updates; engines and trainer are scripted and cost nothing that counts, so
what is left is ours: rendering, grading, advantages, reformulation, journal. It is held against the
hours that the paper's Table 9 gives for 200 steps. --chain: the same step on simulated 64 GPUs,
where every sequence has room at once and a response of lognormal length, cut at 12,288 tokens,
sleeps `token-ms` for each token, without pictures; engines that take one batch after the other,
and such that join requests. The longest chain of requests that wait for each other bounds the step
from below.
"""

from __future__ import annotations

import argparse
import csv
import io
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from common import record
from PIL import Image

from eval.report import database
from zppo_core.algorithm.compression import Compressor
from zppo_core.algorithm.replay_buffer import PromptReplayBuffer
from zppo_core.algorithm.rollouts import teacher_request
from zppo_core.algorithm.step_types import Roles, RolloutState, StepResult
from zppo_core.algorithm.train_groups import NO_UPDATE
from zppo_core.config import Config, load
from zppo_core.data.corpus import ListCorpus
from zppo_core.engines.base import ordered
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.models.nano import build as nano
from zppo_core.models.renderer import Renderer
from zppo_core.prompts import Templates
from zppo_core.records.phases import Clock
from zppo_core.rewards.grader import Grader
from zppo_core.rewards.grading import RuleGrading
from zppo_core.run.loop import one_step
from zppo_core.run.session import Session, TimedEngine, TimedLearner, open_session
from zppo_core.run.setup import open_run
from zppo_core.run.spec import Run
from zppo_core.store.objects import LocalStore, open_store
from zppo_core.store.teacher_cache import Memo, TeacherCache
from zppo_core.types import Completion, Prompt, Question

REFERENCE = Path(database.__file__).parent / "reference" / "cost.csv"
PAPER_STEPS = 200
PICTURES = 16
LENGTH_LOG, LENGTH_SPREAD = 8.2, 0.8  # of a response's tokens: median 3,640, mean 5,000


class LongAnswers(ScriptedEngine):
    """Answers of `tokens` tokens, right in a fixed share of a question's group."""

    def __init__(self, tokens: int, teacher: bool) -> None:
        super().__init__(self._say, "teacher" if teacher else "student")
        self.teacher = teacher
        self.tokens = tokens
        self.rng = np.random.default_rng(teacher)

    def _say(self, prompt: Prompt, member: int) -> str:
        if "<response>" in prompt.text:
            boxed = prompt.text.rpartition(r"\boxed{")[2].partition("}")[0]
            return f"<summary>\nin short \\boxed{{{boxed}}}\n</summary>"
        number = int(prompt.text.partition("number ")[2].partition(" ")[0])
        right = self._right(number, member)
        body = " ".join(map(str, self.rng.integers(0, 9999, self.tokens).tolist()))
        return f"<think>{body}</think> \\boxed{{{number if right else number + 1 + member}}}"

    def _right(self, number: int, member: int) -> bool:
        return self.teacher or member < number % 9

    def _completion(self, text: str, cap: int) -> Completion:
        if text.startswith("<summary>"):
            return super()._completion(text, cap)
        ids = self.rng.integers(0, 240_000, self.tokens).astype(np.int32)
        logp = -self.rng.exponential(0.4, self.tokens).astype(np.float32)
        return Completion(text, ids, logp, "stop", self.version)


class PacedAnswers(LongAnswers):
    """Answers that take their time: each token of the longest in a group `token_s` [s].

    The teacher is wrong on three of seven questions, so that a lazy one needs several rounds.
    `took` has the seconds of each prompt, by its digest.
    """

    def __init__(self, teacher: bool, token_s: float, together: bool) -> None:
        super().__init__(64, teacher)
        self.token_s, self._joins = token_s, together
        self.took: dict[str, float] = {}

    def stream(self, prompts: Any, sampling: Any, seeds: Any, progress: Any = None) -> Any:
        seconds = [self._seconds(*each, sampling) for each in zip(prompts, seeds, strict=True)]
        start = time.perf_counter()
        if not self.joins:
            time.sleep(max(seconds, default=0.0))
            yield list(enumerate(super().generate(prompts, sampling, seeds)))
            return
        for i in np.argsort(seconds).tolist():
            time.sleep(max(0.0, start + seconds[i] - time.perf_counter()))
            yield [(i, super().generate([prompts[i]], sampling, [seeds[i]])[0])]

    def generate(self, prompts: Any, sampling: Any, seeds: Any, progress: Any = None) -> Any:
        return ordered(self.stream(prompts, sampling, seeds), len(prompts))

    def _right(self, number: int, member: int) -> bool:
        return number % 7 > 2 if self.teacher else super()._right(number, member)

    def _seconds(self, prompt: Prompt, seed: int, sampling: Any) -> float:
        drawn = np.random.default_rng(seed).lognormal(LENGTH_LOG, LENGTH_SPREAD, sampling.n)
        seconds = float(min(drawn.max(), sampling.max_tokens)) * self.token_s
        self.took[prompt.digest()] = seconds
        return seconds


class FreeLearner:
    """Scores as sampled; an update changes nothing."""

    mode, mode_reason = "scripted", "no model"

    def publish(self) -> None:
        """Nothing to publish."""

    def score(self, groups: Any) -> Any:
        return [tuple(s.sampler_logp_T for s in g.suffixes) for g in groups]

    def update(self, groups: Any, tokens: int | None = None) -> Any:
        return replace(NO_UPDATE, tokens=sum(g.tokens for g in groups), groups=len(groups))


class NoModel:
    """Stands where weights would be, a student's or a teacher's."""

    parameters = 27_000_000_000

    def num_parameters(self) -> int:
        return 4_000_000_000

    def named_parameters(self) -> list[Any]:
        return []


def pictures() -> list[bytes]:
    """JPEGs of 1024 x 768 with some texture."""
    made = []
    for i in range(PICTURES):
        noise = np.random.default_rng(i).integers(0, 255, (96, 128, 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(noise).resize((1024, 768)).save(buffer, "JPEG")
        made.append(buffer.getvalue())
    return made


def paper_world(
    config: Config, folder: str, sampler: LongAnswers, helper: LongAnswers, pictured: bool = True
) -> Session:
    """Table 8's step with scripted engines and Qwen3.5's own patch and picture sizes."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import (
        Qwen2VLImageProcessorPil,
    )

    images = Qwen2VLImageProcessorPil(
        patch_size=16,
        merge_size=2,
        temporal_patch_size=2,
        size={"shortest_edge": 256 * 32 * 32, "longest_edge": 1280 * 32 * 32},
    )
    renderer = Renderer(nano.build_tokenizer(), images, nano.VOCAB)
    files = pictures()
    questions = [
        Question(
            f"q{i}",
            f"<q> number {i} of the pictures?",
            str(i),
            (files[i % PICTURES],) if pictured else (),
        )
        for i in range(4 * config.rollout.new_prompts)
    ]
    clock, templates, cache = Clock(), Templates(), LocalStore(folder)
    teacher = TimedEngine(helper, clock, "teacher")
    cap, retries = config.reformulation.candidate_tokens, config.reformulation.retries
    roles = Roles(
        student=TimedEngine(sampler, clock, "student"),
        teachers=(teacher,),
        learner=TimedLearner(FreeLearner(), clock),  # type: ignore[arg-type]
        grading=RuleGrading(Grader()),
        compressor=Compressor(
            teacher, templates, lambda t: len(renderer.encode_text(t)), cap, retries, Memo(cache)
        ),
        draws=TeacherCache(cache),
        encode=renderer.encode,
        templates=templates,
        progress=lambda phase: lambda done, total: None,
    )
    r = config.replay
    buffer = PromptReplayBuffer(r.capacity, r.threshold, r.refresh)
    return Session(
        config,
        ListCorpus(questions, 0),
        roles,
        RolloutState(buffer),
        FreeLearner(),
        NoModel(),
        renderer,
        NoModel(),
        clock,
    )  # type: ignore[arg-type]


def measure(world: Session, run: Run, folder: str, steps: int) -> tuple[float, float, int]:
    """(wall, model) seconds of a step, the fastest of `steps` after one that warms up; bytes."""
    run, found = replace(run, store_url=folder), []
    for _ in range(steps + 1):
        before = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
        start, model = time.perf_counter(), world.clock.model_seconds
        one_step(world, run)
        found.append((time.perf_counter() - start, world.clock.model_seconds - model))
        after = sum(f.stat().st_size for f in Path(folder).rglob("*") if f.is_file())
    wall, model = min(found[1:], key=lambda t: t[0] - t[1])
    return wall, model, after - before


def chained(run: Run, folder: str, scope: str, together: bool, token_s: float) -> dict[str, Any]:
    """A step of paced engines: its seconds, and those of its longest chain of requests."""
    config = load("4B@eight-nodes", [f"teacher.scope={scope}"])
    place = f"{folder}/{scope}-{together}"
    student, teacher = (PacedAnswers(who, token_s, together) for who in (False, True))
    world = paper_world(config, f"{place}-cache", student, teacher, pictured=False)
    run = replace(run, config=config, store_url=place)
    before = world.clock.now()
    result, seconds = one_step(world, run)
    spent = world.clock.now() - before
    longest = chain(result, world, student.took, teacher.took)
    print(scope, together, spent.seconds, longest, flush=True)
    return {
        "teacher.scope": scope,
        "engines": "join requests" if together else "one batch after the other",
        "seconds": spent.seconds,
        "longest chain, s": longest,
        "times the chain": spent.seconds / longest,
        "student idle %": 100 * (1 - spent.student_seconds / spent.seconds),
        "teacher idle %": 100 * (1 - spent.teacher_seconds / spent.seconds),
        **{f"{phase}, s": s for phase, s in seconds.items()},
    }


def chain(
    result: StepResult, world: Session, student: dict[str, float], teacher: dict[str, float]
) -> float:
    """Seconds of the longest chain: a plain group, its teacher draw, a summary, a new prompt.

    The order of the walk needs all plain groups, whatever the draws were before. Of a prompt's
    summaries the shortest counts, so that the chain is rather too short than too long.
    """
    plain = {g.question_id: student[g.prompt.digest()] for g in result.plain}
    longest = (world.config.reformulation.candidate_tokens + 32) * teacher_pace(world)
    summaries = [s for s in teacher.values() if s <= longest]
    drawn = {}
    for q in result.teacher.draws:
        request = teacher_request(world.corpus[q], 0, world.roles, world.config)
        drawn[q] = teacher[request.prompt.digest()]
    early = world.config.teacher.scope == "hard"  # else a draw may have to wait for the walk
    everything = max(plain.values())
    ends = [everything]
    for ask in result.asks:
        begins = plain[ask.question_id] if early else everything
        ready = (
            max(everything, begins + drawn[ask.question_id]) if ask.kind == "bcq" else everything
        )
        ends.append(ready + min(summaries) + student[ask.prompt.digest()])
    return max(ends)


def teacher_pace(world: Session) -> float:
    """Seconds of a teacher's token."""
    return float(world.roles.teachers[0].inner.token_s)  # type: ignore[attr-defined]


def hours() -> dict[str, float]:
    """The paper's hours a run of ZPPO, by scale."""
    with REFERENCE.open(encoding="utf-8") as file:
        return {
            r["scale"]: float(r["hours"]) for r in csv.DictReader(file) if r["method"] == "zppo"
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--token-ms", type=float, default=2.0)
    parser.add_argument("--chain", action="store_true")
    a = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        sets = f"store.root={folder}/runs;store.cache={folder}/cache"
        run = open_run(load("nano", sets.split(";")), "bench")
        if a.chain:
            rows = [
                chained(run, folder, scope, together, a.token_ms / 1000)
                for scope in ("hard", "augmented")
                for together in (False, True)
            ]
            record("bench_chain", vars(a), rows)
            return
        world = open_session(
            load("nano", sets.split(";")),
            open_store(f"{folder}/cache"),
            lambda phase: lambda done, total: None,
        )
        wall, model, size = measure(world, run, f"{folder}/nano", a.steps)
        rows.append(row("nano", wall, wall - model, size, wall))
        config = load("4B", [])
        engines = (LongAnswers(a.tokens, who) for who in (False, True))
        world = paper_world(config, f"{folder}/paper-cache", *engines)
        wall, model, size = measure(world, replace(run, config=config), f"{folder}/paper", a.steps)
        for scale, value in hours().items():
            step = value * 3600 / PAPER_STEPS
            rows.append(row(f"paper, {scale}", step, wall - model, size, step))
    record("bench_step_overhead", vars(a), rows)


def row(name: str, step: float, outside: float, size: int, whole: float) -> dict[str, Any]:
    return {
        "step of": name,
        "seconds": step,
        "outside models, s": outside,
        "share %": 100 * outside / whole,
        "journal MB": size / 1e6,
    }


if __name__ == "__main__":
    main()
