"""How a flow's tasks and workers start: quickly, and in the environment that Metaflow needs."""

from __future__ import annotations

import gc
import getpass
import os
import sys

# what a shell may have set for other programs; a run's own count of threads then costs at every
# operation, as OpenMP ends and starts threads
THREADS = (
    *("OMP_NUM_THREADS", "OMP_THREAD_LIMIT", "OMP_DYNAMIC", "OMP_PLACES", "OMP_PROC_BIND"),
    *("OMP_WAIT_POLICY", "GOMP_CPU_AFFINITY", "KMP_AFFINITY", "KMP_BLOCKTIME"),
    *("MKL_NUM_THREADS", "MKL_DYNAMIC", "OPENBLAS_NUM_THREADS"),
)


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
    prepare_threads()
    quiet_archives()
    folder, path = os.path.dirname(sys.executable), os.environ.get("PATH", "")
    if path.split(os.pathsep)[0] != folder:
        os.environ["PATH"] = os.pathsep.join((folder, path))


def quiet_archives() -> None:
    """Leave out what Python says of Metaflow's package of the code when a flow ends before it.

    A thread packs it. Since 3.13 Python reports that such a file is closed too late.
    """
    report = sys.unraisablehook
    if report.__module__ == __name__:
        return

    def reported(what: sys.UnraisableHookArgs) -> None:
        late = type(what.object).__name__ == "GzipFile" and isinstance(what.exc_value, ValueError)
        if not late:
            report(what)

    sys.unraisablehook = reported


def prepare_threads() -> None:
    """What torch's threads need of the environment, which torch reads when it is first imported.

    What a shell has set for other programs is taken out, and said; once torch is here, it stays.
    """
    if "torch" in sys.modules:
        return
    names = [name for name in THREADS if name in os.environ]
    if names:
        values = " ".join(f"{name}={os.environ.pop(name)}" for name in names)
        print(f"zppo: {values} left aside; compute.threads sets the threads", file=sys.stderr)
    # idle OpenMP threads sleep: beside other work a step took many times as long without it
    os.environ.setdefault("GOMP_SPINCOUNT", "100")


def user_name() -> str:
    """The user's name for Metaflow: never root, and one for a uid without a name."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a uid without a name, as in some containers
        name = f"uid{os.getuid()}"
    return "zppo" if name == "root" else name
