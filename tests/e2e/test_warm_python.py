"""The tests' server of forks runs a script as a new Python would."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

SAYS = """import atexit, os, sys
atexit.register(print, "at the end")
loaded = (name in sys.modules for name in ("metaflow", "torch"))
print(sys.argv[1], os.getcwd(), os.environ["SAID"], *loaded)
sys.exit(int(sys.argv[2]))
"""
SLEEPS = "import os, time\nprint(os.getpid(), flush=True)\ntime.sleep(600)\n"


def test_a_script_has_its_arguments_folder_environment_and_status(
    tmp_path: Path, warm_python: str
) -> None:
    (tmp_path / "says.py").write_text(SAYS)
    for status in (0, 3):
        done = subprocess.run(
            [warm_python, "-u", "says.py", "word", str(status)],
            cwd=tmp_path,
            env=os.environ | {"SAID": "so"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == status, done.stderr
        assert done.stdout == f"word {tmp_path} so False True\nat the end\n"


def test_a_script_ends_with_its_client_and_its_client_with_it(
    tmp_path: Path, warm_python: str
) -> None:
    (tmp_path / "sleeps.py").write_text(SLEEPS)
    for kill_client in (True, False):
        client = subprocess.Popen(
            [warm_python, "sleeps.py"], cwd=tmp_path, stdout=subprocess.PIPE, text=True
        )
        assert client.stdout is not None
        script = int(client.stdout.readline())
        os.kill(client.pid if kill_client else script, signal.SIGKILL)
        assert client.wait(timeout=60) == -signal.SIGKILL
        end = time.monotonic() + 60
        while Path(f"/proc/{script}").exists() and time.monotonic() < end:
            time.sleep(0.02)
        assert not Path(f"/proc/{script}").exists()
        client.stdout.close()
