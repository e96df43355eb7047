"""The data card of a built corpus: counts, lengths and sizes, as Markdown and a picture."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypedDict

import pyarrow as pa
import pyarrow.parquet as pq

from zppo_core.data.zppo77k.sources import as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLUMNS = [
    "source",
    "canonical",
    "tier",
    "answer_kind",
    "answer",
    "width",
    "height",
    "tokens",
    "pass_rate",
]


def write_card(folder: str | Path, new_prompts: int, rollout_steps: int) -> Path:
    """Write `card.md` and `card.png` beside the corpus in `folder`; the path of the former.

    `new_prompts` a step and `rollout_steps` are what the card holds against one pass.
    """
    folder = Path(folder)
    manifest: Manifest = json.loads((folder / "manifest.json").read_text())
    files = sorted((folder / "corpus").glob("*.parquet"))
    rows = pa.concat_tables([pq.read_table(f, columns=COLUMNS) for f in files])
    draw(rows, folder / "card.png")
    columns = {name: rows.column(name).to_pylist() for name in COLUMNS}
    shares = Counter(zip(columns["source"], columns["tier"], columns["canonical"], strict=True))
    lines = [
        "# Corpus",
        "",
        f"{manifest['questions']:,} questions of {manifest['rows']:,} rows read. "
        f"Recipe: `{as_text(manifest['recipe'])}`.",
        "",
        "![Counts, lengths and sizes](card.png)",
        "",
        "## By sub-dataset",
        "",
        "| source | tier | name | questions |",
        "| --- | --- | --- | --- |",
        *(f"| {s} | {t} | {c} | {n:,} |" for (s, t, c), n in sorted(shares.items())),
        "",
        "## By kind of answer",
        "",
        "| kind | questions |",
        "| --- | --- |",
        *(f"| {k} | {n:,} |" for k, n in Counter(columns["answer_kind"]).most_common()),
        "",
        *_passes(manifest["questions"], new_prompts, rollout_steps),
        *_alike(manifest),
        "## Odd, but kept",
        "",
        "| what | rows read |",
        "| --- | --- |",
        *(f"| {what} | {n:,} |" for what, n in manifest["counted"].items()),
        "",
        "## Left out",
        "",
        "| reason | rows |",
        "| --- | --- |",
        *(f"| {reason} | {n:,} |" for reason, n in manifest["rejects"].items()),
        "",
        "Each row that was left out stands in `rejects.parquet` with its reason.",
    ]
    card = folder / "card.md"
    card.write_text("\n".join(lines) + "\n")
    return card


def _passes(questions: int, n: int, steps: int) -> list[str]:
    """What one pass is in the paper's rollout steps, and whether they need more than one."""
    one = questions // n
    beyond = f", the last {steps - one} of them in a second pass" if one < steps else ""
    return [
        "## One pass",
        "",
        f"At {n} new prompts a step one pass is {one} rollout steps; the presets take "
        f"{steps}{beyond}.",
        "",
    ]


class Manifest(TypedDict):
    """What the card reads of `manifest.json`, which `Builder.finish` writes."""

    recipe: dict[str, object]
    questions: int
    rows: int
    rejects: dict[str, int]
    duplicates: int
    overlaps: int
    compared: int
    short: str
    counted: dict[str, int]


def _alike(manifest: Manifest) -> list[str]:
    """What was found twice, kept or not, and which names a larger reserve would fill."""

    def fate(setting: str) -> str:
        return "left out" if manifest["recipe"][setting] else "kept"

    lines = [
        "",
        "## Found twice",
        "",
        f"- {manifest['duplicates']:,} questions are nearly the same as another "
        f"({fate('data.drop_duplicates')}).",
        f"- {manifest['overlaps']:,} questions overlap the evaluation "
        f"({fate('data.drop_overlap')}); compared with {manifest['compared']:,} evaluation "
        "questions.",
    ]
    if manifest["short"]:
        lines += ["", f"Names {manifest['short']}."]
    return [*lines, ""]


def draw(rows: pa.Table, path: Path) -> None:
    """Four panels: questions by sub-dataset, prompt tokens, answer lengths, image sizes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 8), layout="constrained")
    names, tokens, lengths, sizes = figure.subplots(2, 2).ravel()
    colours = {"vero": "#0072B2", "mmfine": "#E69F00"}
    counted = Counter(
        zip(rows.column("canonical").to_pylist(), rows.column("source").to_pylist(), strict=True)
    ).most_common()
    names.barh(
        [c for (c, _), _ in counted],
        [n for _, n in counted],
        color=[colours[s] for (_, s), _ in counted],
    )
    names.invert_yaxis()
    names.tick_params(axis="y", labelsize=6)
    names.set(title="Questions by sub-dataset", xlabel="questions")
    for source, colour in colours.items():
        names.bar(0, 0, color=colour, label={"vero": "Vero", "mmfine": "MMFineReason"}[source])
    names.legend(loc="lower right")
    _histogram(tokens, rows.column("tokens").to_pylist(), "Prompt length", "tokens")
    answers = [len(a) for a in rows.column("answer").to_pylist()]
    _histogram(lengths, answers, "Answer length", "characters")
    lengths.set_yscale("log")
    width, height = (rows.column(c).to_pylist() for c in ("width", "height"))
    sizes.scatter(width, height, s=3, alpha=0.3, color="#0072B2", edgecolors="none")
    sizes.set(title="Image sizes", xlabel="width, pixels", ylabel="height, pixels")
    figure.savefig(path, dpi=110)


def _histogram(axes: Axes, values: Sequence[int], title: str, unit: str) -> None:
    axes.hist(values, bins=50, color="#0072B2")
    axes.set(title=title, xlabel=unit, ylabel="questions")
