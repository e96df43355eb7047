"""Judges of evaluation: the shared comparator, and those that five benchmarks bring along.

A judge is any engine that answers a prompt. What it judges is data: fenced, made inert, and unable
to end the fence. What it says counts only in the form asked for; anything else is
malformed, which is wrong, and counted. `zppo_core/rewards/verdicts.py` reads it, as in training.
`python -m eval.judge calibrate` compares with labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from eval.prompting import render, shared
from eval.scoring.extract import final_text
from zppo_core.prompts import Templates
from zppo_core.protocols import Engine, Progress, Sampling
from zppo_core.rewards.verdicts import (
    json_object,
    parse_verdict,
    score_between_0_and_1,
    word_of,
    yes_or_no,
)
from zppo_core.store.teacher_cache import Memo
from zppo_core.streams import derive_seed
from zppo_core.types import Prompt

BATCH = 256  # cases asked between writes to the memo: what a kill can lose
_BOX = r"\boxed{"


@dataclass(frozen=True)
class Case:
    """What one judge decides: `answer` is what it sees of the response; `extra` fills a rubric."""

    judge: str
    question: str
    answer: str
    gold: str
    extra: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True)
class Verdict:
    """A score in [0, 1]; `malformed` replies score 0. `cached`: nobody had to be asked."""

    judge: str
    score: float
    malformed: bool
    text: str
    cached: bool


def _verdict(output: str, case: Case, cut: bool = False) -> float | None:
    right = parse_verdict(output)
    return None if right is None else float(right)


def _zero_or_one(output: str, case: Case, cut: bool = False) -> float | None:
    value = json_object(output, ("extracted_answer", "score"))
    score = None if value is None else value["score"]
    # JSON's 1.0 is the number 1; its true is none
    return float(score) if type(score) in (int, float) and score in (0, 1) else None


def _hle(output: str, case: Case, cut: bool = False) -> float | None:
    keys = ("extracted_final_answer", "reasoning", "correct", "confidence")
    value = json_object(output, keys)
    word = None if value is None else word_of(value["correct"], ("yes", "no"))
    return None if word is None else float(word == "yes")


def _scale(output: str, case: Case, cut: bool = False) -> float | None:
    return score_between_0_and_1(output, cut)


def _criterion(output: str, case: Case, cut: bool = False) -> float | None:
    met = yes_or_no(output, cut)
    return None if met is None else float(met == (case.gold == "YES"))


class Parse(Protocol):
    """Reads a judge's reply to a case; None is malformed. `cut`: its limit of tokens ended it."""

    def __call__(self, output: str, case: Case, cut: bool = False) -> float | None: ...


@dataclass(frozen=True)
class Rubric:
    """How a judge is asked and read; None from `parse` is malformed.

    `shows`: the extracted answer ("answer"), what follows the thinking ("final"), or all
    ("response").
    """

    parse: Parse
    shows: str
    table: bool = False  # the prompt is a table: a cell has one line and no bar


JUDGES: dict[str, Rubric] = {
    "shared": Rubric(_verdict, "answer"),
    "mmvu": Rubric(_verdict, "response"),
    "hle": Rubric(_hle, "response"),
    "multichallenge": Rubric(_criterion, "final"),
    "mmvet": Rubric(_scale, "final", table=True),
    "charxiv_reasoning": Rubric(_zero_or_one, "final"),
    "charxiv_descriptive": Rubric(_zero_or_one, "final"),
}


def judge_text(
    judge: str, reply: str, answer: str | None, sees: str, thinking: bool, cut: bool
) -> str:
    """What `judge` is shown of a reply; "" if there is nothing of the kind."""
    shows = JUDGES[judge].shows
    if shows == "response" or (shows == "answer" and (answer is None or sees == "trajectory")):
        return str(reply)
    if shows == "answer":
        return answer or ""
    return unboxed(final_text(str(reply), thinking, cut)) or answer or ""


def unboxed(text: str) -> str:
    r"""`text` with every \boxed{...} replaced by its content; an unclosed one stays."""
    parts: list[str] = []
    opened: list[tuple[int, bool]] = []  # (index in parts, whether it is a box)
    i = 0
    while i < len(text):
        if text.startswith(_BOX, i):
            opened.append((len(parts), True))
            parts.append(_BOX)
            i += len(_BOX)
            continue
        if text[i] == "{":
            opened.append((len(parts), False))
        if text[i] == "}" and opened:
            start, box = opened.pop()
            if box:
                parts[start] = ""
                i += 1
                continue
        parts.append(text[i])
        i += 1
    return "".join(parts)


@dataclass(frozen=True)
class Reply:
    """What a judge said; `cut`: its limit of tokens ended it."""

    text: str
    cut: bool = False


@dataclass
class Judge:
    """Decides cases by asking `engine`, greedily; `memo` keeps replies by content.

    `folder` replaces prompt files of ours. `asked` and `malformed` count over the judge's life.
    """

    engine: Engine
    templates: Templates = field(default_factory=Templates)
    memo: Memo | None = None
    max_tokens: int = 512
    folder: str = ""
    label: str = ""  # its name in the protocol, known before the engine is opened
    asked: int = 0
    malformed: int = 0

    def prompt(self, case: Case) -> Prompt:
        """The case as it is asked, without thinking; KeyError if there is no such judge."""
        rubric = JUDGES[case.judge]
        values = dict(case.extra) | {
            "question": case.question,
            "gold": case.gold,
            "answer": self.templates.neutralise(case.answer),
        }
        if rubric.table:
            values |= {k: _cell(str(values[k])) for k in ("question", "gold", "answer")}
        return Prompt(render(shared(f"judge_{case.judge}"), self.folder, **values), thinking=False)

    def judge_all(self, cases: Sequence[Case], progress: Progress | None = None) -> list[Verdict]:
        """A verdict for each case, in order; equal prompts are asked once, known ones never."""
        prompts = [self.prompt(case) for case in cases]
        by_key = {p.digest(): p for p in prompts}
        remembered = {key: self._recall(key) for key in by_key}
        new = [key for key, reply in remembered.items() if reply is None]
        replies = {key: reply for key, reply in remembered.items() if reply is not None}
        for start in range(0, len(new), BATCH):
            part = new[start : start + BATCH]
            groups = self.engine.generate(
                [by_key[key] for key in part],
                Sampling(self.max_tokens, temperature=0.0),
                [derive_seed(0, "judge", key) for key in part],
            )
            for key, group in zip(part, groups, strict=True):
                replies[key] = Reply(group[0].text, group[0].finish == "length")
                self._keep(key, replies[key])
            if progress is not None:
                progress(start + len(part), len(new))
        verdicts = []
        for case, prompt in zip(cases, prompts, strict=True):
            reply = replies[prompt.digest()]
            score = JUDGES[case.judge].parse(reply.text, case, reply.cut)
            cached = remembered[prompt.digest()] is not None
            verdicts.append(Verdict(case.judge, score or 0.0, score is None, reply.text, cached))
        self.asked += len(new)
        self.malformed += sum(v.malformed for v in verdicts)
        return verdicts

    def _recall(self, key: str) -> Reply | None:
        if self.memo is None:
            return None
        kept = self.memo.get("judge", self.engine.name, key, self.max_tokens)
        if isinstance(kept, str):
            return Reply(kept)
        return Reply(kept["text"], cut=True) if isinstance(kept, dict) else None

    def _keep(self, key: str, reply: Reply) -> None:
        if self.memo is not None:
            value = {"text": reply.text} if reply.cut else reply.text
            self.memo.put(value, "judge", self.engine.name, key, self.max_tokens)


def _cell(text: str) -> str:
    text = " ".join(text.replace("|", "/").split())
    return text.replace("<AND>", " <AND> ").replace("<OR>", " <OR> ")
