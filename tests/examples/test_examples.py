"""Each example trains, small, in a folder of its own and without a network."""

from __future__ import annotations

import ast
import json
import runpy
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file
from small import ROOT, STUDENT, TEACHER, sets

EXAMPLES = ROOT / "examples"
SCRIPTS = ["text_maths", "own_vqa", "remote_teacher", "lora_24gb", "twenty_lines"]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(EXAMPLES))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.mark.parametrize("name", [*SCRIPTS, "trl_replay"])
def test_an_example_says_how_to_start_it_and_what_to_expect(name: str) -> None:
    text = (EXAMPLES / f"{name}.py").read_text(encoding="utf-8")
    said = ast.get_docstring(ast.parse(text)) or ""
    assert f"python examples/{name}.py" in said
    assert "What to expect: " in said
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert f"[{name}.py]({name}.py)" in page


def test_the_page_of_examples_names_every_one() -> None:
    page = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for path in EXAMPLES.iterdir():
        if path.name not in ("README.md", "__pycache__"):
            assert f"]({path.name})" in page, path.name


def test_text_maths_trains_a_checkpoint_that_is_a_folder() -> None:
    import text_maths

    table = Path("problems.jsonl")
    table.write_text("".join(json.dumps(row) + "\n" for row in text_maths.sums(8)))
    models = ["--student", str(STUDENT), "--teacher", str(TEACHER), "--questions", str(table)]
    result = text_maths.main(["--scale", "nano", *models, *sets()])
    assert set(result.accuracy) == {"LLM"}
    assert Path(result.checkpoint, "model.safetensors").is_file()
    with result.connect() as database:
        golds = {g for (g,) in database.execute("SELECT gold FROM groups").fetchall()}
    assert golds
    assert golds <= {row["answer"].rpartition(" ")[2] for row in text_maths.sums(8)}


def test_own_vqa_asks_about_pictures_that_it_drew() -> None:
    import own_vqa

    table = own_vqa.main(["--count", "8"])
    assert isinstance(table, Path)
    rows = [json.loads(line) for line in table.read_text(encoding="utf-8").splitlines()]
    assert [row["answer"] for row in rows] == ["1", "2", "3", "4", "5", "6", "1", "2"]
    result = own_vqa.main(["--count", "8", "--train", *sets()])
    assert not isinstance(result, Path)
    with result.connect() as database:
        (asked,) = database.execute(
            "SELECT count(*) FROM groups WHERE kind = 'plain' AND prompt_text LIKE '%bars has%'"
        ).fetchone() or (0,)
    assert asked == 4


class Loopback:
    """An OpenAI-compatible server that says seven, and counts how often it was asked."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        loopback = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send({"data": [{"id": "sage"}]})

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                loopback.bodies.append(body)
                message = {"content": r"It is \boxed{7}.", "role": "assistant"}
                choices = [
                    {"index": i, "message": message, "finish_reason": "stop"}
                    for i in range(body["n"])
                ]
                self.send({"choices": choices})

            def send(self, said: object) -> None:
                data = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        self.teacher = f"http://127.0.0.1:{self.server.server_port}/v1#sage"


@pytest.fixture
def loopback() -> Iterator[Loopback]:
    server = Loopback()
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_a_remote_teacher_is_asked_over_http(
    loopback: Loopback, monkeypatch: pytest.MonkeyPatch
) -> None:
    import remote_teacher

    monkeypatch.setenv("OPENAI_API_KEY", "none")
    small = sets(rollout__new_prompts=8, data__train_questions=16)
    result = remote_teacher.main(["--teacher", loopback.teacher, *small])
    assert loopback.bodies
    assert {body["model"] for body in loopback.bodies} == {"sage"}
    assert result.run.config.teacher.endpoint + "#sage" == loopback.teacher


def test_adapters_learn_and_the_checkpoint_is_merged() -> None:
    import lora_24gb

    result = lora_24gb.main(["--scale", "nano", *sets(rollout__new_prompts=8, optimizer__lr=1e-2)])
    assert result.run.config.trainer.lora_rank == 16
    before = load_file(STUDENT / "model.safetensors")
    after = load_file(Path(result.checkpoint, "model.safetensors"))
    assert before.keys() == after.keys()
    moved = {name for name in before if not np.array_equal(before[name], after[name])}
    assert moved
    assert len(moved) < len(before)  # embeddings and norms have no adapters


def test_twenty_lines_are_twenty_and_train(monkeypatch: pytest.MonkeyPatch) -> None:
    script = EXAMPLES / "twenty_lines.py"
    lines = script.read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) <= 20
    settings = sets(rollout__new_prompts=4)[1::2]
    monkeypatch.setattr(sys, "argv", [str(script), *settings])
    names = runpy.run_path(str(script))
    assert set(names["result"].accuracy) == {"LLM"}
