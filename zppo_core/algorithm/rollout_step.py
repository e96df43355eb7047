"""One rollout step: Algorithm 1 of the paper, phase by phase (section 2).

Every phase goes through `record`, which commits its result to the run's journal or, after a crash,
gives back what was committed. The invariant: every token with a gradient was sampled by the current
student; teacher text stands in prompts alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from zppo_core.algorithm.augmentation_plan import plan_augmentations
from zppo_core.algorithm.reformulation import (
    Instance,
    PromptContext,
    PromptWriter,
    floor_fraction,
    settled,
)
from zppo_core.algorithm.reformulations import find
from zppo_core.algorithm.replay_buffer import BufferEvent
from zppo_core.algorithm.step_types import (
    Ask,
    Corpus,
    Record,
    Roles,
    RolloutState,
    StepResult,
    TeacherDraw,
    TeacherPhase,
)
from zppo_core.algorithm.student_update import distill_student, dynamic_groups, update_student
from zppo_core.config import Config
from zppo_core.config.schema import method_of
from zppo_core.processes.background import BackgroundQueue, slices
from zppo_core.protocols import Sampling
from zppo_core.rewards.where import whole_turn
from zppo_core.store.teacher_cache import Draw, DrawRequest
from zppo_core.streams import derive_seed, stream
from zppo_core.types import Completion, Group, Kind, Prompt, Question

Draws = dict[str, list[Draw]]  # question -> draws of every teacher
Sampled = dict[str, tuple[Completion, ...]]  # uid -> the student's responses


class StaleWeightsError(RuntimeError):
    """A completion was sampled by other weights than the current student's."""


def rollout_step(
    state: RolloutState, roles: Roles, corpus: Corpus, config: Config, record: Record
) -> StepResult:
    """Perform rollout step `state.step` and advance `state` (Algorithm 1)."""
    step, method = state.step, method_of(config)

    # 1. plain rollouts on X = X_new ∪ X_replay
    new = corpus.new_ids(step, config.rollout.new_prompts)
    replayed: list[str] = []
    if method.replay:
        rng = stream(config.run.seed, "replay", step)
        size = floor_fraction(config.replay.ratio, len(new))
        replayed = state.buffer.sample(size, rng, exclude=new)
    asks = [plain_ask(corpus[q], "plain", roles, config) for q in new]
    asks += [plain_ask(corpus[q], "replay", roles, config) for q in replayed]
    ahead: Draws = {}  # teacher draws made meanwhile; after a crash the cache has them
    plain = record("plain", lambda: plain_rollouts(asks, ahead, state, roles, corpus, config))
    hard = [g for g in plain if g.accuracy < config.replay.threshold]

    # 2., 3. teacher rollouts on the hard questions, fresh on every visit; the caps
    cap = floor_fraction(config.reformulation.ratio, len(new))
    teacher = record(
        "teacher", lambda: teacher_rollouts(plain, hard, cap, ahead, state, roles, corpus, config)
    )

    # 4. reformulate; 5. student rollouts on the reformulated prompts
    early: Sampled = {}  # prompts that the student has had while others were being written
    reformulated = record(
        "reformulate", lambda: reformulate(hard, teacher, early, step, roles, corpus, config)
    )
    augmented = record(
        "augmented", lambda: augmented_rollouts(reformulated, early, step, roles, corpus, config)
    )

    # 6. update the student on all groups, then the buffer from plain rollouts only
    if method.objective.learns_from == "advantages":
        kept = dynamic_groups(plain, augmented) if method.dynamic_sampling else [*plain, *augmented]
        update = update_student(kept, state, roles, config)
    else:
        update = distill_student(plain, teacher, method.objective, state, roles)
    events: list[BufferEvent] = []
    if method.replay:
        events = state.buffer.update_all({g.question_id: g.accuracy for g in plain}, step)
    for group in plain:
        state.visits[group.question_id] = state.visits.get(group.question_id, 0) + 1
    state.step += 1
    return StepResult(
        step,
        tuple(plain),
        teacher,
        tuple(reformulated),
        tuple(augmented),
        update,
        tuple(events),
        len(state.buffer),
    )


def plain_ask(question: Question, kind: Kind, roles: Roles, config: Config) -> Ask:
    """The question as it stands, followed by the closer."""
    text = roles.templates.with_closer(question.text)
    return Ask(question.id, kind, Prompt(text, question.images, config.student.thinking))


def sample(asks: Sequence[Ask], step: int, roles: Roles, config: Config) -> Sampled:
    """G_S student rollouts on each ask, not graded yet; refuses stale weights."""
    if not asks:
        return {}
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
    return {ask.uid(step): tuple(c) for ask, c in zip(asks, outputs, strict=True)}


def grade(
    asks: Sequence[Ask], sampled: Sampled, step: int, roles: Roles, corpus: Corpus
) -> list[Group]:
    """The groups of `asks`, graded."""
    outputs = [sampled[ask.uid(step)] for ask in asks]
    pairs = [
        (
            corpus[ask.question_id],
            whole_turn(completion.text, ask.prompt.thinking, completion.finish == "length"),
        )
        for ask, completions in zip(asks, outputs, strict=True)
        for completion in completions
    ]
    grades = iter(roles.grading.grade_all(pairs))
    return [
        Group(
            ask.uid(step),
            ask.question_id,
            ask.kind,
            ask.prompt,
            completions,
            tuple(next(grades) for _ in completions),
        )
        for ask, completions in zip(asks, outputs, strict=True)
    ]


def plain_rollouts(
    asks: Sequence[Ask],
    ahead: Draws,
    state: RolloutState,
    roles: Roles,
    corpus: Corpus,
    config: Config,
) -> list[Group]:
    """Student rollouts on X, in `compute.overlap` slices.

    While the student samples a slice, those before it are graded and the teacher draws for their
    questions, where it is clear by then that it will have to; the draws go into `ahead`.
    """
    method, step = method_of(config), state.step
    for_all = method.objective.learns_from == "teacher"
    for_hard = bool(method.reformulations) and config.teacher.scope == "hard"

    def follow(part: Sequence[Ask], sampled: Sampled, last: bool) -> list[Group]:
        groups = grade(part, sampled, step, roles, corpus)
        hard = [g for g in groups if g.accuracy < config.replay.threshold]
        ids = [g.question_id for g in (groups if for_all else hard if for_hard else [])]
        if ids and not last:  # the last slice has none to hide behind
            ahead.update(ask_teachers(ids, state.visits, roles, corpus, config))
        return groups

    parts = slices(asks, config.compute.overlap)
    with BackgroundQueue[list[Group]]() as behind:
        for i, part in enumerate(parts):
            sampled = sample(part, step, roles, config)
            behind.submit(partial(follow, part, sampled, i == len(parts) - 1))
        return [group for groups in behind.results() for group in groups]


def augmented_rollouts(
    asks: Sequence[Ask], early: Sampled, step: int, roles: Roles, corpus: Corpus, config: Config
) -> list[Group]:
    """Student rollouts on the reformulated prompts but for the `early` ones; slices as above."""
    with BackgroundQueue[list[Group]]() as behind:
        for part in slices(asks, config.compute.overlap):
            missing = [ask for ask in part if ask.uid(step) not in early]
            sampled = early | sample(missing, step, roles, config)
            behind.submit(partial(grade, part, sampled, step, roles, corpus))
        return [group for groups in behind.results() for group in groups]


def teacher_rollouts(
    plain: Sequence[Group],
    hard: Sequence[Group],
    cap: int,
    ahead: Draws,
    state: RolloutState,
    roles: Roles,
    corpus: Corpus,
    config: Config,
) -> TeacherPhase:
    """Fresh teacher rollouts where they can matter, and the plan under the pre- and post-cap.

    Distillation on the teacher's responses draws for every question of the step.

    `teacher.scope` "hard" draws for every hard question, "augmented" only for those that the walk
    reaches; draws are keyed, so both give the same plan.
    """
    method = method_of(config)
    if method.objective.learns_from == "teacher":
        everything = [g.question_id for g in plain]
        return TeacherPhase(draw_teacher(everything, ahead, state, roles, corpus, config), ())
    if not method.reformulations:
        return TeacherPhase({}, ())
    drawn: dict[str, tuple[TeacherDraw, ...]] = {}

    def has_correct(indices: Sequence[int]) -> list[bool]:
        ids = [hard[i].question_id for i in indices]
        missing = [q for q in ids if q not in drawn]
        drawn.update(draw_teacher(missing, ahead, state, roles, corpus, config))
        return [any(d.grade.reward == 1.0 for d in drawn[q]) for q in ids]

    if config.teacher.scope == "hard":
        has_correct(range(len(hard)))
    rng = stream(config.run.seed, "augmentation order", state.step)
    accuracies = [g.accuracy for g in hard]
    plan = plan_augmentations(accuracies, has_correct, cap, rng, method.reformulations)
    return TeacherPhase(drawn, tuple((hard[i].question_id, kind) for i, kind in plan))


def draw_teacher(
    question_ids: Sequence[str],
    ahead: Draws,
    state: RolloutState,
    roles: Roles,
    corpus: Corpus,
    config: Config,
) -> dict[str, tuple[TeacherDraw, ...]]:
    """G_T graded rollouts of every teacher for each question at its current visit."""
    visits = state.visits
    missing = [q for q in question_ids if q not in ahead]
    answers = ahead | ask_teachers(missing, visits, roles, corpus, config)
    drawn = {q: answers[q] for q in question_ids}
    thinking = config.teacher.thinking
    pairs = [
        (corpus[q], whole_turn(d.text, thinking, d.finish == "length"))
        for q, draws in drawn.items()
        for d in draws
    ]
    grades = iter(roles.grading.grade_all(pairs))
    return {
        q: tuple(TeacherDraw(q, visits.get(q, 0), i, d, next(grades)) for i, d in enumerate(draws))
        for q, draws in drawn.items()
    }


def ask_teachers(
    question_ids: Sequence[str],
    visits: Mapping[str, int],
    roles: Roles,
    corpus: Corpus,
    config: Config,
) -> Draws:
    """G_T rollouts of every teacher for each question, not graded yet."""
    sampling = Sampling(config.rollout.max_tokens, config.teacher.rollouts)
    requests = [teacher_request(corpus[q], visits.get(q, 0), roles, config) for q in question_ids]
    drawn: Draws = {q: [] for q in question_ids}
    for teacher in roles.teachers:
        outputs = roles.draws.draws(requests, teacher, sampling, roles.progress("teacher"))
        for question_id, draws in zip(question_ids, outputs, strict=True):
            drawn[question_id] += draws
    return drawn


def teacher_request(question: Question, visit: int, roles: Roles, config: Config) -> DrawRequest:
    """What the teacher is asked on a visit: the plain question with the closer."""
    text = roles.templates.with_closer(question.text)
    prompt = Prompt(text, question.images, config.teacher.thinking)
    return DrawRequest(question.id, prompt, visit)


def reformulate(
    hard: Sequence[Group],
    teacher: TeacherPhase,
    early: Sampled,
    step: int,
    roles: Roles,
    corpus: Corpus,
    config: Config,
) -> list[Ask]:
    """Turn the planned instances into prompts: choose, compress, anonymise (sections 2 and 5).

    While the teacher compresses for a slice, the student samples the prompts of those before it;
    what it has sampled goes into `early`.
    """
    groups = {g.question_id: g for g in hard}
    kinds = {kind.name: kind for kind in map(find, method_of(config).reformulations)}
    instances = []
    for question_id, name in teacher.plan:
        rng = stream(config.run.seed, "candidates", step, question_id, name)
        draws = teacher.draws.get(question_id, ())
        chosen = kinds[name].choose(groups[question_id], draws, rng, config.reformulation)
        instances.append(Instance(corpus[question_id], kinds[name], chosen, rng))
    context = PromptContext(roles, config, derive_seed(config.run.seed, "compression", step))
    writer = PromptWriter(context)
    asks: list[Ask] = []
    parts = slices(settled(instances), config.compute.overlap)
    with BackgroundQueue[Sampled]() as student:
        for i, part in enumerate(parts):
            asks += (written := writer.write(part))
            if i < len(parts) - 1:
                student.submit(partial(sample, written, step, roles, config))
        for sampled in student.results():
            early |= sampled
    return asks


__all__ = ["StaleWeightsError", "rollout_step"]
