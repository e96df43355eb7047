"""Weights in Ray's store: whoever reads them has them as they were, and no copy."""

import pytest
import ranks
import ray
import torch

from zppo_core.cluster.engines import StagedWeights, plain


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_weights_are_read_bit_for_bit_in_their_types_where_they_lie(dtype: torch.dtype) -> None:
    ranks.start()
    given = {"a": torch.randn(300, 500).to(dtype), "b": torch.tensor(7.0).to(dtype)}
    given |= {"none": torch.zeros(0, 4, dtype=dtype), "across": torch.randn(30, 50).to(dtype).T}
    staged = StagedWeights([ray.put(plain(given))], 0)
    assert list(staged) == list(given)
    for name, tensor in given.items():
        assert staged[name].dtype == dtype
        assert torch.equal(staged[name], tensor)
    once, again = staged["a"], StagedWeights(staged.refs, 0)["a"]
    assert once.data_ptr() == again.data_ptr()
    learning = {"a": torch.nn.Parameter(torch.ones(300, 500))}
    (read,) = StagedWeights([ray.put(plain(learning))], 0).values()
    assert torch.equal(read, torch.ones(300, 500))
    assert not read.requires_grad
