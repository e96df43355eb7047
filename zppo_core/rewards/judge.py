"""The reward where the gold answer is free text: a comparator, not a solver (section 6)."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from zppo_core.prompts import Templates
from zppo_core.protocols import Engine, Sampling
from zppo_core.rewards.clean import clean
from zppo_core.rewards.verdicts import parse_verdict
from zppo_core.rewards.where import Missing, find_answer
from zppo_core.store.teacher_cache import Memo
from zppo_core.streams import derive_seed
from zppo_core.types import Grade, Prompt, Question

GREEDY = Sampling(512, temperature=0.0)
LONGEST = 2000  # characters of an answer; one longer than this and than two gold ones is none


@dataclass
class Judge:
    """Grades boxed answers against free-form gold answers by asking `engine`, greedily.

    The judge sees the box alone: text around it cannot talk it into a verdict, and no box is 0 as
    for every other question. Verdicts are kept by content in `memo`; `malformed` counts replies
    that were none.
    """

    engine: Engine
    templates: Templates
    memo: Memo | None = None
    malformed: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def grade_all(self, pairs: Sequence[tuple[Question, str]]) -> list[Grade]:
        """A grade for each (question, response), in order; equal prompts are asked once."""
        answers = [find_answer(response) for _, response in pairs]
        prompts = [self._prompt(q, a) for (q, _), (a, _) in zip(pairs, answers, strict=True)]
        verdicts = self._verdicts({p.digest(): p for p in prompts if p is not None})
        return [
            _grade(
                answer,
                missing,
                verdicts[prompt.digest()] if prompt else answer and _same(answer, question.gold),
            )
            for (question, _), (answer, missing), prompt in zip(
                pairs, answers, prompts, strict=True
            )
        ]

    def _prompt(self, question: Question, answer: str | None) -> Prompt | None:
        """What to ask; None without an answer, for the gold answer itself, and for a treatise."""
        if not answer or _same(answer, question.gold):
            return None
        if len(answer) > max(LONGEST, 2 * len(question.gold)):
            return None
        text = self.templates.judge(question.text, question.gold, answer)
        return Prompt(text, thinking=False)

    def _verdicts(self, asked: dict[str, Prompt]) -> dict[str, bool | None]:
        outputs = {
            key: None if self.memo is None else self.memo.get("verdict", self.engine.name, key)
            for key in asked
        }
        new = [key for key, output in outputs.items() if output is None]
        groups = self.engine.generate(
            [asked[key] for key in new], GREEDY, [derive_seed(0, "judge", key) for key in new]
        )
        for key, group in zip(new, groups, strict=True):
            outputs[key] = group[0].text
            if self.memo is not None:
                self.memo.put(outputs[key], "verdict", self.engine.name, key)
        verdicts = {k: parse_verdict(str(o)) for k, o in outputs.items()}
        with self._lock:  # groups are graded as they finish, by several threads
            self.malformed += sum(verdicts[key] is None for key in new)
        return verdicts


def _same(answer: str, gold: str) -> bool:
    return clean(answer).casefold() == clean(gold).casefold()


def _grade(answer: str | None, missing: Missing | None, right: object) -> Grade:
    if not answer:
        return Grade(0.0, missing or "no_box")
    return Grade(1.0, "correct", answer) if right else Grade(0.0, "wrong", answer)
