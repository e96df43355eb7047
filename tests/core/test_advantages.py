"""Section 3: four norms, trivial groups, the identity between two of them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from zppo_core.algorithm.advantages import group_advantages

rewards = hnp.arrays(
    np.float64,
    st.tuples(st.integers(1, 12), st.integers(2, 8)),
    elements=st.sampled_from([0.0, 1.0]),
)


def test_by_hand():
    r = [[1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 0, 0]]
    centred = np.array([[0.75, -0.25, -0.25, -0.25], [0, 0, 0, 0], [0.5, 0.5, -0.5, -0.5]])
    np.testing.assert_allclose(group_advantages(r, "none"), centred)
    sigma = np.sqrt((3 / 16 + 1 / 4) / 2)
    np.testing.assert_allclose(group_advantages(r, "nonzero", 1e-12), centred / sigma, rtol=1e-9)
    sigma_all = np.sqrt((3 / 16 + 1 / 4) / 3)
    np.testing.assert_allclose(group_advantages(r, "all", 1e-12), centred / sigma_all, rtol=1e-9)
    grpo = group_advantages(r, "grpo", 1e-12)
    np.testing.assert_allclose(grpo[0], centred[0] / np.sqrt(3 / 16), rtol=1e-9)
    np.testing.assert_array_equal(grpo[1], 0)


@settings(deadline=None, max_examples=60)
@given(rewards)
def test_all_is_nonzero_divided_by_root_of_active_share(r):
    active = (r != r[:, :1]).any(axis=1)
    if not active.any():
        return
    f = active.mean()
    np.testing.assert_allclose(
        group_advantages(r, "all", 1e-12),
        group_advantages(r, "nonzero", 1e-12) / np.sqrt(f),
        rtol=1e-8,
        atol=1e-12,
    )


@settings(deadline=None, max_examples=60)
@given(rewards, st.sampled_from(["nonzero", "all", "none", "grpo"]))
def test_trivial_groups_have_exactly_zero_and_groups_sum_to_zero(r, norm):
    a = group_advantages(r, norm)
    trivial = (r == r[:, :1]).all(axis=1)
    assert (a[trivial] == 0.0).all()
    np.testing.assert_allclose(a.sum(axis=1), 0.0, atol=1e-9)
    assert a.shape == r.shape


def test_default_norm_is_nonzero_with_unit_deviation_over_active_groups():
    r = np.array([[1, 0, 0, 0], [0, 0, 0, 0], [1, 1, 1, 0.0]])
    a = group_advantages(r)
    assert a[[0, 2]].std() == pytest.approx(1.0, abs=1e-5)


def test_wrong_shape_and_norm_are_errors():
    with pytest.raises(ValueError, match="shape"):
        group_advantages([1.0, 0.0])
    with pytest.raises(ValueError, match="norm"):
        group_advantages([[1.0, 0.0]], "other")


@pytest.mark.parametrize("norm", ["grpo", "nonzero", "all"])
def test_eps_is_added_to_the_deviation(norm):
    # deviation 0.5 plus eps 0.5
    assert group_advantages([[1.0, 0.0]], norm=norm, eps=0.5).tolist() == [[0.5, -0.5]]


def test_no_groups_give_no_advantages():
    assert group_advantages(np.zeros((0, 8))).shape == (0, 8)
