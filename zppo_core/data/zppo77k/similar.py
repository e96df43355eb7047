"""Questions that are nearly the same: text, picture, and gold answer where there is one.

Pictures count as one if a small grey copy agrees in every cell. A 64-bit difference hash only
finds the few that are worth the comparison: line drawings on white agree in it by the hundred.
"""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from zppo_core.data.pixels import read_picture

LEAST_SHARE = 0.7  # of common trigrams (Jaccard) from which two texts count as one
# Between what tests/data/test_similar.py holds apart: copies of photographs, charts, triangles and
# matrix puzzles (JPEG of quality 60 to 95, half the size, both), and other pictures of each kind.
MOST_BITS = 8  # of 64
MOST_GREY = 14  # of 255, in any cell
SIDE = 32  # cells a side
STRIDE = 33  # of the cells that are compared first


@dataclass(frozen=True)
class ImageHash:
    """What two pictures are compared by."""

    bits: int  # 64-bit difference hash
    grey: bytes  # SIDE x SIDE grey levels


@dataclass(frozen=True)
class Signature:
    """What two questions are compared by; an empty `gold` is compared with empty ones only."""

    image: ImageHash
    words: frozenset[int]
    gold: str = ""


def image_hash(image: bytes) -> ImageHash:
    """The hash of an encoded image, as it shows on white; OSError or ValueError if unreadable."""
    from PIL import Image

    grey = read_picture(image).convert("L")
    small = np.asarray(grey.resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    # a box's edge falls between pixels: the smoother filter forgives where
    cells = grey.resize((SIDE, SIDE), Image.Resampling.HAMMING)
    return ImageHash(int.from_bytes(np.packbits(bits).tobytes(), "big"), cells.tobytes())


def trigrams(text: str) -> frozenset[int]:
    """Hashes of the text's word trigrams; of the whole text if it has fewer than three words."""
    words = re.findall(r"\w+", text.lower())
    parts = [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]
    return frozenset(
        int.from_bytes(hashlib.blake2b(p.encode(), digest_size=8).digest(), "big") for p in parts
    )


def plain_gold(answer: str) -> str:
    """A gold answer for comparison: lower case, single spaces."""
    return " ".join(answer.lower().split())


def signature(text: str, image: bytes, gold: str = "") -> Signature:
    """The signature of a question with one image."""
    return Signature(image_hash(image), trigrams(text), plain_gold(gold))


class _Group:
    """Signatures of one gold answer, in arrays that double when they are full."""

    def __init__(self) -> None:
        self.words: list[frozenset[int]] = []
        self.bits_N = np.empty(1, dtype=np.uint64)
        self.grey_NC = np.empty((1, SIDE * SIDE), dtype=np.uint8)

    def add(self, s: Signature) -> None:
        n = len(self.words)
        if n == len(self.bits_N):
            self.bits_N = np.concatenate([self.bits_N, np.empty_like(self.bits_N)])
            self.grey_NC = np.concatenate([self.grey_NC, np.empty_like(self.grey_NC)])
        self.bits_N[n] = s.image.bits
        self.grey_NC[n] = np.frombuffer(s.image.grey, dtype=np.uint8)
        self.words.append(s.words)

    def has(self, s: Signature) -> bool:
        bits_N = np.bitwise_count(self.bits_N[: len(self.words)] ^ np.uint64(s.image.bits))
        near = np.flatnonzero(bits_N <= MOST_BITS)
        grey_C = np.frombuffer(s.image.grey, dtype=np.uint8)
        for stride in (STRIDE, 1):  # a few cells part nearly all
            if not near.size:
                return False
            near = near[_apart(self.grey_NC[near, ::stride], grey_C[::stride]) <= MOST_GREY]
        return any(_overlap(self.words[i], s.words) for i in near)


def _apart(a_NC: np.ndarray, b_C: np.ndarray) -> np.ndarray:
    """The largest difference in grey levels of each row, in uint8."""
    return np.asarray((np.maximum(a_NC, b_C) - np.minimum(a_NC, b_C)).max(axis=1))


def _overlap(a: frozenset[int], b: frozenset[int]) -> bool:
    return len(a & b) >= LEAST_SHARE * len(a | b) > 0


class Seen:
    """Signatures met so far: `s in seen` if one of the same gold has nearly its picture and text.

    A look-up is one pass over the hashes of that gold, and over the grey cells of those few that
    are near: exact, so that no band hides a pair.
    """

    def __init__(self, signatures: Iterable[Signature] = ()) -> None:
        self._groups: dict[str, _Group] = defaultdict(_Group)
        self._number = 0
        for signature in signatures:
            self.add(signature)

    def __len__(self) -> int:
        return self._number

    def add(self, s: Signature) -> None:
        self._groups[s.gold].add(s)
        self._number += 1

    def __contains__(self, s: Signature) -> bool:
        group = self._groups.get(s.gold)
        return group is not None and group.has(s)
