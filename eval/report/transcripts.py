"""What a run's student was asked and what it wrote, group by group, as JSON for a page."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import duckdb

from eval.report.connection import query
from eval.report.rows import records

LIMITS = (0, 4000, 2000, 1000, 500, 250, 120)  # characters kept of a text, 0: all of it
MOST_PACKED = 8  # times that text becomes smaller by packing, base64 counted: seldom more
Pictures = Callable[[str], Sequence[str]]  # a question's, as data addresses
Transcripts = dict[str, Any]  # JSON: what page.js reads


def no_pictures(question_id: str) -> Sequence[str]:
    """For a corpus that is not at hand."""
    return ()


@dataclass(frozen=True)
class Chosen:
    """Which groups a page holds: those of `steps` (from 1), at most `per_step` of each."""

    steps: tuple[int, ...]
    per_step: int = 0  # 0: all


def spread(steps: Sequence[int], most: int) -> tuple[int, ...]:
    """At most `most` of `steps`: the first, the last, and evenly between; newest kept first."""
    if len(steps) <= most:
        return tuple(steps)
    if most <= 1:
        return tuple(steps[-1:])
    picked = {round(i * (len(steps) - 1) / (most - 1)) for i in range(most)}
    return tuple(steps[i] for i in sorted(picked))


def chosen_steps(
    connection: duckdb.DuckDBPyConnection, run_key: str, most_rollouts: int, most_steps: int = 0
) -> Chosen:
    """Steps, spread over the run, whose rollouts are at most `most_rollouts` together."""
    counted = query(
        connection,
        "SELECT step + 1, count(*) FROM rollouts WHERE run_key = ? GROUP BY step ORDER BY step",
        [run_key],
    )
    if not counted:
        return Chosen(())
    steps = [step for step, _ in counted]
    largest = max(n for _, n in counted)
    room = max(1, most_rollouts // largest)
    kept = spread(steps, min(room, most_steps or room))
    size = query(
        connection,
        "SELECT max(len) FROM (SELECT count(*) AS len FROM rollouts "
        "WHERE run_key = ? GROUP BY step, uid)",
        [run_key],
    )[0][0]
    return Chosen(kept, max(1, most_rollouts // size) if largest > most_rollouts else 0)


def transcripts(
    connection: duckdb.DuckDBPyConnection,
    run_key: str,
    chosen: Chosen,
    pictures: Pictures = no_pictures,
) -> Transcripts:
    """Every group of the chosen steps: prompt, candidates, responses with reward and advantage.

    `questions` holds once what groups share: gold, pictures, the way through the buffer, what the
    teacher wrote. Keys are short, for there are thousands of each.
    """
    steps = [step - 1 for step in chosen.steps]
    rank = f"QUALIFY row_number() OVER (PARTITION BY step ORDER BY md5(uid)) <= {chosen.per_step}"
    groups: list[dict[str, Any]] = records(
        connection,
        "SELECT step + 1 AS step, uid, question_id AS q, kind, accuracy AS acc, gold, family, "
        "prompt_text AS prompt, prompt_tokens, right_first, candidate_texts AS candidates "
        "FROM groups WHERE run_key = ? AND list_contains(?, step) "
        f"{rank if chosen.per_step else ''} ORDER BY step DESC, question_id, kind",
        [run_key, steps],
    )
    rollouts: dict[tuple[int, str], list[list[Any]]] = {}
    for step, uid, *row in query(
        connection,
        "SELECT r.step + 1, r.uid, r.text, r.reward, r.outcome, r.answer, r.finish, "
        "a.advantage, len(r.token_ids) FROM rollouts r "
        "LEFT JOIN advantages a USING (run_key, step, uid, member) "
        "WHERE r.run_key = ? AND list_contains(?, r.step) ORDER BY r.step, r.uid, r.member",
        [run_key, steps],
    ):
        rollouts.setdefault((step, uid), []).append(list(row))
    questions: dict[str, dict[str, Any]] = {}
    for group in groups:
        gold, family = group.pop("gold"), group.pop("family")
        group["r"] = rollouts.get((group["step"], group.pop("uid")), [])
        name = str(group["q"])
        if name not in questions:
            questions[name] = {
                "gold": gold,
                "family": family,
                "img": list(pictures(name)),
                "life": [],
                "asked": [],
                "draws": [],
            }
    _lives(connection, run_key, questions)
    return {"cut": 0, "groups": groups, "questions": questions}


def _lives(
    connection: duckdb.DuckDBPyConnection, run_key: str, questions: dict[str, dict[str, Any]]
) -> None:
    """What happened to each question over the whole run, and what the teacher wrote of it."""
    names = list(questions)
    for part, sql in {
        "life": "SELECT question_id, step + 1, event, accuracy FROM buffer_events "
        "WHERE run_key = ? AND list_contains(?, question_id) ORDER BY step",
        "asked": "SELECT question_id, step + 1, kind, accuracy FROM groups "
        "WHERE run_key = ? AND list_contains(?, question_id) ORDER BY step, kind",
        "draws": "SELECT question_id, step + 1, purpose, text, reward, outcome, tokens, cached "
        "FROM teacher_draws WHERE run_key = ? AND list_contains(?, question_id) "
        "ORDER BY step, purpose DESC, visit, draw",
    }.items():
        for name, *row in query(connection, sql, [run_key, names]):
            questions[name][part].append(row)


def cut_to(written: Transcripts, most: int) -> Transcripts:
    """The same with every text of a model at most `most` characters long, its middle left out."""
    if not most:
        return written

    def short(text: str) -> str:
        if len(text) <= most:
            return text
        half = most // 2
        return f"{text[:half]} … {len(text) - most:,} characters more … {text[-half:]}"

    groups = [
        group
        | {
            "prompt": short(group["prompt"]),
            "candidates": [short(text) for text in group["candidates"] or ()],
            "r": [[short(text), *rest] for text, *rest in group["r"]],
        }
        for group in written["groups"]
    ]
    questions = {
        name: q | {"draws": [[*d[:2], short(d[2]), *d[3:]] for d in q["draws"]]}
        for name, q in written["questions"].items()
    }
    return written | {"cut": most, "groups": groups, "questions": questions}


def _characters(written: Transcripts) -> int:
    """Characters of the responses, which are most of it."""
    return sum(len(row[0]) for group in written["groups"] for row in group["r"])


def size_of(written: Transcripts) -> int:
    """Bytes that a page holds of it: JSON, compressed, as base64."""
    text = json.dumps(written, ensure_ascii=False, separators=(",", ":"))
    return 4 * len(gzip.compress(text.encode("utf-8", "replace"), 6)) // 3


def pictures_to(written: Transcripts, most: int) -> Transcripts:
    """The same with at most `most` bytes of pictures: those of the first groups, the newest."""
    kept: dict[str, list[str]] = {}
    room = most
    for name in dict.fromkeys(group["q"] for group in written["groups"]):
        pictures = written["questions"][name]["img"]
        room -= sum(map(len, pictures))
        kept[name] = pictures if room >= 0 else []
    questions = {name: q | {"img": kept.get(name, [])} for name, q in written["questions"].items()}
    return written | {"questions": questions}


def within(written: Transcripts, budget: int, limits: Iterable[int] = LIMITS) -> Transcripts:
    """`written` in at most `budget` bytes, of which pictures have at most half.

    Pictures of later groups are left out, then texts cut, then all pictures left out, then groups.
    """
    written = shown = pictures_to(written, budget // 2)
    for most in limits:
        shown = cut_to(written, most)
        if _characters(shown) > MOST_PACKED * budget:
            continue  # not worth the time to pack it
        if size_of(shown) <= budget:
            return shown
    bare = {name: q | {"img": []} for name, q in shown["questions"].items()}
    shown = shown | {"questions": bare}
    while size_of(shown) > budget and len(shown["groups"]) > 1:
        groups = shown["groups"][::2]
        kept = {group["q"] for group in groups}
        questions = {name: q for name, q in shown["questions"].items() if name in kept}
        shown = shown | {"groups": groups, "questions": questions}
    return shown
