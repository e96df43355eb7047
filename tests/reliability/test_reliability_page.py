"""The page of promises names tests that are there."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def test_every_promise_names_a_test_that_is_there() -> None:
    promises = PAGE.read_text().split("\n- ")[1:]
    assert len(promises) >= 35
    for promise in promises:
        names = re.findall(r"`(tests/[\w/]+\.py)::(test_\w+)`", promise)
        assert names, f"no test in: {promise}"
        for file, function in names:
            tree = ast.parse((ROOT / file).read_text())
            there = {n.name for n in tree.body if isinstance(n, ast.FunctionDef)}
            assert function in there, f"{file} has no {function}"
