"""What every record of a run shares: its keys, its caps, and where images and golds come from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from zppo_core.algorithm.step_types import Corpus
from zppo_core.records.phases import Spent
from zppo_core.records.schema import encode
from zppo_core.types import Prompt

Files = dict[str, bytes]


@dataclass(frozen=True)
class RecordContext:
    """Whose records these are, and where images and golds come from."""

    run_key: str
    step: int
    corpus: Corpus
    thinking: bool
    prompt_tokens: Callable[[Prompt], int]
    student_params: int
    teacher_params: int  # 0 without a teacher
    max_tokens: int  # the cap on a response
    loss: str  # of the run's method
    prompt_tokens_cap: int = 0  # on a prompt of the corpus
    candidate_tokens: int = 0  # on a compressed candidate

    @property
    def longest(self) -> int:
        """Tokens of the longest sequence: what the paper's account takes every one for."""
        return self.max_tokens + self.prompt_tokens_cap

    @property
    def key(self) -> dict[str, object]:
        return {"run_key": self.run_key, "step": self.step}

    def phase(self, name: str, spent: Spent, **more: float) -> Files:
        row = {**self.key, "phase": name, **asdict(spent), **more}
        return {"phases.parquet": encode("phases", [row])}
