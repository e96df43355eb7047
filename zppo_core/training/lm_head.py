"""The head at response positions only, chunk by chunk: never a tensor of tokens × vocabulary.

Log-probabilities are of the distribution that the sampler draws from: forbidden tokens (vision and
chat control) are taken out before the softmax. The backward pass recomputes each chunk's logits.
"""

from __future__ import annotations

from typing import Any

import torch

from zppo_core.training.gated_delta import working_dtype

CHUNK_ELEMENTS = 1 << 23  # logits alive at once: 32 MiB in float32


def chunk_tokens(vocabulary: int) -> int:
    """Tokens whose logits are alive at once."""
    return max(1, CHUNK_ELEMENTS // vocabulary)


def allowed_logits(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
                   forbidden: torch.Tensor) -> torch.Tensor:  # fmt: skip
    """Logits (tokens, V) in float32 (or float64) with `forbidden` ids at -inf."""
    logits = torch.nn.functional.linear(hidden, weight, bias).to(working_dtype(hidden.dtype))
    return logits.index_fill_(1, forbidden, -torch.inf)


class _LogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
                targets: torch.Tensor,
                forbidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
        size, n = chunk_tokens(weight.shape[0]), hidden.shape[0]
        dtype = working_dtype(hidden.dtype)
        logp = hidden.new_empty(n, dtype=dtype)
        entropy, norm = torch.empty_like(logp), torch.empty_like(logp)
        for start in range(0, n, size):
            part = slice(start, start + size)
            logits = allowed_logits(hidden[part], weight, bias, forbidden)
            norm[part] = logits.logsumexp(1)
            logp[part] = logits.gather(1, targets[part].unsqueeze(1)).squeeze(1) - norm[part]
            p = (logits - norm[part].unsqueeze(1)).exp()
            # 0 * -inf at forbidden ids counts as 0
            logits.masked_fill_(p == 0, 0.0)
            entropy[part] = norm[part] - (p * logits).sum(1)
        ctx.save_for_backward(hidden, weight, bias, targets, forbidden, norm)
        ctx.mark_non_differentiable(entropy)
        return logp, entropy

    @staticmethod
    def backward(ctx: Any, grad_logp: torch.Tensor, _: torch.Tensor) -> tuple[Any, ...]:
        hidden, weight, bias, targets, forbidden, norm = ctx.saved_tensors
        size, n = chunk_tokens(weight.shape[0]), hidden.shape[0]
        grad_hidden = torch.empty_like(hidden)
        # bf16 would lose small chunks' contributions in the running sum
        grad_weight = torch.zeros_like(weight, dtype=working_dtype(weight.dtype))
        grad_bias = None if bias is None else torch.zeros_like(grad_weight[:, 0])
        for start in range(0, n, size):
            part = slice(start, start + size)
            logits = allowed_logits(hidden[part], weight, bias, forbidden)
            grad = (logits - norm[part].unsqueeze(1)).exp_().neg_()
            rows = torch.arange(grad.shape[0], device=grad.device)
            grad[rows, targets[part]] += 1.0
            grad *= grad_logp[part].unsqueeze(1)
            narrow = grad.to(hidden.dtype)
            grad_hidden[part] = narrow @ weight
            grad_weight += narrow.T @ hidden[part]
            if grad_bias is not None:
                grad_bias += grad.sum(0)
        if grad_bias is not None:
            grad_bias = grad_bias.to(weight.dtype)
        return grad_hidden, grad_weight.to(weight.dtype), grad_bias, None, None


def log_probs(hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None,
              targets: torch.Tensor,
              forbidden: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Log-probability and entropy (nats), both (tokens,), of `targets` under the allowed tokens.

    hidden (tokens, H) are the states that predict `targets` (tokens,); weight (V, H). Gradients
    reach hidden, weight and bias through the log-probability; entropy carries none. A target that
    is forbidden has log-probability -inf.
    """
    logp, entropy = _LogProb.apply(hidden, weight, bias, targets, forbidden)
    return logp, entropy
