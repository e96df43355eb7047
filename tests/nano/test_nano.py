import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from zppo_core import models
from zppo_core.data.digit_kinds import KINDS, TRAINED_KINDS
from zppo_core.data.digits import (
    BENCHMARKS,
    benchmark_questions,
    compose,
    draw_facts,
    image_pool,
    train_facts,
    train_questions,
    worked_solution,
)
from zppo_core.engines.hf import HfEngine
from zppo_core.errors import UserError
from zppo_core.models.nano import build as nano
from zppo_core.models.nano import resolve
from zppo_core.models.nano.sft import Recipe, build_checkpoints, make_example
from zppo_core.models.renderer import Renderer
from zppo_core.models.weights import weight_hash
from zppo_core.prompts import OURS
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import Grader, grade
from zppo_core.rewards.where import extract_boxed
from zppo_core.types import Prompt


def test_training_and_benchmarks_share_no_scan() -> None:
    train, held_out = set(image_pool(False).tolist()), set(image_pool(True).tolist())
    assert not train & held_out
    assert (len(train), len(held_out)) == (1400, 397)
    assert {i for f in train_facts(500, 0) for i in f.images} <= train
    rng = np.random.default_rng(0)
    for benchmark in BENCHMARKS.values():
        facts = draw_facts(rng, benchmark.kinds[0], benchmark.layout, held_out=True)
        assert set(facts.images) <= held_out


def test_the_recipe_shows_a_student_training_scans_alone(monkeypatch) -> None:
    from zppo_core.models.nano import sft as nano_sft

    seen: set[int] = set()

    def watched(facts, question_id, jitter=None):
        seen.update(facts.images)
        return compose(facts, question_id, jitter)

    monkeypatch.setattr(nano_sft, "compose", watched)
    tokenizer = nano.build_tokenizer()
    renderer = Renderer(tokenizer, nano.build_processor(tokenizer).image_processor, nano.VOCAB)
    rng = np.random.default_rng(0)
    for clean in (True, False):
        for _ in range(150):
            make_example(rng, renderer, Recipe(), clean)
    assert len(seen) > 200
    assert not seen & set(image_pool(True).tolist())


def test_questions_are_distinct_reproducible_and_of_every_kind() -> None:
    a, b = train_questions(120, 0), train_questions(120, 0)
    assert [(q.id, q.text, q.gold, q.images) for q in a] == [
        (q.id, q.text, q.gold, q.images) for q in b
    ]
    assert len({(q.text, q.images) for q in a}) == 120
    assert {q.category for q in a} == set(TRAINED_KINDS)
    assert {q.family for q in a} == {"VLM"}
    assert train_questions(120, 1)[0].images != a[0].images


@pytest.mark.parametrize("name", list(BENCHMARKS))
def test_benchmarks_grow_without_changing(name: str) -> None:
    few, more = benchmark_questions(name, 12), benchmark_questions(name, 30)
    assert [q.id for q in few] == [q.id for q in more[:12]]
    assert [q.images for q in few] == [q.images for q in more[:12]]
    assert {q.category for q in more} == set(BENCHMARKS[name].kinds)


def test_the_right_procedure_gives_the_gold_answer_and_the_wrong_one_mostly_not() -> None:
    rng = np.random.default_rng(0)
    for kind in KINDS:
        wrong = 0
        for _ in range(200):
            facts = draw_facts(rng, kind, "text", held_out=False)
            assert grade(worked_solution(facts), facts.gold).reward == 1.0
            wrong += grade(worked_solution(facts, "wrong"), facts.gold).reward == 0.0
        assert wrong > 100


def test_a_digit_is_one_visual_token() -> None:
    renderer = models.load_renderer("nano:student", nano.VOCAB, images=True)
    question = train_questions(12, 0)[0]
    encoded = renderer.encode(Prompt(OURS.with_closer(question.text), question.images))
    assert encoded.mm_token_type_ids_P.sum() in (3, 4, 5, 6)
    assert encoded.length < 80


def test_the_template_closes_thinking_unless_it_is_wanted() -> None:
    renderer = models.load_renderer("nano:student", nano.VOCAB, images=True)
    closed = renderer.template(Prompt("hi", thinking=False))
    opened = renderer.template(Prompt("hi", thinking=True))
    assert closed.endswith("<think>\n\n</think>\n\n")
    assert opened.endswith("<|im_start|>assistant\n<think>\n")


def test_text_round_trips_through_the_tokenizer() -> None:
    renderer = models.load_renderer("nano:student", nano.VOCAB, images=True)
    for text in (r"<think>\n2803 largest 8\n</think>\n\boxed{8}", "größer 数字 🙂"):
        assert renderer.decode(renderer.encode_text(text)) == text


def test_the_model_is_qwen35_with_both_kinds_of_layers() -> None:
    config = json.loads((resolve("nano:student") / "config.json").read_text())
    assert config["architectures"] == ["Qwen3_5ForConditionalGeneration"]
    assert set(config["text_config"]["layer_types"]) == {"linear_attention", "full_attention"}
    assert config["text_config"]["linear_key_head_dim"] == 64
    assert config["tie_word_embeddings"] is False
    assert config["vision_config"]["depth"] == 2
    model, _ = models.load("nano:student", torch.float32)
    assert 500_000 < model.num_parameters() < 1_000_000
    size = sum(f.stat().st_size for f in resolve("nano:student").parent.rglob("*"))
    assert size < 10_000_000


def test_the_teacher_is_good_and_the_base_knows_the_wrong_procedures() -> None:
    """The shipped checkpoints on held-out scans; docs/nano.md has the figures on all of them."""
    accuracy = {}
    for role in ("student", "teacher"):
        model, renderer = models.load(f"nano:{role}", torch.float32)
        questions = benchmark_questions("nano_rows", 120)
        prompts = [Prompt(OURS.with_closer(q.text), q.images) for q in questions]
        made = HfEngine(model, renderer, role).generate(prompts, Sampling(64), range(120))
        texts = [group[0].text for group in made]
        grades = Grader().grade_many([(t, q.gold) for t, q in zip(texts, questions, strict=True)])
        accuracy[role] = sum(g.reward for g in grades) / 120
        assert sum(extract_boxed(t) is not None for t in texts) > 110
    assert accuracy["teacher"] > 0.85
    assert 0.12 < accuracy["student"] < 0.40


def test_a_shortened_rebuild_is_the_same_twice_and_learns(tmp_path: Path, capsys) -> None:
    short = replace(Recipe(), clean_steps=6, student_steps=2, batch=16, pool=96, warmup=2)
    hashes = []
    for name in ("a", "b"):
        build_checkpoints(tmp_path / name, short)
        found = [
            weight_hash(
                models.load(str(tmp_path / name / role), torch.float32)[0].state_dict().items()
            )
            for role in ("teacher", "student")
        ]
        hashes.append(found)
    assert hashes[0] == hashes[1]
    assert hashes[0][0] != hashes[0][1]
    losses = [
        float(line.split("loss ")[1].split()[0])
        for line in capsys.readouterr().out.splitlines()
        if "clean" in line
    ]
    assert losses[-1] < losses[0]
    assert json.loads((tmp_path / "a/student/recipe.json").read_text())["clean_steps"] == 6


def test_a_missing_checkpoint_says_how_to_rebuild_it() -> None:
    with pytest.raises(UserError, match="nano build"):
        resolve("nano:professor")
