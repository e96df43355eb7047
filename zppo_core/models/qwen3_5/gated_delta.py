"""The gated delta rule in chunks, with an initial state that gradients flow through.

S_t = exp(g_t) S_{t-1} + k_t (beta_t (v_t - k_t^T exp(g_t) S_{t-1}))^T,   o_t = S_t^T q_t

Within a chunk the recurrence is a unit-lower-triangular system: one solve gives every correction at
once, and the state moves from chunk to chunk. Positions with beta = 0 and g = 0 leave the state as
it is, so right padding is harmless.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from zppo_core.errors import UserError

CHUNK = 64

# (q, k, v, g, beta, initial state) -> (outputs, final state), shapes as `gated_delta`
Kernel = Callable[..., tuple[torch.Tensor, torch.Tensor]]


def working_dtype(dtype: torch.dtype) -> torch.dtype:
    """float32, or float64 where the model is float64 (gradient checks)."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def l2_normalise(x: torch.Tensor, eps: float = 1e-6) -> torch.Tensor:
    """x over its length along the last axis."""
    return x * torch.rsqrt((x * x).sum(-1, keepdim=True) + eps)


def gated_delta(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Outputs (B, T, H, Dv) and the final state (B, H, Dk, Dv).

    q, k: (B, T, H, Dk), normalised here; v: (B, T, H, Dv); g (log decay, <= 0) and beta: (B, T, H);
    state: (B, H, Dk, Dv). Works in float32, or float64 if q is.
    """
    kept, dtype = q.dtype, working_dtype(q.dtype)
    length = q.shape[1]
    # short sequences in one short chunk: the solve is quadratic in its length
    size = min(CHUNK, max(8, -(-length // 8) * 8))
    pad = -length % size
    q, k, v = (F.pad(x.to(dtype).transpose(1, 2), (0, 0, 0, pad)) for x in (q, k, v))
    g, beta = (F.pad(x.to(dtype).transpose(1, 2), (0, pad)) for x in (g, beta))
    q = l2_normalise(q) * q.shape[-1] ** -0.5
    k = l2_normalise(k)
    n = (length + pad) // size
    q, k, v = (x.unflatten(2, (n, size)) for x in (q, k, v))  # (B, H, chunks, size, D)
    g, beta = (x.unflatten(2, (n, size)) for x in (g, beta))

    decay = g.cumsum(-1)
    causal = torch.ones(size, size, dtype=torch.bool, device=q.device).tril()
    # masked before exp: the upper half would overflow, and its gradient be nan
    between = (decay.unsqueeze(-1) - decay.unsqueeze(-2)).masked_fill(~causal, -torch.inf).exp()
    k_beta = k * beta.unsqueeze(-1)
    keys_T = k.transpose(-1, -2)
    system = (k_beta @ keys_T) * between  # its diagonal is ignored: the solve takes it as 1
    within = (q @ keys_T) * between
    since_start = decay.exp().unsqueeze(-1)
    right = torch.cat([v * beta.unsqueeze(-1), k_beta * since_start], dim=-1)
    solved = torch.linalg.solve_triangular(system, right, upper=False, unitriangular=True)
    values, readers = solved.split([v.shape[-1], k.shape[-1]], dim=-1)
    q_start = q * since_start
    k_end = k * (decay[..., -1:] - decay).exp().unsqueeze(-1)
    chunk_decay = decay[..., -1].exp()[..., None, None]

    state = state.to(dtype)
    outputs = []
    for i in range(n):
        new = values[:, :, i] - readers[:, :, i] @ state
        outputs.append(q_start[:, :, i] @ state + within[:, :, i] @ new)
        state = state * chunk_decay[:, :, i] + k_end[:, :, i].transpose(-1, -2) @ new
    out = torch.cat(outputs, dim=2)[:, :, :length].transpose(1, 2)
    return out.to(kept), state


def gated_delta_step(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    g: torch.Tensor,
    beta: torch.Tensor,
    state: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """`gated_delta` for one token (T = 1), as decoding wants it."""
    kept, dtype = q.dtype, working_dtype(q.dtype)
    q, k, v = (x[:, 0].to(dtype) for x in (q, k, v))
    q = l2_normalise(q) * q.shape[-1] ** -0.5
    k = l2_normalise(k)
    state = state * g[:, 0].to(dtype).exp()[..., None, None]
    seen = (k.unsqueeze(-2) @ state).squeeze(-2)
    delta = (v - seen) * beta[:, 0].to(dtype).unsqueeze(-1)
    state = torch.baddbmm(
        state.flatten(0, 1), k.flatten(0, 1).unsqueeze(-1), delta.flatten(0, 1).unsqueeze(-2)
    ).unflatten(0, state.shape[:2])
    out = (q.unsqueeze(-2) @ state).squeeze(-2)
    return out.unsqueeze(1).to(kept), state


def flash_kernel() -> Kernel | None:
    """flash-linear-attention's chunked kernel behind our signature; None where it is missing."""
    try:
        from fla.ops.gated_delta_rule import chunk_gated_delta_rule
    except ImportError:
        return None

    def kernel(
        q: torch.Tensor,
        k: torch.Tensor,
        v: torch.Tensor,
        g: torch.Tensor,
        beta: torch.Tensor,
        state: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        out, final = chunk_gated_delta_rule(
            q,
            k,
            v,
            g=g.float(),
            beta=beta,
            initial_state=state.float(),
            output_final_state=True,
            use_qk_l2norm_in_kernel=True,
        )
        return out, final

    return kernel


def choose_kernel(device: torch.device) -> tuple[Kernel, str]:
    """The kernel for `device` and its name: flash-linear-attention's on CUDA, else ours.

    UserError where that library would refuse its own backward pass, once rollouts were paid for.
    """
    if device.type == "cuda":
        flash = flash_kernel()
        if flash is not None:
            refuse_wrong_triton()
            return flash, "flash-linear-attention"
    return gated_delta, "torch"


def refuse_wrong_triton() -> None:
    """Raise UserError on a Hopper GPU with a Triton that miscompiles the gated backward pass.

    The condition is flash-linear-attention's (its issue 640), asked of its own flags.
    """
    from fla.ops.common import chunk_o

    if chunk_o.IS_NVIDIA_HOPPER and chunk_o.TRITON_ABOVE_3_4_0 and not chunk_o.TRITON_ABOVE_3_7_1:
        raise UserError(
            "flash-linear-attention gives no gradients on Hopper GPUs with Triton 3.4 to 3.7.0; "
            "pip install -e '.[gpu]' brings 3.7.1, or train by --set trainer.mode=shared_prefix "
            "without flash-linear-attention"
        )
