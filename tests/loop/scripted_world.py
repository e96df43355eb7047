"""Algorithm 1 with scripted engines: what the tests of the loop share."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from zppo_core.compression import Compressor
from zppo_core.config import Config, load
from zppo_core.data.corpus import ListCorpus
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.hints import HintWriter
from zppo_core.prompts import Templates
from zppo_core.rendering import EncodedPrompt
from zppo_core.replay_buffer import PromptReplayBuffer
from zppo_core.rewards.grader import Grader
from zppo_core.rollout_step import rollout_step
from zppo_core.step_types import Roles, RolloutState
from zppo_core.store.objects import LocalStore
from zppo_core.teacher_cache import TeacherCache
from zppo_core.training.updater import UpdateMetrics
from zppo_core.types import Prompt, Question

QUESTIONS = [Question(f"q{i}", f"What is {i} plus {i}?", str(2 * i)) for i in range(12)]
BY_TEXT = {q.text: q for q in QUESTIONS}
METRICS = UpdateMetrics(0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 8, 1, 1, 8, 0.0, 0.0, 0.0)


def asked_of(prompt: Prompt) -> Question:
    return next(q for text, q in BY_TEXT.items() if text in prompt.text)


@dataclass
class Learner:
    """Remembers what it was given; its log-probabilities are off by `gap`."""

    gap: float = 0.0

    def __post_init__(self) -> None:
        self.updates: list[tuple[list, int | None]] = []
        self.scored = 0
        self.distilled: list[list] = []

    def score(self, groups):
        self.scored += 1
        return [tuple(s.sampler_logp_T + self.gap for s in g.suffixes) for g in groups]

    def update(self, groups, tokens=None):
        self.updates.append((list(groups), tokens))
        own = sum(g.tokens for g in groups)
        return replace(METRICS, tokens=own, mismatch_mean=self.gap, mismatch_max=self.gap)

    def distill(self, groups):
        self.distilled.append(list(groups))
        return replace(METRICS, tokens=sum(g.tokens for g in groups))


class Grading:
    def __init__(self) -> None:
        self.grader = Grader()

    def grade_all(self, pairs):
        return self.grader.grade_many([(response, q.gold) for q, response in pairs])


def student_with(right: Callable[[Prompt, int], bool]) -> ScriptedEngine:
    def answer(prompt: Prompt, member: int) -> str:
        q = asked_of(prompt)
        value = q.gold if right(prompt, member) else f"{100 + member}"
        return rf"student thinks; \boxed{{{value}}}"

    return ScriptedEngine(answer, "student")


def teacher_with(right: Callable[[Prompt, int], bool]) -> ScriptedEngine:
    count = iter(range(10**6))

    def answer(prompt: Prompt, member: int) -> str:
        if "<response>" in prompt.text:  # a compression
            body = prompt.text.split("<response>")[-1].split("</response>")[0]
            if r"\boxed" not in body:
                return "<summary>\nshort\n</summary>"
            box = body[body.index(r"\boxed") :].split("}")[0] + "}"
            return f"<summary>\nshort {box}\n</summary>"
        q = asked_of(prompt)
        value = q.gold if right(prompt, member) else "999"
        return f"SENTINEL {next(count)}\n\\boxed{{{value}}}"

    return ScriptedEngine(answer, "teacher")


class World:
    """Algorithm 1 with scripted engines."""

    def __init__(
        self, tmp_path, student, teacher=None, learner=None, method="zppo", **sets
    ) -> None:
        overrides = {
            "run.method": method, "rollout.new_prompts": 8, "rollout.group_size": 4,
            "optimizer.updates": 2, "reformulation.ratio": 0.5, **sets,
        }  # fmt: skip
        self.config: Config = load("nano", [f"{k}={v}" for k, v in overrides.items()])
        self.student, self.teacher = student, teacher or teacher_with(lambda p, m: True)
        self.learner = learner or Learner()
        self.corpus = ListCorpus(QUESTIONS, seed=0)
        templates = Templates()
        compressor = Compressor(self.teacher, templates, len, cap=200, retries=1)
        self.roles = Roles(
            self.student, (self.teacher,), self.learner, Grading(), compressor,
            HintWriter(self.teacher, templates, cap=200),
            TeacherCache(LocalStore(tmp_path)),
            lambda prompt: EncodedPrompt(np.arange(5), np.zeros(5, np.int64)), templates,
        )  # fmt: skip
        r = self.config.replay
        self.state = RolloutState(PromptReplayBuffer(r.capacity, r.threshold, r.refresh))
        self.phases: list[str] = []

    def step(self):
        def record(phase, compute):
            self.phases.append(phase)
            return compute()

        result = rollout_step(self.state, self.roles, self.corpus, self.config, record)
        self.student.load_weights({}, self.state.step)
        return result


def some_right(prompt: Prompt, member: int) -> bool:
    """Accuracy by question: 0, 25, 50 and 75 % in turn."""
    return member < int(asked_of(prompt).id[1:]) % 4
