"""Questions that are nearly the same: word trigrams of the text, a difference hash of the image."""

from __future__ import annotations

import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

MOST_BITS = 3  # of 64 in which the hashes of one picture, scaled or compressed anew, may differ
LEAST_SHARE = 0.7  # of common trigrams (Jaccard) from which two texts count as one
BAND = 16  # bits; hashes that differ in 3 bits share one of 4 bands whole


@dataclass(frozen=True)
class Signature:
    """What two questions are compared by; `image` is 0 where there is none."""

    image: int
    words: frozenset[int]


def image_hash(image: bytes) -> int:
    """The 64-bit difference hash of an encoded image; 0 for no bytes."""
    from PIL import Image

    if not image:
        return 0
    with Image.open(io.BytesIO(image)) as opened:
        small = np.asarray(opened.convert("L").resize((9, 8), Image.Resampling.BOX), dtype=np.int16)
    bits = (small[:, 1:] > small[:, :-1]).ravel()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def trigrams(text: str) -> frozenset[int]:
    """Hashes of the text's word trigrams; of the whole text if it has fewer than three words."""
    words = re.findall(r"\w+", text.lower())
    parts = [" ".join(words[i : i + 3]) for i in range(max(1, len(words) - 2))]
    return frozenset(
        int.from_bytes(hashlib.blake2b(p.encode(), digest_size=8).digest(), "big") for p in parts
    )


def signature(text: str, image: bytes) -> Signature:
    """The signature of a question with one image."""
    return Signature(image_hash(image), trigrams(text))


def alike(a: Signature, b: Signature) -> bool:
    """Nearly the same picture and nearly the same text."""
    if (a.image ^ b.image).bit_count() > MOST_BITS:
        return False
    union = len(a.words | b.words)
    return union > 0 and len(a.words & b.words) >= LEAST_SHARE * union


class Seen:
    """Signatures met so far; a look-up compares only with those that share a band."""

    def __init__(self, signatures: Iterable[Signature] = ()) -> None:
        self._bands: dict[tuple[int, int], list[Signature]] = defaultdict(list)
        for known in signatures:
            self.add(known)

    def _keys(self, s: Signature) -> list[tuple[int, int]]:
        return [(i, (s.image >> (BAND * i)) & (2**BAND - 1)) for i in range(64 // BAND)]

    def add(self, s: Signature) -> None:
        for key in self._keys(s):
            self._bands[key].append(s)

    def __contains__(self, s: Signature) -> bool:
        return any(alike(s, other) for key in self._keys(s) for other in self._bands[key])
