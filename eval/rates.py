"""How often a model follows the right procedure, per kind of question and kind of prompt.

For each kind of the world `zone`: the accuracy of sampled responses (temperature 1), and the
probability that a response which has read the digits right goes on with the right procedure. That
one is computed, not sampled: it tells 1e-5 from never.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from eval.render import number, table
from zppo_core.algorithm.controls import lorem
from zppo_core.algorithm.reformulations.bcq import bcq_text
from zppo_core.algorithm.reformulations.ncq import ncq_text
from zppo_core.data.digit_kinds import WORLDS, ZONE_ASIDE, ZONE_EASY
from zppo_core.data.digits import Facts, Layout, compose, draw_facts, worked_solution
from zppo_core.processes.command_line import command, reported
from zppo_core.prompts import OURS
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import Grader
from zppo_core.streams import derive_seed, stream
from zppo_core.types import Prompt

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from zppo_core.models.renderer import Renderer

Asked = Literal["plain", "bcq", "ncq", "placebo", "lorem"]
ASKED: tuple[Asked, ...] = ("plain", "bcq", "ncq", "placebo")
LAYOUTS: tuple[Layout, ...] = ("row", "grid")
TRACES = 8  # wrong responses that an NCQ of a group without a right one shows
MAX_TOKENS = 64
ROWS = 32  # scored together


@dataclass(frozen=True)
class Rate:
    """Of one kind and one sort of prompt: fractions over `responses` sampled and as scored."""

    kind: str
    asked: Asked
    responses: int
    accuracy: float
    procedure: float


def prompts(facts: Sequence[Facts], asked: Asked, seed: int) -> list[Prompt]:
    """The plain prompt of each question, or with candidates made of worked solutions.

    A placebo shows those of the next of `facts`, the last one those of the first; `lorem` shows
    random words, as many characters.
    """
    rng = stream(seed, "rates", asked)
    shown = [*facts[1:], *facts[:1]] if asked == "placebo" else facts
    asks = []
    for one, source in zip(facts, shown, strict=True):
        question = compose(one, "")
        right, wrong = (bare(worked_solution(source, way)) for way in ("right", "wrong"))
        if asked == "lorem":
            right, wrong = lorem(rng, len(right)), lorem(rng, len(wrong))
        if asked == "plain":
            text = OURS.with_closer(question.text)
        elif asked == "ncq":
            answer = wrong.rsplit("{", 1)[1].rstrip("}")
            text = ncq_text(question.text, [answer], [wrong] * TRACES)
        else:
            text = bcq_text(question.text, right, wrong, bool(rng.random() < 0.5))
        asks.append(Prompt(text, question.images))
    return asks


def bare(response: str) -> str:
    """A response as a compressed candidate: without its think tags."""
    return response.replace("<think>\n", "").replace("\n</think>", "")


def procedures(
    model: PreTrainedModel, renderer: Renderer, facts: Sequence[Facts], asked: Sequence[Prompt]
) -> list[float]:
    """Probability of the right procedure's first word after the digits, for each prompt."""
    import torch

    from zppo_core.models.collate import right_pad

    heads, starts = [], []
    for one in facts:
        head = worked_solution(one).split("\n</think>")[0]
        read, word, *_ = head.removeprefix("<think>\n").split(" ")
        before = renderer.encode_text(f"<think>\n{read}")
        whole = renderer.encode_text(f"<think>\n{read} {word}")
        assert whole[: len(before)] == before  # words begin tokens of their own
        heads.append(np.array(whole, dtype=np.int64))
        starts.append(len(before))
    chances: list[float] = []
    with torch.inference_mode():
        for i in range(0, len(asked), ROWS):
            part = heads[i : i + ROWS]
            encoded = [renderer.encode(p) for p in asked[i : i + ROWS]]
            batch = right_pad(encoded, part, renderer.pad_id)
            hidden = model.model(**batch.model_inputs).last_hidden_state
            rows, columns = batch.response_rows, batch.response_columns
            logits = model.lm_head(hidden[rows, columns - 1]).float()
            logits[:, list(renderer.forbidden_ids)] = -torch.inf
            target = batch.input_ids[rows, columns][:, None]
            logp = logits.log_softmax(-1).gather(1, target)[:, 0].split([len(h) for h in part])
            chances += [
                float(of[start:].sum().exp())
                for of, start in zip(logp, starts[i : i + ROWS], strict=True)
            ]
    return chances


def rates(
    model: PreTrainedModel,
    renderer: Renderer,
    questions: int = 60,
    samples: int = 8,
    layouts: Sequence[Layout] = LAYOUTS,
    seed: int = 0,
) -> list[Rate]:
    """Rates of each kind and prompt over `questions` from held-out scans, `samples` responses each.

    A question that a placebo takes its candidates from is of the next kind.
    """
    from zppo_core.engines.hf import HfEngine

    rng, kinds = stream(seed, "rates questions"), list(WORLDS["zone"])
    facts = [
        draw_facts(rng, kind, layouts[i % len(layouts)], True, "zone")
        for i in range(questions)
        for kind in kinds
    ]
    engine = HfEngine(model, renderer, "rates")
    measured: list[Rate] = []
    for asked in ASKED:
        shown = prompts(facts, asked, seed)
        seeds = [derive_seed(seed, "rates", asked, i) for i in range(len(shown))]
        sampled = engine.generate(shown, Sampling(MAX_TOKENS, samples), seeds)
        graded = Grader().grade_many(
            [(c.text, one.gold) for one, group in zip(facts, sampled, strict=True) for c in group]
        )
        rewards = np.array([g.reward for g in graded]).reshape(questions, len(kinds), samples)
        right = np.array(procedures(model, renderer, facts, shown)).reshape(questions, len(kinds))
        for i, kind in enumerate(kinds):
            accuracy = float(rewards[:, i].mean())
            measured.append(
                Rate(kind, asked, questions * samples, accuracy, float(right[:, i].mean()))
            )
    return measured


def text(measured: Sequence[Rate], form: Literal["text", "markdown"] = "text") -> str:
    """A row a kind: percent right by prompt, and the probability of the right procedure."""
    cells = {(r.kind, r.asked): r for r in measured}
    rows = [
        [
            kind,
            "easy" if kind in ZONE_EASY else "aside" if kind in ZONE_ASIDE else "hard",
            *(number(100 * cells[kind, a].accuracy) for a in ASKED),
            *(f"{cells[kind, a].procedure:.1e}" for a in ASKED),
        ]
        for kind in dict.fromkeys(r.kind for r in measured)
    ]
    columns = ["kind", "", *(f"{a}, %" for a in ASKED), *(f"p({a})" for a in ASKED)]
    return table(columns, rows, form, left=2)


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo rates`; 0, or 2 with a line for each fault."""
    reader = command("rates", __doc__ or "", "zppo rates nano:zone-student")
    reader.add_argument("checkpoint")
    reader.add_argument("--questions", type=int, default=60, help="of a kind; default: %(default)s")
    reader.add_argument("--samples", type=int, default=8, help="responses; default: %(default)s")
    reader.add_argument("--layouts", default=",".join(LAYOUTS), help="default: %(default)s")
    reader.add_argument("--markdown", action="store_true")
    options = reader.parse_args(arguments)
    import torch

    from zppo_core import models

    torch.set_num_threads(1)
    model, renderer = models.load(options.checkpoint, torch.float32)
    measured = rates(
        model, renderer, options.questions, options.samples, options.layouts.split(",")
    )
    print(text(measured, "markdown" if options.markdown else "text"), end="")
    return 0
