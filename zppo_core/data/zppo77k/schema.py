"""The columns of a built corpus and of what was left out, and the counts of a build."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pyarrow as pa

CORPUS = pa.schema(
    [
        ("id", pa.string()),
        ("question", pa.string()),
        ("answer", pa.string()),
        ("image", pa.binary()),
        ("source", pa.string()),
        ("sub_dataset", pa.string()),
        ("canonical", pa.string()),
        ("tier", pa.int8()),
        ("pass_rate", pa.float32()),
        ("answer_kind", pa.string()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("tokens", pa.int32()),
        ("judged", pa.bool_()),
        ("licence", pa.string()),
        ("kind", pa.string()),
        ("options", pa.list_(pa.string())),
        ("accepted", pa.list_(pa.string())),
        ("tolerance", pa.float64()),
        ("reward_type", pa.string()),
        ("form", pa.string()),
    ]
)
REJECTS = pa.schema([(n, pa.string()) for n in ("source", "sub_dataset", "id", "reason")])


@dataclass
class Card:
    """What the build did, for the data card."""

    kept: int = 0
    by_name: Counter[str] = field(default_factory=Counter)
    rejects: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    duplicates: int = 0  # nearly the same as another question
    overlaps: int = 0  # nearly the same as a question of the evaluation
    compared: int = 0  # the evaluation's questions
    counted: dict[str, int] = field(default_factory=dict)  # rows read that are odd, but stay
    # names that end below their cap though rows were left out over it: (questions, cap)
    short: dict[str, tuple[int, int]] = field(default_factory=dict)

    def short_text(self) -> str:
        """What to do about `short`, or nothing."""
        names = ", ".join(f"{n} {kept} of {cap}" for n, (kept, cap) in self.short.items())
        return (
            f"short of their cap though rows were left out over it: {names}; raise data.reserve"
            if names
            else ""
        )
