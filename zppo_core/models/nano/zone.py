r"""How the checkpoints of the world `zone` are taught: a student that sampling alone cannot help.

    zppo nano zone --out DIR        # nano:zone-teacher, nano:zone-student and nano:zone-small

The teacher is nano's, taught the zone's kinds in every layout. The student leaves its weights and
learns to be always right on the easy kinds and never on the hard ones. A share of right solutions,
however small, would let it find the others: "do not follow the wrong procedure" is one direction
in its weights. Prompts with candidates keep the ability alive: half of them are followed right.

The smaller student is taught the right procedures from random weights, then as the other one.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from zppo_core.data.digit_kinds import ZONE_EASY, ZONE_HARD
from zppo_core.models.nano import build as nano
from zppo_core.models.nano import resolve
from zppo_core.models.nano.sft import Recipe, make_pool, save, train
from zppo_core.models.renderer import Renderer

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TEACHER = Recipe(world="zone", clean_steps=300, lr=1e-3, warmup=30, pool=8000, student_from=1.0)
STUDENT = replace(
    TEACHER,
    student_steps=160,
    student_lr=6e-4,
    candidates=0.25,
    pool=6000,
    right_shares=dict.fromkeys(ZONE_EASY, 1.0) | dict.fromkeys(ZONE_HARD, 0.0),
)
# short prompts above all, until the right procedures of hard kinds are out of reach
LAST = replace(
    STUDENT,
    seed=1,
    batch=64,
    student_steps=150,
    student_lr=4e-4,
    warmup=10,
    candidates=0.15,
    pool=4000,
)
# the output head's weights are multiplied by it, as if sampled at half the temperature: what was
# rare is out of reach, and what was even, as with candidates, stays about even
SHARPER = 2.0
NAMES = ("zone-teacher", "zone-student", "zone-small")
SMALL = 48  # width of the smaller student, half of the other's
FROM_NOTHING = replace(TEACHER, clean_steps=1400, lr=2e-3, warmup=100, pool=24_000)


def build_zone(
    out: Path,
    names: tuple[str, ...] = NAMES,
    teacher: Recipe = TEACHER,
    student: tuple[Recipe, Recipe] = (STUDENT, LAST),
    small: Recipe = FROM_NOTHING,
) -> None:
    """Write the checkpoints `names` into `out` as ordinary folders, in half precision.

    The teacher begins with the shipped nano:teacher, the student with the zone's teacher: the one
    built here, else the shipped one. `student` are the phases of each student, one after the other,
    before which the smaller one is taught by `small`. One thread: the sums do not depend on the
    machine's number of cores.
    """
    torch.set_num_threads(1)
    tokenizer = nano.build_tokenizer()
    renderer = Renderer(tokenizer, nano.build_processor(tokenizer).image_processor, nano.VOCAB)
    if "zone-teacher" in names:
        model = _begun_with(resolve("nano:teacher"))
        _learn_clean(model, renderer, teacher, "zone teacher")
        save(model, renderer, out / "zone-teacher", teacher)
    if "zone-student" in names:
        fresh = out / "zone-teacher"
        model = _begun_with(fresh if fresh.is_dir() else resolve("nano:zone-teacher"))
        _learn_the_zone(model, renderer, student)
        save(model, renderer, out / "zone-student", *student)
    if "zone-small" in names:
        model = nano.build_model(tokenizer, small.seed, SMALL)
        _learn_clean(model, renderer, small, "clean")
        save(model, renderer, out / "zone-small", small)
        model = _begun_with(out / "zone-small")
        _learn_the_zone(model, renderer, student)
        save(model, renderer, out / "zone-small", small, *student)


def _learn_clean(model: PreTrainedModel, renderer: Renderer, recipe: Recipe, name: str) -> None:
    """Teach the right procedures; half precision from then on."""
    pool = make_pool(renderer, recipe, clean=True, n=recipe.pool)
    train(model, pool, recipe, recipe.clean_steps, recipe.lr, name, renderer.pad_id)
    model.half()


def _learn_the_zone(
    model: PreTrainedModel, renderer: Renderer, phases: tuple[Recipe, Recipe]
) -> None:
    """Make the easy kinds right and the hard ones wrong, in two phases, and sharpen the output."""
    for name, recipe in zip(("zone student", "last"), phases, strict=True):
        pool = make_pool(renderer, recipe, clean=False, n=recipe.pool)
        steps, lr = recipe.student_steps, recipe.student_lr
        train(model.float(), pool, recipe, steps, lr, name, renderer.pad_id)
        model.half()  # a phase ends, and the next begins, with what a file would hold
    head: Any = model.get_output_embeddings()
    head.weight.data *= SHARPER


def _begun_with(folder: Path) -> PreTrainedModel:
    from transformers import Qwen3_5ForConditionalGeneration

    return Qwen3_5ForConditionalGeneration.from_pretrained(folder, dtype=torch.float32)
