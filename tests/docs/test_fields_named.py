"""What pages say of settings is about settings that there are."""

from __future__ import annotations

import re
from dataclasses import fields, is_dataclass
from pathlib import Path

import pytest

from zppo_core.config import Config

ROOT = Path(__file__).parents[2]
# decisions and the changelog also tell of what is gone
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "examples/README.md")),
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.parent.name != "decisions"),
]
NAMED = re.compile(r"`(?:--set )?([a-z_]+)\.([a-z_]+)(?:=[^`]*)?`")
SECTIONS = {
    section.name: {field.name for field in fields(kind)}
    for section in fields(Config)
    if is_dataclass(kind := section.default_factory)
}


def test_the_sections_are_those_of_the_configuration() -> None:
    assert {"teacher", "rollout", "trainer", "compute"} <= SECTIONS.keys()
    assert "new_prompts" in SECTIONS["rollout"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = {n for n in NAMED.findall(page.read_text("utf-8")) if n[0] in SECTIONS}
    assert {name for section, name in named if name not in SECTIONS[section]} == set()
