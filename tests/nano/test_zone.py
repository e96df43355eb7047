"""The world with a zone: what sampling cannot reach, and that the ability is there all the same."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from eval import rates
from eval.suite import SUITES
from zppo_core import models
from zppo_core.config import load
from zppo_core.config.load import scale_of
from zppo_core.data.digit_kinds import (
    WORLDS,
    ZONE_ASIDE,
    ZONE_EASY,
    ZONE_HARD,
    ZONE_NEW_KINDS,
)
from zppo_core.data.digits import (
    BENCHMARKS,
    ZONE_BENCHMARKS,
    benchmark_questions,
    draw_facts,
    image_pool,
    train_facts,
    train_questions,
    worked_solution,
)
from zppo_core.engines.hf import HfEngine
from zppo_core.errors import UserError
from zppo_core.models.nano import __main__ as command
from zppo_core.models.nano import resolve
from zppo_core.models.nano import zone as nano_zone
from zppo_core.models.weights import folder_hash
from zppo_core.prompts import OURS
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import Grader, grade
from zppo_core.run.corpus import build_corpus
from zppo_core.types import Prompt


def test_nano_asks_what_it_asked_before_the_zone_was_there() -> None:
    questions = train_questions(60, 0)
    questions += [q for name in BENCHMARKS for q in benchmark_questions(name, 18)]
    told = repr([(q.id, q.text, q.gold, q.images, q.family, q.category) for q in questions])
    assert hashlib.sha256(told.encode()).hexdigest()[:12] == "bca4acac2dc6"


@pytest.mark.parametrize("kind", list(ZONE_HARD))
def test_a_wrong_procedure_never_gives_the_right_number_of_a_hard_question(kind: str) -> None:
    rng = np.random.default_rng(0)
    for layout in ("row", "grid", "text", "frames", "frame_pairs"):
        for _ in range(40):
            facts = draw_facts(rng, kind, layout, False, "zone")
            right, wrong = (solve(facts.digits, facts.constant)[1] for solve in _ways(kind))
            assert (right < 10) != (wrong < 10)
            assert grade(worked_solution(facts), facts.gold).reward == 1.0
            assert grade(worked_solution(facts, "wrong"), facts.gold).reward == 0.0


@given(st.lists(st.integers(0, 9), min_size=3, max_size=6), st.integers(2, 6))
def test_nor_does_a_slip_in_reading_make_it_right(read: list[int], constant: int) -> None:
    """Whatever is read, a wrong procedure's number stays on its side of ten."""
    digits = (max(1, read[0]), *read[1:])
    for kind in ZONE_HARD:
        right, wrong = (solve(digits, constant)[1] for solve in _ways(kind))
        if kind in ("prod", "span"):
            assert right < 10 <= wrong
        else:
            assert wrong < 10


def _ways(kind: str):
    return WORLDS["zone"][kind].right, WORLDS["zone"][kind].wrong


def test_the_corpus_asks_easy_and_hard_kinds_from_training_scans_and_never_the_new_ones() -> None:
    facts = train_facts(360, 0, "zone")
    kinds = [f.kind for f in facts]
    assert set(kinds) == set(WORLDS["zone"]) - set(ZONE_NEW_KINDS) - set(ZONE_ASIDE)
    assert sum(kind in ZONE_HARD for kind in kinds) == 225
    assert {i for f in facts for i in f.images} <= set(image_pool(False).tolist())
    config = load("zone", ["data.train_questions=60"])
    assert build_corpus(config).kinds().keys() == set(kinds)


def test_the_benchmarks_of_the_zone_are_a_suite_of_three_families() -> None:
    assert {b.name for b in SUITES["zone"]} == set(ZONE_BENCHMARKS)
    assert {b.family for b in SUITES["zone"]} == {"VLM", "LLM", "Video"}
    unseen = {q.category for q in benchmark_questions("zone_text_new", 8)}
    assert unseen == set(ZONE_NEW_KINDS)
    assert {q.category in ZONE_HARD for q in benchmark_questions("zone_rows", 18)} == {True, False}


STUDENTS = ("nano:zone-student", "nano:zone-small")


@pytest.mark.parametrize("student", STUDENTS)
def test_hard_kinds_are_out_of_reach_of_sampling_and_followed_when_shown(student: str) -> None:
    """The criteria of the world; docs/zone.md has the rates themselves."""
    model, renderer = models.load(student, torch.float32)
    measured = rates.rates(model, renderer, questions=8, samples=4)
    cells = {(r.kind, r.asked): r for r in measured}
    assert len(cells) == len(WORLDS["zone"]) * len(rates.ASKED)
    out_of_reach = [kind for kind in ZONE_HARD if kind not in ZONE_ASIDE]
    for kind in out_of_reach:
        assert cells[kind, "plain"].procedure <= 1e-4, kind
        assert cells[kind, "plain"].accuracy == 0.0, kind
    for kind in ZONE_EASY:
        assert cells[kind, "plain"].procedure > 0.95, kind
    for asked in ("bcq", "ncq"):
        followed = [cells[kind, asked].procedure for kind in out_of_reach]
        assert 0.25 < sum(followed) / len(followed) < 0.65, asked


@pytest.mark.parametrize("student", STUDENTS)
def test_most_questions_enter_at_nothing(student: str) -> None:
    model, renderer = models.load(student, torch.float32)
    questions = train_questions(54, 0, "zone")
    prompts = [Prompt(OURS.with_closer(q.text), q.images) for q in questions]
    groups = HfEngine(model, renderer, "student").generate(prompts, Sampling(64, 8), range(54))
    graded = Grader().grade_many(
        [(c.text, q.gold) for q, group in zip(questions, groups, strict=True) for c in group]
    )
    accuracy = np.array([g.reward for g in graded]).reshape(54, 8).mean(1)
    assert (accuracy == 0).mean() >= 0.5
    assert (accuracy > 0.5).mean() > 0.25  # and others are right


def test_the_teacher_follows_the_right_procedures() -> None:
    model, renderer = models.load("nano:zone-teacher", torch.float32)
    measured = [r for r in rates.rates(model, renderer, 6, 2) if r.asked == "plain"]
    assert min(r.procedure for r in measured) > 0.9
    assert sum(r.accuracy for r in measured) / len(measured) > 0.8


def test_a_procedures_probability_is_the_share_of_responses_that_follow_it() -> None:
    model, renderer = models.load("nano:zone-student", torch.float32)
    rng = np.random.default_rng(1)
    facts = [draw_facts(rng, kind, "text", True, "zone") for kind in ("sum", "evens") * 4]
    prompts = rates.prompts(facts, "bcq", seed=0)
    chances = rates.procedures(model, renderer, facts, prompts)
    groups = HfEngine(model, renderer, "student").generate(prompts, Sampling(64, 40), range(8))
    for one, chance, group in zip(facts, chances, groups, strict=True):
        word = worked_solution(one).split()[2]
        share = sum(f" {word} " in completion.text for completion in group) / 40
        assert abs(share - chance) < 0.3  # 3.8 standard errors
    assert 0.05 < np.mean(chances) < 0.95


def test_each_checkpoint_is_small_and_one_student_has_half_the_parameters() -> None:
    for name in nano_zone.NAMES:
        folder = resolve(f"nano:{name}")
        assert sum(f.stat().st_size for f in folder.iterdir()) < 3_000_000
    for name in ("zone-teacher", "zone-student"):
        assert models.shape(f"nano:{name}") == models.shape("nano:student")
    larger, smaller = (models.shape(student)[0] for student in STUDENTS)
    assert 0.5 < smaller / larger < 0.55
    assert load("zone-small").student.model == "nano:zone-small"
    assert load("zone-small").teacher == load("zone").teacher
    assert scale_of("nano:zone-small") == "zone-small"


def test_a_shortened_rebuild_is_the_same_twice(tmp_path: Path) -> None:
    short = {"clean_steps": 1, "student_steps": 1, "batch": 8, "pool": 24, "warmup": 1}
    teacher, first, last, small = (
        replace(recipe, **short)
        for recipe in (
            nano_zone.TEACHER,
            nano_zone.STUDENT,
            nano_zone.LAST,
            nano_zone.FROM_NOTHING,
        )
    )
    hashes = []
    for name in ("a", "b"):
        nano_zone.build_zone(tmp_path / name, nano_zone.NAMES, teacher, (first, last), small)
        hashes.append([folder_hash(tmp_path / name / n) for n in nano_zone.NAMES])
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0])) == 3
    phases = json.loads((tmp_path / "a/zone-student/recipe.json").read_text())
    assert [phase["seed"] for phase in phases] == [0, 1]


def test_the_command_names_what_it_cannot_build(tmp_path: Path, capsys) -> None:
    assert command.main(["zone", "--out", str(tmp_path), "--only", "zone-studnet"]) == 2
    assert "zone-student" in capsys.readouterr().err
    with pytest.raises(UserError, match="nano zone"):
        resolve("nano:zone-professor")


def test_random_words_are_as_long_as_the_candidates_and_hold_nothing_of_them() -> None:
    rng = np.random.default_rng(1)
    facts = [draw_facts(rng, kind, "row", True, "zone") for kind in ("sum", "evens") * 2]
    bcq, words = (rates.prompts(facts, asked, seed=0) for asked in ("bcq", "lorem"))
    for one, shown, spoken in zip(facts, bcq, words, strict=True):
        # a space at the end of a candidate is taken off
        assert abs(len(spoken.text) - len(shown.text)) <= 2
        assert spoken.images == shown.images
        for way in ("right", "wrong"):
            candidate = rates.bare(worked_solution(one, way))
            assert candidate in shown.text
            assert candidate not in spoken.text
