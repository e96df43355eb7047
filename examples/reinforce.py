"""A loss of one's own: REINFORCE without ratios or clipping, on group advantages.

python flows/zppo_flow.py run --method examples/reinforce.py:METHOD
"""

from __future__ import annotations

import torch

from zppo_core.algorithm.losses import Tokens
from zppo_core.config import LossConfig
from zppo_core.config.methods import Method


def reinforce(tokens: Tokens, settings: LossConfig) -> torch.Tensor:
    """Minus advantage times log-probability of each sampled token (N,), nats."""
    return -tokens.advantages * tokens.logp


METHOD = Method(
    "reinforce_replay",
    replay=True,
    reformulations=(),
    loss=f"{__name__}:reinforce",
    summary="REINFORCE on group advantages, with the replay buffer",
)
