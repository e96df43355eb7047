"""Whatever a model is called, its scores have a safe place in the journal."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.harness import Part
from eval.scores import part_unit, whole_unit
from zppo_core.store.base import check_key

NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


@given(NAMES)
def test_any_name_is_one_part_of_a_safe_key_and_comes_back(name: str) -> None:
    for unit in (whole_unit(name, "MMLU"), part_unit(name, "MMLU", Part(1, 3))):
        assert check_key(unit) == unit
        assert unquote(unit.split("/")[1]) == name
    assert len(part_unit(name, "MMLU", Part(1, 3)).split("/")) == 4


@pytest.mark.parametrize("name", ["http://host:8000/v1", "Qwen/Qwen3.5-4B", "../models/a", ".."])
def test_addresses_and_paths_are_names(name: str) -> None:
    assert whole_unit(name, "MMLU").count("/") == 2


def test_a_plain_name_is_its_own_part() -> None:
    assert whole_unit("student", "AIME25") == "eval/student/AIME25"
