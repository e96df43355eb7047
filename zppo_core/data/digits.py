"""Questions about real handwritten digits: the corpus and the benchmarks of scale nano.

scikit-learn ships 1,797 scans of 8 x 8 pixels; doubled, one digit is one visual token. They are
split *by image*: training draws from the first part alone, every benchmark from the other.
Question kinds are of graded difficulty; a worked solution reads the digits and then follows a
procedure, right or consistently wrong, so that what a student gets wrong can be its procedure.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from zppo_core.data.digit_kinds import (
    NEW_KINDS,
    TRAINED_KINDS,
    WORLDS,
    ZONE_NEW_KINDS,
    ZONE_TRAINED_KINDS,
    Procedure,
    QuestionKind,
    World,
)
from zppo_core.streams import stream
from zppo_core.types import Question

TRAIN_IMAGES = 1400  # of 1,797; the split is a fixed permutation, never by position

Layout = Literal["row", "grid", "text", "frames", "frame_pairs"]


_WHERE: dict[str, str] = {
    "row": "in the picture",
    "grid": "in the picture",
    "text": "in the list",
    "frames": "in the video",
    "frame_pairs": "in the video",
}
_FAMILY: dict[str, str] = {
    "row": "VLM",
    "grid": "VLM",
    "text": "LLM",
    "frames": "Video",
    "frame_pairs": "Video",
}


@dataclass(frozen=True)
class Benchmark:
    """One benchmark of ours: its family, layout and question kinds."""

    family: str
    layout: Layout
    kinds: tuple[str, ...]
    world: World = "nano"


BENCHMARKS: dict[str, Benchmark] = {
    "nano_rows": Benchmark("VLM", "row", TRAINED_KINDS),
    "nano_grids": Benchmark("VLM", "grid", TRAINED_KINDS),
    "nano_text": Benchmark("LLM", "text", TRAINED_KINDS),
    "nano_text_new": Benchmark("LLM", "text", NEW_KINDS),
    "nano_frames": Benchmark("Video", "frames", TRAINED_KINDS),
    "nano_frame_pairs": Benchmark("Video", "frame_pairs", TRAINED_KINDS),
}
ZONE_BENCHMARKS: dict[str, Benchmark] = {
    "zone_rows": Benchmark("VLM", "row", ZONE_TRAINED_KINDS, "zone"),
    "zone_grids": Benchmark("VLM", "grid", ZONE_TRAINED_KINDS, "zone"),
    "zone_text": Benchmark("LLM", "text", ZONE_TRAINED_KINDS, "zone"),
    "zone_text_new": Benchmark("LLM", "text", ZONE_NEW_KINDS, "zone"),
    "zone_frames": Benchmark("Video", "frames", ZONE_TRAINED_KINDS, "zone"),
    "zone_frame_pairs": Benchmark("Video", "frame_pairs", ZONE_TRAINED_KINDS, "zone"),
}


@dataclass(frozen=True)
class Facts:
    """What a question is about: enough to compose it and to write its worked solutions."""

    kind: str
    layout: Layout
    digits: tuple[int, ...]
    constant: int  # the c of "greater than c"
    images: tuple[int, ...]  # indices into scikit-learn's scans; empty for text
    world: World = "nano"

    @property
    def asked(self) -> QuestionKind:
        return WORLDS[self.world][self.kind]

    @property
    def gold(self) -> str:
        return str(self.asked.right(self.digits, self.constant)[1])


def worked_solution(facts: Facts, procedure: Procedure = "right") -> str:
    """The digits as read, the working, and the boxed answer: about 12 to 30 tokens."""
    solve = facts.asked.right if procedure == "right" else facts.asked.wrong
    working, answer = solve(facts.digits, facts.constant)
    read = "".join(map(str, facts.digits))  # with spaces each digit would cost two tokens
    return f"<think>\n{read} {working}\n</think>\n\\boxed{{{answer}}}"


@lru_cache(maxsize=1)
def _scans() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return data.images.astype(np.float32) * (255.0 / 16.0), data.target.astype(int)


@lru_cache(maxsize=1)
def _split() -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(20260618).permutation(len(_scans()[1]))
    return order[:TRAIN_IMAGES], order[TRAIN_IMAGES:]


def image_pool(held_out: bool) -> np.ndarray:
    """Indices of the scans that training (False) or the benchmarks (True) may show."""
    return _split()[1 if held_out else 0]


def draw_facts(
    rng: np.random.Generator, kind: str, layout: Layout, held_out: bool, world: World = "nano"
) -> Facts:
    """Facts of one question: 3 to 5 digits (a grid has 4 or 6, pairs of frames 4)."""
    while True:
        facts = _any_facts(rng, kind, layout, held_out, world)
        if facts.asked.asks(facts.digits, facts.constant):
            return facts


def _any_facts(
    rng: np.random.Generator, kind: str, layout: Layout, held_out: bool, world: World
) -> Facts:
    n = {"grid": int(rng.choice([4, 6])), "frame_pairs": 4}.get(layout, int(rng.integers(3, 6)))
    constant = int(rng.integers(2, 7))
    if layout == "text":
        listed = tuple(int(x) for x in rng.integers(0, 10, n))
        return Facts(kind, layout, listed, constant, (), world)
    images = tuple(int(i) for i in rng.choice(image_pool(held_out), n, replace=False))
    digits = tuple(int(_scans()[1][i]) for i in images)
    return Facts(kind, layout, digits, constant, images, world)


def compose(facts: Facts, question_id: str, jitter: np.random.Generator | None = None) -> Question:
    """The question as text and PNG images; `jitter` shifts and dims each digit a little."""
    text = facts.asked.ask.format(where=_WHERE[facts.layout], c=facts.constant)
    if facts.layout == "text":
        text = f"List: {''.join(map(str, facts.digits))}. {text}"
    return Question(
        question_id, text, facts.gold, _pictures(facts, jitter), _FAMILY[facts.layout], facts.kind
    )


def _pictures(facts: Facts, jitter: np.random.Generator | None) -> tuple[bytes, ...]:
    cells = [_cell(i) for i in facts.images]
    if jitter is not None:
        cells = [_jittered(c, jitter) for c in cells]
    if facts.layout == "row":
        return (_png(np.hstack(cells)),)
    if facts.layout == "grid":
        half = len(cells) // 2
        return (_png(np.vstack([np.hstack(cells[:half]), np.hstack(cells[half:])])),)
    if facts.layout == "frames":
        return tuple(_png(c) for c in cells)
    if facts.layout == "frame_pairs":
        return tuple(_png(np.hstack(cells[i : i + 2])) for i in range(0, len(cells), 2))
    return ()


def _cell(index: int) -> np.ndarray:
    return np.kron(_scans()[0][index], np.ones((2, 2), np.float32))


def _jittered(cell: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The digit moved by at most a pixel each way, dimmed, and with some noise."""
    down, right = rng.integers(-1, 2, 2)
    moved = np.roll(cell, (down, right), (0, 1)) * rng.uniform(0.75, 1.1)
    return moved + rng.normal(0, 12, cell.shape).astype(np.float32)


def _png(pixels: np.ndarray) -> bytes:
    from PIL import Image

    grey = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8), mode="L").convert("RGB")
    buffer = io.BytesIO()
    grey.save(buffer, "PNG")
    return buffer.getvalue()


def train_facts(n: int, seed: int, world: World = "nano") -> list[Facts]:
    """`n` distinct training facts of the VLM family, kinds in turn, from training scans alone."""
    kinds = TRAINED_KINDS if world == "nano" else ZONE_TRAINED_KINDS
    rng = stream(seed, "digits corpus")
    facts: list[Facts] = []
    seen: set[tuple[object, ...]] = set()
    while len(facts) < n:
        layout: Layout = "row" if rng.random() < 0.5 else "grid"
        drawn = draw_facts(rng, kinds[len(facts) % len(kinds)], layout, False, world)
        key = (drawn.kind, drawn.layout, drawn.constant, drawn.images)
        if key not in seen:
            seen.add(key)
            facts.append(drawn)
    return facts


def train_questions(n: int, seed: int, world: World = "nano") -> list[Question]:
    """The training corpus: `n` distinct questions with stable ids."""
    name = "digits" if world == "nano" else world
    facts = train_facts(n, seed, world)
    return [compose(f, f"{name}-{seed}-{i:05d}") for i, f in enumerate(facts)]


def benchmark_questions(name: str, n: int, seed: int = 0) -> list[Question]:
    """The first `n` questions of a benchmark of ours, from held-out scans; kinds in turn."""
    benchmark = (BENCHMARKS | ZONE_BENCHMARKS)[name]
    rng = stream(seed, "digits benchmark", name)
    questions: list[Question] = []
    seen: set[Facts] = set()
    while len(questions) < n:
        kind = benchmark.kinds[len(questions) % len(benchmark.kinds)]
        facts = draw_facts(rng, kind, benchmark.layout, True, benchmark.world)
        if facts not in seen:
            seen.add(facts)
            questions.append(compose(facts, f"{name}-{seed}-{len(questions):05d}"))
    return questions
