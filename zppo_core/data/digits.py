"""Questions about real handwritten digits: the corpus and the benchmarks of scale nano.

scikit-learn ships 1,797 scans of 8 x 8 pixels; doubled, one digit is one visual token. They are
split *by image*: training draws from the first part alone, every benchmark from the other.
Question kinds are of graded difficulty; a worked solution reads the digits and then follows a
procedure, right or consistently wrong, so that what a student gets wrong can be its procedure.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np

from zppo_core.streams import stream
from zppo_core.types import Question

TRAIN_IMAGES = 1400  # of 1,797; the split is a fixed permutation, never by position

Procedure = Literal["right", "wrong"]
Layout = Literal["row", "grid", "text", "frames", "frame_pairs"]
Solve = Callable[[tuple[int, ...], int], tuple[str, int]]


@dataclass(frozen=True)
class QuestionKind:
    """How a kind is asked, and its right and its wrong procedure: (working, answer) of digits.

    A procedure announces itself by its first word: that one token is the choice that reinforcement
    learning can mend.
    """

    ask: str  # {where} and {c} are filled in
    right: Solve
    wrong: Solve


def _running(digits: tuple[int, ...]) -> str:
    return " ".join(str(sum(digits[: i + 1])) for i in range(len(digits)))


def _sum(word: str, digits: tuple[int, ...]) -> tuple[str, int]:
    return f"{word} {_running(digits) if digits else 'none'}", sum(digits)


def _of(word: str, *numbers: int) -> tuple[str, int]:
    return f"{word} {' '.join(map(str, numbers))}", numbers[-1]


KINDS: dict[str, QuestionKind] = {
    "max": QuestionKind(
        "What is the largest digit {where}?",
        lambda d, c: _of("largest", max(d)),
        lambda d, c: _of("last", d[-1]),
    ),
    "count": QuestionKind(
        "How many digits {where} are greater than {c}?",
        lambda d, c: _of("greater", *[x for x in d if x > c], sum(x > c for x in d)),
        lambda d, c: _of("smaller", *[x for x in d if x < c], sum(x < c for x in d)),
    ),
    "diff": QuestionKind(
        "How far apart are the first and the last digit {where}?",
        lambda d, c: _of("apart", d[0], d[-1], abs(d[0] - d[-1])),
        lambda d, c: _of("both", d[0], d[-1], d[0] + d[-1]),
    ),
    "evens": QuestionKind(
        "What is the sum of the even digits {where}?",
        lambda d, c: _sum("even", tuple(x for x in d if x % 2 == 0)),
        lambda d, c: _sum("odd", tuple(x for x in d if x % 2)),
    ),
    "prod": QuestionKind(
        "What is the last digit of the first times the last digit {where}?",
        lambda d, c: _of("times", d[0], d[-1], d[0] * d[-1] % 10),
        lambda d, c: _of("plus", d[0], d[-1], (d[0] + d[-1]) % 10),
    ),
    "sum": QuestionKind(
        "What is the sum of the digits {where}?",
        lambda d, c: _sum("sum", d),
        lambda d, c: _of("largest", max(d)),
    ),
    # never trained: they show what carries over
    "min": QuestionKind(
        "What is the smallest digit {where}?",
        lambda d, c: _of("smallest", min(d)),
        lambda d, c: _of("last", d[-1]),
    ),
    "odds": QuestionKind(
        "What is the sum of the odd digits {where}?",
        lambda d, c: _sum("odd", tuple(x for x in d if x % 2)),
        lambda d, c: _sum("even", tuple(x for x in d if x % 2 == 0)),
    ),
    "ends": QuestionKind(
        "What is the sum of the first and the last digit {where}?",
        lambda d, c: _of("both", d[0], d[-1], d[0] + d[-1]),
        lambda d, c: _of("apart", d[0], d[-1], abs(d[0] - d[-1])),
    ),
}
TRAINED_KINDS = ("max", "count", "diff", "evens", "prod", "sum")
NEW_KINDS = ("min", "odds", "ends")

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
    """One nano benchmark: its family, layout and question kinds."""

    family: str
    layout: Layout
    kinds: tuple[str, ...]


BENCHMARKS: dict[str, Benchmark] = {
    "nano_rows": Benchmark("VLM", "row", TRAINED_KINDS),
    "nano_grids": Benchmark("VLM", "grid", TRAINED_KINDS),
    "nano_text": Benchmark("LLM", "text", TRAINED_KINDS),
    "nano_text_new": Benchmark("LLM", "text", NEW_KINDS),
    "nano_frames": Benchmark("Video", "frames", TRAINED_KINDS),
    "nano_frame_pairs": Benchmark("Video", "frame_pairs", TRAINED_KINDS),
}


@dataclass(frozen=True)
class Facts:
    """What a question is about: enough to compose it and to write its worked solutions."""

    kind: str
    layout: Layout
    digits: tuple[int, ...]
    constant: int  # the c of "greater than c"
    images: tuple[int, ...]  # indices into scikit-learn's scans; empty for text

    @property
    def gold(self) -> str:
        return str(KINDS[self.kind].right(self.digits, self.constant)[1])


def worked_solution(facts: Facts, procedure: Procedure = "right") -> str:
    """The digits as read, the working, and the boxed answer: about 12 to 30 tokens."""
    kind = KINDS[facts.kind]
    solve = kind.right if procedure == "right" else kind.wrong
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


def draw_facts(rng: np.random.Generator, kind: str, layout: Layout, held_out: bool) -> Facts:
    """Facts of one question: 3 to 5 digits (a grid has 4 or 6, pairs of frames 4)."""
    n = {"grid": int(rng.choice([4, 6])), "frame_pairs": 4}.get(layout, int(rng.integers(3, 6)))
    constant = int(rng.integers(2, 7))
    if layout == "text":
        return Facts(kind, layout, tuple(int(x) for x in rng.integers(0, 10, n)), constant, ())
    images = tuple(int(i) for i in rng.choice(image_pool(held_out), n, replace=False))
    digits = tuple(int(_scans()[1][i]) for i in images)
    return Facts(kind, layout, digits, constant, images)


def compose(facts: Facts, question_id: str, jitter: np.random.Generator | None = None) -> Question:
    """The question as text and PNG images; `jitter` shifts and dims each digit a little."""
    kind = KINDS[facts.kind]
    text = kind.ask.format(where=_WHERE[facts.layout], c=facts.constant)
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


def train_facts(n: int, seed: int) -> list[Facts]:
    """`n` distinct training facts of the VLM family, kinds in turn, from training scans alone."""
    rng = stream(seed, "digits corpus")
    facts: list[Facts] = []
    seen: set[tuple[object, ...]] = set()
    while len(facts) < n:
        kind = TRAINED_KINDS[len(facts) % len(TRAINED_KINDS)]
        layout: Layout = "row" if rng.random() < 0.5 else "grid"
        drawn = draw_facts(rng, kind, layout, held_out=False)
        key = (drawn.kind, drawn.layout, drawn.constant, drawn.images)
        if key not in seen:
            seen.add(key)
            facts.append(drawn)
    return facts


def train_questions(n: int, seed: int) -> list[Question]:
    """The training corpus: `n` distinct questions with stable ids."""
    return [compose(f, f"digits-{seed}-{i:05d}") for i, f in enumerate(train_facts(n, seed))]


def benchmark_questions(name: str, n: int, seed: int = 0) -> list[Question]:
    """The first `n` questions of a nano benchmark, from held-out scans; kinds in turn."""
    benchmark = BENCHMARKS[name]
    rng = stream(seed, "digits benchmark", name)
    questions: list[Question] = []
    seen: set[Facts] = set()
    while len(questions) < n:
        kind = benchmark.kinds[len(questions) % len(benchmark.kinds)]
        facts = draw_facts(rng, kind, benchmark.layout, held_out=True)
        if facts not in seen:
            seen.add(facts)
            questions.append(compose(facts, f"{name}-{seed}-{len(questions):05d}"))
    return questions
