"""A family of models is one folder, from another package too."""

import tomllib

import numpy as np
import pytest
import torch
from families import QWEN
from short_run import ROOT, rows, short_run

from zppo_core import models
from zppo_core.algorithm.train_groups import Suffix, TrainGroup
from zppo_core.config import LossConfig, OptimizerConfig, TrainerConfig
from zppo_core.engines.hf import HfEngine
from zppo_core.models.families import ANY, GROUP, families, family_of
from zppo_core.protocols import Sampling
from zppo_core.training.updater import Trainer
from zppo_core.types import Prompt

FOLDER = ROOT / "examples" / "toy_family"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as pip would leave it: its module in the path, its entry points listed."""
    points = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]["entry-points"]
    about = tmp_path / "site" / "toy_family-1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-family\nVersion: 1.0\n")
    lines = [f"{name} = {value}" for name, value in points[GROUP].items()]
    (about / "entry_points.txt").write_text(f"[{GROUP}]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.syspath_prepend(str(about.parent))
    families.cache_clear()
    yield
    families.cache_clear()


@pytest.fixture
def checkpoint(installed, tmp_path) -> str:
    """Random weights of a few kilobytes, and a tokenizer of eight words."""
    import toy_gru

    torch.manual_seed(0)
    tokenizer = QWEN.tokenizer()
    folder = tmp_path / "toy"
    toy_gru.ToyForCausalLM(toy_gru.ToyConfig(len(tokenizer))).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    assert (folder / "model.safetensors").stat().st_size < 20_000
    return str(folder)


def test_a_family_of_ones_own_is_found_by_its_entry_point(installed) -> None:
    assert family_of("toy_gru").name == "toy GRU"
    assert family_of("qwen3_5").name == "Qwen3.5"
    assert family_of("llama") is ANY


def test_it_loads_samples_and_learns_from_what_it_sampled(checkpoint) -> None:
    model, renderer = models.load(checkpoint, torch.float32)
    engine = HfEngine(model, renderer, "toy")
    assert engine.context == 4096
    prompts = [Prompt("one two three"), Prompt("the answer is")]
    groups = engine.generate(prompts, Sampling(6, 3), [1, 2])
    trainer = Trainer(
        model,
        renderer.forbidden_ids,
        renderer.pad_id,
        TrainerConfig(),
        OptimizerConfig(lr=1e-2),
        LossConfig(),
    )
    assert (trainer.mode, trainer.mode_reason) == ("shared_prefix", "a recurrent state")
    train = []
    for i, (prompt, members) in enumerate(zip(prompts, groups, strict=True)):
        suffixes = [
            Suffix(
                c.token_ids_T,
                np.ones(len(c.token_ids_T), bool),
                np.full(len(c.token_ids_T), 1.0 - j, np.float32),
                c.logp_T,
            )
            for j, c in enumerate(members)
        ]
        train.append(TrainGroup(f"g{i}", "plain", renderer.encode(prompt), tuple(suffixes)))
    before = models.weights_name(model)
    scores = trainer.score(train)
    for group, row in zip(train, scores, strict=True):
        for suffix, logp_T in zip(group.suffixes, row, strict=True):
            np.testing.assert_allclose(logp_T, suffix.sampler_logp_T, atol=1e-5)
    metrics = trainer.update(train)
    assert metrics.grad_norm > 0.0
    assert metrics.mismatch_max < 1e-5
    assert models.weights_name(model) != before


def test_a_run_may_have_it_for_student_and_teacher(checkpoint, tmp_path) -> None:
    table = tmp_path / "own.jsonl"
    table.write_text('{"question": "the answer is", "answer": "one"}\n' * 8)
    run = short_run(
        tmp_path,
        student__model=checkpoint,
        teacher__model=checkpoint,
        data__source=table,
        data__train_questions=0,
        reformulation__compression="extract",
    )
    assert len(rows(run, "plain", "groups")) == 8
    (update,) = rows(run, "update", "updates")
    assert not update["skipped"]
