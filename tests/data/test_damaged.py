"""Damaged, empty, cut, mis-encoded and hostile tables: one line with file and row, or counted."""

import contextlib
import json
import os
import random
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from zppo_core.config import load
from zppo_core.data.table import read_table
from zppo_core.errors import UserError
from zppo_core.run.corpus import build_corpus

GOOD = [{"question": f"q{i}", "answer": str(i)} for i in range(40)]
LINES = [json.dumps(row) for row in GOOD]


def refusal(path: Path, **options) -> str:
    with pytest.raises(UserError) as refused:
        read_table(str(path), {}, **options)
    said = str(refused.value)
    assert "\n" not in said
    assert len(said) < 500
    return said


def with_line(number: int, line: str) -> bytes:
    return "\n".join([*LINES[: number - 1], line, *LINES[number - 1 :]]).encode()


@pytest.mark.parametrize(
    ("name", "data", "row", "why"),
    [
        ("t.jsonl", b"", None, "holds no rows"),
        ("t.jsonl", b"\n\n \n", None, "holds no rows"),
        ("t.jsonl", b"null\nnull\n", 1, "null, not an object"),
        ("t.jsonl", b"1\n2\n", 1, "int, not an object"),
        ("t.jsonl", with_line(4, "null"), 4, "null, not an object"),
        ("t.jsonl", with_line(7, '{"question": "q", "answer": '), 7, "no valid JSON"),
        ("t.jsonl", with_line(7, "{'question': 'q', 'answer': 1}"), 7, "no valid JSON"),
        (
            "t.jsonl",
            with_line(3, '{"question": "q", "answer": 1, "answer": 2}'),
            3,
            "'answer' stands there twice",
        ),
        ("t.jsonl", with_line(2, '{"question": ' + "[" * 9000 + "]" * 9000 + "}"), 2, "nested"),
        ("t.jsonl", with_line(5, '{"question": "q", "answer": ' + "9" * 5000 + "}"), 5, "digits"),
        ("t.jsonl", "\n".join(LINES).encode("utf-16"), 1, "UTF-16"),
        (
            "t.jsonl",
            with_line(9, '{"question": "é", "answer": 1}').replace(b"\xc3\xa9", b"\xe9"),
            9,
            "not UTF-8",
        ),
        ("t.json", b"[" + ",".join(LINES).encode(), 41, "cut"),
        ("t.json", b"[" + ",".join(LINES[:3]).encode() + b", 5]", 4, "int, not an object"),
        ("t.csv", b"question,answer\na,1\nb,2,3\n", 2, "3 cells under 2 columns"),
        ("t.csv", b'question,answer\na,1\n"b,2\n', 2, "unexpected end of data"),
        ("t.csv", b"question,answer,answer\na,1,1\n", 1, "'answer' stands there twice"),
        ("t.csv", b"question,answer\na,\xff\n", 1, "not UTF-8"),
        ("t.csv", b"question,answer\n", None, "holds no rows"),
        ("t.csv", b"", None, "holds no rows"),
        ("t.parquet", b"", 1, ""),
        ("t.parquet", b"PAR1garbagePAR1", 1, ""),
        ("t.arrow", b"ARROW1garbage", 1, ""),
    ],
)
def test_a_damaged_file_is_one_line_with_file_and_row(
    tmp_path: Path, name: str, data: bytes, row: int | None, why: str
) -> None:
    (tmp_path / name).write_bytes(data)
    said = refusal(tmp_path / name)
    assert str(tmp_path / name) in said
    assert why in said
    assert row is None or f", row {row}: " in said


def test_parquet_that_is_cut_flipped_or_odd_never_ends_in_a_traceback(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    pq.write_table(pa.Table.from_pylist(GOOD), path, row_group_size=10)
    whole = path.read_bytes()
    draw = random.Random(0)
    for trial in range(200):
        data = bytearray(whole)
        for _ in range(draw.choice((1, 3, 20))):
            data[draw.randrange(len(data))] = draw.randrange(256)
        path.write_bytes(data[: draw.randrange(len(data))] if trial % 3 == 0 else data)
        with contextlib.suppress(UserError):  # some flips do no harm; no other error may come
            read_table(str(path), {})
    twice = pa.table(
        [pa.array(["q"]), pa.array(["1"]), pa.array(["2"])], names=["question", "answer", "answer"]
    )
    pq.write_table(twice, path)
    assert "'answer' stands there twice" in refusal(path)
    pq.write_table(pa.table({}), path)
    assert "no columns" in refusal(path)
    pq.write_table(pa.table({"question": pa.array([], pa.string())}), path)
    assert "holds no rows" in refusal(path)
    broken = pa.array([b"ok", b"\xff\xfe"] + [b"ok"] * 38).cast(pa.binary()).view(pa.utf8())
    pq.write_table(pa.table({"question": broken, "answer": pa.array(["1"] * 40)}), path)
    assert ", row 2: not UTF-8" in refusal(path)


def test_what_is_no_table_or_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("hello")
    assert "no table" in refusal(tmp_path / "t.txt")
    assert "does not exist" in refusal(tmp_path / "none")
    (tmp_path / "odd.jsonl").write_text('{"x": 1}\n')
    said = refusal(tmp_path / "odd.jsonl")
    assert "columns x, the layout of which is unknown" in said
    assert "data.format" in said


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (float("nan"), "without question or answer"),
        (None, "without question or answer"),
        ("  ", "without question or answer"),
        ([], "without question or answer"),
        (float("inf"), "with an infinite number"),
        ({"value": 3}, "with an answer of type dict"),
        ("\ud800", "with text that is no Unicode"),
        ("1\0002", "with a NUL character"),
        ("9" * 30_000, "with an answer of more than 20,000 characters"),
    ],
)
def test_a_cell_that_is_no_answer_is_counted_and_its_row_named(
    tmp_path: Path, cell: object, why: str
) -> None:
    rows = [*GOOD, {"question": "odd", "answer": cell}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    questions, report = read_table(str(path), {})
    assert [q.gold for q in questions] == [r["answer"] for r in GOOD]
    assert len(report.dropped) == 1
    assert why in next(iter(report.dropped))
    assert f"{path}, row 41" in "\n".join(report.lines())
    path.write_text("\n".join(map(json.dumps, rows[-2:])))
    assert f"first {next(iter(report.dropped))}: {path}, row 2" in refusal(path)


def test_answers_keep_their_type(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    pairs = {
        "5": "5",
        '"A"': "A",
        '"1/2"': "1/2",
        '"007"': "007",
        "0.50": "0.50",
        "1e5": "1e5",
        "true": "true",
        '["1", "2"]': "1, 2",
        "[3, 1, 2]": "3, 1, 2",
        '"[1, 2]"': "[1, 2]",
        "\"['a', 'b']\"": "a, b",
        '"nan"': "nan",
        "0": "0",
        '"1,000"': "1,000",
        "-3": "-3",
        '"\\"A\\""': '"A"',
        "12345678901234567890": "12345678901234567890",
    }
    path.write_text("\n".join(f'{{"question": "q", "answer": {cell}}}' for cell in pairs))
    questions, _ = read_table(str(path), {})
    assert [q.gold for q in questions] == list(pairs.values())
    assert [q.kind for q in questions if q.gold == "true"] == ["boolean"]
    csv = tmp_path / "t.csv"
    texts = ["007", "1e5", "None", "NA", "null", "1.50", "TRUE", "1/2"]
    csv.write_text("question,answer\n" + "\n".join(f"q,{t}" for t in texts))
    assert [q.gold for q in read_table(str(csv), {})[0]] == texts
    table = tmp_path / "t.parquet"
    dates = pd.to_datetime(["2024-05-01", "2024-05-02"])
    for column, golds in (
        ([1.0, 4.0], ["1", "4"]),
        (np.array([0.1, 2.5], dtype=np.float32), ["0.1", "2.5"]),
        ([["1", "2"], ["b", "a"]], ["1, 2", "b, a"]),
        (dates, ["2024-05-01", "2024-05-02"]),
        ([True, False], ["true", "false"]),
        ([b"x", b"y"], ["x", "y"]),
    ):
        pd.DataFrame({"question": ["a", "b"], "answer": column}).to_parquet(table)
        assert [q.gold for q in read_table(str(table), {})[0]] == golds


def test_a_column_of_mixed_json_keeps_no_quotes_and_missing_numbers_are_no_nan(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.jsonl"
    answers = [*("ABC" * 13), 7]
    rows = [json.dumps({"question": "q", "answer": a}) for a in answers]
    path.write_text("\n".join(rows))
    assert [q.gold for q in read_table(str(path), {})[0]] == list(map(str, answers))
    frame = pd.DataFrame({"question": ["q"] * 41, "answer": [2.0] * 40 + [float("nan")]})
    frame.to_parquet(tmp_path / "t.parquet")
    questions, report = read_table(str(tmp_path / "t.parquet"), {})
    assert {q.gold for q in questions} == {"2"}
    assert report.dropped == {"without question or answer": 1}


@pytest.mark.parametrize(
    ("cell", "judged"),
    [("false", False), ("true", True), (0, False), (1, True), (None, False), (True, True)],
)
def test_a_flag_is_what_it_says(tmp_path: Path, cell: object, judged: bool) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text(json.dumps({"question": "q", "answer": "a", "free": cell}))
    assert read_table(str(path), {"judged": "free"})[0][0].judged is judged
    path.write_text(json.dumps({"question": "q", "answer": "a", "free": "maybe"}))
    with pytest.raises(UserError, match="flag that is neither"):
        read_table(str(path), {"judged": "free"})


def test_a_very_long_text_is_left_out_before_it_is_tokenised(tmp_path: Path) -> None:
    rows = [*GOOD, {"question": "word " * 2_400_000, "answer": "1"}]
    rows += [{"question": "short? " + "what is it then? " * 40_000, "answer": "1"}]
    path = tmp_path / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    config = load("nano", [f"data.source={path}"])
    begun = time.process_time()
    assert len(build_corpus(config)) == 40
    assert time.process_time() - begun < 20  # the whole texts take minutes


def test_a_picture_that_is_not_there_is_named_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for name, why in (
        ("no.png", "no file"),
        ("pipe.png", "no file"),
        ("/dev/zero", "no file"),
        ("https://example.org/x.png", "is an address"),
        ("a\0b", "no file"),
        ("data:image/png;base64,@@", "no base64"),
    ):
        path = tmp_path / "t.jsonl"
        path.write_text(json.dumps({"question": "q", "answer": "1", "image": name}))
        said = refusal(path)
        assert "with an unreadable image" in said
        assert f"{path}, row 1: " in said
        assert why in said


def test_rows_behind_blank_lines_keep_their_line_number(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text("\n\n".join([LINES[0], LINES[1], "{"]))
    assert ", row 5: no valid JSON" in refusal(path)


def test_what_json_leaves_out_is_missing_and_a_column_that_is_nowhere_is_refused(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.jsonl"
    rows = [*GOOD, {"question": "no answer"}, {"question": "q", "answer": "1", "topic": "x"}]
    path.write_text("\n".join(map(json.dumps, rows)))
    questions, report = read_table(str(path), {"category": "topic"})
    assert report.dropped == {"without question or answer": 1}
    assert [q.category for q in questions] == [""] * 40 + ["x"]
    with pytest.raises(UserError, match="no column 'picture' but question, answer; set"):
        read_table(str(path), {"image": "picture"})
    with pytest.raises(UserError, match="no column 'solution' but question, answer; set"):
        read_table(str(path), {"answer": "solution"})
    odd = [{"question": "q", "answer": "1", "id": "\ud800"}, {"question": "q", "answer": "1"}]
    path.write_text("\n".join(map(json.dumps, odd)))
    assert [q.id for q in read_table(str(path), {"id": "id"})[0]] == ["?", "None"]
    verl = {"prompt": [{"role": "user", "content": "q"}], "reward_model": {"ground_truth": "1"}}
    path.write_text("\n".join(map(json.dumps, [*[verl] * 40, {"prompt": None}])))
    assert len(read_table(str(path), {})[0]) == 40
