"""The head at response positions only, chunk by chunk: never a tensor of tokens × vocabulary.

Log-probabilities are of the distribution that the sampler draws from: forbidden tokens (vision and
chat control) are taken out before the softmax. The backward pass recomputes each chunk's logits.
"""

from __future__ import annotations

from typing import Any

import torch

from zppo_core.models.fused import fused
from zppo_core.models.qwen3_5.gated_delta import working_dtype

CHUNK_ELEMENTS = 1 << 23  # logits alive at once on a CPU: 32 MiB in float32
# positions alive at once on a GPU, where each chunk reads the whole weight: at 33, as many as a
# CPU takes of Qwen's vocabulary, the head of 4B ran at 35 TFLOP/s, at 2,048 at 273 (H100)
GPU_TOKENS = 2048


def chunk_tokens(vocabulary: int, device: torch.device | None = None) -> int:
    """Tokens whose logits are alive at once."""
    if device is not None and device.type == "cuda":
        return GPU_TOKENS
    return max(1, CHUNK_ELEMENTS // vocabulary)


def allowed_logits(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, forbidden: torch.Tensor
) -> torch.Tensor:
    """Logits (tokens, V) in float32 (or float64) with `forbidden` ids at -inf."""
    logits = torch.nn.functional.linear(hidden, weight, bias).to(working_dtype(hidden.dtype))
    return logits.index_fill_(1, forbidden, -torch.inf)


@fused
def narrow_sums(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    forbidden: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Log-probability of `targets`, entropy and log-sum-exp (tokens,) in float32.

    For half precision: logits become float32 in the kernels that read them. A GPU spends more time
    on reading and writing logits than on the products (`benchmarks/results/gpu`).
    """
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logits.index_fill_(1, forbidden, -torch.inf)
    top = logits.amax(1, keepdim=True).float()
    above = logits - top  # float32 by promotion
    del logits  # memory for the exponentials
    chosen = above.gather(1, targets.unsqueeze(1)).squeeze(1)
    weights = above.exp()
    total = weights.sum(1)
    above.index_fill_(1, forbidden, 0.0)  # 0 * -inf counts as 0
    mean = weights.mul_(above).sum(1) / total
    norm = total.log()
    return chosen - norm, norm - mean, norm + top.squeeze(1)


@fused
def narrow_pull(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    forbidden: torch.Tensor,
    norm: torch.Tensor,
    grad: torch.Tensor,
) -> torch.Tensor:
    """Gradient of half-precision logits (tokens, V), from that of log-probabilities (tokens,)."""
    logits = torch.nn.functional.linear(hidden, weight, bias)
    logits.index_fill_(1, forbidden, -torch.inf)
    p = (logits - norm.unsqueeze(1)).exp_()
    # its memory is free for the product, which is rounded as it is written
    pull = torch.mul(p, grad.neg().unsqueeze(1), out=logits)
    rows = torch.arange(len(targets), device=targets.device)
    pull[rows, targets] = (grad - grad * p[rows, targets]).to(pull.dtype)
    return pull


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        bias: torch.Tensor | None,
        targets: torch.Tensor,
        forbidden: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        size, n = chunk_tokens(weight.shape[0], weight.device), hidden.shape[0]
        dtype = working_dtype(hidden.dtype)
        logp = hidden.new_empty(n, dtype=dtype)
        entropy, norm = torch.empty_like(logp), torch.empty_like(logp)
        narrow = dtype != hidden.dtype
        for start in range(0, n, size):
            part = slice(start, start + size)
            if narrow:
                logp[part], entropy[part], norm[part] = narrow_sums(
                    hidden[part], weight, bias, targets[part], forbidden
                )
                continue
            logits = allowed_logits(hidden[part], weight, bias, forbidden)
            norm[part] = logits.logsumexp(1)
            logp[part] = logits.gather(1, targets[part].unsqueeze(1)).squeeze(1) - norm[part]
            p = (logits - norm[part].unsqueeze(1)).exp()
            # 0 * -inf at forbidden ids counts as 0
            logits.masked_fill_(p == 0, 0.0)
            entropy[part] = norm[part] - p.mul_(logits).sum(1)
        ctx.save_for_backward(hidden, weight, bias, targets, forbidden, norm)
        ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    def backward(ctx: Any, grad_logp: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        hidden, weight, bias, targets, forbidden, norm = ctx.saved_tensors
        size, n = chunk_tokens(weight.shape[0], weight.device), hidden.shape[0]
        grad_hidden = torch.empty_like(hidden)
        # bf16 would lose small chunks' contributions in the running sum
        # with low-rank adapters the head does not learn: half of the products are spared
        learns = ctx.needs_input_grad[1]
        grad_weight = (
            torch.zeros_like(weight, dtype=working_dtype(weight.dtype)) if learns else None
        )
        grad_bias = None
        if bias is not None:
            grad_bias = torch.zeros_like(bias, dtype=working_dtype(weight.dtype))
        narrow = working_dtype(hidden.dtype) != hidden.dtype
        for start in range(0, n, size):
            part = slice(start, start + size)
            if narrow:
                grad = narrow_pull(
                    hidden[part],
                    weight,
                    bias,
                    targets[part],
                    forbidden,
                    norm[part],
                    grad_logp[part],
                )
            else:
                logits = allowed_logits(hidden[part], weight, bias, forbidden)
                grad = logits.sub_(norm[part].unsqueeze(1)).exp_().neg_()
                rows = torch.arange(grad.shape[0], device=grad.device)
                grad[rows, targets[part]] += 1.0
                grad *= grad_logp[part].unsqueeze(1)
            grad_hidden[part] = grad @ weight
            if grad_weight is not None:
                grad_weight += grad.T @ hidden[part]
            if grad_bias is not None:
                grad_bias += grad.sum(0, dtype=grad_bias.dtype)
        if grad_weight is not None:
            grad_weight = grad_weight.to(weight.dtype)
        if grad_bias is not None:
            grad_bias = grad_bias.to(weight.dtype)
        return grad_hidden, grad_weight, grad_bias, None, None


def log_probs(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    bias: torch.Tensor | None,
    targets: torch.Tensor,
    forbidden: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Log-probability and entropy (nats), both (tokens,), of `targets` under the allowed tokens.

    hidden (tokens, H) are the states that predict `targets` (tokens,); weight (V, H). Gradients
    reach hidden, weight and bias through the log-probability; entropy carries none. A target that
    is forbidden has log-probability -inf.
    """
    logp, entropy = _LogProb.apply(hidden, weight, bias, targets, forbidden)
    return logp, entropy


class _JensenShannon(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        other_hidden: torch.Tensor,
        other_weight: torch.Tensor,
        forbidden: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        n = hidden.shape[0]
        divergence = hidden.new_empty(n, dtype=working_dtype(hidden.dtype))
        entropy = torch.empty_like(divergence)
        for part in _parts(n, weight):
            p, q, log_m = _pair(hidden[part], weight, other_hidden[part], other_weight, forbidden)
            divergence[part] = 0.5 * (
                (p * (_log(p) - log_m)).sum(1) + (q * (_log(q) - log_m)).sum(1)
            )
            entropy[part] = -(p * _log(p)).sum(1)
        ctx.save_for_backward(hidden, weight, other_hidden, other_weight, forbidden)
        ctx.mark_non_differentiable(entropy)
        return divergence, entropy

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        hidden, weight, other_hidden, other_weight, forbidden = ctx.saved_tensors
        grad_hidden = torch.empty_like(hidden)
        grad_weight = torch.zeros_like(weight, dtype=working_dtype(weight.dtype))
        for part in _parts(hidden.shape[0], weight):
            p, _, log_m = _pair(hidden[part], weight, other_hidden[part], other_weight, forbidden)
            to_mean = _log(p) - log_m
            # d JSD / d logits = p (log(p/m) - E_p log(p/m)) / 2
            pull = 0.5 * p * (to_mean - (p * to_mean).sum(1, keepdim=True))
            pull *= grad[part].unsqueeze(1)
            narrow = pull.to(hidden.dtype)
            grad_hidden[part] = narrow @ weight
            grad_weight += narrow.T @ hidden[part]
        return grad_hidden, grad_weight.to(weight.dtype), None, None, None


def _parts(n: int, weight: torch.Tensor) -> list[slice]:
    size = max(
        1, chunk_tokens(weight.shape[0], weight.device) // 4
    )  # two distributions and their mean at once
    return [slice(start, start + size) for start in range(0, n, size)]


def _pair(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    other_hidden: torch.Tensor,
    other_weight: torch.Tensor,
    forbidden: torch.Tensor,
) -> tuple[torch.Tensor, ...]:
    """p, q and the logarithm of their mean m."""
    p = allowed_logits(hidden, weight, None, forbidden).softmax(1)
    q = allowed_logits(other_hidden, other_weight, None, forbidden).softmax(1).to(p.dtype)
    return p, q, _log(0.5 * (p + q))


def _log(p: torch.Tensor) -> torch.Tensor:
    """log p, finite where p is 0: there it only meets a factor 0."""
    return p.clamp_min(torch.finfo(p.dtype).tiny).log()


def jensen_shannon(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    teacher_hidden: torch.Tensor,
    teacher_weight: torch.Tensor,
    forbidden: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Jensen-Shannon divergence to the teacher and the student's entropy (nats), both (tokens,).

    Over the whole vocabulary without `forbidden`, chunk by chunk for both models; between 0 and
    ln 2. Hidden states (tokens, H) may differ in width, the vocabulary may not. Gradients reach
    `hidden` and `weight` through the divergence.
    """
    if weight.shape[0] != teacher_weight.shape[0]:
        raise ValueError(
            f"student and teacher have {weight.shape[0]} and {teacher_weight.shape[0]} tokens"
        )
    divergence, entropy = _JensenShannon.apply(
        hidden, weight, teacher_hidden, teacher_weight, forbidden
    )
    return divergence, entropy
