"""What an update would save if more than a group's prompt were computed once.

    python benchmarks/bench_trie.py [--steps 2]

`nano` is trained for some rollout steps, and each of its mini-batches is counted: tokens of padded
rows, of shared prefixes and of packed rows, as they are computed now; then of a trie of all prompts
(a question's plain, BCQ and NCQ prompt begin alike) and of a trie of all sequences (responses that
begin alike too), which is the bound. `step` counts the pass that scores a rollout step's groups
together before its updates.

The second table draws mini-batches of the paper's size: at most what heads of prompts would save of
tokens and of pictures, and with how many tokens all eight responses of every group would have to
begin alike to save 3 percent. Groups that learn: all of a rollout step, or those of reformulated
questions alone. Prompts count without their candidates.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Hashable, Iterable, Sequence
from contextlib import redirect_stdout
from itertools import chain
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from tabulate import tabulate

from zppo_core.algorithm.train_groups import TrainGroup
from zppo_core.config import load
from zppo_core.protocols import silent
from zppo_core.run import corpus
from zppo_core.run.loop import advance
from zppo_core.run.setup import open_run
from zppo_core.training.batching import micro_batches, packed_tokens, padded_tokens
from zppo_core.training.updater import Trainer
from zppo_core.types import EncodedPrompt

BUDGET = 16_384  # tokens of a micro-batch at nano
# the paper's rollout step: new and replayed prompts, BCQ and NCQ prompts, updates
NEW, REPLAYED, REFORMULATED, UPDATES, RESPONSES = 384, 96, 96, 4, 8
LENGTHS = ((1_100, 4_500), (6_000, 2_000))  # tokens of a prompt, of a response
SEEDS = 100
WORTH = 0.03  # share of tokens below which nothing is built


def keys(prompt: EncodedPrompt) -> list[Hashable]:
    """The prompt's tokens; those of a picture together with the picture."""
    marked: list[Hashable] = []
    picture, before = -1, 0
    for token, kind in zip(
        prompt.input_ids_P.tolist(), prompt.mm_token_type_ids_P.tolist(), strict=True
    ):
        picture += kind == 1 and before != 1
        marked.append((token, prompt.images[picture]) if kind == 1 else token)
        before = kind
    return marked


def trie_tokens(sequences: Iterable[Sequence[Hashable]]) -> int:
    """Tokens that are left if what sequences begin alike with is there once."""
    root: dict[Hashable, dict] = {}
    count = 0
    for sequence in sequences:
        node = root
        for key in sequence:
            if key not in node:
                node[key] = {}
                count += 1
            node = node[key]
    return count


def counted(groups: Sequence[TrainGroup]) -> dict[str, int]:
    """Tokens that a pass over `groups` computes, way by way."""

    def computed(shared: bool) -> int:
        batches = micro_batches(groups, BUDGET, shared)
        return sum(padded_tokens([part for _, part in batch], shared) for batch in batches)

    prompts = [keys(g.prompt) for g in groups]
    responses = sum(len(s.token_ids_T) for g in groups for s in g.suffixes)
    whole = [
        [*prompt, *s.token_ids_T.tolist()[:-1]]
        for prompt, g in zip(prompts, groups, strict=True)
        for s in g.suffixes
    ]
    return {
        "padded": computed(shared=False),
        "shared prefix": computed(shared=True),
        # a prompt's last token runs with each response, which leaves its own last token out
        "packed": packed_tokens(groups) - len(groups),
        "trie of prompts": trie_tokens(prompt[:-1] for prompt in prompts) + responses,
        "trie of all": trie_tokens(whole),
    }


def nano_minibatches(steps: int, folder: str) -> list[list[TrainGroup]]:
    """The groups of each update of so many rollout steps of nano, seed 0."""
    settings = [
        f"run.rollout_steps={steps}",
        f"store.root={folder}/runs",
        f"store.database={folder}/d.duckdb",
    ]
    run = open_run(load("nano", settings), "trie")
    with redirect_stdout(sys.stderr):
        corpus.prepare(run, (), silent)
    kept: list[list[TrainGroup]] = []
    update = Trainer.update

    def watched(self: Trainer, groups: Sequence[TrainGroup], tokens: int | None = None) -> object:
        kept.append(list(groups))
        return update(self, groups, tokens)

    with mock.patch.object(Trainer, "update", watched), redirect_stdout(sys.stderr):
        advance(corpus.settled(run), 0, fresh=False)
    return kept


def heads_saved(rng: np.random.Generator, learning: int) -> int:
    """Heads of a rollout step's `learning` groups that its mini-batches would not compute again.

    Every reformulated question has all three kinds of group, and all of them learn.
    """
    questions = REFORMULATED // 2
    of_question = np.arange(learning) % questions
    of_question[3 * questions :] = np.arange(questions, learning - 2 * questions)
    order = rng.permutation(learning)
    distinct = sum(len(np.unique(of_question[part])) for part in np.array_split(order, UPDATES))
    return learning - distinct


def at_most(prompt: int, response: int, learning: int) -> list[object]:
    """A row of the second table: shapes, the shares that heads would save, tokens in common."""
    saved = np.mean([heads_saved(np.random.default_rng(s), learning) for s in range(SEEDS)])
    group = prompt + RESPONSES * response
    share = saved * prompt / (learning * group)
    common = WORTH * group / (RESPONSES - 1)
    return [prompt, response, learning, f"{share:.2%}", f"{saved / learning:.1%}", round(common)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=2, help="rollout steps of nano")
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        updates = nano_minibatches(steps, folder)
    each = len(updates) // steps
    together = [list(chain(*updates[i : i + each])) for i in range(0, len(updates), each)]
    rows = []
    for name, passes in (("mini-batch", updates), ("step", together)):
        counts = [counted(groups) for groups in passes]
        total = {way: sum(c[way] for c in counts) for way in counts[0]}
        rows += [[name, way, n, f"{total['trie of all'] / n:.1%}"] for way, n in total.items()]
    print(tabulate(rows, ["pass over", "way", "tokens", "of the bound"], "github", intfmt=","))
    hard = 3 * REFORMULATED // 2
    paper = [at_most(p, r, n) for p, r in LENGTHS for n in (NEW + REPLAYED + REFORMULATED, hard)]
    names = ["P", "R", "groups that learn", "tokens saved", "pictures saved", "alike for 3 %"]
    print("\n" + tabulate(paper, names, "github", intfmt=","))


if __name__ == "__main__":
    main()
