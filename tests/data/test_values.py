"""Cells that lie within one another many times: read as far as they go, or named, on any Python."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zppo_core.data.readers import RowError, numbered
from zppo_core.data.values import DEPTH, answer_text, is_deep, text_list


def nested(levels: int) -> str:
    return "[" * levels + "1" + "]" * levels


@given(st.integers(1, 400), st.booleans())
def test_depth_is_counted_through_lists_and_objects(levels: int, objects: bool) -> None:
    value: object = 1
    for _ in range(levels):
        value = {"a": value, "b": [2]} if objects else [value, 2]
    # the shorter branch is a list, too
    deepest = levels + 1 if objects else levels
    assert is_deep(value) == (deepest > DEPTH)
    assert not is_deep(1)


@pytest.mark.parametrize("levels", [150, 900, 9000])
def test_a_list_written_as_text_is_one_or_stays_a_text(levels: int) -> None:
    """900 is what every parser takes, and twice as many calls as Python allows."""
    text = f'["a", {nested(levels)}]'
    listed = levels < DEPTH
    assert (text_list(text) is not None) == listed
    assert answer_text(text) == (f"a, {'(' * levels}1{')' * levels}" if listed else text)


@pytest.mark.parametrize("levels", [900, 9000])
def test_a_deep_cell_of_json_is_a_row_that_is_named(levels: int, tmp_path: Path) -> None:
    cells = pa.array(["[1]", nested(levels)], pa.json_())
    table = pa.table({"answer": cells})
    with (
        pa.OSFile(str(tmp_path / "t.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as f,
    ):
        f.write_table(table)
    rows = numbered("arrow", tmp_path / "t.arrow", (), 0)
    with pytest.raises(RowError, match="nested too deeply") as fault:
        list(rows)
    assert fault.value.row == 2
