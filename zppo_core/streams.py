"""Named random streams, each derived from (seed, name, step): one stream's use never moves another.

A resumed step draws exactly what the lost one drew, because nothing here has state to lose.
"""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(seed: int, name: str, *parts: object) -> int:
    """A 63-bit seed from (seed, name, parts), stable across machines and Python versions."""
    text = "\x1f".join([str(seed), name, *map(str, parts)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, name: str, *parts: object) -> np.random.Generator:
    """The generator of the stream `name` at `parts` (usually the rollout step)."""
    return np.random.default_rng(derive_seed(seed, name, *parts))
