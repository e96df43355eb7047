"""Codecs between a rollout step's results and the Parquet tables of its journal units.

The journal and the result database share one format: what a phase commits is what `aggregate`
ingests, and what a resumed step reads back. Images are not stored: they come from the corpus.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from zppo_core.algorithm.compression import Compressed
from zppo_core.algorithm.step_types import Ask, Corpus, StepResult, TeacherDraw, TeacherPhase
from zppo_core.config.methods import find_loss
from zppo_core.records.phases import Spent
from zppo_core.records.schema import decode, encode
from zppo_core.rewards.where import extract_boxed
from zppo_core.store.teacher_cache import Draw
from zppo_core.types import Completion, Grade, Group, Prompt

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
                    "cached": False,
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


def step_files(
    context: RecordContext,
    result: StepResult,
    threshold: float,
    spent: Spent,
    sync: Mapping[str, float],
) -> Files:
    """The tables of a finished step: its summary, updates, advantages and buffer events."""
    key = context.key
    groups = [*result.plain, *result.augmented]
    hard = [g for g in result.plain if g.accuracy < threshold]
    used = [kind for _, kind in result.teacher.plan]
    eligible = sum(
        any(d.grade.reward == 1.0 for d in result.teacher.draws.get(g.question_id, ()))
        for g in hard
    )
    step = {
        **key,
        "new_prompts": sum(g.kind == "plain" for g in result.plain),
        "replay_prompts": sum(g.kind == "replay" for g in result.plain),
        "hard": len(hard),
        "hard_in_buffer": sum(g.kind == "replay" for g in hard),
        "eligible_bcq": eligible,
        "eligible_ncq": len(hard),
        **{f"used_{k}": used.count(k) for k in ("bcq", "ncq", "hint", "prefix")},
        "buffer_size": result.buffer_size,
        "mismatch_mean": result.update.mismatch_mean,
        "mismatch_max": result.update.mismatch_max,
        "weight_version": result.step,
    }
    kinds = [
        kind_row(key, kind, groups, result.update.advantages)
        for kind in dict.fromkeys(g.kind for g in groups)
    ]
    replayed = {g.question_id for g in result.plain if g.kind == "replay"}
    events = [
        {
            **key,
            "question_id": e.question_id,
            "event": e.kind,
            "accuracy": None if np.isnan(e.accuracy) else e.accuracy,
            "entry_accuracy": e.entry_accuracy,
            "entry_step": e.entry_step,
            "visits": e.visits,
            "replayed": e.question_id in replayed,
        }
        for e in result.events
    ]
    columns = (
        "loss",
        "grad_norm",
        "entropy",
        "clip_low_share",
        "clip_high_share",
        "dual_clip_share",
        "ratio_mean",
        "tokens",
        "groups",
        "computed_tokens",
        "seconds",
    )
    updates = [
        {
            **key,
            "update_index": i,
            "skipped_groups": 0,
            "skipped": m.skipped,
            "divisor": m.divisor or None,
            **{c: getattr(m, c) for c in columns},
        }
        for i, m in enumerate(result.update.metrics)
    ]
    if updates:  # counted once a step: the trivial groups of all its mini-batches
        updates[0]["skipped_groups"] = result.update.skipped_groups
    advantages = [
        {**key, "uid": uid, "member": i, "advantage": float(a)}
        for uid, a_G in result.update.advantages.items()
        for i, a in enumerate(a_G)
    ]
    return {
        "steps.parquet": encode("steps", [step]),
        "step_kinds.parquet": encode("step_kinds", kinds),
        "buffer_events.parquet": encode("buffer_events", events),
        "updates.parquet": encode("updates", updates),
        "advantages.parquet": encode("advantages", advantages),
        "costs.parquet": encode("costs", cost_rows(context, result)),
        **context.phase("update", spent, **sync),
    }


def kind_row(
    key: Mapping[str, object],
    kind: str,
    groups: Sequence[Group],
    advantages: Mapping[str, np.ndarray],
) -> dict[str, object]:
    """One kind's share of a step: how many groups, how many trivial, how right."""
    of_kind = [g for g in groups if g.kind == kind]
    return {
        **key,
        "kind": kind,
        "groups": len(of_kind),
        "trivial": sum(g.trivial for g in of_kind),
        "rollouts": sum(len(g.completions) for g in of_kind),
        "positive_advantage": sum(
            int((advantages[g.uid] > 0).sum()) for g in of_kind if g.uid in advantages
        ),
        "accuracy": float(np.mean([g.accuracy for g in of_kind])),
        "tokens": sum(len(c.token_ids_T) for g in of_kind for c in g.completions),
    }


def cost_rows(context: RecordContext, result: StepResult) -> list[dict[str, object]]:
    """Tokens by model and activity; `tokens_cap` is the paper's account of them (App. D.3).

    It takes every sequence for the longest there may be, trains on all groups (those with equal
    rewards too), and every run draws for itself, whatever a cache had: it is the upper bound that
    `eval.report.cost.plan` gives beforehand. A summary has a cap of its own, for each attempt.
    """
    groups = [*result.plain, *result.augmented]
    draws = [d for drawn in result.teacher.draws.values() for d in drawn]
    new_draws = [d for d in draws if not d.draw.cached]
    summaries = dict.fromkeys(
        c for a in result.asks for c in (a.positive, *a.negatives) if c is not None
    )
    updates, longest = result.update.metrics, context.longest

    def sampled(some: Sequence[Group]) -> int:
        return sum(len(c.token_ids_T) - c.forced for g in some for c in g.completions)

    def responses(some: Sequence[Group]) -> int:
        return sum(len(g.completions) for g in some)

    count = responses(groups)
    objective = find_loss(context.loss)
    if objective.learns_from == "student":
        count = responses(result.plain)
    elif objective.learns_from == "teacher":
        count = sum(d.grade.reward == 1.0 for d in draws)
    learned = sum(m.tokens for m in updates), count * longest
    entries = [
        ("student", "generate", sampled(groups), responses(groups) * longest),
        ("student", "train", *learned),
        (
            "teacher",
            "generate",
            sum(len(d.draw.token_ids_T) for d in new_draws) + sum(c.tokens for c in summaries),
            len(draws) * longest + sum(c.attempts for c in summaries) * context.candidate_tokens,
        ),
    ]
    if len(updates) > 1:  # with I = 1 there is no pass for the old log-probabilities
        entries.append(("student", "rescore", *learned))
    if objective.teacher_weights:  # the teacher reads every token that is learned from
        entries.append(("teacher", "rescore", *learned))
    trained = sum(m.seconds for m in updates)
    return [
        {
            **context.key,
            "role": role,
            "activity": activity,
            "model_params": context.student_params if role == "student" else context.teacher_params,
            "tokens": tokens,
            "tokens_cap": cap,
            "seconds": trained if activity == "train" else 0.0,
        }
        for role, activity, tokens, cap in entries
        if cap
    ]
