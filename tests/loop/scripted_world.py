"""Algorithm 1 with scripted engines that make nothing easy: what the tests of the loop share.

Student and teacher draw another number of rollouts, the teacher is wrong at times, the trainer's
log-probabilities are not the sampler's, pictures and thinking differ by question and role, and some
responses have no box. Engines and trainer remember what they were asked.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from zlib import crc32

import numpy as np

from zppo_core.algorithm.compression import Compressor
from zppo_core.algorithm.replay_buffer import PromptReplayBuffer
from zppo_core.algorithm.rollout_step import rollout_step
from zppo_core.algorithm.step_types import Roles, RolloutState
from zppo_core.algorithm.train_groups import UpdateMetrics
from zppo_core.config import Config, load
from zppo_core.data.corpus import ListCorpus
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.prompts import Templates
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import Grader
from zppo_core.store.objects import LocalStore
from zppo_core.store.teacher_cache import TeacherCache
from zppo_core.types import EncodedPrompt, Prompt, Question

MANY = [
    Question(
        f"q{i}",
        f"What is {i} plus {i}?",
        str(2 * i),
        (b"picture %d" % i,) if i % 3 else (),
        "VLM" if i % 3 else "LLM",
        "sums" if i % 2 else "",
    )
    for i in range(24)
]
QUESTIONS = MANY[:12]
BY_TEXT = {q.text: q for q in MANY}
METRICS = UpdateMetrics(0.5, 1.0, 0.25, 0.1, 0.2, 0.05, 1.0, 8, 1, 1, 8, 2.0, 0.0, 0.0)


def asked_of(prompt: Prompt) -> Question:
    return next(q for text, q in BY_TEXT.items() if text in prompt.text)


def number(*parts: object) -> int:
    """A number that looks random and is the same in every process."""
    return crc32(repr(parts).encode())


@dataclass(frozen=True)
class Call:
    """One batch that an engine was asked for."""

    prompts: tuple[Prompt, ...]
    sampling: Sampling
    seeds: tuple[int, ...]


class Watched(ScriptedEngine):
    """Remembers every batch; its log-probabilities differ by seed, member and position."""

    def __init__(self, *arguments, **named) -> None:
        super().__init__(*arguments, **named)
        self.calls: list[Call] = []

    def generate(self, prompts, sampling, seeds, progress=None):
        self.calls.append(Call(tuple(prompts), sampling, tuple(seeds)))
        groups = super().generate(prompts, sampling, seeds, progress)
        return [
            tuple(self._measured(c, prompt, seed, i) for i, c in enumerate(group))
            for group, prompt, seed in zip(groups, prompts, seeds, strict=True)
        ]

    def _measured(self, completion, prompt, seed, member):
        """With log-probabilities, and the forced tokens before the ones that were sampled."""
        forced = np.array(prompt.forced, np.int32)
        ids = np.concatenate([forced, completion.token_ids_T])
        logp = -0.1 - (np.arange(len(ids)) * 7 + seed % 89 + member) % 50 / 97
        logp[: len(forced)] = 0.0
        return replace(
            completion, token_ids_T=ids, logp_T=logp.astype(np.float32), forced=len(forced)
        )

    @property
    def prompts(self) -> list[Prompt]:
        """Every prompt that it was asked, in order."""
        return [prompt for call in self.calls for prompt in call.prompts]


@dataclass
class Learner:
    """Remembers what it was given; its log-probabilities are off the sampler's by `gap` and by a
    little that differs by token."""

    gap: float = 0.0

    def __post_init__(self) -> None:
        self.updates: list[tuple[list, int | None]] = []
        self.scored = 0
        self.asked_to_score: list[list] = []
        self.did: list[str] = []

    def old_logp(self, group, member: int) -> np.ndarray:
        """What it says of one response of `group`."""
        own = group.suffixes[member].sampler_logp_T
        drift = (np.arange(len(own)) * 3 + number(group.uid, member)) % 7 / 1000 - 0.001
        return own + np.float32(self.gap) + drift.astype(np.float32)

    def score(self, groups):
        self.scored += 1
        self.did.append("score")
        self.asked_to_score.append(list(groups))
        return [tuple(self.old_logp(g, i) for i in range(len(g.suffixes))) for g in groups]

    def update(self, groups, tokens=None):
        self.updates.append((list(groups), tokens))
        self.did.append("update")
        own = sum(g.tokens for g in groups)
        return replace(METRICS, tokens=own, mismatch_mean=self.gap, mismatch_max=2 * self.gap)


class Grading:
    def __init__(self) -> None:
        self.grader = Grader()
        self.pairs: list[tuple[str, str]] = []  # (question id, response)

    def grade_all(self, pairs):
        self.pairs += [(q.id, response) for q, response in pairs]
        return self.grader.grade_many([(response, q.gold) for q, response in pairs])


def student_with(right: Callable[[Prompt, int], bool]) -> Watched:
    """Right where `right` says so; else wrong, the same wrong answer in pairs, now and then none.

    A route of digits tells each of its responses from all others.
    """

    def answer(prompt: Prompt, member: int) -> str:
        q = asked_of(prompt)
        route = f"student thinks; route {number(prompt.text, member)}"
        if right(prompt, member):
            return rf"{route}; \boxed{{{q.gold}}}"
        if number(prompt.text, member, "box") % 5 == 0:
            return f"{route}; and gives up"
        return rf"{route}; \boxed{{{1000 + member // 2}}}"

    return Watched(answer, "student")


def teacher_with(right: Callable[[Prompt, int], bool], name: str = "teacher") -> Watched:
    """Right where `right` says so; its summaries and hints keep the last route of a response."""
    count = iter(range(10**6))

    def answer(prompt: Prompt, member: int) -> str:
        if "<response>" in prompt.text:
            body = prompt.text.split("<response>")[-1].split("</response>")[0]
            route = (re.findall(r"route (\d+)", body) or ["0"])[-1]
            if "<hint>" in prompt.text:
                return f"<hint>\nby way of {route}\n</hint>"
            box = re.findall(r"\\boxed\{[^}]*\}", body)
            return f"<summary>\nshort {route} {box[-1] if box else ''}\n</summary>"
        q = asked_of(prompt)
        value = q.gold if right(prompt, member) else "999"
        return f"SENTINEL route {next(count)}\n\\boxed{{{value}}}"

    return Watched(answer, name)


def often_right(prompt: Prompt, member: int) -> bool:
    """The unkind teacher: the first draw is wrong for a third of the questions, q2 is beyond it."""
    i = int(asked_of(prompt).id[1:])
    return i != 2 and (member + i) % 3 != 0


def always(prompt: Prompt, member: int) -> bool:
    return True


class World:
    """Algorithm 1 with scripted engines."""

    def __init__(
        self,
        tmp_path,
        student,
        teacher=None,
        learner=None,
        method="zppo",
        questions=QUESTIONS,
        **sets,
    ) -> None:
        overrides = {
            "run.method": method,
            "rollout.new_prompts": 8,
            "rollout.group_size": 4,
            "rollout.max_tokens": 500,
            "teacher.rollouts": 3,
            "student.thinking": True,
            "optimizer.updates": 2,
            "reformulation.ratio": 0.5,
            "reformulation.candidate_tokens": 200,
            "trainer.max_mismatch": 0.05,
            **sets,
        }
        self.config: Config = load("nano", [f"{k}={v}" for k, v in overrides.items()])
        self.student, self.teacher = student, teacher or teacher_with(often_right)
        self.learner = learner or Learner()
        self.grading = Grading()
        self.corpus = ListCorpus(questions, seed=0)
        self.templates = Templates()
        compressor = Compressor(self.teacher, self.templates, len, cap=200, retries=1)
        self.roles = Roles(
            self.student,
            (self.teacher,),
            self.learner,
            self.grading,
            compressor,
            TeacherCache(LocalStore(tmp_path)),
            encoded,
            self.templates,
        )
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

    def closed(self, question_id: str) -> str:
        """The question as it must be asked."""
        return f"{self.corpus[question_id].text}\n{self.templates.closer}"


def encoded(prompt: Prompt) -> EncodedPrompt:
    """Ids that tell the prompt."""
    ids = np.array([number(prompt.digest(), i) % 1000 for i in range(5)])
    return EncodedPrompt(ids, np.zeros(5, np.int64))


def some_right(prompt: Prompt, member: int) -> bool:
    """Accuracy by question: 0, 25, 50 and 75 % in turn."""
    return member < int(asked_of(prompt).id[1:]) % 4


def changing(version: Callable[[], int]) -> Callable[[Prompt, int], bool]:
    """Accuracies of 0 to 100 % in quarters that change from step to step, low ones most often;
    which members are right changes too."""

    def right(prompt: Prompt, member: int) -> bool:
        place = number(prompt.text, version())
        return (member + place // 8) % 4 < (0, 0, 1, 1, 1, 2, 3, 4)[place % 8]

    return right


def changing_student() -> Watched:
    student = student_with(lambda prompt, member: right(prompt, member))
    right = changing(lambda: student.version)
    return student
