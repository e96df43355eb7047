"""How the two nano checkpoints are taught: worked solutions, then imperfect ones for the student.

Clean phase: every kind in every layout by the right procedure, candidate prompts, compression. Its
last model is the teacher. The student is an earlier model of it, taught a little longer on
solutions of which, per kind, only a share follows the right procedure. What it then gets wrong is
its procedure, not its reading: the zone in which reinforcement learning can help.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from zppo_core.algorithm.reformulations.bcq import bcq_text
from zppo_core.algorithm.reformulations.ncq import ncq_text
from zppo_core.data.digit_kinds import NEW_KINDS, TRAINED_KINDS, WORLDS, Procedure, World
from zppo_core.data.digits import (
    BENCHMARKS,
    Facts,
    Layout,
    compose,
    draw_facts,
    worked_solution,
)
from zppo_core.models.collate import right_pad
from zppo_core.models.nano import build as nano
from zppo_core.models.renderer import Renderer
from zppo_core.prompts import OURS
from zppo_core.streams import derive_seed, stream
from zppo_core.types import EncodedPrompt, Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MICRO_BATCH = 32
LAYOUT_SHARES: dict[Layout, float] = {
    "row": 0.3,
    "grid": 0.3,
    "text": 0.2,
    "frames": 0.1,
    "frame_pairs": 0.1,
}
# share of worked solutions that follow the right procedure, in the student's phase
RIGHT_SHARES: dict[str, float] = {
    "max": 0.3,
    "count": 0.3,
    "diff": 0.08,
    "evens": 0.04,
    "prod": 0.04,
    "sum": 0.02,
    "min": 0.3,
    "odds": 0.1,
    "ends": 0.1,
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the two checkpoints."""

    world: World = "nano"
    seed: int = 0
    clean_steps: int = 1400
    student_from: float = 0.5  # share of the clean phase after which the student leaves it
    student_steps: int = 200
    batch: int = 128
    pool: int = 24_000  # examples composed once and drawn from
    lr: float = 1.5e-3
    student_lr: float = 3e-4
    warmup: int = 100
    candidates: float = 0.15  # share of prompts that show candidates
    compression: float = 0.12  # share of compression examples in the clean phase
    right_shares: dict[str, float] = field(default_factory=lambda: dict(RIGHT_SHARES))


@dataclass(frozen=True, eq=False)
class Example:
    """One encoded prompt and the response to learn, end token included."""

    prompt: EncodedPrompt
    response_T: np.ndarray


def make_example(
    rng: np.random.Generator, renderer: Renderer, recipe: Recipe, clean: bool
) -> Example:
    """Draw one example; the clean phase shows the right procedure alone, and compressions."""
    layouts = list(LAYOUT_SHARES)
    layout = layouts[int(rng.choice(len(layouts), p=list(LAYOUT_SHARES.values())))]
    kinds = kinds_in(recipe.world, layout)
    facts = draw_facts(rng, str(rng.choice(kinds)), layout, False, recipe.world)
    if clean and rng.random() < recipe.compression:
        source = worked_solution(facts, "right" if rng.random() < 0.5 else "wrong")
        summary = source.replace("<think>\n", "").replace("\n</think>", "")
        prompt = Prompt(OURS.compress(source))
        return encode(renderer, prompt, f"<summary>\n{summary}\n</summary>")
    question = compose(facts, "", jitter=rng)
    shows = rng.random() < recipe.candidates
    right_share = 1.0 if clean else recipe.right_shares[facts.kind]
    if shows and not clean:
        right_share = 0.5  # follow either candidate: reading them helps, trusting them does not
    procedure: Procedure = "right" if rng.random() < right_share else "wrong"
    text = candidate_prompt(rng, facts, question.text) if shows else OURS.with_closer(question.text)
    return encode(renderer, Prompt(text, question.images), worked_solution(facts, procedure))


def kinds_in(world: World, layout: Layout) -> tuple[str, ...]:
    """The kinds that a model is taught in this layout; of nano the new ones as text alone."""
    if world == "nano":
        return TRAINED_KINDS + NEW_KINDS if layout == "text" else TRAINED_KINDS
    return tuple(WORLDS[world])


def candidate_prompt(rng: np.random.Generator, facts: Facts, question_text: str) -> str:
    """A BCQ or NCQ prompt as reformulation builds them, from worked solutions."""
    right, wrong = summary_of(facts, "right"), summary_of(facts, "wrong")
    if rng.random() < 0.5:
        return bcq_text(question_text, right, wrong, bool(rng.random() < 0.5))
    answer = wrong.rsplit("{", 1)[1].rstrip("}")
    n = int(rng.integers(2, 9))
    return ncq_text(question_text, [answer], [wrong] * n)


def summary_of(facts: Facts, procedure: Procedure) -> str:
    """A worked solution as a compressed candidate: without its think tags."""
    return worked_solution(facts, procedure).replace("<think>\n", "").replace("\n</think>", "")


def encode(renderer: Renderer, prompt: Prompt, response: str) -> Example:
    ids = [*renderer.encode_text(response), renderer.end_id]
    return Example(renderer._encode(prompt), np.array(ids, dtype=np.int64))


def make_pool(renderer: Renderer, recipe: Recipe, clean: bool, n: int) -> list[Example]:
    """`n` examples, in a seeded order."""
    rng = stream(recipe.seed, "nano pool", "clean" if clean else "student")
    return [make_example(rng, renderer, recipe, clean) for _ in range(n)]


def learn_batch(model: PreTrainedModel, examples: Sequence[Example], pad_id: int) -> float:
    """Backward of the mean cross-entropy over response tokens (nats), returned too.

    Examples of like length go together: prompts with many candidates would pad all others.
    """
    ordered = sorted(examples, key=lambda e: e.prompt.length + len(e.response_T))
    tokens = sum(len(e.response_T) for e in ordered)
    total = 0.0
    for part in (ordered[i : i + MICRO_BATCH] for i in range(0, len(ordered), MICRO_BATCH)):
        batch = right_pad([e.prompt for e in part], [e.response_T for e in part], pad_id)
        hidden = model.model(**batch.model_inputs).last_hidden_state
        rows, columns = batch.response_rows, batch.response_columns
        predicted = model.lm_head(hidden[rows, columns - 1])
        target = batch.input_ids[rows, columns]
        loss = torch.nn.functional.cross_entropy(predicted, target, reduction="sum") / tokens
        loss.backward()
        total += loss.item()
    return total


def train(
    model: PreTrainedModel,
    pool: Sequence[Example],
    recipe: Recipe,
    steps: int,
    lr: float,
    name: str,
    pad_id: int,
    first: int = 0,
    optimizer: torch.optim.Optimizer | None = None,
    total: int | None = None,
) -> torch.optim.Optimizer:
    """Steps `first` to `first + steps` of a cosine schedule over `total`."""
    optimizer = optimizer or torch.optim.AdamW(
        model.parameters(), lr=lr, betas=(0.9, 0.98), weight_decay=0.01
    )
    total = total or steps
    started = time.monotonic()
    model.train()
    for step in range(first, first + steps):
        scale = min(1.0, (step + 1) / recipe.warmup)
        scale *= 0.5 * (1 + math.cos(math.pi * step / total)) * 0.97 + 0.03
        for group in optimizer.param_groups:
            group["lr"] = lr * scale
        rng = stream(recipe.seed, "nano batches", name, step)
        chosen = sorted(rng.choice(len(pool), recipe.batch, replace=False))
        loss = learn_batch(model, [pool[i] for i in chosen], pad_id)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if (step + 1) % 20 == 0 or step + 1 == first + steps:
            rate = (time.monotonic() - started) / (step + 1 - first)
            print(f"{name} {step + 1}/{total} loss {loss:.4f} {rate:.2f} s/step", flush=True)
    model.eval()
    return optimizer


def build_checkpoints(out: Path, recipe: Recipe) -> None:
    """Write `out`/teacher and `out`/student: ordinary Hugging Face folders."""
    torch.set_num_threads(2)
    tokenizer = nano.build_tokenizer()
    processor = nano.build_processor(tokenizer)
    model = nano.build_model(tokenizer, derive_seed(recipe.seed, "nano weights") % 2**31)
    renderer = Renderer(tokenizer, processor.image_processor, nano.VOCAB)
    pool = make_pool(renderer, recipe, clean=True, n=recipe.pool)
    leaves = int(recipe.clean_steps * recipe.student_from)
    optimizer = train(
        model, pool, recipe, leaves, recipe.lr, "clean", renderer.pad_id, total=recipe.clean_steps
    )
    early = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    train(
        model,
        pool,
        recipe,
        recipe.clean_steps - leaves,
        recipe.lr,
        "clean",
        renderer.pad_id,
        leaves,
        optimizer,
        recipe.clean_steps,
    )
    save(model, renderer, out / "teacher", recipe)
    model.load_state_dict(early)
    small = make_pool(renderer, recipe, clean=False, n=max(recipe.pool // 4, recipe.batch))
    train(model, small, recipe, recipe.student_steps, recipe.student_lr, "student", renderer.pad_id)
    save(model, renderer, out / "student", recipe)


def save(model: PreTrainedModel, renderer: Renderer, folder: Path, *recipes: Recipe) -> None:
    """Model, tokenizer, image processor and the recipe that made them; a list of several."""
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, safe_serialization=True)
    renderer.tokenizer.save_pretrained(folder)
    assert renderer.processor is not None
    renderer.processor.image_processor.save_pretrained(folder)
    phases = [asdict(recipe) for recipe in recipes]
    told = json.dumps(phases if len(phases) > 1 else phases[0], indent=1, sort_keys=True)
    (folder / "recipe.json").write_text(told + "\n")


__all__ = ["BENCHMARKS", "Recipe", "build_checkpoints"]
