"""Where an update's time goes on a device: one part at a time, backward passes included.

Events are put into the device's queue where a part begins and ends, so that nothing waits. A part's
backward pass is bracketed by two operations that do nothing but say so; what is computed again for
it counts to the part that is computed.
"""

from __future__ import annotations

import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from zppo_core.models.qwen3_5 import hybrid
from zppo_core.training.fp32_masters import Masters
from zppo_core.training.updater import Trainer


class Parts:
    """A timeline of which part the device works for."""

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.stack: list[str] = []
        self.timeline: list[tuple[Any, str]] = []

    def _mark(self) -> None:
        moment: Any = time.perf_counter()
        if self.cuda:
            moment = torch.cuda.Event(enable_timing=True)
            moment.record()
        self.timeline.append((moment, self.stack[-1] if self.stack else "rest"))

    def enter(self, part: str) -> None:
        self.stack.append(part)
        self._mark()

    def leave(self) -> None:
        if self.stack:
            self.stack.pop()
        self._mark()

    def reset(self) -> None:
        """A backward pass is over: parts whose inputs take no gradient have not said so."""
        self.stack.clear()
        self._mark()

    def seconds(self) -> dict[str, float]:
        """Time by part, in seconds."""
        if self.cuda:
            torch.cuda.synchronize()
        total: defaultdict[str, float] = defaultdict(float)
        for (start, part), (end, _) in zip(self.timeline, self.timeline[1:], strict=False):
            total[part] += start.elapsed_time(end) / 1000 if self.cuda else end - start
        return dict(total)

    def timed(self, part: str, function: Callable[..., Any], argument: int) -> Callable[..., Any]:
        """`function` as `part`; its input `argument` and first output lead to its backward pass."""

        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            given = list(arguments)
            track = torch.is_grad_enabled() and given[argument].requires_grad
            if track:
                given[argument] = _Say.apply(given[argument], self.leave)
            self.enter(part)
            try:
                result = function(*given, **named)
            finally:
                self.leave()  # also when a recomputation stops half way
            first = result[0] if isinstance(result, tuple) else result
            if first is None or not (torch.is_grad_enabled() and first.requires_grad):
                return result
            first = _Say.apply(first, functools.partial(self.enter, part))
            return (first, *result[1:]) if isinstance(result, tuple) else first

        return wrapped


class _Say(torch.autograd.Function):
    """Nothing, but `say` is called when the backward pass comes by."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, say: Callable[[], None]) -> torch.Tensor:
        ctx.say = say
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, grad: torch.Tensor) -> tuple[torch.Tensor, None]:  # type: ignore[override]
        ctx.say()
        return grad, None


# (part, where the function stands, its name, which argument the gradient leaves by)
PARTS = (
    ("vision", hybrid.HybridText, "_features", 1),
    ("delta layers", hybrid.HybridText, "_delta", 2),
    ("delta layers", hybrid, "delta_packed", 1),
    ("attention", hybrid, "attend", 1),
    ("attention", hybrid, "attend_packed", 1),
    ("feed-forward", hybrid, "feed_forward", 1),
    ("head", Trainer, "_head", 1),
    ("optimizer", Trainer, "_step", 0),
)


@contextmanager
def watched(device: str) -> Iterator[Parts]:
    """Within, what `PARTS` names is timed; what a version of the trainer lacks is left out."""
    parts = Parts(device)
    before = []
    for part, owner, name, argument in PARTS:
        function = getattr(owner, name, None)
        if function is None:
            continue
        before.append((owner, name, function))
        if part == "optimizer":
            setattr(owner, name, _plain(parts, part, function))
        else:
            setattr(owner, name, parts.timed(part, function, argument))
    before.append((Masters, "collect", Masters.collect))
    Masters.collect = _after_reset(parts, Masters.collect)  # type: ignore[method-assign]
    try:
        parts.reset()
        yield parts
        parts.reset()
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def _after_reset(parts: Parts, function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapped(*arguments: Any) -> Any:
        parts.reset()
        return function(*arguments)

    return wrapped


def _plain(parts: Parts, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` as `part` without a backward pass; the pass before it is over."""

    @functools.wraps(function)
    def wrapped(*arguments: Any) -> Any:
        parts.reset()
        parts.enter(part)
        try:
            return function(*arguments)
        finally:
            parts.leave()

    return wrapped
