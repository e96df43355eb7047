"""Audits: a planted leak is found and named, anonymous candidates pass, answers are compared."""

from __future__ import annotations

import io
import json
from dataclasses import fields, replace

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest
from paper_world import run_row
from synthetic import MemoryJournal

from eval.report import audit
from eval.report.audit import FEATURES, features, probe, share
from eval.report.database import ingest
from zppo_core.algorithm.compression import Compressed, Compressor
from zppo_core.algorithm.step_types import Ask
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.records.codecs import AsksCodec
from zppo_core.records.context import RecordContext
from zppo_core.records.phases import Spent
from zppo_core.records.schema import decode
from zppo_core.types import Prompt, Question


def pairs(n: int, mark: str = "", seed: int = 0):
    """BCQ prompts of `n` / 2 questions whose candidates differ in nothing, but for `mark`."""
    rng = np.random.default_rng(seed)

    def text() -> str:
        words = rng.integers(0, 99, rng.integers(5, 20))
        return " ".join(map(str, words)) + rf" so \boxed{{{rng.integers(0, 9)}}}"

    made = []
    for i in range(n):
        right, wrong, first = text() + mark, text(), bool(rng.random() < 0.5)
        a, b = (right, wrong) if first else (wrong, right)
        made.append((f"q{i // 2}", "How many apples are there?", a, b, first))
    return made


def test_a_full_stop_that_only_right_candidates_have_is_found_and_named():
    found = probe(pairs(120, mark="."))
    assert found.accuracy.low > 0.9
    assert found.features["ends with a full stop"].value == 1.0
    # a longer text after the box is the same leak
    assert set(found.leaks[:2]) == {"ends with a full stop", "characters after the box"}
    assert "more often than chance" in found.verdict


@pytest.mark.parametrize("seed", range(4))
def test_candidates_that_differ_in_nothing_are_told_at_chance(seed):
    found = probe(pairs(160, seed=seed), seed)
    assert found.accuracy.chance
    assert found.leaks == []
    assert found.verdict == "the surface does not tell the right candidate"
    assert found.right_first.chance


def test_a_question_is_never_judged_by_a_model_that_saw_it():
    # each question's right candidate has a length of its own: only memory could tell
    rng = np.random.default_rng(0)
    made = []
    for q in range(40):
        sign = 1 if rng.random() < 0.5 else -1
        for copy in range(4):
            long, short = "x" * 200, "y" * 100
            right, wrong = (long, short) if sign > 0 else (short, long)
            first = copy % 2 == 0
            made.append((f"q{q}", "?", *((right, wrong) if first else (wrong, right)), first))
    assert probe(made).accuracy.value < 0.75


def test_the_interval_is_over_questions_not_over_prompts():
    hits = np.repeat([True, False], 50)  # two questions, fifty prompts each
    wide = share(hits, np.repeat([0, 1], 50))
    assert (wide.low, wide.high) == (0.0, 1.0)
    narrow = share(hits, np.arange(100))
    assert 0.35 < narrow.low < narrow.high < 0.65


def test_features_have_names_and_see_the_surface():
    named = dict(zip(FEATURES, features("Ab 12.\n\\boxed{3}.", "Ab 12."), strict=True))
    assert named["characters"] == 17
    assert named["lines"] == 2
    assert named["place of the box"] == pytest.approx(7 / 17)
    assert named["ends with a full stop"] == 1.0
    assert features("", "?")  # an empty candidate is no error


def test_too_few_prompts_are_no_evidence():
    with pytest.raises(UserError, match="too few"):
        probe(pairs(20))


def test_a_runs_audit_agrees_with_its_tables(database_path, capsys):
    arguments = ["--run", "0.8B-zppo", "--database", str(database_path)]
    assert audit.main([*arguments, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    with duckdb.connect(str(database_path), read_only=True) as c:
        n, kept, summarised = c.execute(
            "SELECT count(*), avg((answer = source_answer)::INT), 1 - avg(fallback::INT) "
            "FROM teacher_draws WHERE run_key = '0.8B-zppo-s0' AND purpose = 'compress'"
        ).fetchone()
        bcq = c.execute(
            "SELECT count(*) FROM groups WHERE run_key = '0.8B-zppo-s0' AND kind = 'bcq'"
        ).fetchone()[0]
    assert data["compression"]["candidates"] == n
    assert data["compression"]["kept_answer"] == kept
    assert data["compression"]["summarised"] == pytest.approx(summarised)
    assert sum(r["n"] for r in data["match"] if r["kind"] == "bcq") == 8 * bcq
    assert (data["probe"] or {}).get("pairs", bcq) == bcq
    assert audit.main(arguments) == 0
    assert f"{n:,} candidates" in capsys.readouterr().out


def test_a_run_without_candidates_says_so(database_path, capsys):
    assert audit.main(["--run", "nano-grpo-s0", "--database", str(database_path)]) == 0
    assert "No probe: 0 BCQ prompts" in capsys.readouterr().out


CONTEXT = RecordContext("run", 0, None, False, len, 10, 20, 100, "surrogate")
SPENT = Spent(*[0.0] * len(fields(Spent)))


def compressed(texts, answer, cap: int = 60) -> list[Compressed]:
    """What a teacher that says `answer` makes of `texts`; a word is a token."""
    engine = ScriptedEngine(lambda prompt, member: answer(prompt), "teacher")
    compressor = Compressor(engine, Templates(), lambda text: len(text.split()), cap, 0)
    return compressor.compress(texts, 0)


def audited(tmp_path, made: list[Compressed]) -> dict:
    """The audit of a run whose only candidates are `made`, through journal and database."""
    journal = MemoryJournal()
    journal.commit("start", {"runs": [run_row("2B", "zppo", "run")]})
    asks = [Ask(f"q{i}", "ncq", Prompt("?"), None, None, (c,)) for i, c in enumerate(made)]
    journal.content["step-000000/reformulate"] = AsksCodec(CONTEXT).encode(asks, SPENT)
    ingest(journal, "run", tmp_path / "a.duckdb")
    return audit.audit(tmp_path / "a.duckdb", "run")["compression"]


def test_a_candidate_that_lost_its_answer_is_found_and_listed(tmp_path):
    """The box alone is longer than the cap: the extract stands without it."""
    long = " ".join(f"x{i}" for i in range(80))
    sources = [rf"so \boxed{{{long}}}", r"so \boxed{7}", "I cannot tell"]
    made = compressed(sources, lambda prompt: "no summary")
    assert [c.source_answer for c in made] == [long, "7", None]
    found = audited(tmp_path, made)
    assert (found["candidates"], found["audited"], found["boxed"]) == (3, 3, 2)
    assert found["kept_answer"] == pytest.approx(2 / 3)
    assert found["kept_boxed"] == 0.5
    (lost,) = found["lost"]
    assert (lost["question_id"], lost["source_answer"], lost["answer"]) == ("q0", long, None)
    assert lost["fallback"]


def test_a_candidate_with_another_answer_than_its_source_is_found(tmp_path):
    """What the audit reads is the candidate's text, not what compression says of itself."""
    made = compressed([r"so \boxed{7}", r"so \boxed{1, 2}"], lambda prompt: "none")
    bad = [
        replace(made[0], text=r"it is \boxed{8}"),  # as a broken check would let through
        replace(made[1], text=r"it is \boxed{1,  2}"),  # white space is no change
    ]
    found = audited(tmp_path, bad)
    assert found["kept_answer"] == 0.5
    assert [(r["source_answer"], r["answer"]) for r in found["lost"]] == [("7", "8")]


def test_an_answer_out_of_nothing_is_no_kept_answer(tmp_path):
    (made,) = compressed(["I cannot tell"], lambda prompt: "none")
    found = audited(tmp_path, [replace(made, text=r"\boxed{5}")])
    assert found["kept_answer"] == 0.0
    assert found["kept_boxed"] is None  # no source had one


def test_candidates_of_older_journals_are_counted_and_not_judged(tmp_path, capsys):
    """They hold the candidate's own answer as the source's: a share of them would say nothing."""
    journal = MemoryJournal()
    journal.commit("start", {"runs": [run_row("2B", "zppo", "run")]})
    (made,) = compressed([r"so \boxed{7}"], lambda prompt: "none")
    rows = AsksCodec(CONTEXT).encode([Ask("q", "ncq", Prompt("?"), None, None, (made,))], SPENT)
    old = decode("teacher_draws", rows["teacher_draws.parquet"]).drop_columns(["source_characters"])
    buffer = io.BytesIO()
    pq.write_table(old, buffer)
    journal.content["step-000000/reformulate"] = {"teacher_draws.parquet": buffer.getvalue()}
    path = tmp_path / "old.duckdb"
    ingest(journal, "run", path)
    found = audit.audit(path, "run")["compression"]
    assert (found["candidates"], found["audited"], found["kept_answer"]) == (1, 0, None)
    assert audit.main(["--run", "run", "--database", str(path)]) == 0
    said = capsys.readouterr().out
    assert "answer of 1 was not recorded" in said
    assert "say what their source says" not in said


def test_prompts_that_were_committed_before_the_source_was_recorded_are_read_back():
    (made,) = compressed([r"so \boxed{7}"], lambda prompt: "none")
    ask = Ask("q", "ncq", Prompt("?"), None, None, (made,))
    files = AsksCodec(CONTEXT).encode([ask], SPENT)
    old = json.loads(files["asks.json"])
    for field in ("source_answer", "source_characters"):
        del old[0]["negatives"][0][field]
    corpus = {"q": Question("q", "?", "7")}
    codec = AsksCodec(replace(CONTEXT, corpus=corpus))
    (back,) = codec.decode({"asks.json": json.dumps(old).encode()})
    assert back.negatives[0].text == made.text
    assert back.negatives[0].source_characters is None
    assert codec.decode(files)[0].negatives == (made,)
