"""Presets, overrides, and errors that name the remedy."""

import pytest

from zppo_core import config, memory
from zppo_core.config import LAYOUTS, load
from zppo_core.errors import UserError


def test_override_types():
    c = config.load("nano", ["optimizer.lr=1e-4", "optimizer.betas=0.8,0.9", "replay.refresh=true",
                             "rollout.new_prompts=7", "run.method=grpo"])  # fmt: skip
    assert (c.optimizer.lr, c.optimizer.betas, c.replay.refresh) == (1e-4, (0.8, 0.9), True)
    assert (c.rollout.new_prompts, c.run.method, c.scale) == (7, "grpo", "nano")


def test_defaults_are_table_8():
    c = config.Config()
    assert (c.rollout.group_size, c.teacher.rollouts, c.replay.threshold) == (8, 4, 0.5)
    assert (c.replay.ratio, c.reformulation.ratio, c.replay.capacity) == (0.25, 0.25, 10_000)
    assert (c.optimizer.updates, c.rollout.new_prompts, c.optimizer.lr) == (4, 384, 1e-6)
    assert (c.loss.clip_low, c.loss.clip_high, c.loss.dual_clip) == (0.2, 0.28, 10.0)
    assert (c.rollout.max_tokens, c.reformulation.candidate_tokens) == (12288, 512)
    assert (c.optimizer.betas, c.optimizer.weight_decay) == ((0.9, 0.999), 0.1)


def test_json_round_trip():
    import json

    c = config.load("nano")
    assert config.from_dict(json.loads(c.to_json())) == c


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("optimizer.lrr=1", "did you mean optimizer.lr?"),
        ("optimiser.lr=1", "did you mean 'optimizer'?"),
        ("data.min_pixels=-1", "data.min_pixels must be >= 0 and at most"),
        ("optimizer.lr=fast", "'fast' is not float"),
        ("rollout.new_prompts=1.5", "is not int"),
        ("advantage.norm=std", "one of nonzero, all, none, grpo"),
        ("run.method=zpo", "did you mean 'zppo'?"),
        ("optimizer.lr", "section.field=value"),
        ("scale=4B", "section.field=value"),
        ("rollout.temperature=0.7", "must be 1"),
        ("replay.threshold=0", "(0, 1]"),
        ("optimizer.betas=0.9", "is not"),
    ],
)
def test_faults_are_one_line_with_the_fix(override, message):
    with pytest.raises(UserError) as error:
        config.load("nano", [override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_unknown_scale_names_the_nearest():
    with pytest.raises(UserError, match=r"0\.8B"):
        config.load("0.8b")


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("scale", ["0.8B", "2B", "4B", "9B"])
def test_a_layout_changes_the_machine_of_a_preset_and_not_its_recipe(scale, layout) -> None:
    plain = load(scale)
    there = load(f"{scale}@{layout}", ["compute.rendezvous=10.0.0.1:29500"])
    assert there.scale == scale
    for section in ("rollout", "replay", "reformulation", "advantage", "loss", "optimizer"):
        assert getattr(there, section) == getattr(plain, section)
    assert there.compute != plain.compute


def test_layouts_fit_the_gpus_they_are_named_after() -> None:
    endpoint = ["teacher.endpoint=http://host:8000/v1"]
    for scale in ("0.8B", "2B", "4B"):
        assert memory.fault(load(f"{scale}@lora-24gb", endpoint), 24) == ""
    for scale in ("0.8B", "2B", "4B", "9B"):
        assert memory.fault(load(f"{scale}@one-gpu", endpoint), 80) == ""
        assert memory.fault(load(f"{scale}@eight-gpus"), 80) == ""
    # without an address the teacher's 27 B would take turns on the same GPU
    assert "teacher.endpoint" in memory.fault(load("4B@lora-24gb"), 24)
    assert memory.fault(load("4B@one-gpu"), 80) == ""
    assert "vLLM gets" in memory.fault(load("9B@lora-24gb", endpoint), 24)


def test_an_unknown_layout_names_the_nearest() -> None:
    with pytest.raises(UserError, match="one-gpu"):
        load("4B@one-gpus")
