"""The README's tables are looked for line by line in what a run says."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import two_clones  # noqa: E402

README = (ROOT / "README.md").read_text()


def test_a_line_of_the_readme_that_a_run_has_not_is_named() -> None:
    block = README.partition("```\nAccuracy")[2].partition("Wall time")[0]
    summary = "zppo, scale nano\nAccuracy" + block.replace("  ", " ") + "Wall time per stage\n9 s"
    assert two_clones.other_lines(README, summary) == []
    figure = next(line for line in block.splitlines() if line.startswith("VLM"))
    other = summary.replace(" ".join(figure.split()), "VLM 1.0").replace(
        figure.replace("  ", " "), "VLM 1.0"
    )
    assert two_clones.other_lines(README, other) == [figure]
    assert len(two_clones.other_lines(README, "")) > 10
