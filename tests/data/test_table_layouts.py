"""The layouts of other trainers are read by name, or refused in one line."""

import base64
import io
import json
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from zppo_core.config import load
from zppo_core.data.layouts import parse_format
from zppo_core.data.table import read_table
from zppo_core.errors import UserError
from zppo_core.run.corpus import build_corpus
from zppo_core.types import Question


def png(colour: str = "red") -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (4, 4), colour).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, *rows: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


def only(path: str, layout: str = "") -> tuple[Question, str]:
    (question,), report = read_table(path, {}, layout=layout)
    return question, report.layout


USER = {"role": "user", "content": "What is 2 + 2?"}
VERL = {
    "data_source": "gsm8k",
    "prompt": [USER],
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "4"},
    "extra_info": {"index": 0},
}
SHARE = {
    "conversations": [
        {"from": "human", "value": "What is 2 + 2?"},
        {"from": "gpt", "value": "It is $2+2$.\nThe answer is 4."},
    ]
}
LAYOUTS = [
    ("verl", VERL),
    ("trl", {"prompt": [{"role": "system", "content": "Be good."}, USER], "solution": "4"}),
    ("trl", {"prompt": "What is 2 + 2?", "answer": 4}),
    ("trl", {"prompt": [USER], "completion": [{"role": "assistant", "content": r"\boxed{4}"}]}),
    ("easyr1", {"problem": "What is 2 + 2?", "answer": "4", "images": []}),
    ("ms-swift", {"messages": [USER], "solution": "<answer> 4 </answer>"}),
    ("ms-swift", {"messages": [USER, {"role": "assistant", "content": "4"}]}),
    ("ms-swift", {"query": "What is 2 + 2?", "response": "So \\boxed{4}."}),
    ("llama-factory", {"instruction": "What is", "input": "2 + 2?", "output": "#### 4"}),
    ("llama-factory", SHARE),
]


@pytest.mark.parametrize(("name", "row"), LAYOUTS)
def test_a_layout_is_guessed_said_and_read_by_name(tmp_path: Path, name: str, row: dict) -> None:
    path = write(tmp_path / "t.jsonl", row)
    for layout in ("", name, name.upper().replace("-", "_")):
        question, read_as = only(path, layout)
        assert " ".join(question.text.split()) == "What is 2 + 2?"
        assert question.gold == "4"
        assert read_as == name
    frame = tmp_path / "t.parquet"
    pd.DataFrame([row]).to_parquet(frame)
    assert only(str(frame))[0].gold == "4"


def test_the_step_says_what_it_read(tmp_path: Path, capsys) -> None:
    path = write(tmp_path / "t.jsonl", *[VERL] * 3)
    corpus = build_corpus(load("nano", [f"data.source={path}", "data.format=verl"]))
    assert corpus.kinds() == {"gsm8k": 3}
    assert "read as verl" in capsys.readouterr().out


def test_another_layout_than_the_named_one_is_refused_in_one_line(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", VERL)
    with pytest.raises(UserError, match="not in the layout easyr1: it has no column 'problem'"):
        read_table(path, {}, layout="easyr1")
    with pytest.raises(UserError, match="no column 'question' but data_source"):
        read_table(path, {}, layout="columns")
    for wrong in ("parquet", "verl2"):
        with pytest.raises(UserError, match="no layout; use one of columns, verl, trl"):
            load("nano", [f"data.format={wrong}"])
    with pytest.raises(UserError, match="unset one"):
        load("nano", ["data.format=verl", "data.columns=question=prompt"])
    for wrong in ("data.columns=foo", "data.columns=gold=answer", "data.source="):
        with pytest.raises(UserError, match=r"data\.(columns|source)"):
            load("nano", [wrong])
    names = ("ms_swift", "Swift", "LLaMA-Factory", "llama_factory", "EasyR1", "TRL", "sharegpt")
    assert [parse_format(n) for n in names] == [
        "ms-swift",
        "ms-swift",
        "llama-factory",
        "llama-factory",
        "easyr1",
        "trl",
        "llama-factory",
    ]


def test_a_column_of_messages_is_a_chat_under_a_mapping_too(tmp_path: Path) -> None:
    path = write(tmp_path / "t.jsonl", {"prompt": [USER], "gold": ["4", "5"]})
    ((question,), _) = read_table(path, {"question": "prompt", "answer": "gold"})
    assert (question.text, question.gold) == ("What is 2 + 2?", "4, 5")


def test_what_one_question_cannot_hold_is_counted(tmp_path: Path) -> None:
    several = [USER, {"role": "assistant", "content": "4"}, USER]
    rows = [VERL] * 60 + [
        {**VERL, "prompt": several},
        {**VERL, "videos": ["a.mp4"]},
        {**VERL, "reward_model": {"ground_truth": None}},
    ]
    _, report = read_table(write(tmp_path / "t.jsonl", *rows), {})
    assert report.dropped == {
        "with several turns": 1,
        "with a video or sound": 1,
        "without question or answer": 1,
    }
    long = {"instruction": "Why?", "output": "Well. " * 40}
    with pytest.raises(UserError, match="a reply that marks no final answer"):
        read_table(write(tmp_path / "l.jsonl", long), {})


def test_verl_says_what_it_accepts(tmp_path: Path) -> None:
    targets = {**VERL, "reward_model": {"ground_truth": {"target": ["sofa", "couch"]}}}
    question, _ = only(write(tmp_path / "t.jsonl", targets))
    assert (question.gold, question.accepted) == ("sofa", ("couch",))
    typed = {
        **VERL,
        "reward_model": {"ground_truth": "3.5"},
        "extra_info": {"reward_type": "numeric", "tolerance": 0.05},
    }
    question, _ = only(write(tmp_path / "u.jsonl", typed))
    assert (question.kind, question.tolerance) == ("number", 0.05)


def test_pictures_stand_beside_the_file_and_marks_go(tmp_path: Path) -> None:
    folder = tmp_path / "set"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "a.png").write_bytes(png())
    (folder / "dataset_info.json").write_text('{"mine": {"file_name": "t.json"}}')
    uri = "data:image/png;base64," + base64.b64encode(png()).decode()
    rows = [
        {"problem": "<image>Find x.", "answer": "3", "images": ["images/a.png"]},
        {"problem": "<image>\nFind x.", "answer": "3", "images": [{"path": "images/a.png"}]},
        {"problem": "Find x.", "answer": "3", "images": [uri]},
        {"problem": "<image><image>Find x.", "answer": "3", "images": ["images/a.png"] * 2},
        {
            "problem": [
                {
                    "role": "user",
                    "content": [
                        {"type": "image", "image": "images/a.png"},
                        {"type": "text", "text": "Find x."},
                    ],
                }
            ],
            "answer": "3",
        },
    ]
    (folder / "t.json").write_text(json.dumps(rows))
    for source in (folder, folder / "t.json"):
        questions, report = read_table(str(source), {})
        assert {q.text for q in questions} == {"Find x."}
        assert [len(q.images) for q in questions] == [1, 1, 1, 2, 1]
        assert {image for q in questions for image in q.images} == {png()}
        assert report.layout == "easyr1"
    for marks in ("<image><image>Find x.", "Find <image> x."):
        images = ["images/a.png"] if marks.count("<image>") > 1 else []
        path = write(folder / "w.jsonl", {"problem": marks, "answer": "3", "images": images})
        with pytest.raises(UserError, match="other <image> marks than pictures"):
            read_table(path, {})


def test_pictures_of_a_table_on_s3_stand_beside_it(tmp_path: Path, s3_url: str) -> None:
    from zppo_core.store.objects import open_store

    store = open_store(s3_url)
    write(tmp_path / "t.jsonl", {"question": "q", "answer": "1", "image": "pictures/a.png"})
    store.put_file("set/t.jsonl", tmp_path / "t.jsonl")
    store.put("set/pictures/a.png", png())
    ((question,), _) = read_table(f"{s3_url}/set", {})
    assert question.images == (png(),)
    store.put_file("other/t.jsonl", tmp_path / "t.jsonl")
    with pytest.raises(UserError, match=r"row 1: no file 'pictures/a\.png' in s3:"):
        read_table(f"{s3_url}/other", {})


def test_a_table_tells_what_it_knows_of_its_answers(tmp_path: Path) -> None:
    row = {
        "question": "Which?",
        "answer": "B",
        "options": ["1", "2"],
        "other": ["b."],
        "tol": 0.1,
        "type": "choice",
    }
    path = write(tmp_path / "t.jsonl", row)
    mapping = {"options": "options", "accepted": "other", "tolerance": "tol", "kind": "type"}
    ((question,), _) = read_table(path, mapping)
    assert (question.kind, question.options) == ("choice", ("1", "2"))
    assert (question.accepted, question.tolerance) == (("b.",), 0.1)
    with pytest.raises(UserError, match=r"row 1: answer kind 'colour' is unknown"):
        read_table(write(tmp_path / "k.jsonl", {**row, "type": "colour"}), mapping)
    listed = {"question": "Which?\nA) one\nB) two", "answer": "B"}
    assert only(write(tmp_path / "l.jsonl", listed))[0].options == ("one", "two")


def test_directives_of_other_trainers_go_and_their_form_is_said(tmp_path: Path) -> None:
    asked = "Which is red?\nA) one\nB) two\nAnswer with the option's letter."
    row = {
        **VERL,
        "prompt": [{"role": "user", "content": asked}],
        "reward_model": {"ground_truth": "B"},
    }
    question, _ = only(write(tmp_path / "t.jsonl", row))
    assert question.text == (
        "Which is red?\nA) one\nB) two\nThe final answer is the letter of the correct option."
    )
    assert question.options == ("one", "two")
    own = {"question": asked, "answer": "B"}
    assert only(write(tmp_path / "o.jsonl", own))[0].text == asked


def test_a_hub_id_is_read_by_datasets_and_its_faults_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    rows = [{"question": "q", "answer": a} for a in ("A", 7, "1/2")]
    path = write(tmp_path / "t.jsonl", *rows)
    local = datasets.load_dataset("json", data_files=path, split="train", streaming=True)
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: local)
    assert [q.gold for q in read_table("me/mine", {})[0]] == ["A", "7", "1/2"]
    kept = tmp_path / "kept.parquet"
    datasets.Dataset.from_list(rows, on_mixed_types="use_json").to_parquet(kept)
    assert [q.gold for q in read_table(str(kept), {})[0]] == ["A", "7", "1/2"]
    pictures = datasets.Dataset.from_dict(
        {"question": ["q"], "answer": ["1"], "images": [[{"bytes": png(), "path": None}]]},
        features=datasets.Features(
            {
                "question": datasets.Value("string"),
                "answer": datasets.Value("string"),
                "images": datasets.List(datasets.Image()),
            }
        ),
    )
    pictures.to_parquet(tmp_path / "p.parquet")
    monkeypatch.undo()
    stream = datasets.load_dataset(
        "parquet", data_files=str(tmp_path / "p.parquet"), split="train", streaming=True
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: stream)
    ((question,), _) = read_table("me/mine", {})
    assert question.images == (png(),)

    def gone(*_: object, **__: object) -> None:
        raise RuntimeError("Dataset scripts are no longer supported,\nbut found mine.py")

    monkeypatch.setattr(datasets, "load_dataset", gone)
    with pytest.raises(UserError, match="me/mine, row 1: Dataset scripts are no longer") as refused:
        read_table("me/mine", {})
    assert "\n" not in str(refused.value)
