"""Drawing a token, on distributions small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from zppo_core.engines.sampling import BLOCK, Penalties, RowStreams, draw, processed
from zppo_core.protocols import Sampling

P = torch.tensor([[0.5, 0.25, 0.125, 0.125]])


def kept(**settings: float) -> list[float]:
    """What `P` becomes by `settings`, as probabilities."""
    return processed(P.log(), Sampling(9, **settings)).exp()[0].tolist()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, [0.5, 0.25, 0.125, 0.125]),
        ({"temperature": 0.5}, [16 / 22, 4 / 22, 1 / 22, 1 / 22]),  # squares
        ({"top_k": 1}, [1.0, 0.0, 0.0, 0.0]),
        ({"top_k": 2}, [2 / 3, 1 / 3, 0.0, 0.0]),
        ({"top_k": 4}, [0.5, 0.25, 0.125, 0.125]),
        ({"top_p": 0.4}, [1.0, 0.0, 0.0, 0.0]),  # the token that crosses the bar stays
        ({"top_p": 0.6}, [2 / 3, 1 / 3, 0.0, 0.0]),
        ({"top_p": 0.75}, [2 / 3, 1 / 3, 0.0, 0.0]),  # reached exactly: no further one
        ({"min_p": 0.4}, [2 / 3, 1 / 3, 0.0, 0.0]),  # of the likeliest, not of all
        ({"min_p": 0.25}, [0.5, 0.25, 0.125, 0.125]),
        # the temperature comes first, as in vLLM: 4 / 22 are a quarter of 16 / 22
        ({"min_p": 0.3, "temperature": 0.5}, [1.0, 0.0, 0.0, 0.0]),
    ],
)
def test_what_the_settings_leave_of_a_distribution(settings, expected) -> None:
    assert kept(**settings) == pytest.approx(expected, abs=1e-6)


def test_penalties_are_of_what_was_said_and_repetition_of_the_prompt_too() -> None:
    sampling = Sampling(9, presence_penalty=1.5, repetition_penalty=2.0)
    prompts = [np.array([0]), np.array([1])]
    penalties = Penalties(sampling, prompts, 4, torch.device("cpu"))
    penalties.add(torch.tensor([1]), torch.tensor([2]))
    logits = torch.tensor([[4.0, 4.0, 4.0, -4.0]])
    rows = torch.tensor([1])
    # of row 1: token 1 stands in the prompt, token 2 was said, tokens 0 and 3 neither
    assert penalties.apply(logits, rows).tolist() == [[4.0, 2.0, 0.5, -4.0]]
    penalties.add(rows, torch.tensor([3]))
    # what is unlikely becomes less likely, not more
    assert penalties.apply(logits, rows)[0, 3].item() == -8.0 - 1.5


def test_a_uniform_finds_its_token_and_never_one_without_probability() -> None:
    def token(logp: torch.Tensor, u: float) -> int:
        return int(draw(logp, np.array([u]), greedy=False)[0])

    assert [token(P.log(), u) for u in (0.0, 0.49, 0.5, 0.74, 0.75, 0.99)] == [0, 0, 1, 1, 2, 3]
    holes = torch.tensor([[0.0, 0.5, 0.0, 0.5, 0.0]]).log()
    assert [token(holes, u) for u in (0.0, 0.49, 0.5, 1.0 - 1e-9)] == [1, 1, 3, 3]
    # rounding may leave a sum below 1: its share above goes to all tokens, not to the last
    assert [token(P.log() - 0.7, u) for u in (0.4, 0.6, 0.8)] == [0, 1, 2]
    assert draw(P.log(), np.array([0.99]), greedy=True).tolist() == [0]


def test_each_row_has_uniforms_of_its_own_that_never_repeat() -> None:
    rows, count = np.arange(3), 2 * BLOCK + 3
    streams = RowStreams([(1, 0), (1, 1), (2, 0)])
    drawn = np.stack([streams.at(token, rows) for token in range(count)])
    assert len(np.unique(drawn)) == drawn.size
    # a row draws the same whoever is beside it, and who has left is not drawn for
    alone = RowStreams([(0, 0), (1, 1)])
    for token in range(count):
        here = np.array([0, 1]) if token < 5 else np.array([1])
        assert alone.at(token, here)[-1] == drawn[token, 1]
