"""Pages that are written from the code are what the code writes today."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from zppo_core.config import Config
from zppo_core.config.methods import METHODS

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def writer() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pages", ROOT / "tools" / "pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_are_those_that_the_code_writes(writer: ModuleType) -> None:
    written = dict(writer.pages())
    for path, text in written.items():
        assert path.read_text(encoding="utf-8") == text, f"python tools/pages.py: {path}"
    assert {*(ROOT / "docs" / "methods").glob("*.md")} == {
        p for p in written if "methods" in str(p)
    }


def test_every_field_is_in_the_reference(writer: ModuleType) -> None:
    page = writer.configuration_page()
    for section, content in Config().to_dict().items():
        for field in content if isinstance(content, dict) else ():
            assert f"**`{section}.{field}`**" in page


def test_every_method_of_the_paper_has_a_page(writer: ModuleType) -> None:
    assert writer.PAPERS[-1] == "zppo_teachers"
    assert set(writer.PAPERS) <= set(METHODS)


def test_a_page_has_the_figures_of_the_evidence_and_no_other(writer: ModuleType) -> None:
    evidence = (ROOT / "docs" / "evidence.md").read_text(encoding="utf-8")
    assert len(writer.figures()) == 9  # eight methods and the base
    for name in writer.PAPERS:
        page = writer.method_page(METHODS[name])
        numbers = re.findall(r"\d+\.\d ± \d+\.\d", page)
        assert len(numbers) == (8 if name in writer.figures() else 0)
        assert all(number in evidence for number in numbers)


def test_the_readmes_figures_of_the_zone_are_those_of_its_page() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    part = readme.split("## What was measured of the method")[1].split("\n## ")[0]
    page = (ROOT / "docs" / "zone.md").read_text(encoding="utf-8")
    rows = re.findall(r"\| (`\w+`) +\| +(\S+ ± \S+) \| +(\S+ ± \S+) \|", part)
    assert len(rows) == 5
    for method, area, graduates in rows:
        of_page = rf"\| {method} +\| +12 \| +{area} \|[^|]+\| +{graduates} \|"
        assert re.search(of_page, page), method
    claims = re.findall(r"([\d.]+)[^(.]+\((?:95 % interval )?([\d.]+) to ([\d.]+)\)", part)
    assert len(claims) == 2
    for gain, low, high in claims:
        assert re.search(rf"\+{gain} \[\+{low}, \+{high}\].* holds \|", page), gain


def test_what_a_comment_says_goes_to_its_own_field(writer: ModuleType) -> None:
    class Section:
        # above one
        one: int = 1  # behind one
        two: int = 2
        # above three
        three: int = 3

    said = writer.comments(Section)
    assert said == {"one": "above one behind one", "two": "", "three": "above three"}
