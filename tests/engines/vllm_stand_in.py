"""A stand-in for the package vLLM, for machines that have none."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import ModuleType, SimpleNamespace

import pytest


class SeenError(Exception):
    """Ends the start of an engine where the stand-in has seen enough."""


def stand_in(monkeypatch: pytest.MonkeyPatch, start: Callable[..., None], on_cpu: bool) -> None:
    """Put it where vLLM would be imported from; `start` is its `LLM`."""
    parts = {
        "vllm": {"LLM": start},
        "vllm.distributed": {},
        "vllm.distributed.parallel_state": {"model_parallel_is_initialized": lambda: False},
        "vllm.envs": {"disable_envs_cache": lambda: None},
        "vllm.platforms": {"current_platform": SimpleNamespace(is_cpu=lambda: on_cpu)},
    }
    for name, contents in parts.items():
        module = ModuleType(name)
        vars(module).update(contents)
        monkeypatch.setitem(sys.modules, name, module)
