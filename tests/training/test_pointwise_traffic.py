"""What a packed layer reads and writes outside its products, which a change must not raise."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import bench_pointwise


@pytest.mark.parametrize(("shape", "most"), [("0.8B", 800), ("4B", 1_750)])
def test_a_delta_layer_moves_no_more_than_it_did(shape: str, most: int) -> None:
    row = bench_pointwise.layers(shape)[0]
    assert row["layer"] == "delta"
    moved = row["forward kB"] + row["again kB"] + row["backward kB"]
    assert 0.95 * most < moved < most
