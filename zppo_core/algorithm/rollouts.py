"""What student and teachers are asked for in a rollout step, and how their answers are graded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from zppo_core.algorithm.reformulation import floor_fraction
from zppo_core.algorithm.step_types import Ask, Corpus, Roles, RolloutState, TeacherDraw
from zppo_core.config import Config
from zppo_core.config.schema import method_of
from zppo_core.processes.background import Background
from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.rewards.where import whole_turn
from zppo_core.store.teacher_cache import Draw, DrawRequest
from zppo_core.streams import derive_seed, stream
from zppo_core.types import Completion, Group, Kind, Prompt, Question

Drawn = tuple[TeacherDraw, ...]  # a question's on one visit, of every teacher


class StaleWeightsError(RuntimeError):
    """A completion was sampled by other weights than the current student's."""


@dataclass(frozen=True)
class Scene:
    """A rollout step at work: where the run stands, who takes part, what is asked, and how.

    It is the step that the run is at, or one so many steps `ahead` that samples before its time.
    """

    state: RolloutState
    roles: Roles
    corpus: Corpus
    config: Config
    ahead: int = 0

    @property
    def step(self) -> int:
        """The rollout step."""
        return self.state.step + self.ahead

    @property
    def version(self) -> int:
        """Of the student's weights: as many updates as the run has behind it."""
        return self.state.step


def plain_ask(question: Question, kind: Kind, roles: Roles, config: Config) -> Ask:
    """The question as it stands, followed by the closer."""
    text = roles.templates.with_closer(question.text)
    return Ask(question.id, kind, Prompt(text, question.images, config.student.thinking))


def plain_asks(scene: Scene) -> list[Ask]:
    """What a step asks plainly: X = X_new ∪ X_replay (Algorithm 1), the new questions first.

    The buffer must have heard of all plain rollouts before the step.
    """
    config, step = scene.config, scene.step
    new = scene.corpus.new_ids(step, config.rollout.new_prompts)
    replayed: list[str] = []
    if method_of(config).replay:
        rng = stream(config.run.seed, "replay", step)
        size = floor_fraction(config.replay.ratio, len(new))
        replayed = scene.state.buffer.sample(size, rng, exclude=new)
    return [
        plain_ask(scene.corpus[q], kind, scene.roles, config)
        for kind, ids in (("plain", new), ("replay", replayed))
        for q in ids
    ]


def plain_groups(scene: Scene) -> list[Group]:
    """Graded plain rollouts of a step, in order, all of them before any is graded."""
    asks, answers = plain_asks(scene), dict[str, tuple[Completion, ...]]()
    for together in sample(asks, scene, scene.roles.progress("plain")):
        answers |= {ask.question_id: completions for ask, completions in together}
    return grade([(ask, answers[ask.question_id]) for ask in asks], scene)


def sample(
    asks: Sequence[Ask], scene: Scene, progress: Progress
) -> Iterator[list[tuple[Ask, tuple[Completion, ...]]]]:
    """G_S student rollouts on each ask as they finish, not graded yet; refuses stale weights."""
    if not asks:
        return
    config, step = scene.config, scene.step
    rollout = config.rollout
    sampling = Sampling(rollout.max_tokens, rollout.group_size, rollout.temperature, rollout.top_p)
    seeds = [derive_seed(config.run.seed, "student sampling", ask.uid(step)) for ask in asks]
    prompts, answered = [ask.prompt for ask in asks], 0
    for together in scene.roles.student.stream(prompts, sampling, seeds, progress):
        for i, completions in together:
            for completion in completions:
                if completion.version != scene.version:
                    raise StaleWeightsError(
                        f"{asks[i].uid(step)} was sampled by weights {completion.version}, not "
                        f"{scene.version}; the engine missed a weight sync"
                    )
        answered += len(together)
        yield [(asks[i], completions) for i, completions in together]
    if answered != len(asks):
        raise ValueError(f"the student's answers are shorter than the {len(asks)} prompts")


def grade(sampled: Sequence[tuple[Ask, tuple[Completion, ...]]], scene: Scene) -> list[Group]:
    """The groups of some asks and their completions, graded."""
    pairs = [
        (
            scene.corpus[ask.question_id],
            whole_turn(completion.text, ask.prompt.thinking, completion.finish == "length"),
        )
        for ask, completions in sampled
        for completion in completions
    ]
    grades = iter(scene.roles.grading.grade_all(pairs))
    return [
        Group(
            ask.uid(scene.step),
            ask.question_id,
            ask.kind,
            ask.prompt,
            completions,
            tuple(next(grades) for _ in completions),
        )
        for ask, completions in sampled
    ]


def draw_teacher(question_ids: Sequence[str], scene: Scene, progress: Progress) -> dict[str, Drawn]:
    """G_T graded rollouts of every teacher for each question at its current visit."""
    visits, thinking = scene.state.visits, scene.config.teacher.thinking
    drawn = ask_teachers(question_ids, visits, scene, progress)
    pairs = [
        (scene.corpus[q], whole_turn(d.text, thinking, d.finish == "length"))
        for q, draws in drawn.items()
        for d in draws
    ]
    grades = iter(scene.roles.grading.grade_all(pairs))
    return {
        q: tuple(TeacherDraw(q, visits.get(q, 0), i, d, next(grades)) for i, d in enumerate(draws))
        for q, draws in drawn.items()
    }


def ask_teachers(
    question_ids: Sequence[str], visits: Mapping[str, int], scene: Scene, progress: Progress
) -> dict[str, list[Draw]]:
    """G_T rollouts of every teacher for each question, not graded yet.

    The teachers draw at the same time if their engines take requests while others are at work.
    """
    roles, config = scene.roles, scene.config
    sampling = Sampling(config.rollout.max_tokens, config.teacher.rollouts)
    asked = [(scene.corpus[q], visits.get(q, 0)) for q in question_ids]
    requests = [teacher_request(question, visit, roles, config) for question, visit in asked]
    drawn: dict[str, list[Draw]] = {q: [] for q in question_ids}

    def of(teacher: Engine) -> list[tuple[Draw, ...]]:
        return roles.draws.draws(requests, teacher, sampling, progress)

    several = len(roles.teachers) > 1 and all(teacher.joins for teacher in roles.teachers)
    with Background() as beside:
        begun = [beside.submit(partial(of, t)) for t in roles.teachers] if several else []
        outputs = [one.result() for one in begun] or [of(t) for t in roles.teachers]
    for answers in outputs:
        for question_id, draws in zip(question_ids, answers, strict=True):
            drawn[question_id] += draws
    return drawn


def teacher_request(question: Question, visit: int, roles: Roles, config: Config) -> DrawRequest:
    """What the teacher is asked on a visit: the plain question with the closer."""
    text = roles.templates.with_closer(question.text)
    prompt = Prompt(text, question.images, config.teacher.thinking)
    return DrawRequest(question.id, prompt, visit)
