"""Checks before anything is spent: those of a run, and that suite and settings are known."""

from __future__ import annotations

from eval.settings import parse
from eval.suite import benchmarks
from zppo_core.config import Config
from zppo_core.run import preflight
from zppo_core.run.names import check_name


def check(config: Config) -> None:
    """All checks of a run that cost nothing: `zppo_core.run.preflight.check`, and the suite."""
    preflight.check(config)
    check_suite(config)


def check_suite(config: Config) -> None:
    """The suite, or every benchmark of the list, must be known, and so must each setting."""
    settings = parse(config.evaluation.settings)
    for benchmark in benchmarks(config.evaluation.suite):
        settings.total_of(benchmark.name, benchmark.totals)


def check_early(config: Config, name: str, training: bool, elsewhere: bool) -> None:
    """All checks of a flow that need no model loaded; UserError names the fault and the fix.

    Without `training` the flow checks its own needs in its first step. `elsewhere`: the tasks run
    on a cluster.
    """
    if name:
        check_name(name)
    if elsewhere:
        preflight.check_cluster(config, training)
    if training:
        check(config)
        if not elsewhere:
            preflight.check_machine(config)
