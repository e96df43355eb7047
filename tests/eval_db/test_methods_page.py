"""Table 8, row by row: the paper's value is our default, or docs/methods.md says what differs."""

import re
from pathlib import Path
from typing import Any

import pytest

from eval.report.published import reference
from zppo_core.config import Config, load
from zppo_core.config.methods import METHODS
from zppo_core.engines.vllm_kind import vllm_settings
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import grade

PAGE = (Path(__file__).parents[2] / "docs" / "methods.md").read_text(encoding="utf-8")
DIFFER = PAGE.partition("## Where we differ")[2].partition("## Where the paper leaves room")[0]
ROWS = {r["name"]: r for r in reference("hyperparameters")}
C = load("4B")
NODES = load("4B@eight-nodes").compute
GPUS = NODES.update_hosts * NODES.student_gpus
# name in Table 8 -> our value of it
SAME: dict[str, Any] = {
    "teacher_model": C.teacher.model,
    "gpus_per_node_student": C.compute.student_gpus,
    "gpus_per_node_teacher": C.compute.teacher_gpus,
    "total_gpus": NODES.update_hosts * (NODES.student_gpus + NODES.teacher_gpus),
    "learning_rate": C.optimizer.lr,
    "adam_beta1": C.optimizer.betas[0],
    "adam_beta2": C.optimizer.betas[1],
    "adam_epsilon": C.optimizer.eps,
    "weight_decay": C.optimizer.weight_decay,
    "max_grad_norm": C.optimizer.max_grad_norm,
    "student_group_size_G_S": C.rollout.group_size,
    "teacher_group_size_G_T": C.teacher.rollouts,
    "train_temperature_student": C.rollout.temperature,
    "train_top_p_student": C.rollout.top_p,
    "max_prompt_length": C.data.max_prompt_tokens,
    "max_response_length_student": C.rollout.max_tokens,
    "max_response_length_teacher": C.rollout.max_tokens,
    "clip_low": C.loss.clip_low,
    "clip_high": C.loss.clip_high,
    "dual_clip_ratio": C.loss.dual_clip,
    "iterations_per_step_I": C.optimizer.updates,
    "hard_question_threshold_tau": C.replay.threshold,
    "replay_fraction_rho_replay": C.replay.ratio,
    "replay_buffer_capacity": C.replay.capacity,
    "augmentation_fraction_rho_aug": C.reformulation.ratio,
    "candidate_compression_max_tokens": C.reformulation.candidate_tokens,
    "global_batch_size": C.rollout.new_prompts // C.optimizer.updates,
    "rollout_batch_size": C.rollout.new_prompts,
    "total_rollout_steps": C.run.rollout_steps,
    "total_gradient_updates": C.run.rollout_steps * C.optimizer.updates,
}
FIELDS = {section: " ".join(v) for section, v in C.to_dict().items() if isinstance(v, dict)}
# what is no number of the configuration: how ours can be seen to be the paper's
ALGORITHM = {
    "student_model": C.student.model.startswith("Qwen/Qwen3.5-"),
    "backbone_family": "Qwen3.5" in C.student.model,
    "lr_scheduler": "schedule" not in FIELDS["optimizer"],
    "lr_warmup_ratio": "warm" not in FIELDS["optimizer"],
    "ppo_inner_epochs": "epoch" not in FIELDS["optimizer"],
    "kl_coefficient": "kl" not in FIELDS["loss"],
    "reference_reset_count": "reference" not in FIELDS["loss"],
    "online_filtering": not METHODS["zppo"].dynamic_sampling,
    "tensor_parallel_size_student": "tensor_parallel_size"
    not in vllm_settings(C, 0.4, C.student.model),
    "train_temperature_teacher": Sampling(C.rollout.max_tokens).temperature == 1.0,
    "train_top_p_teacher": Sampling(C.rollout.max_tokens).top_p == 1.0,
    "reward": {grade(t, "7").reward for t in (r"\boxed{7}", r"\boxed{8}", "7")} == {0, 1},
    "advantage_estimator": C.advantage.norm == "nonzero",
    "batch_advantage_normalization": C.advantage.norm == "nonzero",
    "loss_aggregation": "aggregation" not in FIELDS["loss"],
    "eviction_policy": not C.replay.refresh,
}
# what differs: the words in which the page names it
LISTED = {
    "optimizer": "| optimizer state |",
    "mixed_precision": "| mixed precision |",
    "fsdp_sharding": "| sharding |",
    "fused_lm_head_kernel": "| fused LM head |",
    "tensor_parallel_size_teacher": "| tensor parallel, teacher |",
    "candidate_compression": "| candidate compression |",
    "data_sampling": "| data sampling |",
    "micro_batch_size_per_device_update": "| micro-batch per device |",
    "micro_batch_size_per_device_experience": "| micro-batch per device |",
    "gradient_accumulation_per_update": "| micro-batch per device |",
    "padding_free_training": "| padding-free |",
}


def test_every_row_of_table_8_is_one_of_the_three():
    assert {*SAME, *ALGORITHM, *LISTED} == set(ROWS)
    assert len(SAME) + len(ALGORITHM) + len(LISTED) == len(ROWS) == 57


@pytest.mark.parametrize("name", sorted(SAME))
def test_a_value_of_table_8_is_the_default(name):
    printed, ours = ROWS[name]["value"], SAME[name]
    assert (ours if isinstance(ours, str) else float(ours)) == (
        printed if isinstance(ours, str) else float(printed)
    )


@pytest.mark.parametrize("name", sorted(ALGORITHM))
def test_what_is_no_number_of_the_configuration_is_as_table_8_says(name):
    assert ALGORITHM[name]


@pytest.mark.parametrize("name", sorted(LISTED))
def test_what_differs_from_table_8_stands_on_the_page(name):
    assert LISTED[name] in DIFFER


def test_every_setting_that_the_page_names_exists():
    named = set(re.findall(r"`((?:[a-z_0-9]+)\.(?:[a-z_]+))(?:=([^`]+))?`", DIFFER))
    assert len(named) > 8
    for field, value in named:
        section, _, name = field.partition(".")
        if section in ("eval",):  # a command
            continue
        assert name in Config().to_dict()[section], field
        if value:
            load("4B", ["loss.importance_cap=2", f"{field}={value}"])  # staleness wants a cap
