"""Streaming 600,000 rows with the sources' columns through the corpus builder: rows/s, peak memory.

    python benchmarks/bench_corpus.py [--rows 600000]

Rows are written first, 12,000 a file, with pictures of 120 x 110 pixels out of 500; the teacher's
text that the builder must not read is 2 KB a row.
"""

from __future__ import annotations

import argparse
import io
import json
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from common import in_fresh_process, peak_mib, record, seconds
from PIL import Image

from zppo_core.data.build77k import Card, Recipe, build

PER_FILE = 12_000
SOURCES = ("MMR1", "Euclid30K", "BMMR", "ViRL39K", "LLaVA-CoT", "GameQA-140K", "FineVision-tqa")


def pictures(n: int) -> list[bytes]:
    rng = np.random.default_rng(0)
    made = []
    for _ in range(n):
        blocks = Image.fromarray(rng.integers(0, 255, (8, 9), dtype=np.uint8))
        buffer = io.BytesIO()
        blocks.resize((120, 110), Image.Resampling.NEAREST).save(buffer, "PNG")
        made.append(buffer.getvalue())
    return made


def write(folder: Path, rows: int) -> None:
    images, text = pictures(500), "thought " * 256
    for number, start in enumerate(range(0, rows, PER_FILE)):
        ids = range(start, min(start + PER_FILE, rows))
        table = pa.table(
            {
                "source": [SOURCES[i % len(SOURCES)] for i in ids],
                "id": [f"m{i}" for i in ids],
                "question": [f"<image>\nValue {i} of curve {i * 7919 % 104729}?" for i in ids],
                "answer": [str(i) for i in ids],
                "image": [{"bytes": images[i % 500], "path": None} for i in ids],
                "pass_rate": [(i % 4) / 4 for i in ids],
                "qwen3vl_235b_thinking_response": [text] * len(ids),
            }
        )
        path = folder / "mmfine" / "data" / f"train-{number:05d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path, compression="zstd")
    vero = folder / "vero" / "stem-tqa" / "train-00000.parquet"
    vero.parent.mkdir(parents=True, exist_ok=True)
    row = {"id": "v", "data_source": "tqa", "image": {"bytes": images[0], "path": None},
           "extra_info": {"question": "Why?", "answer": "1"}}  # fmt: skip
    pq.write_table(pa.Table.from_pylist([row]), vero)


def one(folder: Path) -> dict[str, float]:
    cards: list[Card] = []
    places = {"vero": str(folder / "vero"), "mmfine": str(folder / "mmfine")}
    taken = seconds(
        lambda: cards.append(
            build(places, folder / "out", Recipe(), lambda text, size: len(text.split()))
        )
    )
    return {"seconds": taken, "peak": peak_mib(), "kept": cards[0].kept, "rows": cards[0].rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.only:
        print(json.dumps(one(Path(a.only))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), a.rows)
        done = in_fresh_process(__file__, "--only", folder)
    rows = [
        {"rows": done["rows"], "kept": done["kept"], "seconds": done["seconds"],
         "rows/s": done["rows"] / done["seconds"], "peak MiB": done["peak"]}
    ]  # fmt: skip
    record("bench_corpus", vars(a), rows)


if __name__ == "__main__":
    main()
