"""CONTRIBUTING.md tells how many files each kind of extension has, and where its example is."""

import re

import pytest
from short_run import ROOT

ROWS = re.findall(
    r"^\| ([a-z ]+) \| (\d)[^|]* \| `([^`]+)`[^|]* \| `([^`]+)` \|$",
    (ROOT / "CONTRIBUTING.md").read_text(),
    re.MULTILINE,
)


def test_every_kind_of_extension_has_a_row() -> None:
    kinds = ["method", "reformulation", "loss", "benchmark", "engine", "student family"]
    assert [kind for kind, *_ in ROWS] == kinds


@pytest.mark.parametrize(("kind", "count", "example", "test"), ROWS)
def test_the_example_of_a_kind_has_so_many_files(kind, count, example, test) -> None:
    place = ROOT / example
    assert (ROOT / test).is_file()
    if place.is_dir():
        assert int(count) == 1  # folder
        assert example in (ROOT / test).read_text() or place.name in (ROOT / test).read_text()
        return
    assert len(list(place.parent.glob(f"{place.stem}.*"))) == int(count)
    assert place.name in (ROOT / test).read_text()
