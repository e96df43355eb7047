"""The nouns of the method: question, prompt, completion, grade, group.

The unit everywhere is the *group*: one prompt, G completions, G rewards, one uid, one kind.
Arrays carry axis suffixes: B groups, G members of a group, T response tokens, P prompt tokens,
V vocabulary entries.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    import torch

Kind = str  # of a group: "plain", "replay", "resampled", or the name of its reformulation
Outcome = Literal["correct", "wrong", "no_box", "unfinished", "timeout"]
Finish = Literal["stop", "length"]


def whole_characters(text: str) -> str:
    """`text` with every lone surrogate, which no file or tokenizer takes, as U+FFFD."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@dataclass(frozen=True)
class Question:
    """One item x of a corpus: text, encoded images (PNG or JPEG bytes) and the gold answer a*.

    `judged` marks a free-form gold answer that goes to the judge instead of the rule (section 6).
    What the corpus knows of the answer stays with it, for `AnswerSpec`: its `kind`, the texts of
    the `options` behind the letters A, B, ..., every `accepted` answer beside the gold one, and a
    relative `tolerance` for numbers. Empty: the gold answer alone decides.
    """

    id: str
    text: str
    gold: str
    images: tuple[bytes, ...] = ()
    family: str = "VLM"
    category: str = ""
    judged: bool = False
    kind: str = ""
    options: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    tolerance: float | None = None

    def __post_init__(self) -> None:
        # a worker's JSON makes lists of tuples
        for name in ("options", "accepted"):
            object.__setattr__(self, name, tuple(getattr(self, name)))

    def facts(self) -> str:
        """What is known of the answer beside the gold, as text; "" if nothing is."""
        given = (self.kind, self.options, self.accepted, self.tolerance)
        return "" if given == ("", (), (), None) else repr(given)


@dataclass(frozen=True)
class Prompt:
    """What an engine is asked: one user turn with images, optionally after earlier turns.

    `thinking` is always passed to the chat template, because Qwen3.5's default differs by size.
    `forced` are response tokens that are given, not sampled (the prefix method): the engine
    continues after them, and they carry no gradient.
    """

    text: str
    images: tuple[bytes, ...] = ()
    thinking: bool = False
    history: tuple[tuple[str, str], ...] = ()
    forced: tuple[int, ...] = ()

    def digest(self) -> str:
        """SHA-256 (hex) over every field: the prompt's identity in caches and in the database."""
        h = hashlib.sha256()
        parts = [self.text.encode(), b"\1" if self.thinking else b"\0", repr(self.forced).encode()]
        parts += [t.encode() for turn in self.history for t in turn]
        for part in (*parts, *self.images):
            h.update(len(part).to_bytes(8, "big"))
            h.update(part)
        return h.hexdigest()


@dataclass(frozen=True, eq=False)
class Completion:
    """One sampled response. `token_ids_T` includes the forced prefix and, on "stop", the end token.

    `logp_T` are the sampler's own log-probabilities (nats) under the distribution it sampled from
    (0 at forced positions). `forced` counts the leading tokens that were given. `version` is the
    weight version that sampled it; a rollout step refuses any but the current one. `given`: it is
    another model's, a demonstration that a loss may learn from. `prompt` is what it was sampled
    on where that is not its group's.
    """

    text: str
    token_ids_T: np.ndarray  # int32
    logp_T: np.ndarray  # float32
    finish: Finish
    version: int
    forced: int = 0
    given: bool = False
    prompt: Prompt | None = None


@dataclass(frozen=True)
class Grade:
    """The verdict on one response: reward in {0.0, 1.0}, why, and the parsed answer if any."""

    reward: float
    outcome: Outcome
    answer: str | None = None


@dataclass(frozen=True, eq=False)
class Group:
    """One prompt and its G completions with their grades; `uid` keys its own baseline."""

    uid: str
    question_id: str
    kind: Kind
    prompt: Prompt
    completions: tuple[Completion, ...]
    grades: tuple[Grade, ...]

    def __post_init__(self) -> None:
        if len(self.completions) != len(self.grades):
            raise ValueError(
                f"group {self.uid}: {len(self.completions)} completions, {len(self.grades)} grades"
            )

    @property
    def rewards_G(self) -> np.ndarray:
        return np.array([g.reward for g in self.grades], dtype=np.float64)

    @property
    def accuracy(self) -> float:
        """Mean reward r̄ of the group, in [0, 1]."""
        return float(self.rewards_G.mean())

    @property
    def trivial(self) -> bool:
        """All rewards exactly equal: no advantage, so no forward pass (decided on the reward)."""
        return len({g.reward for g in self.grades}) <= 1


@dataclass(frozen=True, eq=False)
class EncodedPrompt:
    """A prompt as model input; forced response tokens are not part of it."""

    input_ids_P: np.ndarray  # int64
    mm_token_type_ids_P: np.ndarray  # int64: 1 at image tokens, else 0
    pixel_values: torch.Tensor | None = None  # (patches, values of a patch)
    image_grid_thw: torch.Tensor | None = None  # (images, 3)
    images: tuple[bytes, ...] = ()  # encoded: what `pixel_values` were made of; empty: not known

    @property
    def length(self) -> int:
        return len(self.input_ids_P)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        pixels = 0 if self.pixel_values is None else self.pixel_values.nbytes
        return int(self.input_ids_P.nbytes + self.mm_token_type_ids_P.nbytes + pixels)
