"""What must be known before Metaflow parses the command line, and checks that cost nothing.

Decorator values such as `@resources(gpu=...)` are fixed when the flow file is read, so the preset
is looked up in the arguments here. A fault of configuration ends the command with one line.
"""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise

import eval as _packed  # noqa: F401 - Metaflow sends what is imported when the flow is read
from zppo_core import config
from zppo_core.config import Config, from_dict
from zppo_core.config.overrides import resolve, split_overrides
from zppo_core.errors import UserError
from zppo_core.processes.startup import hurry

_OPTIONS = ("--scale", "--scales", "--method", "--seed", "--set", "--model", "--name")
# Metaflow's own: what stands before one of them are options for all, and their values
_COMMANDS = frozenset(
    (
        "argo-workflows",
        "airflow",
        "batch",
        "card",
        "check",
        "dump",
        "environment",
        "help",
        "init",
        "kubernetes",
        "logs",
        "output-dot",
        "output-raw",
        "package",
        "resume",
        "run",
        "show",
        "spin",
        "spin-step",
        "step",
        "step-functions",
        "tag",
        "version",
    )
)


@dataclass(frozen=True)
class Arguments:
    """The options of ours on a flow's command line."""

    command: str = ""
    scale: str = "nano"
    method: str = ""
    seed: str = ""
    overrides: tuple[str, ...] = ()
    resumed: Config | None = None  # of the run that `resume` goes on with
    name: str = ""

    def config(self) -> Config:
        """The resolved configuration; UserError names the fault and the fix."""
        return self.resumed or resolve(self.scale, self.method, self.seed, self.overrides)


def parse(argv: Sequence[str], scale: str = "") -> Arguments:
    """Read our options from `argv` (without the program's name), in both spellings of an option.

    `scale` is the flow's own default.
    """
    values: dict[str, list[str]] = {name: [] for name in _OPTIONS}
    command = ""
    i = 0
    while i < len(argv):
        name, equals, value = argv[i].partition("=")
        if name in values and equals:
            values[name].append(value)
        elif argv[i] in values and i + 1 < len(argv):
            values[argv[i]].append(argv[i + 1])
            i += 1
        elif not command and argv[i] in _COMMANDS and not _is_value(argv, i):
            command = argv[i]
        i += 1
    last = {name: found[-1] for name, found in values.items() if found}
    return Arguments(
        command,
        _scale_of(last) or scale or _default_scale(last.get("--model", "")),
        last.get("--method", ""),
        last.get("--seed", ""),
        tuple(part for text in values["--set"] for part in split_overrides(text)),
        name=last.get("--name", ""),
    )


def _scale_of(options: Mapping[str, str]) -> str:
    """The scale that is named; of a sweep's, the one that wants most of a machine."""
    named = [options.get("--scale", ""), *options.get("--scales", "").split(",")]
    sizes = {name: i for i, name in enumerate(config.SCALES)}
    return max(filter(None, map(str.strip, named)), key=lambda n: sizes.get(n, -1), default="")


def _is_value(argv: Sequence[str], i: int) -> bool:
    """Whether argument `i` is the value of --with, the one option that takes a command's name."""
    return i > 0 and argv[i - 1] == "--with"


def _default_scale(model: str) -> str:
    """Nano, but a model of another kind is evaluated as the 4B student would be."""
    if model and not model.startswith("nano:"):
        return "4B"
    return os.environ.get("ZPPO_SCALE", "nano")


def merge_sets(argv: Sequence[str]) -> list[str]:
    """`argv` with all `--set` options joined into one, because Metaflow takes each option once."""
    kept: list[str] = []
    i = 0
    while i < len(argv):
        if argv[i] == "--set" and i + 1 < len(argv):
            i += 1
        elif not argv[i].startswith("--set="):
            kept.append(argv[i])
        i += 1
    overrides = parse(argv).overrides
    return [*kept, "--set", ";".join(overrides)] if overrides else kept


def prepare_process(flow: str, training: bool = True, scale: str = "") -> Arguments:
    """Ready this process for Metaflow, and stop on a faulty configuration before it starts.

    Metaflow refuses root without a user name, so one is set; the packages it starts tasks from
    inherit the environment. Without `training` the flow checks its own needs in its first step.
    `flow` is the name of its class, `scale` its default preset.
    """
    hurry()
    if not os.environ.get("METAFLOW_USER"):
        os.environ["METAFLOW_USER"] = _user()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Metaflow starts further hosts' tasks with "python", which must be this one
    own, path = os.path.dirname(sys.executable), os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != own:
        os.environ["PATH"] = os.pathsep.join((own, path))
    arguments = parse(sys.argv[1:], scale)
    sys.argv[1:] = merge_sets(sys.argv[1:])
    elsewhere = _runs_elsewhere(sys.argv)
    if arguments.command == "resume":
        arguments = replace(arguments, resumed=origin(flow, sys.argv))
    if arguments.command in ("run", "resume") and not _has_option(sys.argv, "--max-workers"):
        sys.argv += ["--max-workers", str(workers(arguments, elsewhere))]
    if (
        (training or elsewhere)
        and arguments.command == "run"
        and not {"--help", "-h"} & set(sys.argv)
    ):
        from eval.preflight import check
        from zppo_core.run.names import check_name
        from zppo_core.run.preflight import check_cluster, check_machine

        try:
            if training and arguments.name:
                check_name(arguments.name)
            wanted = arguments.config()
            if elsewhere:
                check_cluster(wanted, training)
            if training:
                check(wanted)
                if not elsewhere:
                    check_machine(wanted)
        except UserError as error:
            print(f"zppo: {error}", file=sys.stderr)
            raise SystemExit(2) from None
    return arguments


def workers(arguments: Arguments, elsewhere: bool) -> int:
    """Tasks at once: one where they share this machine's GPUs, else as many as there are cores.

    Metaflow's own 16 would not fit a small machine's memory.
    """
    from zppo_core.run.preflight import gpu_memory

    try:
        device = arguments.config().compute.device
    except UserError:  # reported below, or by the flow
        device = "cpu"
    shared = not elsewhere and device == "cuda" and bool(gpu_memory())
    return 1 if shared else os.cpu_count() or 1


def origin(flow: str, argv: Sequence[str]) -> Config | None:
    """The configuration of the run that `resume` goes on with; None if it never got one."""
    from metaflow import Run, namespace
    from metaflow.exception import MetaflowException
    from metaflow.util import get_latest_run_id

    named = [b for a, b in pairwise(argv) if a == "--origin-run-id"]
    named += [a.partition("=")[2] for a in argv if a.startswith("--origin-run-id=")]
    run = named[-1] if named else get_latest_run_id(lambda *_, **__: None, flow)
    namespace(None)
    try:
        started = Run(f"{flow}/{run}")["start"].task
        setup = None if started is None else started.data.setup
    except (MetaflowException, AttributeError, KeyError):
        return None  # Metaflow says itself what it cannot find
    if setup is None:
        return None
    return from_dict(json.loads(setup["config"]))


def _runs_elsewhere(argv: Sequence[str]) -> bool:
    """Whether --with sends the tasks to a cluster: this machine then needs no GPU."""
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    given = [
        b if a == "--with" else a.removeprefix("--with=")
        for a, b in pairs
        if a == "--with" or a.startswith("--with=")
    ]
    return any(name.partition(":")[0] in ("kubernetes", "batch") for name in given)


def _has_option(argv: Sequence[str], name: str) -> bool:
    return any(a == name or a.startswith(f"{name}=") for a in argv)


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in some containers
        name = f"uid{os.getuid()}"
    return "zppo" if name == "root" else name


@dataclass(frozen=True)
class Machine:
    """What a step that runs a model needs."""

    gpu: int
    cpu: int
    memory: int  # MiB
    shared_memory: int  # MiB of /dev/shm: weights on their way, and NCCL

    @property
    def needs(self) -> dict[str, int]:
        """The arguments of Metaflow's `@resources`."""
        return asdict(self)


def machine(arguments: Arguments) -> Machine:
    """The machine of the named preset, or of nano if the configuration does not resolve.

    Metaflow reads the flow file for many commands that carry no options of ours; a fault is
    reported by `prepare_process`, not here.
    """
    try:
        compute = arguments.config().compute
    except UserError:
        compute = config.load("nano").compute
    gpus = compute.student_gpus + compute.teacher_gpus
    return Machine(gpus, compute.cpus, compute.memory_mb, compute.memory_mb // 4)
