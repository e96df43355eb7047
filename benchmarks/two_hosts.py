"""Two nodes, one update: network namespaces as nodes, S3 on one of them, the other one killed.

    sudo python benchmarks/two_hosts.py

Runs the flow twice over a virtual link. A Ray of two `ray start` has a rank and an engine on each
node. In the second run node b is killed in the middle of an update; it is started again and the run
resumed. The weights of both runs must be equal, bit for bit. Appends what it saw to
benchmarks/results/two_hosts.txt.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
A, B, PORT, S3 = "10.77.0.1", "10.77.0.2", 6377, 5077
STEPS = 2
TOKEN = secrets.token_hex(32)
SETS = ";".join(
    (
        f"run.rollout_steps={STEPS}",
        "run.steps_per_task=1",
        "data.train_questions=48",
        "rollout.new_prompts=16",
        "rollout.max_tokens=32",
        "teacher.prefill=0",
        "evaluation.suite=nano_text",
        "evaluation.limit=4",
        "store.root=s3://hosts/runs",
        "compute.threads=1",
        "compute.update_hosts=2",
        "compute.update_processes=1",
        f"compute.ray={A}:{PORT}",
        "compute.overlap=2",
    )
)


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def hosts() -> None:
    """Namespaces a and b, and a link between them."""
    for name in ("zppo-a", "zppo-b"):
        subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)
        ip("netns", "add", name)
    ip("link", "add", "zppo-va", "type", "veth", "peer", "name", "zppo-vb")
    for name, link, address in (("zppo-a", "zppo-va", A), ("zppo-b", "zppo-vb", B)):
        ip("link", "set", link, "netns", name)
        ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
        ip("-n", name, "link", "set", link, "up")
        ip("-n", name, "link", "set", "lo", "up")


def on(host: str, *command: str, **options: object) -> subprocess.Popen[str]:
    """A process on a host, in a group of its own."""
    link = {"zppo-a": "zppo-va", "zppo-b": "zppo-vb"}[host]
    environment = {k: v for k, v in os.environ.items() if not k.startswith("METAFLOW")} | {
        "GLOO_SOCKET_IFNAME": link,
        "USERNAME": "root",
        "METAFLOW_S3_ENDPOINT_URL": f"http://{A}:{S3}",
        "AWS_ENDPOINT_URL": f"http://{A}:{S3}",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "us-east-1",
        "OMP_NUM_THREADS": "1",
        "RAY_AUTH_MODE": "token",
        "RAY_AUTH_TOKEN": TOKEN,
    }
    return subprocess.Popen(
        ["ip", "netns", "exec", host, *command],
        env=environment,
        text=True,
        start_new_session=True,
        **options,  # type: ignore[call-overload]
    )


def end(process: subprocess.Popen[str], host: str = "zppo-b") -> None:
    """Kill a host's processes as a power failure would."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    found = subprocess.run(
        ["ip", "netns", "pids", host], capture_output=True, text=True, check=False
    )
    for pid in map(int, found.stdout.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    process.wait()


def ray_node(host: str, folder: Path, *more: str) -> subprocess.Popen[str]:
    """`ray start` on a host, as docs/scale.md has it; ends when it is killed."""
    address = {"zppo-a": A, "zppo-b": B}[host]
    words = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--num-cpus=1"]
    words += [f"--node-ip-address={address}", "--disable-usage-stats"]
    words += ["--object-store-memory=400000000", *more]
    place = folder / f"ray-{host}"
    place.mkdir(exist_ok=True)
    # a disk of its own: nodes keep what they know of themselves there
    own = f"mkdir -p /tmp/ray; mount --bind {place} /tmp/ray; exec {shlex.join(words)}"
    apart = ["unshare", "-m", "sh", "-c", own] if host == "zppo-b" else words
    log = (folder / f"{host}.log").open("a")
    return on(host, *apart, stdout=log, stderr=subprocess.STDOUT, cwd=ROOT)


def second_host(folder: Path) -> subprocess.Popen[str]:
    """Node b joins; back when the head knows it."""
    process = ray_node("zppo-b", folder, f"--address={A}:{PORT}")
    time.sleep(15)
    return process


def flow(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    return on(
        "zppo-a",
        sys.executable,
        str(ROOT / "flows" / "zppo_flow.py"),
        *arguments,
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def inside(code: str) -> str:
    """What Python says on host a."""
    found = on("zppo-a", sys.executable, "-c", code, stdout=subprocess.PIPE, cwd=ROOT)
    return found.communicate()[0].strip()


def weights(name: str) -> str:
    """SHA-256 over the student's weights in the run's last checkpoint."""
    return inside(
        "from zppo_core.store.checkpoint import latest_checkpoint\n"
        "from zppo_core.models.weights import weight_hash\n"
        "from zppo_core.store.objects import open_store\nfrom safetensors.torch import load\n"
        f"c = latest_checkpoint(open_store('s3://hosts/runs'), '{name}')\n"
        "w = load(c.read('student/model.safetensors'))\n"
        "print(c.step, weight_hash(w.items()))"
    )


def wait_for(unit: str) -> None:
    """Until the journal holds a unit."""
    inside(
        "import time\nfrom zppo_core.store.objects import open_store\n"
        "s = open_store('s3://hosts/runs')\n"
        f"while not s.list('{unit}'):\n    time.sleep(0.05)"
    )


def main() -> int:
    """Both runs; 0 if their weights are equal."""
    subprocess.run(["ip", "link", "del", "zppo-va"], check=False, stderr=subprocess.DEVNULL)
    hosts()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server = on(
            "zppo-a",
            sys.executable,
            "-c",
            "from moto.server import main; main()",
            "-H",
            A,
            "-p",
            str(S3),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        inside(
            "import boto3, time\nfor _ in range(60):\n    try:\n"
            "        boto3.client('s3').create_bucket(Bucket='hosts'); break\n"
            "    except Exception: time.sleep(1)"
        )
        head = ray_node("zppo-a", folder, "--head", f"--port={PORT}", "--include-dashboard=false")
        time.sleep(15)
        other = second_host(folder)
        try:
            began = time.monotonic()
            whole = flow(folder, "run", "--name", "whole", "--set", SETS)
            said = whole.communicate()[0]
            if whole.returncode:
                print(said[-3000:])
                return 1
            seconds = time.monotonic() - began
            killed = flow(folder, "run", "--name", "killed", "--set", SETS)
            wait_for("killed/journal/step-000001/augmented/manifest.json")
            end(other)
            failed = killed.communicate()[0]
            line = [x for x in failed.splitlines() if " died (" in x]
            other = second_host(folder)
            resumed = flow(folder, "resume")
            again = resumed.communicate()[0]
            if resumed.returncode:
                print(again[-3000:])
                return 1
            one, two = weights("whole"), weights("killed")
        finally:
            end(other)
            end(head, "zppo-a")
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
        same = one == two != ""
        report = [
            f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, 2 namespaces, {os.cpu_count()} cores, "
            "python benchmarks/two_hosts.py",
            f"never killed: {seconds:.0f} s, step and weights {one}",
            f"host b killed after step 2's last rollouts: flow ended with {killed.returncode}",
            f"  said: {line[-1].split('] ')[-1][:150] if line else 'nothing of it'}",
            f"host b started again, resume: step and weights {two}",
            "equal, bit for bit" if same else "NOT EQUAL",
        ]
        print("\n".join(report))
        with (ROOT / "benchmarks" / "results" / "two_hosts.txt").open("a") as file:
            file.write("\n".join(report) + "\n\n")
        return 0 if same and killed.returncode else 1


if __name__ == "__main__":
    sys.exit(main())
