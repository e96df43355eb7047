from dataclasses import asdict

import numpy as np
import pytest
from scripted_world import (
    QUESTIONS,
    World,
    asked_of,
    changing_student,
    encoded,
    some_right,
    student_with,
    teacher_with,
)

from zppo_core.algorithm.reformulations.hint import (
    HintWriter,
    first_half,
    hint_text,
    parse_hint,
)
from zppo_core.algorithm.student_update import dynamic_groups
from zppo_core.config import load
from zppo_core.config.methods import METHODS
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.protocols import Sampling
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


CONTROLS = {
    "zppo_placebo": ("placebo_bcq", "placebo_ncq"),
    **{
        f"grpo_replay_{kind}": (kind,)
        for kind in (
            "placebo_bcq",
            "placebo_ncq",
            "shuffled_bcq",
            "lorem",
            "bcq_right_only",
            "bcq_wrong_only",
            "again",
        )
    },
}


RIVALS = {
    "gspo": (False, (), "gspo"),
    "cispo": (False, (), "cispo"),
    "dapo": (False, (), "surrogate"),
    "luffy": (False, (), "luffy"),
    "questa": (False, ("questa",), "surrogate"),
    "bread": (False, ("bread",), "surrogate"),
    "scaf_grpo": (False, ("scaffold",), "surrogate"),
    "opsd": (False, (), "opsd"),
}


def world_of(tmp_path, method: str, **sets) -> World:
    if method == "zppo_teachers":
        sets = {"teacher.more_models": "nano:student", **sets}
    return World(tmp_path, student_with(some_right), method=method, **sets)


def test_the_fourteen_methods_are_the_papers_rows_and_controls_replace_their_kinds() -> None:
    records = {m.name: (m.replay, m.reformulations, m.loss) for m in METHODS.values()}
    controls = {name: (True, kinds, "surrogate") for name, kinds in CONTROLS.items()}
    assert records == PAPER | controls | RIVALS
    assert [m.name for m in METHODS.values() if m.dynamic_sampling] == [
        "zppo_dynamic",
        "dapo",
        "bread",
    ]
    assert [m.name for m in METHODS.values() if not m.uses_teacher] == [
        "grpo",
        "grpo_replay",
        "grpo_replay_again",
        "gspo",
        "cispo",
        "dapo",
    ]


@pytest.mark.parametrize("method", list(PAPER))
def test_every_method_runs_two_steps(tmp_path, method: str) -> None:
    world = world_of(tmp_path, method)
    results = [world.step() for _ in range(2)]
    replay, kinds, loss = PAPER[method]
    assert {a.kind for r in results for a in r.asks} == set(kinds)
    assert any(g.kind == "replay" for g in results[1].plain) is replay
    assert sum(len(groups) for groups, _ in world.learner.updates) > 0
    weights = [
        s.weights_T for groups, _ in world.learner.updates for g in groups for s in g.suffixes
    ]
    assert any(w.any() for w in weights) is (loss == "surrogate")
    asks_teacher = bool(kinds and set(kinds) != {"ncq"}) or loss == "off_distill" or bool(kinds)
    assert (len(world.teacher.asked) > 0) is asks_teacher


def trained_on(world: World, steps: int = 3) -> list:
    for _ in range(steps):
        world.step()
    return [
        (
            tokens,
            [
                (
                    g.uid,
                    g.kind,
                    [(s.token_ids_T.tolist(), s.weights_T.tolist()) for s in g.suffixes],
                )
                for g in groups
            ],
        )
        for groups, tokens in world.learner.updates
    ]


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


def test_a_forced_prefix_is_context_and_neither_learned_nor_counted(tmp_path) -> None:
    world = world_of(tmp_path, "grpo_replay_prefix")
    result = world.step()
    groups = {g.uid: g for g in (*result.plain, *result.augmented)}
    assert any(g.completions[0].forced > 3 for g in groups.values())
    prefixed = 0
    for given, _ in world.learner.updates:
        for group in given:
            for suffix, completion in zip(
                group.suffixes, groups[group.uid].completions, strict=True
            ):
                forced = completion.forced
                assert not suffix.mask_T[:forced].any()
                assert suffix.mask_T[forced:].all()
                assert len(suffix.token_ids_T) == len(completion.token_ids_T)
                prefixed += forced > 0
    assert prefixed > 0
    sampled = sum(len(c.token_ids_T) - c.forced for g in groups.values() for c in g.completions)
    assert sum(tokens for _, tokens in world.learner.updates) == sampled


def test_a_prefix_question_is_asked_as_it_stands(tmp_path) -> None:
    world = world_of(tmp_path, "grpo_replay_prefix")
    result = world.step()
    for ask in result.asks:
        images = world.corpus[ask.question_id].images
        closed = world.closed(ask.question_id)
        assert ask.prompt == Prompt(closed, images, True, forced=ask.prompt.forced)
        assert (ask.positive, ask.negatives, ask.right_first) == (None, (), None)


def test_hints_are_written_from_right_draws_and_stand_in_the_question(tmp_path) -> None:
    world = world_of(tmp_path, "grpo_replay_hint")
    result = world.step()
    assert len(result.asks) > 1
    for ask in result.asks:
        question = world.corpus[ask.question_id]
        right = [d for d in result.teacher.draws[ask.question_id] if d.grade.reward == 1.0]
        routes = [d.draw.text.split("route ")[1].split()[0] for d in right]
        hints = [f"by way of {route}" for route in routes]
        assert ask.positive is not None
        assert ask.positive.text in hints
        text = ask.prompt.text
        assert text.startswith(f"{question.text}\n")
        assert text.endswith(f"\n{world.templates.closer}")
        assert f"<hint>\n{ask.positive.text}\n</hint>" in text
        assert ask.prompt == Prompt(text, question.images, True)
    wanted = [c for c in world.teacher.calls if "<hint>" in c.prompts[0].text]
    assert [c.sampling for c in wanted] == [Sampling(200 + 32, 1, 0.0)]
    assert not any("<summary>" in p.text for p in world.teacher.prompts)
    assert not any(p.thinking for p in wanted[0].prompts)
    for ask, prompt in zip(result.asks, wanted[0].prompts, strict=True):
        assert prompt.text.startswith(f"{world.corpus[ask.question_id].text}\n")
        assert ask.positive.text.split()[-1] in prompt.text


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
    assert "boxed" not in hint_text("What?", written.text).replace("inside \\boxed{}", "")


def test_off_distillation_learns_from_every_right_teacher_response(tmp_path) -> None:
    world = world_of(tmp_path, "off_distill")
    right = teacher_with(lambda p, m: m < 2 and asked_of(p).id != "q3")
    world.roles.teachers[0].answer = right.answer
    result = world.step()
    assert len(result.teacher.draws) == len(result.plain) == 8  # all questions, not the hard alone
    ((groups, tokens),) = world.learner.updates
    assert tokens is None
    asked = {g.question_id for g in result.plain}
    assert len(groups) == len(asked - {"q3"})
    assert all(len(g.suffixes) == 2 for g in groups)
    text = bytes(groups[0].suffixes[0].token_ids_T.astype(np.uint8)).decode()
    assert text.startswith("SENTINEL")
    assert all(s.mask_T.all() for g in groups for s in g.suffixes)
    # whose prompts are the plain questions, and every response is one of its own right draws
    plain = {g.uid: g for g in result.plain}
    for group in groups:
        own = plain[group.uid]
        assert (group.prompt.input_ids_P == encoded(own.prompt).input_ids_P).all()
        draws = result.teacher.draws[own.question_id]
        assert [s.token_ids_T.tolist() for s in group.suffixes] == [
            d.draw.token_ids_T.tolist() for d in draws if d.grade.reward == 1.0
        ]
    assert result.update.skipped_groups == 8 - len(groups)
    assert world.learner.did == ["update"]


def test_off_distillation_draws_afresh_for_replayed_questions_too(tmp_path) -> None:
    world = world_of(tmp_path, "off_distill_replay", **{"replay.ratio": 0.5})
    results = [world.step() for _ in range(3)]
    seen: dict[str, set[str]] = {}
    for result in results:
        assert list(result.teacher.draws) == [g.question_id for g in result.plain]
        for question, own in result.teacher.draws.items():
            assert len(own) == 3
            texts = {d.draw.text for d in own}
            assert not texts & seen.setdefault(question, set())
            seen[question] |= texts
    assert any(g.kind == "replay" for g in results[1].plain)


def test_on_distillation_learns_from_the_students_own_responses(tmp_path) -> None:
    world = world_of(tmp_path, "on_distill_replay")
    result = world.step()
    ((groups, tokens),) = world.learner.updates
    assert tokens is None
    assert [g.uid for g in groups] == [g.uid for g in result.plain]
    for group, own in zip(groups, result.plain, strict=True):
        assert (group.prompt.input_ids_P == encoded(own.prompt).input_ids_P).all()
        for suffix, completion in zip(group.suffixes, own.completions, strict=True):
            assert (suffix.token_ids_T == completion.token_ids_T).all()
            assert suffix.mask_T.all()
            assert not suffix.weights_T.any()
    assert world.learner.did == ["update"]
    assert result.update.skipped_groups == 0
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
        group("saved", "bcq", [0, 1]),
        group("saved", "ncq", [0, 0]),
        group("lost", "bcq", [0, 0]),
        group("lost", "ncq", [1, 1]),
    ]
    kept = [g.uid for g in dynamic_groups([easy, lively, saved, lost], augmented)]
    assert kept == ["lively/plain", "saved/plain", "saved/bcq"]


def test_dynamic_sampling_decides_what_the_trainer_sees(tmp_path) -> None:
    world = World(tmp_path, changing_student(), method="zppo_dynamic")
    dropped = 0
    for _ in range(3):
        world.learner.updates.clear()
        result = world.step()
        kept = dynamic_groups(result.plain, result.augmented)
        dropped += len(result.plain) + len(result.augmented) - len(kept)
        assert list(result.update.advantages) == [g.uid for g in kept]
        sampled = sum(len(c.token_ids_T) for g in kept for c in g.completions)
        assert sum(tokens for _, tokens in world.learner.updates) == sampled
    assert dropped > 0


def test_candidates_come_from_the_union_of_the_teachers(tmp_path) -> None:
    world = world_of(tmp_path, "zppo_teachers", **{"teacher.scope": "hard"})
    wrong = teacher_with(lambda p, m: False)
    second = teacher_with(lambda p, m: True)
    second.name = "second"
    world.roles.teachers[0].answer = wrong.answer
    world.roles = type(world.roles)(**{**vars(world.roles), "teachers": (world.teacher, second)})
    result = world.step()
    assert all(len(own) == 2 * 3 for own in result.teacher.draws.values())
    assert {a.kind for a in result.asks} == {"bcq", "ncq"}
    for question, own in result.teacher.draws.items():
        # the first teacher's, then the second's; every one is right at times or never
        assert [d.index for d in own] == list(range(6))
        assert [d.grade.reward for d in own] == [0.0] * 3 + [1.0] * 3
        texts = [d.draw.text.split()[2] for d in own if d.grade.reward == 1.0]
        for ask in result.asks:
            if ask.question_id == question and ask.kind == "bcq":
                assert ask.positive.text.split()[1] in texts


def test_several_teachers_are_asked_for_by_name() -> None:
    with pytest.raises(UserError, match="more_models"):
        load("nano", ["run.method=zppo_teachers"])
    with pytest.raises(UserError, match="zppo_teachers"):
        load("nano", ["teacher.more_models=nano:student"])


@pytest.mark.parametrize(
    "override",
    [
        "optimizer.updates=16",
        "advantage.norm=none",
        "advantage.norm=all",
        "replay.threshold=0.25",
        "replay.ratio=0.5",
        "reformulation.ratio=0.25",
        "replay.capacity=3",
        "replay.refresh=true",
        "teacher.scope=hard",
        "advantage.scope=minibatch",
        "advantage.norm=grpo",
    ],
)
def test_ablations_are_configuration_alone(tmp_path, override: str) -> None:
    key, value = override.split("=")
    world = world_of(tmp_path, "zppo", **{key: value})
    results = [world.step() for _ in range(2)]
    assert results[1].step == 1
    assert asdict(world.config) != asdict(world_of(tmp_path, "zppo").config)
    assert len(world.state.buffer) <= 3 if "capacity" in key else True
    assert len(QUESTIONS) == 12
