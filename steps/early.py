"""What must be known before Metaflow parses the command line, and checks that cost nothing.

Decorator values such as `@resources(gpu=...)` are fixed when the flow file is read, so the preset
is looked up in the arguments here. A fault of configuration ends the command with one line.
"""

from __future__ import annotations

import getpass
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import eval as _packed  # noqa: F401 - Metaflow sends what is imported when the flow is read
from zppo_core import config
from zppo_core.config import Config
from zppo_core.errors import UserError
from zppo_core.startup import hurry

_FIELD = re.compile(r"\w+\.\w+\s*=")
_OPTIONS = ("--scale", "--method", "--seed", "--set", "--model")


@dataclass(frozen=True)
class Arguments:
    """The options of ours on a flow's command line."""

    command: str = ""
    scale: str = "nano"
    method: str = ""
    seed: str = ""
    overrides: tuple[str, ...] = ()

    def config(self) -> Config:
        """The resolved configuration; UserError names the fault and the fix."""
        return resolve(self.scale, self.method, self.seed, self.overrides)


def resolve(scale: str, method: str, seed: str, overrides: Sequence[str]) -> Config:
    """Preset, then `--method` and `--seed`, then each `--set`, later ones winning."""
    named = [f"run.method={method}"] if method else []
    named += [f"run.seed={seed}"] if seed != "" else []
    return config.load(scale, [*named, *overrides])


def split_overrides(text: str) -> tuple[str, ...]:
    """The `section.field=value` parts of one `--set` text, separated by semicolons.

    What does not begin like a field belongs to the value before it: settings of evaluation are
    separated by semicolons themselves.
    """
    parts: list[str] = []
    for part in filter(None, (part.strip() for part in text.split(";"))):
        if parts and not _FIELD.match(part):
            parts[-1] += f";{part}"
        else:
            parts.append(part)
    return tuple(parts)


def parse(argv: Sequence[str]) -> Arguments:
    """Read our options from `argv` (without the program's name), in both spellings of an option."""
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
        elif not command and not argv[i].startswith("-"):
            command = argv[i]
        i += 1
    last = {name: found[-1] for name, found in values.items() if found}
    return Arguments(
        command,
        last.get("--scale") or _default_scale(last.get("--model", "")),
        last.get("--method", ""),
        last.get("--seed", ""),
        tuple(part for text in values["--set"] for part in split_overrides(text)),
    )


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


def prepare_process(training: bool = True) -> Arguments:
    """Ready this process for Metaflow, and stop on a faulty configuration before it starts.

    Metaflow refuses root without a user name, so one is set; the packages it starts tasks from
    inherit the environment. Without `training` the flow checks its own needs in its first step.
    """
    hurry()
    if not os.environ.get("METAFLOW_USER"):
        os.environ["METAFLOW_USER"] = _user()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # Metaflow starts further hosts' tasks with "python", which must be this one
    own, path = os.path.dirname(sys.executable), os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != own:
        os.environ["PATH"] = os.pathsep.join((own, path))
    arguments = parse(sys.argv[1:])
    sys.argv[1:] = merge_sets(sys.argv[1:])
    if arguments.command in ("run", "resume") and not _has_option(sys.argv, "--max-workers"):
        # Metaflow's 16 at once would not fit a small machine's memory
        sys.argv += ["--max-workers", str(os.cpu_count() or 1)]
    elsewhere = _runs_elsewhere(sys.argv)
    if (
        (training or elsewhere)
        and arguments.command == "run"
        and not {"--help", "-h"} & set(sys.argv)
    ):
        from steps.preflight import check, check_cluster, check_machine

        try:
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


def _runs_elsewhere(argv: Sequence[str]) -> bool:
    """Whether --with sends the tasks to a cluster: this machine then needs no GPU."""
    pairs = zip(argv, [*argv[1:], ""], strict=True)
    given = [b if a == "--with" else a.removeprefix("--with=") for a, b in pairs
             if a == "--with" or a.startswith("--with=")]  # fmt: skip
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
