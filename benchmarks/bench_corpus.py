"""Streaming 600,000 rows with the sources' columns through the corpus builder: rows/s, peak memory.

    python benchmarks/bench_corpus.py [--rows 600000]
    python benchmarks/bench_corpus.py --scaling    # pictures into data.min_pixels and max_pixels

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

from zppo_core.data.pixels import Bounds
from zppo_core.data.zppo77k.build import build
from zppo_core.data.zppo77k.schema import Card
from zppo_core.data.zppo77k.sources import Recipe

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
    row = {
        "id": "v",
        "data_source": "tqa",
        "image": {"bytes": images[0], "path": None},
        "extra_info": {"question": "Why?", "answer": "1"},
    }
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


def scaling() -> list[dict[str, float | str]]:
    """Photographs' sizes into the bounds of the evaluation: pictures/s, bytes, image tokens."""
    from transformers import Qwen2VLImageProcessor

    # the shape of Qwen3.5's processor: a token is 32 x 32 pixels
    edges = {"shortest_edge": 65_536, "longest_edge": 16_777_216}
    processor = Qwen2VLImageProcessor(patch_size=16, merge_size=2, size=edges)

    def tokens(size: tuple[int, int]) -> int:
        return processor.get_number_of_image_patches(size[1], size[0], {}) // 4

    bounds, rows, noise = Bounds(262_144, 1_310_720), [], np.random.default_rng(0)
    for size in ((300, 200), (1024, 768), (1600, 1200), (4000, 3000)):
        few = Image.fromarray(noise.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8))
        buffer = io.BytesIO()
        few.resize(size, Image.Resampling.BICUBIC).save(buffer, "JPEG", quality=90)
        data, n = buffer.getvalue(), 8
        taken = seconds(lambda data=data, n=n: [bounds.scaled(data, small=True) for _ in range(n)])
        after = bounds.scaled(data, small=True)
        rows.append(
            {
                "size": f"{size[0]} x {size[1]}",
                "scaled": "{} x {}".format(*bounds.size(size)),
                "ms/picture": 1000 * taken / n,
                "KiB": len(data) / 1024,
                "KiB scaled": len(after) / 1024,
                "tokens": tokens(size),
                "tokens scaled": tokens(bounds.size(size)),
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scaling", action="store_true")
    parser.add_argument("--rows", type=int, default=600_000)
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.scaling:
        record("bench_scaling", vars(a), scaling())
        return
    if a.only:
        print(json.dumps(one(Path(a.only))))
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder), a.rows)
        done = in_fresh_process(__file__, "--only", folder)
    rows = [
        {
            "rows": done["rows"],
            "kept": done["kept"],
            "seconds": done["seconds"],
            "rows/s": done["rows"] / done["seconds"],
            "peak MiB": done["peak"],
        }
    ]
    record("bench_corpus", vars(a), rows)


if __name__ == "__main__":
    main()
