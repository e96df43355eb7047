"""Small files with the columns of the two sources of ZPPO-77K."""

import io
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from zppo_core.data.zppo77k import sources as zppo77k


def picture(seed: int, size: tuple[int, int] = (120, 110), form: str = "PNG") -> bytes:
    """Coarse blocks, so that scaling and compression keep their differences."""
    blocks = np.random.default_rng(seed).integers(0, 255, (8, 9), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(blocks).resize(size, Image.Resampling.NEAREST).save(buffer, form)
    return buffer.getvalue()


def copy_of(data: bytes, size: tuple[int, int], form: str = "PNG", **options: int) -> bytes:
    """The picture scaled and written again."""
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(data)) as image:
        image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(buffer, form, **options)
    return buffer.getvalue()


def vero(i: int, name: str, **changes) -> dict:
    row = {
        "id": f"v{i}",
        "data_source": name,
        "ability": "stem",
        "prompt": {"role": ["user"], "content": [f"<image> raw {i}"]},
        "image": {"bytes": picture(i), "path": None},
        "reward_model": {"style": "rule", "ground_truth": str(i)},
        "extra_info": {
            "question": f"What is number {i} of {name}?",
            "answer": str(i),
            "reward_type": "numeric",
        },
    }
    if "answer" in (changes.get("extra_info") or {}):  # the real rows say it twice
        row["reward_model"] = {"style": "rule", "ground_truth": changes["extra_info"]["answer"]}
    return {**row, **changes}


def mmfine(i: int, source: str = "MMR1", **changes) -> dict:
    row = {
        "source": source,
        "id": f"m{i}",
        "question": f"<image>\nFind angle {i} of {source}.",
        "answer": str(i),
        "image": {"bytes": picture(10_000 + i), "path": None},
        "pass_rate": 0.25,
        "qwen3vl_235b_thinking_response": "<think>long</think>",
    }
    return {**row, **changes}


def write(path: Path, rows: list[dict]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def places(folder: Path, veros: dict[str, list[dict]], fines: list[dict]) -> dict:
    for config, rows in veros.items():
        write(folder / "vero" / config / "train-00000.parquet", rows)
    if not veros:
        write(folder / "vero" / "stem-tqa" / "train-00000.parquet", [vero(0, "tqa")])
    write(folder / "mmfine" / "data" / "train-00000-of-00001.parquet", fines or [mmfine(0)])
    return {"vero": str(folder / "vero"), "mmfine": str(folder / "mmfine")}


def tokens(question: str, size: tuple[int, int]) -> int:
    return len(question.split()) + size[0] * size[1] // 1000


def corpus_rows(folder: Path) -> list[dict]:
    return [r for f in sorted((folder / "corpus").glob("*")) for r in pq.read_table(f).to_pylist()]


@pytest.fixture
def small_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zppo77k, "CAPS", {1: 8, 2: 4})
