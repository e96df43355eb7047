"""Checks before anything is spent: those of a run, and that suite and settings are known."""

from __future__ import annotations

from eval.settings import parse
from eval.suite import benchmarks
from zppo_core.config import Config
from zppo_core.run import preflight


def check(config: Config) -> None:
    """All checks of a run that cost nothing: `zppo_core.run.preflight.check`, and the suite."""
    preflight.check(config)
    check_suite(config)


def check_suite(config: Config) -> None:
    """The suite, or every benchmark of the list, must be known, and so must each setting."""
    settings = parse(config.evaluation.settings)
    for benchmark in benchmarks(config.evaluation.suite):
        settings.total_of(benchmark.name, benchmark.totals)
