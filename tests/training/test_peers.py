"""What stands in for the GPU kernels of others in the benchmark computes what they would."""

import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from zppo_core.errors import UserError
from zppo_core.models.qwen3_5.gated_delta import gated_delta

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
import peers


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape))).double()


def test_sequences_end_to_end_go_on_from_their_states_as_each_alone() -> None:
    lengths, heads, width = [3, 70, 1], 2, 4
    q, k, v = (random(1, sum(lengths), heads, width + i) for i in (0, 0, 1))
    g, beta = -random(1, sum(lengths), heads).abs(), random(1, sum(lengths), heads).sigmoid()
    states = random(len(lengths), heads, width, width + 1)
    bounds = torch.tensor([0, *lengths]).cumsum(0)
    out, finals = peers.bounded_delta(
        q, k, v, g=g, beta=beta, initial_state=states, cu_seqlens=bounds
    )
    parts = zip(*(t.split(lengths, 1) for t in (q, k, v, g, beta)), states.split(1), strict=True)
    alone = [gated_delta(*part) for part in parts]
    assert torch.allclose(out, torch.cat([o for o, _ in alone], 1), atol=1e-12)
    assert torch.allclose(finals, torch.cat([final for _, final in alone]), atol=1e-12)


def test_a_segment_of_a_tree_looks_at_its_path_and_at_itself_causally() -> None:
    # a head of 4 tokens and two branches of 3 and 2, the row of both samples
    q, k, v = random(1, 4, 9, 8), random(1, 2, 9, 8), random(1, 2, 9, 8)
    branches = [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3, 7, 8]]
    out, _ = peers.attend(
        None,
        q,
        k,
        v,
        None,
        tree_kv_index=torch.tensor([*range(4), *branches[0], *branches[1]]),
        tree_cu_seqlens_q=torch.tensor([0, 4, 7, 9]),
        tree_cu_seqlens_k=torch.tensor([0, 4, 11, 17]),
    )
    for path in branches:
        alone = F.scaled_dot_product_attention(
            q[:, :, path], k[:, :, path], v[:, :, path], is_causal=True, enable_gqa=True
        )
        assert torch.allclose(out[:, path], alone.transpose(1, 2), atol=1e-12)


def test_a_missing_package_is_one_line_with_the_extra(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "tree_recurrence", None)
    with pytest.raises(UserError, match=r"tree_recurrence is missing; pip install -e '.\[bench\]'"):
        peers.require()
