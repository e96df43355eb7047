"""Readies a flow's process for Metaflow; a faulty configuration ends it with one line a fault."""

from __future__ import annotations

import json
import sys
from dataclasses import replace

import eval as _packed  # noqa: F401 - Metaflow sends what is imported when the flow is read
from steps import card_server
from steps.early import Arguments, parse
from steps.machine import workers
from zppo_core.config import Config, from_dict
from zppo_core.config.plan import plan_text
from zppo_core.errors import UserError, complain
from zppo_core.processes.startup import hurry, prepare_environment


def prepare_process(flow: str, training: bool = True, scale: str = "") -> Arguments:
    """Ready this process for Metaflow, and stop on a faulty configuration before it starts.

    Without `training` the flow checks its own needs in its first step. `flow` is the name of its
    class, `scale` its default preset. `--dry-run` prints the configuration and stops.
    """
    hurry()
    prepare_environment()
    try:
        arguments = parse(sys.argv[1:], scale)
        elsewhere = runs_elsewhere(arguments)
        if arguments.command == "resume":
            arguments = replace(arguments, resumed=origin(flow, arguments.options.origin_run_id))
        if arguments.options.dry_run and flow == "SweepFlow":
            raise UserError(
                "--dry-run is of one run; see a member by zppo plan --scale X --method Y"
            )
        if arguments.options.dry_run:
            print(plan_text(arguments.resolved), end="")
            raise SystemExit(0)
        if arguments.command in ("run", "resume") and not arguments.options.max_workers:
            sys.argv += ["--max-workers", str(workers(arguments, elsewhere))]
        if card_server.is_requested(sys.argv[1:]):
            card_server.keep_on_loopback()
        if arguments.command == "run" and not arguments.helps:
            from eval.preflight import check_early  # numpy: most commands check nothing

            config, name = arguments.resolved.config, arguments.options.name
            check_early(config, name if training else "", training, elsewhere)
    except UserError as error:
        complain(error)
        raise SystemExit(2) from None
    return arguments


def origin(flow: str, run: str) -> Config | None:
    """The configuration of the run that `resume` goes on with; None if it never got one.

    Without a `run` it is the flow's latest.
    """
    from metaflow import Run, namespace
    from metaflow.exception import MetaflowException
    from metaflow.util import get_latest_run_id

    run = run or get_latest_run_id(lambda *_, **__: None, flow)
    namespace(None)
    try:
        started = Run(f"{flow}/{run}")["start"].task
        setup = None if started is None else started.data.setup
    except (MetaflowException, AttributeError, KeyError):
        return None  # Metaflow says itself what it cannot find
    return None if setup is None else from_dict(json.loads(setup["config"]))


def runs_elsewhere(arguments: Arguments) -> bool:
    """Whether --with sends the tasks to a cluster: this machine then needs no GPU."""
    named = [name.partition(":")[0] for name in arguments.options.decorators]
    return bool({"kubernetes", "batch"} & set(named))
