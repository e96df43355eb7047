"""Pages that are written from the code: the configuration reference, and a page per method.

    python tools/pages.py            # writes docs/configuration.md and docs/methods/*.md

A test compares what is committed with what this writes.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from importlib import resources
from pathlib import Path

from pydantic import TypeAdapter

from zppo_core.config.methods import METHODS, Method
from zppo_core.config.plan import toml
from zppo_core.config.schema import LAYOUTS, SCALES, Config

DOCS = Path(__file__).resolve().parents[1] / "docs"
FAMILIES = ("VLM", "LLM", "Video")
PAPERS = tuple(METHODS)[:14]  # what follows are controls of ours
BOUNDS = {"ge": "at least", "minimum": "at least", "gt": "above", "le": "at most", "lt": "below"}
LARGEST = 2**31 - 1  # said of no field: it only stands for the database's 32 bits
# what a method cannot run without
NEEDS = {"zppo_teachers": " --set teacher.more_models=nano:student"}
DOES = {
    "grpo": (
        "Each question is asked as it is. The group's mean reward is the baseline of its rollouts."
    ),
    "grpo_replay": (
        "A hard question enters a buffer and is asked again until half of its rollouts are right."
    ),
    "grpo_both": (
        "A hard question is asked in two more forms, BCQ and NCQ. Nothing is remembered after"
        " the step."
    ),
    "grpo_replay_bcq": (
        "The buffer, and BCQ: one right and one wrong candidate without their authors."
    ),
    "grpo_replay_ncq": (
        "The buffer, and NCQ: all wrong attempts of the student. No right answer is shown."
    ),
    "zppo": "The buffer, BCQ and NCQ together. This is the paper's method.",
    "grpo_replay_hint": (
        "The buffer, and a hint that the teacher writes from a right response, without its answer."
    ),
    "grpo_replay_prefix": (
        "The buffer, and the first 40 % of a right teacher response, forced and masked out of"
        " the loss."
    ),
    "off_distill": (
        "The student learns the distribution of the teacher on the teacher's right responses."
    ),
    "off_distill_replay": (
        "Off-policy distillation whose hard questions come again through the buffer."
    ),
    "on_distill": "The student learns the distribution of the teacher on responses of its own.",
    "on_distill_replay": (
        "On-policy distillation whose hard questions come again through the buffer."
    ),
    "zppo_dynamic": (
        "ZPPO without groups of equal rewards. Plain groups of hard questions may stay."
    ),
    "zppo_teachers": "ZPPO whose candidates come from several teachers (`teacher.more_models`).",
}


def configuration_page() -> str:
    """Every field with its default, its range and what it means, as the schema has them."""
    lines = [
        "# Configuration reference",
        "",
        "Every field that `--set SECTION.FIELD=VALUE` and a TOML take.",
        "`python tools/pages.py` writes this page from `zppo_core/config/schema.py`.",
        "[Your own configuration](customise.md#a-configuration) says how values are layered.",
        "`zppo plan` prints what a run would have.",
    ]
    for field in fields(Config):
        kind = type(getattr(Config(), field.name))
        if not is_dataclass(kind):
            continue
        lines += ["", f"## {field.name}", ""]
        said, known = comments(kind), TypeAdapter(kind).json_schema()["properties"]
        for entry in fields(kind):
            value = getattr(getattr(Config(), field.name), entry.name)
            text = (
                f"- **`{field.name}.{entry.name}`** = `{toml(value)}`, {takes(known[entry.name])}."
            )
            lines += wrapped(f"{text} {sentence(said.get(entry.name, ''))}".rstrip())
    lines += ["", "## Presets and layouts", ""]
    lines += ["A preset or layout sets these fields. All else is the default above.", ""]
    for folder, names in (("presets", SCALES), ("layouts", LAYOUTS)):
        for name in names:
            text = (resources.files("zppo_core.config") / folder / f"{name}.toml").read_text(
                "utf-8"
            )
            shown = f"--scale {name}" if folder == "presets" else f"--scale 4B@{name}"
            lines += [f"### `{shown}`", "", "```toml", text.strip(), "```", ""]
    return "\n".join(lines).rstrip() + "\n"


def comments(kind: type) -> dict[str, str]:
    """The comment of each field of a section: the lines above it, or what stands behind it."""
    source = textwrap.dedent(inspect.getsource(kind))
    notes = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT and "type: ignore" not in token.string
    }
    (body,) = ast.parse(source).body
    assert isinstance(body, ast.ClassDef)
    said, before = {}, body.lineno
    for node in body.body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            rows = range(before + 1, (node.end_lineno or node.lineno) + 1)
            said[node.target.id] = " ".join(notes[row] for row in rows if row in notes)
        before = node.end_lineno or before
    return said


def takes(known: Mapping[str, object]) -> str:
    """What a field takes, in words, from its JSON schema."""
    if "enum" in known:
        return "one of " + ", ".join(f"`{value}`" for value in list(known["enum"]))  # type: ignore[call-overload]
    names = {
        "integer": "whole number",
        "number": "number",
        "string": "text",
        "boolean": "true or false",
    }
    names |= {"array": "list", "object": "table"}
    name = names.get(str(known.get("type")), "text, list or table")
    bounds = [
        f"{words} {known[key]:,}"
        for key, words in BOUNDS.items()
        if isinstance(known.get(key), (int, float)) and abs(float(str(known[key]))) < LARGEST
    ]
    return " ".join([name, " and ".join(bounds)]).strip()


def sentence(text: str) -> str:
    """A comment as a sentence."""
    text = text.strip().rstrip(".")
    return f"{text[0].upper()}{text[1:]}." if text else ""


def wrapped(text: str) -> list[str]:
    """A list's item in rows of 118 characters, code spans unbroken where they fit."""
    return textwrap.wrap(
        text, 118, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )


def method_page(method: Method) -> str:
    """What the method does, how it is started, and its figures at nano, if there are any."""
    kinds = ", ".join(kind.upper() if len(kind) == 3 else kind for kind in method.reformulations)
    lines = [f"# `{method.name}`", "", *textwrap.wrap(DOES[method.name], 118), ""]
    lines += ["| replay | reformulated prompts | loss | teacher |", "| --- | --- | --- | --- |"]
    lines.append(
        f"| {'yes' if method.replay else '–'} | {kinds or '–'} | `{method.loss}` "
        f"| {'yes' if method.uses_teacher else '–'} |"
    )
    lines += ["", "```", f"zppo run --method {method.name}{NEEDS.get(method.name, '')}", "```", ""]
    lines += ["## Measured at nano", ""]
    measured = figures()
    if method.name in measured:
        lines += [
            "Percent, as [evidence](../evidence.md) has them: five seeds, the mean ± half of the",
            "95 % interval.",
            "",
            "| | " + " | ".join(FAMILIES) + " | kinds that no training asks |",
            "| --- " * (len(FAMILIES) + 2) + "|",
        ]
        for name in ("base", method.name):
            lines.append(f"| `{name}` | " + " | ".join(measured[name]) + " |")
        lines += [
            "",
            "`make evidence` repeats the sweep. Methods are compared on",
            "[its page](../evidence.md#claims).",
        ]
    else:
        lines += ["No sweep has figures of this method. It runs in `tests/loop/test_methods.py`."]
    return "\n".join(lines) + "\n"


def figures() -> dict[str, list[str]]:
    """What docs/evidence.md has of each method: VLM, LLM, Video, and kinds never trained."""
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` +\| +\d+ \| +(.*) \|$", text, re.MULTILINE)
    return {name: [cell.strip() for cell in cells.split("|")] for name, cells in rows}


def pages() -> Iterator[tuple[Path, str]]:
    """Every page that is written, with its text."""
    yield DOCS / "configuration.md", configuration_page()
    for name in PAPERS:
        yield DOCS / "methods" / f"{name}.md", method_page(METHODS[name])


def main() -> None:
    """Write them."""
    for path, text in pages():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
