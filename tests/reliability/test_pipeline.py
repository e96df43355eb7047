"""A run by the public API, without Metaflow, on questions and a reward of the caller's own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image
from whole_run import SMALL

import zppo_core as zppo
from zppo_core.data.own import table_of
from zppo_core.types import Grade, Question


def longer_is_right(question: Question, response: str) -> Grade:
    """A reward that even a student of a few tokens earns now and then."""
    right = len(response) % 2 == 0
    return Grade(float(right), "correct" if right else "wrong", None)


def settings(folder: Path, **more: object) -> zppo.Config:
    places = {"store.root": folder / "runs", "store.database": folder / "db.duckdb"}
    fields = {**SMALL, "rollout.new_prompts": 4, **places, **more}
    return zppo.load_config("nano", [f"{name}={value}" for name, value in fields.items()])


def test_own_questions_and_reward_train_without_metaflow(tmp_path: Path) -> None:
    code = "import zppo_core, sys; assert not {'torch', 'metaflow'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
    questions = [{"question": f"What is {i} + {i}?", "answer": str(2 * i)} for i in range(12)]
    config = settings(tmp_path)
    result = zppo.train(config, questions=questions, reward=longer_is_right, name="own")
    assert set(result.accuracy) == {"LLM"}
    assert (Path(result.checkpoint) / "model.safetensors").is_file()
    with result.connect() as connection:
        (asked,) = connection.execute("SELECT count(DISTINCT question_id) FROM groups").fetchone()
        stages = connection.execute("SELECT phase, seconds FROM phases WHERE step = -1").fetchall()
    assert asked == 8
    assert {name.partition("/")[0] for name, _ in stages} == {"prepare_data", "epoch", "evaluate"}
    again = zppo.train(config, questions=questions, reward=longer_is_right, name="own")
    assert again.summary["run"] == result.summary["run"]  # nothing was done twice


def test_a_frame_with_pictures_is_a_table_named_after_its_content(tmp_path: Path) -> None:
    picture = Image.new("RGB", (32, 32), "red")
    frame = pd.DataFrame({"question": ["a?", "b?"], "answer": ["1", "2"], "image": [picture] * 2})
    place = table_of(frame, tmp_path)
    assert place == table_of(frame.to_dict("records"), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    from zppo_core.data.table import read_table

    questions, _ = read_table(place, {})
    assert [q.gold for q in questions] == ["1", "2"]
    assert questions[0].images[0].startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"questions": []}, "no questions"),
        ({"questions": [{"question": 1}, {"question": "x"}]}, "no table"),
        ({"reward": lambda question, response: None}, "cannot be imported"),
        ({"student": "nano:professor"}, "nano build"),
        ({"teacher": "ftp://host/x"}, "teacher.model: give a folder"),
    ],
)
def test_faults_are_one_line_before_anything_is_loaded(tmp_path: Path, given, says: str) -> None:
    with pytest.raises(zppo.UserError, match=says) as fault:
        zppo.train(settings(tmp_path), **given)
    assert len(str(fault.value).splitlines()) == 1


def test_every_public_name_is_there_and_documented() -> None:
    for name in zppo._HOMES:
        value = getattr(zppo, name)
        assert isinstance(value, dict) or (value.__doc__ or "").strip(), name
