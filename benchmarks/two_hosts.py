"""Two nodes, one update: network namespaces as nodes, S3 on one of them; each part is killed.

    sudo python benchmarks/two_hosts.py

A Ray of two `ray start` has a rank and an engine on each node, over a virtual link. The flow runs
once undisturbed, then once for each victim: node b, the head, an engine on b, a rank on b. The
victim is killed in the middle of an update, what is gone is started again, and the run resumed. All
weights must be equal, bit for bit, and a line must say who died. Appends what it saw to
benchmarks/results/two_hosts.txt.

    sudo python benchmarks/two_hosts.py head rank     # these victims alone
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
from collections.abc import Sequence
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


def titles(host: str) -> dict[int, str]:
    """The processes of a host: pid -> command line."""
    found = subprocess.run(
        ["ip", "netns", "pids", host], capture_output=True, text=True, check=False
    )
    lines = {}
    for pid in map(int, found.stdout.split()):
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
            lines[pid] = text
    return lines


def kill(host: str, *words: str) -> int:
    """Kill the host's processes whose command line has one of `words`; how many they were."""
    chosen = [pid for pid, line in titles(host).items() if any(w in line for w in words)]
    for pid in chosen:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(chosen)


class Cluster:
    """Both nodes: the head on a, which keeps its port, and b."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.start()

    def start(self) -> None:
        """Both, the head first."""
        self.head = ray_node(
            "zppo-a", self.folder, "--head", f"--port={PORT}", "--include-dashboard=false"
        )
        time.sleep(15)
        self.other = second_host(self.folder)

    def strike(self, victim: str) -> int:
        """Kill it; how many processes died."""
        if victim == "node":
            alive = len(titles("zppo-b"))
            end(self.other)
            return alive
        if victim == "head":
            return kill("zppo-a", "gcs_server", "raylet")
        return kill("zppo-b", {"engine": "ray::EngineHost", "rank": "ray::Rank"}[victim])

    def mend(self, victim: str) -> None:
        """Start again what an operator would have to."""
        if victim == "node":
            self.other = second_host(self.folder)
        if victim == "head":  # nodes of a head that is gone are of no use
            self.close()
            self.start()

    def close(self) -> None:
        """End both nodes' Ray, and nothing else of host a."""
        end(self.other)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.head.pid, signal.SIGKILL)
        kill("zppo-a", "gcs_server", "raylet", "ray::", "ray/_private")
        self.head.wait()


def s3_server() -> subprocess.Popen[str]:
    """An object store on host a, with a bucket."""
    words = ["-c", "from moto.server import main; main()", "-H", A, "-p", str(S3)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    server = on("zppo-a", sys.executable, *words, **silent)
    inside(
        "import boto3, time\nfor _ in range(60):\n    try:\n"
        "        boto3.client('s3').create_bucket(Bucket='hosts'); break\n"
        "    except Exception: time.sleep(1)"
    )
    return server


def struck(cluster: Cluster, folder: Path, victim: str, whole: str) -> tuple[list[str], bool]:
    """A run whose victim is killed, and its resumption: what was seen, and whether all held."""
    name = f"killed-{victim}"
    began = time.monotonic()
    flowing = flow(folder, "run", "--name", name, "--set", SETS)
    wait_for(f"{name}/journal/step-000001/augmented/manifest.json")
    died = cluster.strike(victim)
    failed = flowing.communicate()[0]
    ended = time.monotonic()
    last = [x for x in failed.splitlines() if "resume" in x or " died (" in x]
    cluster.mend(victim)
    resumed = flow(folder, "resume")
    again = resumed.communicate()[0]
    if resumed.returncode:
        print(again[-3000:])
    result = weights(name)
    same = result == whole != ""
    holds = bool(last and same and died and flowing.returncode and not resumed.returncode)
    said = last[-1].split("] ")[-1][:150] if last else "nothing of it: " + failed[-300:]
    return [
        f"{victim} killed ({died} processes) after the second step's last rollouts: the flow ended "
        f"with {flowing.returncode} after {ended - began:.0f} s",
        f"  said: {said}",
        f"  resumed: step and weights {result}, " + ("equal bit for bit" if same else "NOT EQUAL"),
    ], holds


VICTIMS = ("node", "head", "engine", "rank")


def main(victims: Sequence[str] = VICTIMS) -> int:
    """The undisturbed run and one for each victim; 0 if all of it held."""
    if unknown := set(victims) - set(VICTIMS):
        print(f"no victim {min(unknown)}; there are {', '.join(VICTIMS)}")
        return 2
    subprocess.run(["ip", "link", "del", "zppo-va"], check=False, stderr=subprocess.DEVNULL)
    hosts()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        server = s3_server()
        cluster = Cluster(folder)
        try:
            began = time.monotonic()
            whole = flow(folder, "run", "--name", "whole", "--set", SETS)
            said = whole.communicate()[0]
            if whole.returncode:
                print(said[-3000:])
                return 1
            seconds, one = time.monotonic() - began, weights("whole")
            report = [
                f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, 2 namespaces, {os.cpu_count()} cores, "
                "python benchmarks/two_hosts.py",
                f"never killed: {seconds:.0f} s, step and weights {one}",
            ]
            print("\n".join(report), flush=True)
            held = []
            for victim in victims:
                lines, holds = struck(cluster, folder, victim, one)
                print("\n".join(lines), flush=True)
                report += lines
                held.append(holds)
        finally:
            cluster.close()
            with contextlib.suppress(ProcessLookupError):
                os.killpg(server.pid, signal.SIGKILL)
        with (ROOT / "benchmarks" / "results" / "two_hosts.txt").open("a") as file:
            file.write("\n".join(report) + "\n\n")
        return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] or VICTIMS))
