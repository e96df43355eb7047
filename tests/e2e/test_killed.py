import json
import subprocess
from pathlib import Path

ZYGOTE = Path(__file__).with_name("kill_zygote.py")


def trained(python: str, root: Path, name: str, how: str) -> dict:
    done = subprocess.run(
        [python, str(ZYGOTE), str(root), name, how],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def test_a_run_killed_at_every_boundary_ends_with_the_weights_of_one_never_killed(
    tmp_path: Path, warm_python: str
) -> None:
    """SIGKILL after each commit, a new process each time; and the same seed gives the same run."""
    whole, killed = (
        trained(warm_python, tmp_path, "a", "whole"),
        trained(warm_python, tmp_path, "b", "kill"),
    )
    assert whole["hash"] == killed["hash"]
    assert whole["processes"] == 1
    phases = ["plain", "teacher", "reformulate", "augmented", "update"]
    expected = {(step, phase) for step in range(3) for phase in phases}
    expected |= {(1, "checkpoint"), (2, "checkpoint")}
    assert {tuple(k) for k in killed["killed_at"]} == expected
