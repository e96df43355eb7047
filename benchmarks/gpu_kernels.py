"""Kernels alone on a device: what an update could be made of, and whether they are right.

Each table is a list of rows; a kernel that cannot run leaves its error in the row.
"""

from __future__ import annotations

import inspect
import statistics
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from common import seconds

from zppo_core.models.qwen3_5 import gated_delta, layers, pointwise
from zppo_core.models.qwen3_5.joined_attention import Stretch, joined_attention
from zppo_core.models.qwen3_5.packing import Bounds, bounded_conv
from zppo_core.training import lm_head

Row = dict[str, Any]


def timed(work: Callable[[], Any], device: str, repeats: int = 5) -> float:
    """Median seconds of `work` after one call that warms up."""
    work()
    return statistics.median(seconds(work, device) for _ in range(repeats))


def guarded(row: Row, work: Callable[[], Row]) -> Row:
    """`row` with what `work` measured, or with the error that stopped it."""
    try:
        return row | work()
    except Exception as error:
        text = str(error).strip().splitlines()
        return row | {"error": f"{type(error).__name__}: {text[0][:160] if text else ''}"}
    finally:
        if torch.cuda.is_available():
            torch.cuda.empty_cache()


def off_by(value: torch.Tensor, reference: torch.Tensor) -> float:
    """|value - reference| / |reference|."""
    value, reference = value.detach().double(), reference.detach().double()
    return float((value - reference).norm() / reference.norm())


def ceilings(device: str, dtype: torch.dtype, size: int) -> list[Row]:
    """What the card gives at best: a matrix product and a copy, of which others are shares."""
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    product = timed(lambda: a @ b, device)
    block = torch.empty(size * size * 8, device=device, dtype=torch.uint8)
    target = torch.empty_like(block)
    copy = timed(lambda: target.copy_(block), device)
    return [
        {
            "TFLOP/s": 2 * size**3 / product / 1e12,
            "copy GB/s": 2 * block.numel() / copy / 1e9,
            "size": size,
        }
    ]


# ---- the gated delta rule


def delta_inputs(
    tokens: int, heads: int, dim: int, device: str, dtype: torch.dtype
) -> tuple[torch.Tensor, ...]:
    """q, k, v, g, beta and an initial state as the layers give them, rounded to `dtype`."""
    generator = torch.Generator(device).manual_seed(0)
    draw = lambda *shape: torch.randn(*shape, device=device, generator=generator)  # noqa: E731
    q, k, v = (draw(1, tokens, heads, dim).to(dtype) for _ in range(3))
    g = -F.softplus(draw(1, tokens, heads)) * 0.1
    beta = draw(1, tokens, heads).sigmoid().to(dtype)
    return q, k, v, g, beta, 0.1 * draw(1, heads, dim, dim)


def delta_run(kernel: Callable[..., Any], inputs: Sequence[torch.Tensor]) -> dict[str, Any]:
    """Outputs, final state and the six gradients of a weighted sum of both."""
    leaves = [t.detach().clone().requires_grad_() for t in inputs]
    out, final = kernel(*leaves)
    generator = torch.Generator(out.device).manual_seed(1)
    weigh = lambda t: torch.randn(t.shape, device=t.device, generator=generator)  # noqa: E731
    total = (out.float() * weigh(out)).sum() + (final.float() * weigh(final)).sum()
    gradients = torch.autograd.grad(total, leaves)
    names = ("dq", "dk", "dv", "dg", "dbeta", "dstate")
    return {"out": out, "state": final, **dict(zip(names, gradients, strict=True))}


def delta_table(
    device: str, dtype: torch.dtype, tokens: int, heads: int, dim: int, compiled: bool
) -> list[Row]:
    """Ours in float32, ours in `dtype`, ours compiled, flash-linear-attention: time and error."""
    inputs = delta_inputs(tokens, heads, dim, device, dtype)
    precise = delta_run(gated_delta.gated_delta, [t.float() for t in inputs])
    kernels: list[tuple[str, Callable[..., Any]]] = [("ours", gated_delta.gated_delta)]
    if compiled:
        kernels.append(("ours compiled", torch.compile(gated_delta.gated_delta)))
    flash = gated_delta.flash_kernel() if device == "cuda" else None
    if flash is not None:
        kernels.append(("flash-linear-attention", flash))

    def measure(kernel: Callable[..., Any]) -> Row:
        result = delta_run(kernel, inputs)
        errors = {name: off_by(value, precise[name]) for name, value in result.items()}
        taken = timed(lambda: delta_run(kernel, inputs), device, 3)
        return {"ms": 1000 * taken, **errors}

    rows = []
    for name, kernel in kernels:
        row = {"kernel": name, "tokens": tokens, "heads": heads}
        rows.append(guarded(row, lambda kernel=kernel: measure(kernel)))  # type: ignore[misc]
    return rows


# ---- attention of responses over a shared prompt


def attention_table(
    device: str,
    dtype: torch.dtype,
    prompt: int,
    response: int,
    members: int,
    heads: int,
    key_heads: int,
    dim: int,
    precise: bool,
) -> list[Row]:
    """Forward and backward by mask, by two joined flash calls, by FlexAttention."""
    torch.manual_seed(0)
    total, scale = members * response, dim**-0.5
    draw = lambda n, h: torch.randn(n, h, dim, device=device, dtype=dtype, requires_grad=True)  # noqa: E731
    q, k, v = draw(total, heads), draw(total, key_heads), draw(total, key_heads)
    pk, pv = draw(prompt, key_heads), draw(prompt, key_heads)
    leaves = [q, k, v, pk, pv]
    where = torch.device(device)
    each = Bounds.of([response] * members, where)
    group, one = Bounds.of([total], where), Bounds.of([prompt], where)
    seed = torch.randn(total, heads, dim, device=device, dtype=dtype)

    def by_mask(*t: torch.Tensor) -> torch.Tensor:
        q, k, v, pk, pv = t
        rows = lambda x: x.view(members, response, -1, dim).transpose(1, 2)  # noqa: E731
        whole = lambda p, x: torch.cat(  # noqa: E731
            [p.transpose(0, 1).expand(members, -1, -1, -1), rows(x)], 2
        )
        real = torch.ones(members, response, dtype=torch.bool, device=where)
        past = torch.ones(members, prompt, dtype=torch.bool, device=where)
        mask = layers.attention_mask(real, past)
        keys, values = whole(pk, k), whole(pv, v)
        out = F.scaled_dot_product_attention(
            rows(q),
            *layers.each_head(keys, values, heads // key_heads),
            attn_mask=mask,
            scale=scale,
        )
        return out.transpose(1, 2).reshape(total, heads, dim)

    def joined(*t: torch.Tensor) -> torch.Tensor:
        q, k, v, pk, pv = t
        stretches = [Stretch(each, each, True), Stretch(group, one, False)]
        return joined_attention(q, [(k, v), (pk, pv)], stretches, scale)

    def flex() -> Callable[..., torch.Tensor]:
        from torch.nn.attention.flex_attention import create_block_mask, flex_attention

        def sees(b: Any, h: Any, i: Any, j: Any) -> Any:
            own = j - prompt
            same = (own // response == i // response) & (own <= i)
            return (j < prompt) | (same & (j >= prompt))

        mask = create_block_mask(sees, None, None, total, prompt + total, device=device)
        kernel = torch.compile(flex_attention)

        def run(*t: torch.Tensor) -> torch.Tensor:
            q, k, v, pk, pv = t
            turned = [
                x.transpose(0, 1).unsqueeze(0) for x in (q, torch.cat([pk, k]), torch.cat([pv, v]))
            ]
            out = kernel(*turned, block_mask=mask, scale=scale, enable_gqa=True)
            return out[0].transpose(0, 1)

        return run

    def gradients(kernel: Callable[..., torch.Tensor], inputs: Sequence[torch.Tensor]) -> Any:
        out = kernel(*inputs)
        return [out, *torch.autograd.grad(out, list(inputs), seed.to(out.dtype))]

    reference = None
    if precise:
        reference = gradients(by_mask, [t.detach().float().requires_grad_() for t in leaves])

    def measure(make: Callable[[], Callable[..., torch.Tensor]]) -> Row:
        kernel = make()
        row: Row = {}
        if reference is not None:
            names = ("out", "dq", "dk", "dv", "dk prompt", "dv prompt")
            results = gradients(kernel, leaves)
            row = {n: off_by(x, y) for n, x, y in zip(names, results, reference, strict=True)}
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated() if device == "cuda" else 0
        taken = timed(lambda: gradients(kernel, leaves), device, 3)
        peak = (torch.cuda.max_memory_allocated() - before) / 2**30 if device == "cuda" else None
        return {"ms": 1000 * taken, "extra GiB": peak, **row}

    makes = {"mask": lambda: by_mask, "joined": lambda: joined}
    if device == "cuda":
        makes |= {"FlexAttention": flex}
    shape = {"P": prompt, "R": response, "G": members, "heads": heads}
    return [
        guarded({"kernel": name} | shape, lambda make=make: measure(make))  # type: ignore[misc]
        for name, make in makes.items()
    ]


# ---- the small ones: convolution, norms, gates


def small_table(device: str, dtype: torch.dtype, tokens: int, hidden: int, ffn: int) -> list[Row]:
    """Convolution, norm, gated norm and gate of a layer: ours beside flash-linear-attention's."""
    channels, where = 2 * hidden, torch.device(device)
    draw = lambda *s: torch.randn(*s, device=device, dtype=dtype, requires_grad=True)  # noqa: E731
    bounds = Bounds.of([tokens // 8] * 8, where)
    x, wide = draw(1, tokens, hidden), draw(1, tokens, channels)
    up, gate = draw(1, tokens, ffn), draw(1, tokens, ffn)
    heads, gates = draw(1, tokens, channels // 128, 128), draw(1, tokens, channels // 128, 128)
    conv, plain, narrow = draw(channels, 4), draw(hidden), draw(128)
    a, bias, log = draw(1, tokens, channels // 128), draw(channels // 128), draw(channels // 128)
    turning, angle = draw(1, 16, tokens, 256), torch.randn(1, 1, tokens, 64, device=device)
    cos, sin = angle.cos().to(dtype), angle.sin().to(dtype)

    def ours_conv() -> torch.Tensor:
        window = F.pad(wide, (0, 0, 3, 0)).transpose(1, 2)
        out = F.conv1d(window, conv.unsqueeze(1), None, groups=channels)
        return F.silu(out.transpose(1, 2))

    works: list[tuple[str, str, Callable[[], torch.Tensor], list[torch.Tensor]]] = [
        ("convolution, silu", "grouped conv1d", ours_conv, [wide, conv]),
        (
            "convolution, silu",
            "a sequence each",
            lambda: bounded_conv(wide, conv, bounds, None),
            [wide, conv],
        ),
    ]
    parts: list[tuple[str, Callable[..., torch.Tensor], tuple[Any, ...]]] = [
        ("norm", pointwise.centred_norm, (x, plain, 1e-6)),
        ("gated norm", pointwise.gated_norm, (heads, gates, narrow, 1e-6)),
        ("gate", pointwise.swiglu, (gate, up)),
        ("decay", pointwise.log_decay, (a, bias, log)),
        ("output gate", pointwise.opened, (up, gate)),
        ("rotary", pointwise.rotated, (turning, cos, sin)),
    ]
    for what, part, inputs in parts:
        leaves = [t for t in inputs if isinstance(t, torch.Tensor) and t.requires_grad]
        works.append((what, "ours", partial(inspect.unwrap(part), *inputs), leaves))
        if device == "cuda":
            works.append((what, "ours compiled", partial(part, *inputs), leaves))
    if device == "cuda":
        works += _flash_small(x, wide, up, gate, heads, gates, conv, plain, narrow, bounds)

    def measure(work: Callable[[], torch.Tensor], leaves: list[torch.Tensor]) -> Row:
        seed = torch.randn_like(work())
        return {"ms": 1000 * timed(lambda: torch.autograd.grad(work(), leaves, seed), device)}

    return [
        guarded(
            {"what": what, "kernel": kernel, "tokens": tokens},
            lambda work=work, leaves=leaves: measure(work, leaves),
        )  # type: ignore[misc]
        for what, kernel, work, leaves in works
    ]


def _flash_small(
    x: Any,
    wide: Any,
    up: Any,
    gate: Any,
    heads: Any,
    gates: Any,
    conv: Any,
    plain: Any,
    narrow: Any,
    bounds: Bounds,
) -> list[Any]:
    try:
        from fla.modules.activations import swiglu
        from fla.modules.causal_conv1d import causal_conv1d
        from fla.modules.norm.fused_norm_gate import rms_norm_gated
        from fla.modules.norm.layernorm import rms_norm
    except ImportError:
        return []

    def convolved() -> Any:
        return causal_conv1d(wide, conv, activation="silu", cu_seqlens=bounds.starts.long())[0]

    name = "flash-linear-attention"
    return [
        ("convolution, silu", name, convolved, [wide, conv]),
        (
            "norm",
            name,
            lambda: rms_norm(x, 1.0 + plain.float(), None, eps=1e-6),
            [x, plain],
        ),
        (
            "gated norm",
            name,
            lambda: rms_norm_gated(heads, gates, narrow, None, eps=1e-6),
            [heads, gates, narrow],
        ),
        ("gate", name, lambda: swiglu(gate, up), [gate, up]),
    ]


# ---- the head


def head_table(
    device: str, dtype: torch.dtype, tokens: int, width: int, vocabulary: int, chunks: Sequence[int]
) -> list[Row]:
    """Forward and backward of the head alone by the positions in a chunk."""
    torch.manual_seed(0)
    weight = torch.randn(vocabulary, width, device=device, dtype=dtype, requires_grad=True)
    hidden = torch.randn(tokens, width, device=device, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, vocabulary - 300, (tokens,), device=device)
    forbidden = torch.arange(vocabulary - 300, vocabulary, device=device)
    seed = torch.randn(tokens, device=device)

    def work() -> Any:
        logp = lm_head.log_probs(hidden, weight, None, targets, forbidden)[0]
        return torch.autograd.grad(logp, [hidden, weight], seed)

    def measure(chunk: int) -> Row:
        kept = lm_head.chunk_tokens
        lm_head.chunk_tokens = lambda *_: chunk  # type: ignore[assignment]
        try:
            if device == "cuda":
                torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated() if device == "cuda" else 0
            taken = timed(work, device, 2)
            peak = (torch.cuda.max_memory_allocated() - before) / 2**30 if device == "cuda" else 0.0
        finally:
            lm_head.chunk_tokens = kept
        rate = 6 * tokens * vocabulary * width * 4 / 3 / taken / 1e12  # logits twice: 8 N, not 6 N
        return {"ms": 1000 * taken, "extra GiB": peak, "TFLOP/s": rate}

    row = {"tokens": tokens, "width": width}
    return [
        guarded(row | {"chunk": chunk}, lambda chunk=chunk: measure(chunk))  # type: ignore[misc]
        for chunk in chunks
    ]
