"""Triton's search for the fastest configuration, in a tenth of its time, with its choices kept.

Triton compiles the configurations of a kernel one after another and times each for 100 ms. Here all
of them are compiled at once on the machine's cores and timed for 20 ms. The choices go to a JSON
file; a run that is given the file searches only for what is not in it.
"""

from __future__ import annotations

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

REPETITIONS_MS, WARMUP_MS = 20, 5


class Search:
    """Choices of configurations by kernel and key, and what it took to make them."""

    def __init__(self, known: Path | None = None) -> None:
        self.choices: dict[str, Any] = json.loads(known.read_text()) if known else {}
        self.seconds, self.searched = 0.0, 0
        self.failed: list[str] = []

    def install(self) -> None:
        """Have every autotuned kernel ask these choices first, and search in this way."""
        from triton.runtime.autotuner import Autotuner

        plain = Autotuner.run
        search = self

        def run(tuner: Any, *args: Any, **kwargs: Any) -> Any:
            return search.run(tuner, plain, args, kwargs)

        Autotuner.run = run

    def run(self, tuner: Any, plain: Any, args: Any, kwargs: Any) -> Any:
        """Run the kernel; before its first run with a key, take or find its configuration."""
        if len(tuner.configs) < 2:
            return plain(tuner, *args, **kwargs)
        key = tuning_key(tuner, args, kwargs)
        if key in tuner.cache:
            return plain(tuner, *args, **kwargs)
        name = f"{tuner.base_fn.__name__} {key}"
        chosen = [c for c in tuner.configs if str(c) == self.choices.get(name)]
        if chosen:
            tuner.cache[key] = chosen[0]
            return plain(tuner, *args, **kwargs)
        before = time.perf_counter()
        tuner._do_bench = short_bench
        tuner.__dict__.pop("do_bench", None)  # a cached property
        try:
            compile_all(tuner, args, kwargs)
        except Exception as error:  # the search itself compiles what is missing, and reports it
            self.failed.append(f"{tuner.base_fn.__name__}: {type(error).__name__}: {error}"[:200])
        result = plain(tuner, *args, **kwargs)
        self.seconds += time.perf_counter() - before
        self.searched += 1
        self.choices[name] = str(tuner.cache[key])
        return result

    def report(self) -> str:
        """What the search took, in one line."""
        failed = "".join(f"; not compiled at once: {f}" for f in self.failed)
        return f"tuned {self.searched} kernels in {self.seconds:.0f} s{failed}"

    def write(self, path: Path) -> None:
        """Keep the choices for a later run with the same card and versions."""
        path.write_text(json.dumps(self.choices, indent=0, sort_keys=True) + "\n")


def tuning_key(tuner: Any, args: Any, kwargs: Any) -> tuple[Any, ...]:
    """The key by which Triton's autotuner tells one search from another."""
    named = {**dict(zip(tuner.arg_names, args, strict=False)), **kwargs}
    known = {k: v for k, v in named.items() if k in tuner.arg_names}
    dtypes = [str(v.dtype) for v in known.values() if hasattr(v, "dtype")]
    return tuple([known[k] for k in tuner.keys if k in known] + dtypes)


def compile_all(tuner: Any, args: Any, kwargs: Any) -> None:
    """Compile every configuration at once; one that cannot be compiled fails in the search."""
    from triton.runtime._async_compile import AsyncCompileMode

    named = {k: v for k, v in kwargs.items() if k != "warmup"}
    tuner.nargs = dict(zip(tuner.arg_names, args, strict=False))
    configs = tuner.prune_configs(kwargs)
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        AsyncCompileMode(pool, ignore_errors=True),
    ):
        for config in configs:
            tuner.fn.warmup(*args, **named, **config.all_kwargs())
    tuner.nargs = None


def short_bench(call: Any, quantiles: Any) -> Any:
    """Time one configuration for `REPETITIONS_MS`."""
    from triton.testing import do_bench

    return do_bench(call, warmup=WARMUP_MS, rep=REPETITIONS_MS, quantiles=quantiles)
