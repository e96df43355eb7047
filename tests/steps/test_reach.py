"""What a run names is tried before anything is spent: endpoints, tables, a model's files."""

import json
import shlex
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from zppo_core.config import load
from zppo_core.errors import UserError
from zppo_core.run import preflight
from zppo_core.run.reach import check_endpoint, check_files, check_reach


@contextmanager
def server(status: int) -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    """An endpoint that answers every request with `status`; what it was asked, with which key."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers.get("Authorization")))
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:9/elsewhere")
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    listening = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{listening.server_port}/v1", asked
    finally:
        listening.shutdown()
        listening.server_close()


@pytest.mark.parametrize("status", [200, 302, 404])
def test_an_endpoint_that_answers_passes_and_its_key_goes_nowhere_else(status, monkeypatch) -> None:
    monkeypatch.setenv("A_KEY", "secret")
    with server(status) as (address, asked):
        check_endpoint("teacher.endpoint", address, "A_KEY")
    assert asked == [("/v1/models", "Bearer secret")]


@pytest.mark.parametrize(
    ("status", "says"), [(401, "wants a key .*api_key_env"), (503, "fails .*server's log")]
)
def test_an_endpoint_that_refuses_is_one_line(status, says) -> None:
    with (
        server(status) as (address, _),
        pytest.raises(UserError, match=rf"^teacher\.endpoint: .*{says}"),
    ):
        check_endpoint("teacher.endpoint", address)


@pytest.mark.parametrize("field", ["teacher.endpoint", "evaluation.judge"])
def test_a_dead_endpoint_is_told_with_its_field(field) -> None:
    with server(200) as (address, _):
        pass
    with pytest.raises(UserError, match=rf"^{field}: nothing answers at {address} .*start the"):
        check_reach(load("nano", [f"{field}={address}"]))


def test_a_table_without_the_column_or_a_row_is_told_before_the_run(tmp_path: Path) -> None:
    table = tmp_path / "rows.jsonl"
    settings = [f"data.source={table}", "data.columns=question=q,answer=a"]
    with pytest.raises(UserError, match=r"rows\.jsonl"):
        check_reach(load("nano", settings))
    table.write_text("")
    with pytest.raises(UserError, match="no rows"):
        check_reach(load("nano", settings))
    table.write_text(json.dumps({"q": "1+1?", "b": "2"}) + "\n")
    with pytest.raises(UserError, match="no column 'a'"):
        check_reach(load("nano", settings))
    table.write_text(json.dumps({"q": "1+1?", "a": "2"}) + "\n")
    check_reach(load("nano", settings))


def test_a_models_folder_needs_tokenizer_template_and_image_processor(tmp_path: Path) -> None:
    def put(name: str, content: object) -> None:
        (tmp_path / name).write_text(json.dumps(content))

    put("config.json", {"vision_config": {}})
    for says, name, content in (
        ("has no tokenizer", "tokenizer.json", {}),
        ("has no chat template", "tokenizer_config.json", {"chat_template": "x"}),
        ("takes pictures", "preprocessor_config.json", {}),
    ):
        with pytest.raises(UserError, match=says):
            check_files("student", str(tmp_path))
        put(name, content)
    check_files("student", str(tmp_path))


@pytest.mark.parametrize(
    ("scale", "gpu_gib", "says"),
    [
        ("4B", [80.0], "use --scale 4B@one-gpu"),
        ("4B", [24.0], "--scale 4B@lora-24gb"),
        ("4B", [], "--scale nano"),
    ],
)
def test_too_few_gpus_names_the_layout_that_fits(scale, gpu_gib, says, monkeypatch) -> None:
    monkeypatch.setattr(preflight, "count_gpus", lambda: len(gpu_gib))
    monkeypatch.setattr(preflight, "gpu_memory", lambda: gpu_gib)
    with pytest.raises(UserError) as fault:
        preflight.check_gpus(load(scale))
    assert says in str(fault.value)


def test_settings_in_a_message_are_one_word_to_a_shell(monkeypatch) -> None:
    monkeypatch.setattr(preflight, "count_gpus", lambda: 0)
    with pytest.raises(UserError) as fault:
        preflight.check_evaluation_device(load("4B"))
    words = shlex.split(str(fault.value).replace(",", " "))
    assert words[words.index("--set") + 1] == "compute.device=cpu;compute.engine=hf"
