"""Keys in the environment reach whom they are for, and are written nowhere."""

from __future__ import annotations

import base64
import contextlib
import gzip
import io
import json
import os
import subprocess
import zlib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import duckdb
import pyarrow.parquet as pq
import pytest

ROOT = Path(__file__).parents[2]
SECRETS = {
    name: f"planted-{number}-{'0123456789abcdef'[number:]}"
    for number, name in enumerate(
        (
            *("TEACHER_KEY", "OPENAI_API_KEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
            *("HF_TOKEN", "WANDB_API_KEY", "MLFLOW_TRACKING_PASSWORD", "RAY_AUTH_TOKEN"),
        )
    )
}
SETS = {
    "run.rollout_steps": 1,
    "run.trackers": "wandb",
    "data.train_questions": 16,
    "rollout.new_prompts": 8,
    "rollout.group_size": 4,
    "rollout.max_tokens": 16,
    "teacher.model": "scripted",
    "teacher.api_key_env": "TEACHER_KEY",
    "teacher.prefill": 0,
    "evaluation.suite": "nano_rows",
    "evaluation.limit": 2,
    "evaluation.max_tokens": 8,
    "compute.memory_mb": 3000,
}
TRACKER = '''"""A tracker's package that writes down all that it hears."""
import json, os
def init(**named):
    _note(named)
def log(metrics, step):
    _note([metrics, step])
def finish():
    _note("finish")
def _note(heard):
    with open(os.environ["HEARD"], "a") as file:
        file.write(json.dumps(heard, default=str) + "\\n")
'''


@pytest.fixture
def endpoint() -> Iterator[tuple[str, list[str]]]:
    """A teacher on loopback that refuses now and then, and the keys that it was shown."""
    shown: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self, status: int, content: object) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.answer(200, {"data": [{"id": "scripted"}]})

        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            shown.append(self.headers["Authorization"])
            if len(shown) % 5 == 2:  # servers like to quote the key in their complaint
                return self.answer(500, {"error": f"bad key {self.headers['Authorization']}"})
            choice = {"message": {"content": "so \\boxed{7}"}, "finish_reason": "stop"}
            self.answer(200, {"choices": [choice] * asked.get("n", 1)})

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1", shown
    server.shutdown()


def rows(parquet: bytes) -> bytes:
    """A table's rows as text."""
    return repr(pq.read_table(io.BytesIO(parquet)).to_pylist()).encode()


def unpacked(path: Path) -> bytes:
    """What a file says: a table's rows, what was packed, and the bytes themselves."""
    data = path.read_bytes()
    parts = [data]
    if data[:4] == b"PAR1":
        parts.append(rows(data))
    elif path.name == "manifest.json":  # of a journal's unit, with small files in it
        inside = [base64.b64decode(text) for text in json.loads(data).get("small", {}).values()]
        parts += [rows(file) if file[:4] == b"PAR1" else file for file in inside]
    elif path.suffix == ".duckdb":
        with duckdb.connect(str(path), read_only=True) as connection:
            for (table,) in connection.execute("SHOW TABLES").fetchall():
                parts.append(repr(connection.execute(f'FROM "{table}"').fetchall()).encode())
    elif data[:2] == b"\x1f\x8b":
        parts.append(gzip.decompress(data))
    elif data[:1] == b"\x78":
        with contextlib.suppress(zlib.error):  # a text may begin so too
            parts.append(zlib.decompressobj().decompress(data))
    return b"\n".join(parts)


def found(folder: Path, secrets: dict[str, str]) -> list[str]:
    """Where a secret stands below a folder."""
    hits = []
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = unpacked(path)
            hits += [f"{name} in {path}" for name, s in secrets.items() if s.encode() in content]
    return hits


def test_planted_keys_are_written_nowhere(
    tmp_path: Path, endpoint: tuple[str, list[str]], warm_python: str
) -> None:
    """Artifacts, cards, logs, journal, database, tracker, console; the teacher's key arrives."""
    address, shown = endpoint
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "wandb.py").write_text(TRACKER)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")}
    environment |= SECRETS | {"USER": "root", "USERNAME": "root", "HOME": str(tmp_path / "home")}
    environment |= {
        "HEARD": str(tmp_path / "heard.jsonl"),
        "PYTHONPATH": str(tmp_path / "modules"),
        "HF_HUB_OFFLINE": "1",
    }
    sets = SETS | {"teacher.endpoint": address, "store.cache": str(tmp_path / "cache")}
    done = subprocess.run(
        [
            *(warm_python, str(ROOT / "flows" / "zppo_flow.py"), "run"),
            *(part for name, value in sets.items() for part in ("--set", f"{name}={value}")),
        ],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=500,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    assert set(shown) == {f"Bearer {SECRETS['TEACHER_KEY']}"}
    (tmp_path / "console.txt").write_text(done.stdout + done.stderr)
    assert found(tmp_path, SECRETS) == []
    kinds = (
        "journal/**/manifest.json",
        "*.duckdb",
        "metrics.jsonl",
        ".metaflow/**/*.html",
        "heard.jsonl",
    )
    assert all(list(tmp_path.rglob(kind)) for kind in kinds)
    assert found(tmp_path, {"a word of the teacher": r"so \\boxed{7}"})  # it reads what is packed


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, zlib.compress, lambda data: b"\x00" * 9 + data]
)
def test_a_key_that_is_written_is_found(tmp_path: Path, pack) -> None:
    (tmp_path / "file").write_bytes(pack(f"x {SECRETS['HF_TOKEN']} y".encode()))
    assert found(tmp_path, SECRETS) == [f"HF_TOKEN in {tmp_path / 'file'}"]


def test_a_key_in_a_row_of_the_database_is_found(tmp_path: Path) -> None:
    with duckdb.connect(str(tmp_path / "x.duckdb")) as connection:
        connection.execute("CREATE TABLE t AS SELECT ? AS a", [SECRETS["HF_TOKEN"]])
    assert found(tmp_path, SECRETS) == [f"HF_TOKEN in {tmp_path / 'x.duckdb'}"]
