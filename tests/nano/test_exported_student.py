"""An exported student is a folder for anybody: its README's own lines generate, beside pictures."""

import contextlib
import io
import re
import sys
from datetime import datetime
from pathlib import Path

import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor

from zppo_core import models
from zppo_core.config import load
from zppo_core.models.weights import write_student
from zppo_core.records.schema import encode
from zppo_core.run.export import export
from zppo_core.store.checkpoint import save_checkpoint
from zppo_core.store.journal import Journal
from zppo_core.store.objects import LocalStore


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """The export of a run that stopped after four steps with nano's own student."""
    root = tmp_path_factory.mktemp("runs")
    model, renderer = models.load("nano:student", torch.float32)

    def write(place: Path) -> None:
        images = renderer.processor.image_processor
        write_student(place / "student", model, renderer.tokenizer, images)

    save_checkpoint(LocalStore(root), "a-run", 4, write, 2)
    row = {
        "run_key": "a-run",
        "created_at": datetime(2026, 1, 1),
        "scale": "nano",
        "method": "zppo",
        "seed": 0,
        "config_json": load("nano").to_json(),
        "code_version": "0.1.0+abc",
        "machine": "2 cores",
        "student_model": "nano:student",
        "student_params": 1,
        "base_model_key": "key",
    }
    Journal(LocalStore(root), "a-run/journal").commit(
        "run", {"runs.parquet": encode("runs", [row])}
    )
    export(str(root / "a-run"), str(root / "out"))
    return root / "out"


def test_the_lines_of_its_readme_generate(folder, monkeypatch) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL)
    monkeypatch.chdir(folder)
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        exec(compile(code, "README.md", "exec"), {})
    assert len(said.getvalue()) > 20


def test_its_processor_reads_a_picture_without_torchvision(folder) -> None:
    assert "torchvision" not in sys.modules
    processor = AutoProcessor.from_pretrained(str(folder), trust_remote_code=True)
    model = AutoModelForImageTextToText.from_pretrained(str(folder))
    content = [
        {"type": "image", "image": Image.new("RGB", (64, 64), "white")},
        {"type": "text", "text": "What is this?"},
    ]
    inputs = processor.apply_chat_template(
        [{"role": "user", "content": content}],
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert "pixel_values" in inputs
    made = model.generate(**inputs, max_new_tokens=3)
    assert made.shape[1] > inputs["input_ids"].shape[1]


def test_its_readme_says_where_it_comes_from_and_under_which_licence(folder) -> None:
    card = (folder / "README.md").read_text()
    assert card.startswith("---\nlicense: apache-2.0\nlibrary_name: transformers\n")
    for fact in ("- run: `a-run`", "- rollout steps: `4`", "- code: `0.1.0+abc`", "lr = 0.0001"):
        assert fact in card
    assert re.search(r"\| `model\.safetensors` \| `[0-9a-f]{64}` \|", card)
