"""Codecs between a rollout step's results and the Parquet tables of its journal units.

The journal and the result database share one format: what a phase commits is what `aggregate`
ingests, and what a resumed step reads back. Images are not stored: they come from the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from zppo_core.algorithm.compression import Compressed
from zppo_core.algorithm.step_types import Ask, TeacherDraw, TeacherPhase
from zppo_core.records.context import Files, RecordContext
from zppo_core.records.phases import Spent
from zppo_core.records.schema import decode, encode
from zppo_core.rewards.where import extract_boxed
from zppo_core.store.teacher_cache import Draw
from zppo_core.types import Completion, Grade, Group, Prompt


@dataclass(frozen=True)
class GroupsCodec:
    """Student groups as `groups` and `rollouts`; `asks` tells which candidates a prompt holds."""

    context: RecordContext
    phase: str
    asks: Mapping[str, Ask] | None = None  # uid -> ask, filled by the reformulate phase

    def encode(self, value: Sequence[Group], spent: Spent) -> Files:
        c = self.context
        groups, rollouts = [], []
        for g in value:
            question = c.corpus[g.question_id]
            ask = (self.asks or {}).get(g.uid)
            row: dict[str, object] = {
                **c.key,
                "uid": g.uid,
                "question_id": g.question_id,
                "kind": g.kind,
                "family": question.family,
                "category": question.category or None,
                "prompt_text": g.prompt.text,
                "prompt_digest": g.prompt.digest(),
                "prompt_tokens": c.prompt_tokens(g.prompt),
                "accuracy": g.accuracy,
                "gold": question.gold,
            }
            if ask is not None:
                row |= candidate_columns(ask)
            groups.append(row)
            rollouts += [
                {
                    **c.key,
                    "uid": g.uid,
                    "member": i,
                    "text": r.text,
                    "token_ids": r.token_ids_T.tolist(),
                    "logp": r.logp_T.tolist(),
                    "reward": grade.reward,
                    "outcome": grade.outcome,
                    "answer": grade.answer,
                    "finish": r.finish,
                    "forced": r.forced,
                    "version": r.version,
                }
                for i, (r, grade) in enumerate(zip(g.completions, g.grades, strict=True))
            ]
        return {
            "groups.parquet": encode("groups", groups),
            "rollouts.parquet": encode("rollouts", rollouts),
            **c.phase(self.phase, spent),
        }

    def decode(self, files: Mapping[str, bytes]) -> list[Group]:
        members: dict[str, list[tuple[Completion, Grade]]] = {}
        for r in decode("rollouts", files["rollouts.parquet"]).to_pylist():
            completion = Completion(
                r["text"],
                np.array(r["token_ids"], np.int32),
                np.array(r["logp"], np.float32),
                r["finish"],
                r["version"],
                r["forced"],
            )
            grade = Grade(r["reward"], r["outcome"], r["answer"])
            members.setdefault(r["uid"], []).append((completion, grade))
        groups = []
        for g in decode("groups", files["groups.parquet"]).to_pylist():
            completions, grades = zip(*members[g["uid"]], strict=True)
            forced = tuple(completions[0].token_ids_T[: completions[0].forced].tolist())
            prompt = Prompt(
                g["prompt_text"],
                self.context.corpus[g["question_id"]].images,
                self.context.thinking,
                forced=forced,
            )
            groups.append(Group(g["uid"], g["question_id"], g["kind"], prompt, completions, grades))
        return groups


def candidate_columns(ask: Ask) -> dict[str, object]:
    """What the audits need to know of a reformulated prompt."""
    negatives = list(ask.negatives)
    shown = [c.text for c in ([ask.positive] if ask.positive else []) + negatives]
    if ask.right_first is False:
        shown.reverse()
    return {
        "positive_answer": ask.positive.answer if ask.positive else None,
        "negative_answers": [n.answer for n in negatives if n.answer is not None],
        "right_first": ask.right_first,
        "candidate_texts": shown,
    }


@dataclass(frozen=True)
class TeacherCodec:
    """Teacher rollouts as `teacher_draws`, and the plan beside them."""

    context: RecordContext

    def encode(self, value: TeacherPhase, spent: Spent) -> Files:
        rows = [
            {
                **self.context.key,
                "question_id": d.question_id,
                "visit": d.visit,
                "draw": d.index,
                "purpose": "draw",
                "text": d.draw.text,
                "tokens": len(d.draw.token_ids_T),
                "reward": d.grade.reward,
                "outcome": d.grade.outcome,
                "answer": d.grade.answer,
                "cached": d.draw.cached,
                "fallback": False,
                "attempts": 1,
            }
            for draws in value.draws.values()
            for d in draws
        ]
        exact = {
            "plan": value.plan,
            "questions": list(value.draws),
            "tokens": [
                [d.draw.token_ids_T.tolist() for d in draws] for draws in value.draws.values()
            ],
            "finish": [[d.draw.finish for d in draws] for draws in value.draws.values()],
        }
        return {
            "teacher_draws.parquet": encode("teacher_draws", rows),
            "plan.json": json.dumps(exact).encode(),
            **self.context.phase("teacher", spent),
        }

    def decode(self, files: Mapping[str, bytes]) -> TeacherPhase:
        exact = json.loads(files["plan.json"])
        tokens = dict(zip(exact["questions"], exact["tokens"], strict=True))
        finish = dict(zip(exact["questions"], exact["finish"], strict=True))
        draws: dict[str, list[TeacherDraw]] = {q: [] for q in exact["questions"]}
        for r in decode("teacher_draws", files["teacher_draws.parquet"]).to_pylist():
            q, i = r["question_id"], r["draw"]
            ids = np.array(tokens[q][i], np.int32)
            draw = Draw(r["text"], ids, finish[q][i], r["cached"])
            grade = Grade(r["reward"], r["outcome"], r["answer"])
            draws[q].append(TeacherDraw(q, r["visit"], i, draw, grade))
        plan = tuple((q, kind) for q, kind in exact["plan"])
        return TeacherPhase({q: tuple(d) for q, d in draws.items()}, plan)


@dataclass(frozen=True)
class AsksCodec:
    """Reformulated prompts as JSON, and each compression as a row of `teacher_draws`."""

    context: RecordContext

    def encode(self, value: Sequence[Ask], spent: Spent) -> Files:
        asks = [
            {
                "question_id": a.question_id,
                "kind": a.kind,
                "text": a.prompt.text,
                "forced": list(a.prompt.forced),
                "right_first": a.right_first,
                "positive": asdict(a.positive) if a.positive else None,
                "negatives": [asdict(n) for n in a.negatives],
            }
            for a in value
        ]
        return {
            "asks.json": json.dumps(asks).encode(),
            "teacher_draws.parquet": encode("teacher_draws", list(self._compressions(value))),
            **self.context.phase("reformulate", spent),
        }

    def _compressions(self, asks: Sequence[Ask]) -> Iterable[dict[str, object]]:
        counts: dict[str, int] = {}
        for ask in asks:
            for c in ([ask.positive] if ask.positive else []) + list(ask.negatives):
                draw = counts.get(ask.question_id, 0)
                counts[ask.question_id] = draw + 1
                # what a kind had the teacher write for itself is no compression of a response
                purpose = ask.kind if c.source_characters is None else "compress"
                yield {
                    **self.context.key,
                    "question_id": ask.question_id,
                    "visit": 0,
                    "draw": draw,
                    "purpose": purpose,
                    "text": c.text,
                    "tokens": c.tokens,
                    # read from what stands in the prompt: the audit compares it with the source's
                    "answer": extract_boxed(c.text),
                    "source_answer": c.source_answer,
                    "source_characters": c.source_characters,
                    "cached": 0 < c.recalled == c.tokens,
                    "fallback": c.fallback,
                    "attempts": c.attempts,
                }

    def decode(self, files: Mapping[str, bytes]) -> list[Ask]:
        asks = []
        for a in json.loads(files["asks.json"]):
            prompt = Prompt(
                a["text"],
                self.context.corpus[a["question_id"]].images,
                self.context.thinking,
                forced=tuple(a["forced"]),
            )
            positive = Compressed(**a["positive"]) if a["positive"] else None
            negatives = tuple(Compressed(**n) for n in a["negatives"])
            asks.append(
                Ask(a["question_id"], a["kind"], prompt, a["right_first"], positive, negatives)
            )
        return asks
