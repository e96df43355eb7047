"""Streams are named: another seed, name or part is another stream, and the same one is the same."""

import subprocess
import sys

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from zppo_core.streams import derive_seed, stream

parts = st.lists(st.one_of(st.integers(0, 99), st.sampled_from(["a", "ab", "b", "0", "1"])))
arguments = st.tuples(st.integers(0, 5), st.sampled_from(["x", "x1", "y"]), parts)


@given(arguments, arguments)
def test_seed_name_and_every_part_tell_streams_apart(one, two) -> None:
    keys = [(seed, name, [str(p) for p in own]) for seed, name, own in (one, two)]
    seeds = [derive_seed(seed, name, *own) for seed, name, own in (one, two)]
    assert (seeds[0] == seeds[1]) is (keys[0] == keys[1])
    assert all(0 <= s < 2**63 for s in seeds)


def test_parts_do_not_run_into_one_another() -> None:
    assert derive_seed(1, "a", "bc") != derive_seed(1, "ab", "c") != derive_seed(1, "a", "b", "c")
    assert derive_seed(1, "a", 12, 3) != derive_seed(1, "a", 1, 23)


def test_a_stream_is_the_same_in_every_process() -> None:
    code = "from zppo_core.streams import derive_seed; print(derive_seed(3, 'name', 4, 'part'))"
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
        ).stdout
        for seed in ("1", "2")
    ]
    assert said[0] == said[1] == f"{derive_seed(3, 'name', 4, 'part')}\n"


def test_seeds_use_all_their_bits() -> None:
    seeds = np.array([derive_seed(0, "bits", i) for i in range(400)], dtype=np.int64)
    shares = [((seeds >> bit) & 1).mean() for bit in range(63)]
    assert all(0.35 < share < 0.65 for share in shares)


def test_drawing_from_one_stream_moves_no_other() -> None:
    before = stream(0, "b", 1).random(5)
    stream(0, "a", 1).random(100)
    np.testing.assert_array_equal(stream(0, "b", 1).random(5), before)
    assert not np.array_equal(stream(0, "b", 2).random(5), before)


def test_a_stream_is_what_it_was_in_every_version() -> None:
    """Caches hold draws by their seeds, and a run may be resumed by a later version."""
    assert derive_seed(3, "name", 4, "part") == 5408132105076110779
    assert stream(3, "name", 4).integers(0, 1000, 4).tolist() == [203, 834, 388, 441]
