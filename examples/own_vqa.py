"""Your own pictures: questions about bar charts that are drawn here.

    python examples/own_vqa.py --to my_charts                  # writes 200 pictures and a table
    zppo plan --set data.source=my_charts/questions.jsonl --set data.columns=image=picture
    python examples/own_vqa.py --to my_charts --train          # and trains the nano student on it

What to expect: a folder with PNG files and questions.jsonl, a row a question:
{"id": "c0", "question": "How many bars has the chart?", "answer": "3", "picture": "c0.png"}.
Paths are relative to the table. `prepare_data` prints ten of the questions as the student will see
them, and how many it left out for which reason. Put your own rows in place of `charts`; everything
else stays. The nano student has seen nothing but digits, so most of its answers stay wrong. A real
student: `zppo run --scale 4B --set data.source=my_charts/questions.jsonl`, not tried on a GPU.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw

import zppo_core as zppo
from eval.pipeline import Trained
from zppo_core.streams import stream

SIDE = 64  # pixels of a picture


def charts(count: int, folder: Path) -> Path:
    """Draw `count` charts into `folder` beside the table that asks about them; the table."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i in range(count):
        heights = stream(0, "charts", i).integers(8, SIDE, 1 + i % 6).tolist()
        picture = Image.new("RGB", (SIDE, SIDE), "white")
        for place, height in enumerate(heights):
            box = (place * 10 + 2, SIDE - height, place * 10 + 9, SIDE)
            ImageDraw.Draw(picture).rectangle(box, fill="black")
        picture.save(folder / f"c{i}.png")
        ask = "How many bars has the chart?"
        rows.append(
            {"id": f"c{i}", "question": ask, "answer": str(len(heights)), "picture": f"c{i}.png"}
        )
    table = folder / "questions.jsonl"
    table.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return table


def main(arguments: Sequence[str] | None = None) -> Trained | Path:
    """Write the table, and with --train train on it."""
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--to", type=Path, default=Path("my_charts"))
    reader.add_argument("--count", type=int, default=200)
    reader.add_argument("--train", action="store_true")
    reader.add_argument("--scale", default="nano")
    reader.add_argument("--set", action="append", default=[], metavar="SECTION.FIELD=VALUE")
    given = reader.parse_args(arguments)
    table = charts(given.count, given.to)
    print(f"{given.count} questions in {table}")
    if not given.train:
        return table
    named = [f"data.source={table}", "data.columns=image=picture", *given.set]
    result = zppo.train(zppo.load_config(given.scale, named), name="own-vqa")
    print(result.accuracy, result.checkpoint)
    return result


if __name__ == "__main__":
    main()
