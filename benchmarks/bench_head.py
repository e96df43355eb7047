"""Memory and time of the head: chunked with its own backward, against full logits.

    python benchmarks/bench_head.py [--device cuda] [--tokens 1024,4096,16384]

Vocabulary 248,320 as Qwen3.5. Each cell is a fresh process: forward and backward of the summed
log-probability. Full logits are left out where two tensors of tokens x vocabulary would pass
--most GiB.
"""

from __future__ import annotations

import argparse
import json

import torch
from common import in_fresh_process, peak_mib, record, seconds

from zppo_core.training.lm_head import log_probs

VOCABULARY = 248_320


def one(mode: str, tokens: int, width: int, device: str) -> dict[str, float]:
    torch.manual_seed(0)
    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    weight = torch.randn(VOCABULARY, width, device=device, dtype=dtype, requires_grad=True)
    hidden = torch.randn(tokens, width, device=device, dtype=dtype, requires_grad=True)
    targets = torch.randint(0, VOCABULARY, (tokens,), device=device)
    forbidden = torch.arange(VOCABULARY - 300, VOCABULARY, device=device)
    weight.grad, hidden.grad = torch.zeros_like(weight), torch.zeros_like(hidden)
    before = torch.cuda.memory_allocated() / 2**20 if device == "cuda" else peak_mib()

    def work() -> None:
        if mode == "chunked":
            logp = log_probs(hidden, weight, None, targets, forbidden)[0]
        else:
            logits = (hidden @ weight.T).float().index_fill_(1, forbidden, -torch.inf)
            logp = logits.log_softmax(-1).gather(1, targets.unsqueeze(1)).squeeze(1)
        logp.sum().backward()

    taken = seconds(work, device)
    after = torch.cuda.max_memory_allocated() / 2**20 if device == "cuda" else peak_mib()
    return {"seconds": taken, "extra": after - before}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", default="1024,4096,16384")
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--most", type=float, default=12.0)
    parser.add_argument("--only", default="", help=argparse.SUPPRESS)
    a = parser.parse_args()
    if a.only:
        mode, tokens = a.only.split(",")
        print(json.dumps(one(mode, int(tokens), a.width, a.device)))
        return
    rows = []
    for tokens in map(int, a.tokens.split(",")):
        for mode in ("full", "chunked"):
            row = {"tokens": tokens, "head": mode, "seconds": "-", "extra MiB": "-"}
            if mode == "chunked" or 2 * tokens * VOCABULARY * 4 < a.most * 2**30:
                done = in_fresh_process(
                    __file__,
                    "--device",
                    a.device,
                    "--width",
                    str(a.width),
                    "--only",
                    f"{mode},{tokens}",
                )
                row |= {"seconds": done["seconds"], "extra MiB": done["extra"]}
            rows.append(row)
    record("bench_head", vars(a), rows)


if __name__ == "__main__":
    main()
