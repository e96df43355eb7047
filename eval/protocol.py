"""How a benchmark is asked and marked: all that decides a score besides model and questions.

No random fallback anywhere: what cannot be parsed is wrong by rule, and counted as unparsed. Only a
judge that is shown the whole response (settings judge_unparsed) may count it right; where a thought
never ends there is no answer, for it as in training (settings judge_unfinished).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from eval import prompting
from eval import settings as settings_module
from eval.benchmark import Benchmark, Sample
from eval.judges import Case, Judge, Verdict, judge_text
from eval.scoring import RuleScore, score_all
from eval.scoring.extract import extract, final_text
from eval.scoring.rules import answer_line, names_a_choice
from eval.settings import Settings
from eval.suite import benchmarks, code_of, templates
from zppo_core.config import EvaluationConfig
from zppo_core.config.reading import stored
from zppo_core.prompts import Templates
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import Grader
from zppo_core.types import Prompt

SCORER_VERSION = "5"
UNFINISHED = "unfinished"  # extractor and outcome of a response whose thought never ends


class Reply(str):
    """What a model said to one sample, and how; a plain string to lm-eval.

    `unreadable` says why a sample could not be asked at all.
    """

    digest: str = ""
    tokens: int = 0
    seconds: float | None = None
    thinking: bool = False
    cut: bool = False
    unreadable: str = ""

    @classmethod
    def of(cls, text: str, **details: object) -> Reply:
        """`text` with some of the attributes set."""
        reply = cls(text)
        for name, value in details.items():
            setattr(reply, name, value)
        return reply


@dataclass(frozen=True)
class EvalSample:
    """One answered question; the columns of eval_samples without those of model and run."""

    sample_id: str
    prompt_digest: str
    output: str
    answer: str | None
    extractor: str
    scorer: str
    scorer_version: str
    score: float
    outcome: str
    tokens: int
    seconds: float | None = None
    judge_reply: str | None = None
    cluster: str | None = None


@dataclass(frozen=True)
class Evaluator:
    """Protocol, templates, grader and judge. Without a judge the rule alone decides."""

    protocol: EvaluationConfig
    templates: Templates
    grader: Grader
    judge: Judge | None = None

    @cached_property
    def settings(self) -> Settings:
        """What the paper leaves open; UserError on a fault in the protocol's settings."""
        return settings_module.parse(self.protocol.settings)

    def key(self, thinking: bool) -> str:
        """Digest (hex) of all that decides a score besides weights and benchmark."""
        identity = stored(self.protocol) | {"thinking": thinking, "closer": self.templates.closer}
        identity |= {"scorer_version": SCORER_VERSION}
        for name in ("suite", "source", "shard", "tasks", "judge", "context"):
            del identity[name]
        asked = benchmarks(self.protocol.suite)
        if any(b.dataset != "digits" for b in asked):
            identity["prompts"] = prompting.digest(templates(asked), self.settings.prompts)
            identity["data"] = sorted(b.pinned for b in asked)
        if code := {b.name: code_of(b) for b in asked if code_of(b)}:
            identity["code"] = code
        if self.judge is not None and any(b.kind != "rule" for b in asked):
            identity["judge"] = self.judge.label or self.judge.engine.name
        return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]

    def sampling(self) -> Sampling:
        """The protocol's decoding, one response a question (pass@1)."""
        p = self.protocol
        return Sampling(
            p.max_tokens,
            1,
            p.temperature,
            p.top_p,
            p.top_k,
            p.min_p,
            p.presence_penalty,
            p.repetition_penalty,
        )

    def ask(self, sample: Sample, thinking: bool) -> Prompt:
        """The sample's question with the closer, as at training; UnreadableError if a part is."""
        return Prompt(self.text(sample), sample.images(), thinking, history=sample.history)

    def text(self, sample: Sample) -> str:
        """The words of `ask`."""
        context = sample.context() + "\n" if sample.context is not None else ""
        return self.templates.with_closer(context + sample.text)

    def score(
        self, benchmark: Benchmark, replies: Sequence[tuple[Sample, Reply]]
    ) -> list[EvalSample]:
        """Every reply scored, in order: by rule, and by the judge where the benchmark wants one.

        The judge sees what the rule rejects (rule+judge), or everything (judge).
        """
        answers = [_answer(benchmark, sample, reply) for sample, reply in replies]
        verdicts: dict[int, Verdict] = {}
        if benchmark.kind == "judge":
            names = [s.judge or benchmark.scorer for s, _ in replies]
            scores = [RuleScore(0.0, "unparsed" if a is None else "wrong") for a, _ in answers]
            rejected = list(range(len(replies)))
        else:
            names = [s.rule or benchmark.scorer for s, _ in replies]
            scores = score_all(
                [(s, r, a) for (s, _), r, (a, _) in zip(replies, names, answers, strict=True)],
                self.grader,
            )
            rejected = [i for i, score in enumerate(scores) if score.score == 0.0]
        if self.judge is not None and benchmark.kind != "rule":
            cases = {i: self._case(benchmark, *replies[i], *answers[i]) for i in rejected}
            asked = {i: case for i, case in cases.items() if case is not None}
            judged = self.judge.judge_all(list(asked.values()))
            verdicts = dict(zip(asked, judged, strict=True))
        return [
            _marked(sample, reply, answers[i], names[i], scores[i], verdicts.get(i))
            for i, (sample, reply) in enumerate(replies)
        ]

    def _case(
        self, benchmark: Benchmark, sample: Sample, reply: Reply, answer: str | None, extractor: str
    ) -> Case | None:
        """What the judge is to decide; None where there is nothing to judge."""
        if answer is None and not self.settings.judge_unparsed:
            return None
        if extractor == UNFINISHED and not self.settings.judge_unfinished:
            return None
        by_judge = benchmark.kind == "judge"
        name = (sample.judge or benchmark.scorer) if by_judge else "shared"
        shown = judge_text(name, reply, answer, self.settings.judge_sees, reply.thinking, reply.cut)
        if not shown.strip():
            return None
        extra = {"options": "\n".join(_lettered(sample.options))} | dict(sample.extra)
        golds = "\n".join(dict.fromkeys((sample.gold, *sample.golds)))
        question = str(sample.extra.get("question", sample.text))
        return Case(name, question, shown, sample.gold if by_judge else golds, extra)


def _lettered(options: Sequence[str]) -> list[str]:
    return [f"{chr(65 + i)}. {text}" for i, text in enumerate(options)]


def _answer(benchmark: Benchmark, sample: Sample, reply: Reply) -> tuple[str | None, str]:
    """(answer, extractor); the digits are asked for a box and take nothing else.

    Of a choice an explicit last line counts where a box holds something else than a choice.
    """
    answer, extractor = extract(str(reply), reply.thinking, cut=reply.cut)
    if benchmark.dataset == "digits":
        return (answer, extractor) if extractor == "last box" else (None, _missing(extractor))
    if answer is None or not _is_choice(benchmark, sample):
        return answer, extractor
    if names_a_choice(answer, sample.options):
        return answer, extractor
    line = answer_line(final_text(str(reply), reply.thinking, reply.cut), sample.options)
    return (answer, extractor) if line is None else (line, "answer line")


def _missing(extractor: str) -> str:
    return extractor if extractor == UNFINISHED else "none"


def _is_choice(benchmark: Benchmark, sample: Sample) -> bool:
    rule = sample.rule or benchmark.scorer
    return (
        rule == "choice"
        or sample.extra.get("answer_type") == "multiple choice"
        or (bool(sample.options) and rule in ("choice_or_math", "mathvista"))
    )


def _marked(
    sample: Sample,
    reply: Reply,
    answer: tuple[str | None, str],
    scorer: str,
    by_rule: RuleScore,
    verdict: Verdict | None,
) -> EvalSample:
    score, outcome = by_rule.score, by_rule.outcome
    if answer[1] == UNFINISHED:
        outcome = UNFINISHED
    if verdict is not None:
        scorer = f"judge:{verdict.judge}"
        score = verdict.score
        outcome = {0.0: "wrong", 1.0: "correct"}.get(score, "partial")
        outcome = "malformed" if verdict.malformed else outcome
    return EvalSample(
        sample.id,
        reply.digest,
        str(reply),
        answer[0],
        answer[1],
        scorer,
        SCORER_VERSION,
        score,
        outcome,
        reply.tokens,
        reply.seconds,
        None if verdict is None else verdict.text,
        None if sample.cluster is None else sample.cluster(),
    )
