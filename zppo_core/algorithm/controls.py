"""What the controls of a reformulation are made of: another question's text, none, or one part.

They ask whether it is the content of the candidates that helps. None of them is in the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from zppo_core.algorithm.reformulation import Chosen, Instance
from zppo_core.prompts import OURS, Templates

# fmt: off
WORDS = (
    "lorem", "ipsum", "dolor", "sit", "amet", "consectetur", "adipiscing", "elit", "sed", "do",
    "eiusmod", "tempor", "incididunt", "ut", "labore", "et", "dolore", "magna", "aliqua", "enim",
    "minim", "veniam", "quis", "nostrud", "exercitation", "ullamco", "laboris", "nisi",
)
# fmt: on


def exchanged(instances: Sequence[Instance]) -> list[Instance]:
    """Each instance with what another question's is made of, the next in length.

    A single instance has no other question: random words of the same length take the place.
    """
    if len(instances) == 1:
        return [replace(instances[0], chosen=_meaningless(instances[0]))]
    order = sorted(range(len(instances)), key=lambda i: (_length(instances[i].chosen), i))
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    return [replace(one, chosen=instances[following[i]].chosen) for i, one in enumerate(instances)]


def _length(chosen: Chosen) -> int:
    """Characters of all responses."""
    right = 0 if chosen.right is None else len(chosen.right.text)
    return right + sum(map(len, chosen.wrong))


def _meaningless(one: Instance) -> Chosen:
    chosen = one.chosen
    right = chosen.right and replace(chosen.right, text=lorem(one.rng, len(chosen.right.text)))
    return Chosen(right, tuple(lorem(one.rng, len(text)) for text in chosen.wrong))


def lorem(rng: np.random.Generator, length: int) -> str:
    """Random words of `length` characters."""
    words: list[str] = []
    while sum(map(len, words)) + len(words) <= length:
        words.append(WORDS[int(rng.random() * len(WORDS))])
    return " ".join(words)[:length]


def one_candidate(question: str, candidate: str, templates: Templates = OURS) -> str:
    """The question with a single candidate, of which nothing is said."""
    shown = templates.neutralise(candidate)
    return templates.render(
        "one_candidate", question=question, candidate=shown, closer=templates.closer
    )
