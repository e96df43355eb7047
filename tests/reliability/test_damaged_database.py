"""A database that is damaged, empty, robbed of rows or in use ends in one line, or mends itself."""

from __future__ import annotations

import threading
from pathlib import Path

import duckdb
import pytest
from whole_run import database_journal

from eval.report import database, tables
from eval.report.connection import connect, open_database
from zppo_core.errors import UserError


def filled(folder: Path) -> Path:
    path = folder / "db.duckdb"
    database.ingest(database_journal(), "a", path)
    return path


def one_line(fault: UserError) -> str:
    text = str(fault)
    assert len(text.splitlines()) == 1
    assert text.count("db.duckdb") >= 1
    return text


def test_a_flipped_byte_anywhere_is_one_line_or_does_no_harm(tmp_path: Path) -> None:
    whole = filled(tmp_path).read_bytes()
    before = tables.summary(tmp_path / "db.duckdb", "a")
    faults = 0
    for place in range(100, len(whole), len(whole) // 60):
        path = tmp_path / f"{place}" / "db.duckdb"
        path.parent.mkdir()
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        said = fault_of(path)
        if said is None:  # a byte of no block in use
            assert tables.summary(path, "a") == before
        else:
            assert "move it away" in said
            faults += 1
    assert faults >= 5


def fault_of(path: Path) -> str | None:
    """The one line that reading the summary ends with, None if it is read."""
    try:
        tables.summary(path, "a")
    except UserError as fault:
        return one_line(fault)
    return None


@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_a_file_cut_short_is_one_line(tmp_path: Path, share: float) -> None:
    path = filled(tmp_path)
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    for use in (lambda: tables.summary(path, "a"), lambda: ingested_again(path)):
        with pytest.raises(UserError, match="move it away") as caught:
            use()
        one_line(caught.value)


def ingested_again(path: Path) -> dict[str, int]:
    return database.ingest(database_journal("b"), "b", path)


def test_an_empty_file_is_none_to_a_writer_and_said_to_a_reader(tmp_path: Path) -> None:
    path = tmp_path / "db.duckdb"
    path.touch()  # what a full disk leaves of a first ingestion
    with pytest.raises(UserError, match="is empty"):
        connect(path, read_only=True)
    assert database.ingest(database_journal(), "a", path)["runs"] == 1


def test_rows_that_are_gone_are_taken_in_again(tmp_path: Path, capsys) -> None:
    path = filled(tmp_path)
    with duckdb.connect(str(path)) as c:
        c.execute("DROP VIEW IF EXISTS run_times CASCADE")
        before = c.execute("SELECT count(*) FROM phases").fetchone()
        c.execute("DELETE FROM phases WHERE step = 1")
    added = database.ingest(database_journal(), "a", path)
    assert added["phases"] > 0
    assert "are taken in again" in capsys.readouterr().out
    with open_database(path) as c:
        assert c.execute("SELECT count(*) FROM phases").fetchone() == before
    assert sum(database.ingest(database_journal(), "a", path).values()) == 0


def test_another_programs_database_fetches_nothing_from_the_network(tmp_path: Path) -> None:
    import sqlite3

    path = tmp_path / "db.duckdb"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE t (x INTEGER)")
    other.close()
    with pytest.raises(UserError, match="move it away") as caught:
        connect(path)
    assert "http" not in one_line(caught.value)


def test_a_reader_waits_for_the_writer_that_came_between(tmp_path: Path) -> None:
    import subprocess
    import sys

    path = filled(tmp_path)
    code = "import duckdb,sys; c=duckdb.connect(sys.argv[1]); print('held',flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    threading.Timer(1.5, lambda: holder.communicate(b"\n")).start()
    assert tables.summary(path, "a")["run"]["run_key"] == "a"
    holder.wait(10)
