"""The method of ZPPO (arXiv 2606.18216), without Metaflow: algorithm, engines, trainer, store.

    import zppo_core as zppo

    result = zppo.train("nano")
    zppo.grade(r"so \boxed{0.5}", gold=r"\frac12").reward  # 1.0

Public names are loaded when they are first used, so that an import costs nothing. What is exported
is what the product itself calls.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zppo_core.algorithm.advantages import group_advantages as group_advantages
    from zppo_core.algorithm.augmentation_plan import plan_augmentations as plan_augmentations
    from zppo_core.algorithm.losses import policy_loss as policy_loss
    from zppo_core.algorithm.reformulations.bcq import reformulate_bcq as reformulate_bcq
    from zppo_core.algorithm.reformulations.ncq import reformulate_ncq as reformulate_ncq
    from zppo_core.algorithm.replay_buffer import PromptReplayBuffer as PromptReplayBuffer
    from zppo_core.config import Config as Config
    from zppo_core.config import load
    from zppo_core.config.methods import METHODS as METHODS
    from zppo_core.errors import UserError as UserError
    from zppo_core.rewards.answers import AnswerSpec as AnswerSpec
    from zppo_core.rewards.grader import grade as grade
    from zppo_core.rewards.where import extract_boxed as extract_boxed
    from zppo_core.types import Grade as Grade
    from zppo_core.types import Question as Question

    load_config = load

# Metaflow packs only the flow's own folder unless a package asks to travel to remote tasks.
METAFLOW_PACKAGE_POLICY = "include"

# public name -> its module, or module:name where it is called otherwise there
_HOMES = {
    "AnswerSpec": "zppo_core.rewards.answers",
    "Config": "zppo_core.config",
    "Grade": "zppo_core.types",
    "METHODS": "zppo_core.config.methods",
    "PromptReplayBuffer": "zppo_core.algorithm.replay_buffer",
    "Question": "zppo_core.types",
    "UserError": "zppo_core.errors",
    "extract_boxed": "zppo_core.rewards.where",
    "grade": "zppo_core.rewards.grader",
    "group_advantages": "zppo_core.algorithm.advantages",
    "load_config": "zppo_core.config:load",
    "plan_augmentations": "zppo_core.algorithm.augmentation_plan",
    "reformulate_bcq": "zppo_core.algorithm.reformulations.bcq",
    "reformulate_ncq": "zppo_core.algorithm.reformulations.ncq",
    "policy_loss": "zppo_core.algorithm.losses",
    # the front door of the whole: the pipeline ends in scores, so it lies with evaluation
    "train": "eval.pipeline",
}


def __getattr__(name: str) -> Any:
    """A public name from the module that defines it (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, inside = _HOMES[name].partition(":")
    return getattr(import_module(module), inside or name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
