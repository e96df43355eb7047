"""How a flow's tasks and workers start: quickly, and in the environment that Metaflow needs."""

from __future__ import annotations

import gc
import getpass
import os
import sys


def hurry() -> None:
    """Look for garbage less often; call before long imports.

    What an import makes stays: Python's collector goes over it again and again. At the end it is
    left to look once more: DuckDB's extension counts what it finds alive then as leaked, and says
    so in dozens of lines.
    """
    gc.set_threshold(50_000, 20, 20)


def prepare_environment() -> None:
    """What Metaflow needs; the packages it starts tasks from inherit it.

    It refuses root without a user name, so one is set. It starts further hosts' tasks with
    "python", which must be this one.
    """
    if not os.environ.get("METAFLOW_USER"):
        os.environ["METAFLOW_USER"] = user_name()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    # idle OpenMP threads sleep: beside other work a step took many times as long without it
    os.environ.setdefault("GOMP_SPINCOUNT", "100")
    folder, path = os.path.dirname(sys.executable), os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != folder:
        os.environ["PATH"] = os.pathsep.join((folder, path))


def user_name() -> str:
    """The user's name for Metaflow: never root, and one for a uid without a name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in some containers
        name = f"uid{os.getuid()}"
    return "zppo" if name == "root" else name
