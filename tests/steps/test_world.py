"""What the configuration says reaches engines, trainer, buffer and reward."""

import pytest

from zppo_core.algorithm.reformulation import PromptContext
from zppo_core.algorithm.reformulations.hint import writer_of
from zppo_core.config import Config, load
from zppo_core.rewards.grading import RuleGrading
from zppo_core.run.session import OwnReward, open_session
from zppo_core.store.objects import LocalStore


def world_of(tmp_path, *sets: str):
    config: Config = load("nano", ["data.train_questions=40", *sets])
    return open_session(config, LocalStore(tmp_path), lambda phase: lambda done, total: None)


def test_every_part_is_built_by_its_own_settings(tmp_path) -> None:
    prompts = tmp_path / "prompts"
    prompts.mkdir()
    (prompts / "closer.jinja").write_text("Box it.")
    world = world_of(
        tmp_path / "cache",
        "replay.capacity=7",
        "replay.threshold=0.75",
        "replay.refresh=true",
        "reformulation.candidate_tokens=33",
        "reformulation.retries=3",
        "optimizer.lr=0.001",
        "optimizer.betas=0.7,0.8",
        "optimizer.eps=0.25",
        "optimizer.weight_decay=0.5",
        "optimizer.max_grad_norm=2.5",
        "loss.clip_low=0.1",
        "loss.clip_high=0.3",
        "loss.dual_clip=4",
        "loss.importance_cap=1.5",
        "trainer.token_budget=1234",
        f"data.prompts={prompts}",
    )
    try:
        buffer, roles, trainer = world.state.buffer, world.roles, world.trainer
        assert (buffer.capacity, buffer.threshold, buffer.refresh) == (7, 0.75, True)
        assert (roles.compressor.cap, roles.compressor.retries) == (33, 3)
        hints = writer_of(PromptContext(roles, world.config, 0))
        assert (hints.cap, hints.retries) == (33, 3)
        assert roles.compressor.engine is roles.teachers[0]
        assert roles.templates is roles.compressor.templates is hints.templates
        assert roles.templates.closer == "Box it."
        (group,) = trainer.optimizer.param_groups
        found = [group[k] for k in ("lr", "betas", "eps", "weight_decay")]
        assert found == [0.001, (0.7, 0.8), 0.25, 0.5]
        assert trainer.max_grad_norm == 2.5
        assert trainer.loss == world.config.loss
        assert trainer.trainer == world.config.trainer
        assert trainer.teacher is None
        assert isinstance(roles.grading, RuleGrading)
        assert roles.grading.judge is None
        # texts are measured in tokens, not in letters
        assert 0 < roles.compressor.count_tokens("seven times eight is 56") < 23
    finally:
        world.close()


@pytest.mark.parametrize(
    ("method", "teachers", "taught"),
    [("grpo", 0, False), ("grpo_replay", 0, False), ("zppo", 1, False), ("on_distill", 1, True)],
)
def test_a_teacher_is_there_where_the_method_wants_one(
    tmp_path, method: str, teachers: int, taught: bool
) -> None:
    world = world_of(tmp_path, f"run.method={method}")
    try:
        assert len(world.roles.teachers) == teachers
        assert (world.trainer.teacher is not None) is taught
        assert (world.teacher_params > 0) is (teachers > 0)
        if taught:
            assert world.trainer.teacher is not world.model
    finally:
        world.close()


def test_compression_by_extract_asks_nobody_and_an_own_reward_takes_the_rules_place(
    tmp_path,
) -> None:
    sets = ("reformulation.compression=extract", "data.reward=json:loads")
    world = world_of(tmp_path, *sets)
    try:
        assert world.roles.compressor.engine is None
        hints = writer_of(PromptContext(world.roles, world.config, 0))
        assert hints.engine is world.roles.teachers[0]
        assert isinstance(world.roles.grading, OwnReward)
        assert world.roles.grading.function == "json:loads"
    finally:
        world.close()
