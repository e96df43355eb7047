from dataclasses import asdict

import numpy as np
import pytest
from scripted_world import QUESTIONS, World, asked_of, some_right, student_with, teacher_with

from zppo_core.config import load
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.hints import HintWriter, first_half, parse_hint
from zppo_core.methods import METHODS
from zppo_core.prompts import Templates
from zppo_core.rollout_step import dynamic_groups
from zppo_core.types import Completion, Grade, Group, Prompt

PAPER = {
    "grpo": (False, (), "surrogate"),
    "grpo_replay": (True, (), "surrogate"),
    "grpo_both": (False, ("bcq", "ncq"), "surrogate"),
    "grpo_replay_bcq": (True, ("bcq",), "surrogate"),
    "grpo_replay_ncq": (True, ("ncq",), "surrogate"),
    "zppo": (True, ("bcq", "ncq"), "surrogate"),
    "grpo_replay_hint": (True, ("hint",), "surrogate"),
    "grpo_replay_prefix": (True, ("prefix",), "surrogate"),
    "off_distill": (False, (), "off_distill"),
    "off_distill_replay": (True, (), "off_distill"),
    "on_distill": (False, (), "on_distill"),
    "on_distill_replay": (True, (), "on_distill"),
    "zppo_dynamic": (True, ("bcq", "ncq"), "surrogate"),
    "zppo_teachers": (True, ("bcq", "ncq"), "surrogate"),
}


def world_of(tmp_path, method: str, **sets) -> World:
    if method == "zppo_teachers":
        sets = {"teacher.more_models": "nano:student", **sets}
    return World(tmp_path, student_with(some_right), method=method, **sets)


def test_the_fourteen_methods_are_the_papers_rows() -> None:
    assert {m.name: (m.replay, m.reformulations, m.loss) for m in METHODS.values()} == PAPER
    assert [m.name for m in METHODS.values() if m.dynamic_sampling] == ["zppo_dynamic"]


@pytest.mark.parametrize("method", list(PAPER))
def test_every_method_runs_two_steps(tmp_path, method: str) -> None:
    world = world_of(tmp_path, method)
    results = [world.step() for _ in range(2)]
    replay, kinds, loss = PAPER[method]
    assert {a.kind for r in results for a in r.asks} == set(kinds)
    assert any(g.kind == "replay" for g in results[1].plain) is replay
    distilled = sum(len(groups) for groups in world.learner.distilled)
    assert (distilled > 0) is (loss != "surrogate")
    assert (len(world.learner.updates) > 0) is (loss == "surrogate")
    asks_teacher = bool(kinds and set(kinds) != {"ncq"}) or loss == "off_distill" or bool(kinds)
    assert (len(world.teacher.asked) > 0) is asks_teacher


def trained_on(world: World, steps: int = 3) -> list:
    for _ in range(steps):
        world.step()
    return [
        (tokens, [(g.uid, g.kind, [(s.token_ids_T.tolist(), s.weights_T.tolist())
                                   for s in g.suffixes]) for g in groups])
        for groups, tokens in world.learner.updates
    ]  # fmt: skip


def test_zppo_without_reformulation_is_grpo_replay_to_the_bit(tmp_path) -> None:
    off = world_of(tmp_path / "a", "zppo", **{"reformulation.ratio": 0.0})
    assert trained_on(off) == trained_on(world_of(tmp_path / "b", "grpo_replay"))


def test_zppo_without_a_buffer_is_grpo_both_to_the_bit(tmp_path) -> None:
    empty = world_of(tmp_path / "a", "zppo", **{"replay.capacity": 0})
    assert trained_on(empty) == trained_on(world_of(tmp_path / "b", "grpo_both"))


def test_the_prefix_is_forty_percent_of_a_right_teacher_response(tmp_path) -> None:
    world = world_of(tmp_path, "grpo_replay_prefix")
    result = world.step()
    assert result.asks
    for ask in result.asks:
        right = [d.draw for d in result.teacher.draws[ask.question_id] if d.grade.reward == 1.0]
        heads = [tuple(d.token_ids_T[: int(0.4 * len(d.token_ids_T))]) for d in right]
        assert ask.prompt.forced in heads
        assert len(ask.prompt.forced) > 3
        assert "candidate" not in ask.prompt.text
    assert all(a.kind == "prefix" for a in result.asks)


def test_a_question_without_a_right_teacher_gets_neither_hint_nor_prefix(tmp_path) -> None:
    for method in ("grpo_replay_hint", "grpo_replay_prefix"):
        world = world_of(tmp_path / method, method)
        world.roles.teachers[0].answer = teacher_with(lambda p, m: False).answer
        assert world.step().asks == ()


@pytest.mark.parametrize(
    ("output", "hint"),
    [
        ("<hint>\nadd the evens\n</hint>", "add the evens"),
        (r"<hint>it is \boxed{4}</hint>", None),
        ("add the evens", None),
        ("<hint>  </hint>", None),
    ],
)
def test_a_hint_with_a_box_is_no_hint(output: str, hint: str | None) -> None:
    assert parse_hint(output) == hint


@pytest.mark.parametrize(
    ("hint", "answer", "free"),
    [
        ("The final answer is 42.", "42", False),
        ("It is 3.142 or so", "42", True),
        ("It is x42", "42", True),
        ("Think of BLUE things", r"\text{Blue}", False),
        ("A triangle has three sides", "A", True),  # an article, not the choice
        (r"Simplify to \frac{1}{2}", r"\frac{1}{2}", False),
    ],
)
def test_a_hint_with_the_answer_is_no_hint(hint: str, answer: str, free: bool) -> None:
    assert parse_hint(f"<hint>{hint}</hint>", answer) == (hint if free else None)
    writer = HintWriter(ScriptedEngine(lambda p, m: f"<hint>{hint}</hint>"), Templates(), cap=100)
    said = f"{hint} because it must be so as we saw \\boxed{{{answer}}}"
    written = writer.write([("What?", said)], seed=0)[0]
    assert written.fallback is not free
    assert parse_hint(f"<hint>{written.text}</hint>", answer) == written.text


def test_no_boxed_text_reaches_a_hint_prompt() -> None:
    engine = ScriptedEngine(lambda prompt, member: r"<hint>\boxed{42}</hint>")
    writer = HintWriter(engine, Templates(), cap=100)
    response = "<think>\nfirst 40 then 42\n</think>\n\\boxed{42}"
    written = writer.write([("What?", response)], seed=0)[0]
    assert written.fallback
    assert written.attempts == 2
    assert "boxed" not in written.text
    assert written.text == first_half(response) == "first 40"
    assert first_half("The answer is 42 as 6*7=42 is so. \\boxed{42}") == "The answer is ..."
    assert "boxed" not in Templates().hint("What?", written.text).replace("inside \\boxed{}", "")


def test_off_distillation_learns_from_every_right_teacher_response(tmp_path) -> None:
    world = world_of(tmp_path, "off_distill")
    right = teacher_with(lambda p, m: m < 2 and asked_of(p).id != "q3")
    world.roles.teachers[0].answer = right.answer
    result = world.step()
    assert len(result.teacher.draws) == len(result.plain) == 8  # all questions, not the hard alone
    (groups,) = world.learner.distilled
    asked = {g.question_id for g in result.plain}
    assert len(groups) == len(asked - {"q3"})
    assert all(len(g.suffixes) == 2 for g in groups)
    text = bytes(groups[0].suffixes[0].token_ids_T.astype(np.uint8)).decode()
    assert text.startswith("SENTINEL")
    assert all(s.mask_T.all() for g in groups for s in g.suffixes)


def test_on_distillation_learns_from_the_students_own_responses(tmp_path) -> None:
    world = world_of(tmp_path, "on_distill_replay")
    result = world.step()
    (groups,) = world.learner.distilled
    assert [g.uid for g in groups] == [g.uid for g in result.plain]
    assert world.teacher.asked == []
    assert len(world.state.buffer) > 0


def group(question: str, kind: str, rewards: list[float]) -> Group:
    empty = np.zeros(0)
    completions = tuple(Completion("", empty, empty, "stop", 0) for _ in rewards)
    grades = tuple(Grade(r, "correct" if r else "wrong") for r in rewards)
    return Group(f"{question}/{kind}", question, kind, Prompt(""), completions, grades)


def test_dynamic_sampling_waits_for_the_reformulated_groups() -> None:
    easy = group("easy", "plain", [1, 1])
    lively = group("lively", "plain", [1, 0])
    saved, lost = group("saved", "plain", [0, 0]), group("lost", "plain", [0, 0])
    augmented = [
        group("saved", "bcq", [0, 1]), group("saved", "ncq", [0, 0]),
        group("lost", "bcq", [0, 0]), group("lost", "ncq", [1, 1]),
    ]  # fmt: skip
    kept = [g.uid for g in dynamic_groups([easy, lively, saved, lost], augmented)]
    assert kept == ["lively/plain", "saved/plain", "saved/bcq"]


def test_candidates_come_from_the_union_of_the_teachers(tmp_path) -> None:
    world = world_of(tmp_path, "zppo_teachers", **{"teacher.scope": "hard"})
    wrong = teacher_with(lambda p, m: False)
    second = teacher_with(lambda p, m: True)
    second.name = "second"
    world.roles.teachers[0].answer = wrong.answer
    world.roles = type(world.roles)(**{**vars(world.roles), "teachers": (world.teacher, second)})
    result = world.step()
    assert all(len(own) == 8 for own in result.teacher.draws.values())
    assert {a.kind for a in result.asks} == {"bcq", "ncq"}


def test_several_teachers_are_asked_for_by_name() -> None:
    with pytest.raises(UserError, match="more_models"):
        load("nano", ["run.method=zppo_teachers"])
    with pytest.raises(UserError, match="zppo_teachers"):
        load("nano", ["teacher.more_models=nano:student"])


@pytest.mark.parametrize(
    "override",
    ["optimizer.updates=16", "advantage.norm=none", "advantage.norm=all", "replay.threshold=0.25",
     "replay.ratio=0.5", "reformulation.ratio=0.25", "replay.capacity=3", "replay.refresh=true",
     "teacher.scope=hard", "advantage.scope=minibatch", "advantage.norm=grpo"],
)  # fmt: skip
def test_ablations_are_configuration_alone(tmp_path, override: str) -> None:
    key, value = override.split("=")
    world = world_of(tmp_path, "zppo", **{key: value})
    results = [world.step() for _ in range(2)]
    assert results[1].step == 1
    assert asdict(world.config) != asdict(world_of(tmp_path, "zppo").config)
    assert len(world.state.buffer) <= 3 if "capacity" in key else True
    assert len(QUESTIONS) == 12
