"""Two-step group advantages in four norms (section 3)."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from zppo_core.config import Norm


def group_advantages(rewards: ArrayLike, norm: Norm = "nonzero", eps: float = 1e-6) -> np.ndarray:
    """Advantages of shape (B, G) from rewards of shape (B, G), float64 (section 3).

    Step 1 subtracts each group's mean; step 2 standardises over a set S of groups: those with
    unequal rewards ("nonzero"), all ("all"), or not at all ("none"). "grpo" divides each group by
    its own standard deviation. Deviations are of the population. ValueError for another shape.
    """
    rewards_BG = np.asarray(rewards, dtype=np.float64)
    if rewards_BG.ndim != 2:
        raise ValueError(f"rewards must have shape (groups, G), not {rewards_BG.shape}")
    if rewards_BG.size == 0:
        return np.zeros_like(rewards_BG)
    # equality is decided on the rewards themselves: a rounded mean leaves dust in r - mean
    active_B = (rewards_BG != rewards_BG[:, :1]).any(axis=1)
    centred_BG = rewards_BG - rewards_BG.mean(axis=1, keepdims=True)
    centred_BG[~active_B] = 0.0
    if norm == "none":
        return np.asarray(centred_BG)
    if norm == "grpo":
        return np.asarray(centred_BG / (rewards_BG.std(axis=1, keepdims=True) + eps))
    if norm == "all":
        pool = centred_BG
    elif norm == "nonzero":
        pool = centred_BG[active_B]
    else:
        raise ValueError(f"norm must be nonzero, all, none or grpo, not {norm!r}")
    if pool.size == 0:
        return np.asarray(centred_BG)
    advantages_BG = (centred_BG - pool.mean()) / (pool.std() + eps)
    advantages_BG[~active_B] = 0.0
    return np.asarray(advantages_BG)
