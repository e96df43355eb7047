"""Ingestion: idempotent, all or nothing, one writer, and a schema that documents itself."""

from __future__ import annotations

import re
import subprocess
import sys
from contextlib import closing
from datetime import datetime
from pathlib import Path

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import MemoryJournal

from eval import harness
from eval.benchmark import Sample
from eval.judges import Judge
from eval.protocol import Evaluator, Reply
from eval.report import connection, database
from eval.suite import find
from zppo_core.config import EvaluationConfig
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.records import schema as tables_schema
from zppo_core.records.schema import KEYS, TABLES, ShardError, decode, encode
from zppo_core.rewards.grader import Grader


def run_row(key: str = "a") -> dict:
    return {
        "run_key": key,
        "created_at": datetime(2026, 11, 23, 12),
        "scale": "nano",
        "method": "zppo",
        "seed": 0,
        "config_json": "{}",
        "code_version": "0",
        "machine": "test",
        "student_model": "s",
        "student_params": 10,
    }


def phase_rows(key: str = "a", step: int = 0) -> list[dict]:
    return [
        {"run_key": key, "step": step, "phase": p, "seconds": 1.5} for p in ("rollout", "update")
    ]


def journal(key: str = "a", steps: int = 3) -> MemoryJournal:
    units = {"start": {"runs.parquet": encode("runs", [run_row(key)]), "note.txt": b"x"}}
    for s in range(steps):
        units[f"step-{s:06d}/plain"] = {"phases.parquet": encode("phases", phase_rows(key, s))}
    return MemoryJournal(units)


def content(path) -> list:
    with connection.open_database(path) as c:
        return [c.execute(f"SELECT * FROM {t} ORDER BY ALL").fetchall() for t in TABLES]


def test_ingesting_twice_changes_nothing(tmp_path):
    path = tmp_path / "d.duckdb"
    first = database.ingest(journal(), "a", path)
    assert first["runs"] == 1
    assert first["phases"] == 6
    before = content(path)
    assert not any(database.ingest(journal(), "a", path).values())
    assert content(path) == before


def test_a_grown_journal_adds_only_what_is_new_and_equals_one_ingestion(tmp_path):
    database.ingest(journal(steps=1), "a", tmp_path / "grown")
    assert database.ingest(journal(steps=3), "a", tmp_path / "grown")["phases"] == 4
    database.ingest(journal(steps=3), "a", tmp_path / "whole")
    assert content(tmp_path / "grown") == content(tmp_path / "whole")


def test_several_runs_stand_in_one_file_and_one_can_be_forgotten(tmp_path):
    path = tmp_path / "d.duckdb"
    database.ingest(journal("a"), "a", path)
    alone = content(path)
    database.ingest(journal("b"), "b", path)
    assert database.forget("b", path)["phases"] == 6
    assert content(path) == alone
    with pytest.raises(UserError, match="no run 'b'"):
        database.forget("b", path)


@pytest.mark.parametrize("damage", ["torn", "flipped", "empty", "text"])
def test_a_damaged_shard_is_refused_by_name_and_nothing_of_the_journal_enters(tmp_path, damage):
    whole = journal()
    data = whole.content["step-000002/plain"]["phases.parquet"]
    whole.content["step-000002/plain"]["phases.parquet"] = {
        "torn": data[: len(data) // 2],
        "flipped": data[:-6] + bytes([data[-6] ^ 255]) + data[-5:],
        "empty": b"",
        "text": b"not parquet at all, but long enough to have a footer",
    }[damage]
    with pytest.raises(UserError, match=r"unit step-000002/plain, phases\.parquet"):
        database.ingest(whole, "a", tmp_path / "d")
    assert not any(content(tmp_path / "d"))


def test_a_shard_that_changed_after_ingestion_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "d"
    database.ingest(journal(), "a", path)
    changed = journal()
    changed.content["step-000000/plain"]["phases.parquet"] = encode("phases", phase_rows()[:1])
    with pytest.raises(UserError, match="forget --run a"):
        database.ingest(changed, "a", path)


def test_rows_of_another_run_are_refused(tmp_path):
    mixed = journal("a")
    mixed.content["step-000009/x"] = {"phases.parquet": encode("phases", phase_rows("b", 9))}
    with pytest.raises(UserError, match="holds rows of run 'b'"):
        database.ingest(mixed, "a", tmp_path / "d")


def test_a_row_that_two_units_hold_is_refused_naming_both(tmp_path):
    twice = journal()
    twice.content["step-000000/again"] = {"phases.parquet": encode("phases", phase_rows()[:1])}
    with pytest.raises(UserError, match="step-000000/again, step-000000/plain"):
        database.ingest(twice, "a", tmp_path / "d")


def test_a_shared_model_may_come_with_several_runs(tmp_path):
    score = {
        "model_key": "m",
        "role": "base",
        "suite": "nano",
        "protocol_key": "p",
        "benchmark": "b",
        "family": "VLM",
        "n": 10,
        "expected_n": 10,
        "score": 0.5,
        "unparsed": 0,
    }
    for key in ("a", "b"):
        unit = {"eval/base": {"eval_scores.parquet": encode("eval_scores", [score])}}
        assert database.ingest(MemoryJournal(unit), key, tmp_path / "d")["eval_scores"] == 1


def test_a_file_of_an_older_writer_without_a_nullable_column_is_taken(tmp_path):
    old = decode("phases", encode("phases", phase_rows())).drop(["model_seconds"])
    rows = tables_schema.conform("phases", old)
    assert rows.column("model_seconds").null_count == 2
    with pytest.raises(ShardError, match="'seconds' is missing"):
        tables_schema.conform("phases", old.drop(["seconds"]))
    with pytest.raises(ShardError, match="unknown column 'hue'"):
        tables_schema.conform("phases", old.append_column("hue", pa.array([1, 2])))


def test_an_older_database_gains_the_new_columns_and_keeps_its_rows(tmp_path):
    path = tmp_path / "d"
    database.ingest(journal(), "a", path)
    with duckdb.connect(str(path)) as c:
        c.execute("ALTER TABLE phases DROP COLUMN model_seconds")
        c.execute("UPDATE schema_version SET version = 0")
    with pytest.raises(UserError, match="upgrade"), connection.open_database(path):
        pass
    assert database.main(["upgrade", "--database", str(path)]) == 0
    with connection.open_database(path) as c:
        assert c.execute("SELECT count(*), count(model_seconds) FROM phases").fetchone() == (6, 0)
        assert c.execute("SELECT list(version) FROM schema_version").fetchone() == (
            [0, tables_schema.SCHEMA_VERSION],
        )


def test_views_are_made_anew_where_their_text_has_changed_and_else_left(
    tmp_path, monkeypatch
) -> None:
    path, asked = tmp_path / "d.duckdb", []
    plain = connection.query

    def heard(opened, sql, parameters=()):
        asked.append(sql)
        return plain(opened, sql, parameters)

    monkeypatch.setattr(connection, "query", heard)
    connection.connect(path).close()
    assert any("CREATE OR REPLACE VIEW" in sql for sql in asked)
    asked.clear()
    connection.connect(path).close()
    assert not any("CREATE" in sql for sql in asked)
    views = connection._views()
    monkeypatch.setattr(connection, "_views", lambda: views + "CREATE VIEW new AS SELECT 7;")
    with closing(connection.connect(path)) as opened:
        assert plain(opened, "SELECT * FROM new") == [(7,)]


def test_a_newer_database_is_refused(tmp_path):
    connection.connect(tmp_path / "d").close()
    with duckdb.connect(str(tmp_path / "d")) as c:
        c.execute("UPDATE schema_version SET version = 1000")
    for read_only in (True, False):
        with pytest.raises(UserError, match="update the project"):
            connection.connect(tmp_path / "d", read_only)


def test_a_file_held_by_another_process_gives_one_clear_line(tmp_path):
    path = tmp_path / "d"
    connection.connect(path).close()
    code = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UserError, match=f"in use by process {holder.pid}"):
            database.ingest(journal(), "a", path, wait=0)
    finally:
        holder.communicate(b"\n")
    assert database.ingest(journal(), "a", path)["runs"] == 1


def test_missing_broken_and_uncreatable_files_are_user_errors(tmp_path, capsys):
    with pytest.raises(UserError, match="no database at"):
        connection.connect(tmp_path / "none", read_only=True)
    (tmp_path / "text").write_text("x" * 5000)
    with pytest.raises(UserError, match="cannot be opened"):
        connection.connect(tmp_path / "text")
    with pytest.raises(UserError, match="cannot be created"):
        connection.connect(tmp_path / "text" / "d")
    assert database.main(["ingest", "--run", "a"]) == 2
    assert capsys.readouterr().err == "zppo: ingest needs --journal URL\n"


def test_the_wire_format_is_that_of_schema_sql_and_every_column_is_documented():
    tables = tables_schema.documentation()
    assert set(tables) == set(TABLES) | {"schema_version", "ingested"}
    with duckdb.connect() as c:
        c.execute(tables_schema.schema_sql())
        for table, schema in TABLES.items():
            sentence, columns = tables[table]
            assert sentence.endswith(".")
            made = c.execute(f"SELECT * EXCLUDE (source_id) FROM {table}").to_arrow_table().schema
            assert made.names == schema.names
            assert [str(t) for t in made.types] == [
                str(t).replace("item", "l") for t in schema.types
            ]
            for field, (name, kind, meaning) in zip(schema, columns, strict=False):
                assert field.nullable == ("null:" in meaning) == ("NOT NULL" not in kind), name
            assert set(KEYS[table]) <= set(schema.names)
            assert not any(schema.field(k).nullable for k in KEYS[table])


@pytest.mark.parametrize(("chosen", "score"), [("true", 1.0), ("false", 0.0)])
def test_an_unparsed_reply_may_be_right_and_the_schema_says_so(chosen, score):
    """`unparsed` counts replies without an answer; what they score is the judge's to say."""
    protocol = EvaluationConfig(suite="AI2D", settings=f"judge_unparsed={chosen}")
    judge = Judge(ScriptedEngine(lambda prompt, member: '{"verdict": "correct"}'))
    evaluator, record = Evaluator(protocol, Templates(), Grader(), judge), find("AI2D", "AI2D")
    sample = Sample("0", "Which?", "A", options=("this", "that"))
    marked = evaluator.score(
        record, [(sample, Reply.of("surely this one, without a box", cut=True))]
    )
    total = harness.summarise(record, evaluator, [harness.ScoredPart(tuple(marked))])
    assert (marked[0].answer, total.unparsed, total.score) == (None, 1, score)
    columns = {n: meaning for n, _, meaning in tables_schema.documentation()["eval_scores"][1]}
    assert "judge_unparsed" in columns["unparsed"]
    assert "counted as wrong" not in columns["unparsed"]


def test_another_total_has_another_key():
    """Tables show one stored score a key, and `eval.compare` takes a key's total to be one."""
    keys = {
        Evaluator(EvaluationConfig(suite="DynaM", settings=text), Templates(), Grader()).key(True)
        for text in ("", "totals=DynaM=pooled")
    }
    assert len(keys) == 2


VALUES = {
    "string": st.text(max_size=8),
    "int32": st.integers(-(2**31), 2**31 - 1),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "float": st.floats(width=32, allow_nan=False),
    "double": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "timestamp[us]": st.datetimes(datetime(1, 1, 2), datetime(9999, 1, 1)),
}


@st.composite
def rows_of(draw, table):
    def value(field):
        inner = field.type.value_type if pa.types.is_list(field.type) else field.type
        values = VALUES[str(inner)]
        if pa.types.is_list(field.type):
            values = st.lists(values, max_size=3)
        return draw(st.none() | values) if field.nullable else draw(values)

    return [{f.name: value(f) for f in TABLES[table]} for _ in range(draw(st.integers(0, 3)))]


@pytest.mark.parametrize("table", list(TABLES))
@settings(max_examples=5, deadline=None)
@given(st.data())
def test_rows_come_back_from_their_bytes_as_they_were(table, data):
    rows = data.draw(rows_of(table))
    encoded = encode(table, rows)
    assert decode(table, encoded).to_pylist() == rows
    assert encode(table, rows) == encoded


def test_encode_refuses_unknown_columns_wrong_types_and_nulls():
    with pytest.raises(ShardError, match="unknown column 'hue'"):
        encode("runs", [run_row() | {"hue": 1}])
    with pytest.raises(ShardError, match=r"runs\.seed"):
        encode("runs", [run_row() | {"seed": "zero"}])
    with pytest.raises(ShardError, match=r"runs\.method: 1 nulls"):
        encode("runs", [run_row() | {"method": None}])


def test_the_examples_of_the_docs_run(database_path):
    page = (Path(__file__).parents[2] / "docs" / "database.md").read_text(encoding="utf-8")
    examples = re.findall(r"```sql\n(.*?)```", page, re.DOTALL)
    assert len(examples) == 5
    with duckdb.connect(str(database_path), read_only=True) as c:
        assert all(c.execute(example).fetchall() for example in examples)
