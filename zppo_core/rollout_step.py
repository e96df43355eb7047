"""One rollout step: Algorithm 1 of the paper, phase by phase (section 2).

Every phase goes through `record`, which commits its result to the run's journal or, after a crash,
gives back what was committed. The invariant: every token with a gradient was sampled by the current
student; teacher text stands in prompts alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from zppo_core.advantages import group_advantages
from zppo_core.compression import Compressed, Compressor
from zppo_core.config import Config
from zppo_core.engines.base import Engine, Progress, Sampling
from zppo_core.errors import UserError
from zppo_core.methods import METHODS, Method
from zppo_core.prompts import Templates
from zppo_core.reformulation import choose_wrong, plan_lazily
from zppo_core.replay_buffer import BufferEvent, PromptReplayBuffer
from zppo_core.streams import derive_seed, stream
from zppo_core.teacher_cache import Draw, DrawRequest, TeacherCache
from zppo_core.training.groups import TrainGroup, to_train_group
from zppo_core.training.updater import UpdateMetrics, sampler_mismatch
from zppo_core.types import Completion, Grade, Group, Kind, Prompt, Question


class Corpus(Protocol):
    """The training questions, by id and in a seeded order."""

    def new_ids(self, step: int, n: int) -> list[str]: ...
    def __getitem__(self, question_id: str) -> Question: ...


class Grading(Protocol):
    def grade_all(self, pairs: Sequence[tuple[Question, str]]) -> list[Grade]: ...


class Learner(Protocol):
    """The trainer seam: blind to the method, it takes groups with per-token weights."""

    def score(self, groups: Sequence[TrainGroup]) -> list[tuple[np.ndarray, ...]]: ...
    def update(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics: ...


class Record(Protocol):
    """Runs a phase once: a committed result is read back instead of computed again."""

    def __call__(self, phase: str, compute: Callable[[], Any]) -> Any: ...


@dataclass(frozen=True)
class Roles:
    """Who takes part in a step. The student's engine and the learner agree on `version`."""

    student: Engine
    teachers: tuple[Engine, ...]
    learner: Learner
    grading: Grading
    compressor: Compressor
    draws: TeacherCache
    encode: Callable[[Prompt], Any]
    templates: Templates
    progress: Callable[[str], Progress] = lambda phase: lambda done, total: None


@dataclass
class RolloutState:
    """What lasts from step to step besides weights and optimizer; small and JSON-ready."""

    buffer: PromptReplayBuffer
    step: int = 0  # rollout steps done; also the weight version
    visits: dict[str, int] = field(default_factory=dict)  # times each question was asked plainly

    def state_dict(self) -> dict[str, Any]:
        return {"buffer": self.buffer.state_dict(), "step": self.step, "visits": self.visits}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.buffer.load_state_dict(state["buffer"])
        self.step = int(state["step"])
        self.visits = {str(k): int(v) for k, v in state["visits"].items()}


@dataclass(frozen=True)
class Ask:
    """A student prompt to roll out; reformulated ones say which candidates stand in it."""

    question_id: str
    kind: Kind
    prompt: Prompt
    right_first: bool | None = None
    positive: Compressed | None = None
    negatives: tuple[Compressed, ...] = ()

    def uid(self, step: int) -> str:
        return f"{step:06d}/{self.question_id}/{self.kind}"


@dataclass(frozen=True, eq=False)
class TeacherDraw:
    """One graded teacher rollout on a visit of a question."""

    question_id: str
    visit: int
    index: int
    draw: Draw
    grade: Grade


@dataclass(frozen=True, eq=False)
class TeacherPhase:
    """Teacher rollouts by question, and the instances that enter under the cap."""

    draws: dict[str, tuple[TeacherDraw, ...]]
    plan: tuple[tuple[str, Kind], ...]


@dataclass(frozen=True, eq=False)
class UpdatePhase:
    metrics: tuple[UpdateMetrics, ...]
    advantages: dict[str, np.ndarray]  # uid -> (G,)
    mismatch_mean: float  # |log-prob of sampler - of trainer|, nats
    mismatch_max: float
    skipped_groups: int  # equal rewards: never reached the model


@dataclass(frozen=True, eq=False)
class StepResult:
    step: int
    plain: tuple[Group, ...]
    teacher: TeacherPhase
    asks: tuple[Ask, ...]  # the reformulated prompts
    augmented: tuple[Group, ...]
    update: UpdatePhase
    events: tuple[BufferEvent, ...]
    buffer_size: int


class StaleWeightsError(RuntimeError):
    """A completion was sampled by other weights than the current student's."""


def rollout_step(state: RolloutState, roles: Roles, corpus: Corpus, config: Config,
                 record: Record) -> StepResult:  # fmt: skip
    """Perform rollout step `state.step` and advance `state` (Algorithm 1)."""
    step, method = state.step, METHODS[config.run.method]

    # 1. plain rollouts on X = X_new ∪ X_replay
    new = corpus.new_ids(step, config.rollout.new_prompts)
    replayed: list[str] = []
    if method.replay:
        rng = stream(config.run.seed, "replay", step)
        replayed = state.buffer.sample(share(config.replay.ratio, len(new)), rng, exclude=new)
    asks = [plain_ask(corpus[q], "plain", roles, config) for q in new]
    asks += [plain_ask(corpus[q], "replay", roles, config) for q in replayed]
    plain = record("plain", lambda: student_rollouts(asks, step, roles, corpus, config))
    hard = [g for g in plain if g.accuracy < config.replay.threshold]

    # 2., 3. teacher rollouts on the hard questions, fresh on every visit; the caps
    cap = share(config.reformulation.ratio, len(new))
    teacher = record(
        "teacher", lambda: teacher_rollouts(hard, cap, method, state, roles, corpus, config)
    )

    # 4. reformulate; 5. student rollouts on the reformulated prompts
    reformulated = record(
        "reformulate", lambda: reformulate(hard, teacher, step, roles, corpus, config)
    )
    augmented = record(
        "augmented", lambda: student_rollouts(reformulated, step, roles, corpus, config)
    )

    # 6. update the student on all groups, then the buffer from plain rollouts only
    update = update_student([*plain, *augmented], step, roles, config)
    events: list[BufferEvent] = []
    if method.replay:
        events = state.buffer.update_all({g.question_id: g.accuracy for g in plain}, step)
    for group in plain:
        state.visits[group.question_id] = state.visits.get(group.question_id, 0) + 1
    state.step += 1
    return StepResult(step, tuple(plain), teacher, tuple(reformulated), tuple(augmented), update,
                      tuple(events), len(state.buffer))  # fmt: skip


def share(ratio: float, n: int) -> int:
    """floor(ratio * n), safe against the rounding of the ratio."""
    return int(ratio * n + 1e-9)


def plain_ask(question: Question, kind: Kind, roles: Roles, config: Config) -> Ask:
    """The question as it stands, followed by the closer."""
    text = roles.templates.with_closer(question.text)
    return Ask(question.id, kind, Prompt(text, question.images, config.student.thinking))


def student_rollouts(asks: Sequence[Ask], step: int, roles: Roles, corpus: Corpus,
                     config: Config) -> list[Group]:  # fmt: skip
    """G_S graded student rollouts on each ask, as groups; refuses stale weights."""
    if not asks:
        return []
    rollout = config.rollout
    sampling = Sampling(rollout.max_tokens, rollout.group_size, rollout.temperature, rollout.top_p)
    seeds = [derive_seed(config.run.seed, "student sampling", ask.uid(step)) for ask in asks]
    phase = "plain" if asks[0].kind in ("plain", "replay") else "augmented"
    outputs = roles.student.generate(
        [ask.prompt for ask in asks], sampling, seeds, roles.progress(phase)
    )
    for ask, completions in zip(asks, outputs, strict=True):
        for completion in completions:
            if completion.version != step:
                raise StaleWeightsError(
                    f"{ask.uid(step)} was sampled by weights {completion.version}, not {step}; "
                    "the engine missed a weight sync"
                )
    pairs = [
        (corpus[ask.question_id], completion.text)
        for ask, completions in zip(asks, outputs, strict=True)
        for completion in completions
    ]
    grades = iter(roles.grading.grade_all(pairs))
    return [
        Group(ask.uid(step), ask.question_id, ask.kind, ask.prompt, tuple(completions),
              tuple(next(grades) for _ in completions))
        for ask, completions in zip(asks, outputs, strict=True)
    ]  # fmt: skip


def teacher_rollouts(hard: Sequence[Group], cap: int, method: Method, state: RolloutState,
                     roles: Roles, corpus: Corpus, config: Config) -> TeacherPhase:  # fmt: skip
    """Fresh teacher rollouts where they can matter, and the plan under the pre- and post-cap.

    `teacher.scope` "hard" draws for every hard question, "augmented" only for those that the walk
    reaches; draws are keyed, so both give the same plan.
    """
    if not method.reformulations:
        return TeacherPhase({}, ())
    drawn: dict[str, tuple[TeacherDraw, ...]] = {}

    def has_correct(indices: Sequence[int]) -> list[bool]:
        wanted = [hard[i].question_id for i in indices]
        missing = [q for q in wanted if q not in drawn]
        drawn.update(draw_teacher(missing, state.visits, roles, corpus, config))
        return [any(d.grade.reward == 1.0 for d in drawn[q]) for q in wanted]

    if config.teacher.scope == "hard":
        has_correct(range(len(hard)))
    rng = stream(config.run.seed, "augmentation order", state.step)
    plan = plan_lazily([g.accuracy for g in hard], cap, rng, method.reformulations, has_correct)
    return TeacherPhase(drawn, tuple((hard[i].question_id, kind) for i, kind in plan))


def draw_teacher(question_ids: Sequence[str], visits: Mapping[str, int], roles: Roles,
                 corpus: Corpus, config: Config) -> dict[str, tuple[TeacherDraw, ...]]:  # fmt: skip
    """G_T graded rollouts of every teacher for each question at its current visit."""
    sampling = Sampling(config.rollout.max_tokens, config.teacher.rollouts)
    requests = [teacher_request(corpus[q], visits.get(q, 0), roles, config) for q in question_ids]
    drawn: dict[str, list[Draw]] = {q: [] for q in question_ids}
    for teacher in roles.teachers:
        outputs = roles.draws.draws(requests, teacher, sampling, roles.progress("teacher"))
        for question_id, draws in zip(question_ids, outputs, strict=True):
            drawn[question_id] += draws
    pairs = [(corpus[q], d.text) for q, draws in drawn.items() for d in draws]
    grades = iter(roles.grading.grade_all(pairs))
    return {
        q: tuple(TeacherDraw(q, visits.get(q, 0), i, d, next(grades)) for i, d in enumerate(draws))
        for q, draws in drawn.items()
    }


def teacher_request(question: Question, visit: int, roles: Roles, config: Config) -> DrawRequest:
    """What the teacher is asked on a visit: the plain question with the closer."""
    text = roles.templates.with_closer(question.text)
    prompt = Prompt(text, question.images, config.teacher.thinking)
    return DrawRequest(question.id, prompt, visit)


def reformulate(hard: Sequence[Group], teacher: TeacherPhase, step: int, roles: Roles,
                corpus: Corpus, config: Config) -> list[Ask]:  # fmt: skip
    """Turn the planned instances into prompts: choose, compress, anonymise (sections 2 and 5)."""
    groups = {g.question_id: g for g in hard}
    chosen: list[tuple[str | None, list[str]]] = []  # (right text, wrong texts) per instance
    rngs = [stream(config.run.seed, "candidates", step, q, kind) for q, kind in teacher.plan]
    for (question_id, kind), rng in zip(teacher.plan, rngs, strict=True):
        wrong = [
            (c, g) for c, g in zip(groups[question_id].completions, groups[question_id].grades,
                                   strict=True) if g.reward == 0.0
        ]  # fmt: skip
        if kind == "ncq":
            chosen.append((None, [c.text for c, _ in wrong]))
            continue
        right = [d for d in teacher.draws[question_id] if d.grade.reward == 1.0]
        positive = right[int(rng.random() * len(right))].draw.text
        negative = wrong[choose_wrong([g.answer for _, g in wrong], rng)][0].text
        chosen.append((positive, [negative]))

    # one batch for all: a text that stands in two prompts is compressed once
    texts = list(
        dict.fromkeys(t for right, wrong in chosen for t in (right, *wrong) if t is not None)
    )
    seed = derive_seed(config.run.seed, "compression", step)
    short = dict(zip(texts, roles.compressor.compress(texts, seed), strict=True))

    asks = []
    for (question_id, kind), rng, (right_text, wrong_texts) in zip(
        teacher.plan, rngs, chosen, strict=True
    ):
        question = corpus[question_id]
        shown = None if right_text is None else short[right_text]
        negatives = tuple(short[t] for t in wrong_texts)
        right_first = None
        if shown is not None:
            right_first = bool(rng.random() < 0.5)
            text = roles.templates.bcq(question.text, shown.text, negatives[0].text, right_first)
        else:
            answers = [n.answer for n in negatives if n.answer is not None]
            text = roles.templates.ncq(question.text, answers, [n.text for n in negatives])
        prompt = Prompt(text, question.images, config.student.thinking)
        asks.append(Ask(question_id, kind, prompt, right_first, shown, negatives))
    return asks


def update_student(groups: Sequence[Group], step: int, roles: Roles,
                   config: Config) -> UpdatePhase:  # fmt: skip
    """Advantages, then I updates over equal parts of the groups (sections 3 and 4).

    Groups with equal rewards cost no forward pass; their tokens still count in the mean, as in the
    paper, where they sit in the batch with advantage 0.
    """
    updates = config.optimizer.updates
    order = stream(config.run.seed, "minibatches", step).permutation(len(groups))
    parts = [[groups[i] for i in part] for part in np.array_split(order, updates)]
    scopes = [groups] if config.advantage.scope == "rollout" else parts
    advantages: dict[str, np.ndarray] = {}
    for scope in scopes:
        if scope:
            rewards_BG = np.stack([g.rewards_G for g in scope])
            values_BG = group_advantages(rewards_BG, config.advantage.norm, config.advantage.eps)
            advantages |= {g.uid: a_G for g, a_G in zip(scope, values_BG, strict=True)}

    train: list[list[TrainGroup]] = [
        [
            to_train_group(g, advantages[g.uid], roles.encode(g.prompt))
            for g in part
            if not g.trivial
        ]
        for part in parts
    ]
    active = [g for part in train for g in part]
    if updates > 1:  # with I = 1 the current log-probabilities are the old ones: no pass for them
        scores = roles.learner.score(active)
        mismatch = sampler_mismatch(active, scores)
        refuse_mismatch(mismatch[0], step, config)
        old = iter(scores)
        train = [[g.with_old_logp(next(old)) for g in part] for part in train]
    metrics = [
        roles.learner.update(part_train, tokens=sum(sampled_tokens(g) for g in part))
        for part, part_train in zip(parts, train, strict=True)
    ]
    if updates == 1:
        mismatch = metrics[0].mismatch_mean, metrics[0].mismatch_max
        refuse_mismatch(mismatch[0], step, config)
    return UpdatePhase(tuple(metrics), advantages, *mismatch,
                       skipped_groups=len(groups) - len(active))  # fmt: skip


def refuse_mismatch(mean: float, step: int, config: Config) -> None:
    """Stop a run whose sampler and trainer disagree from the start: its ratios would be noise."""
    if step == 0 and mean > config.trainer.max_mismatch:
        raise UserError(
            f"sampler and trainer disagree by {mean:.2g} nats a token at the first step (allowed: "
            f"{config.trainer.max_mismatch:g}); check that both hold the same weights, precision "
            "and forbidden tokens, or raise trainer.max_mismatch"
        )


def sampled_tokens(group: Group) -> int:
    """Response tokens of the group that the student sampled."""
    return sum(len(c.token_ids_T) - c.forced for c in group.completions)


__all__ = ["Ask", "Completion", "Corpus", "Roles", "RolloutState", "StepResult", "rollout_step"]
