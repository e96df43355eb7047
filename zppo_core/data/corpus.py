"""The training corpus: questions by id, asked in an order that only (seed, pass) decides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence

from zppo_core.errors import UserError
from zppo_core.streams import stream
from zppo_core.types import Question


class ListCorpus:
    """Questions held in memory, for corpora that fit there."""

    def __init__(self, questions: Iterable[Question], seed: int) -> None:
        self._questions = {q.id: q for q in questions}
        self._ids = list(self._questions)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, question_id: str) -> Question:
        return self._questions[question_id]

    @property
    def ids(self) -> Sequence[str]:
        """All ids in their stable order."""
        return self._ids

    def steps_per_pass(self, n: int) -> int:
        """Rollout steps of `n` new prompts that one pass gives; the rest of a pass is left out."""
        return len(self._ids) // n

    def new_ids(self, step: int, n: int) -> list[str]:
        """The `n` distinct new questions of rollout step `step`; each pass has its own order."""
        if n > len(self._ids):
            raise UserError(
                f"rollout.new_prompts={n} but the corpus has {len(self._ids)} questions; "
                "lower it or use a larger corpus"
            )
        pass_, position = divmod(step, self.steps_per_pass(n))
        order = stream(self._seed, "data order", pass_).permutation(len(self._ids))
        return [self._ids[i] for i in order[position * n : (position + 1) * n]]

    def digest(self) -> str:
        """SHA-256 (hex) over every question's content, in order."""
        h = hashlib.sha256()
        for q in self._questions.values():
            for part in (q.id, q.text, q.gold, q.family, q.category, str(q.judged)):
                h.update(part.encode() + b"\0")
            for image in q.images:
                h.update(hashlib.sha256(image).digest())
        return h.hexdigest()
