"""What others' packages bring: known faults, licences, and a list of all of them.

python tools/supply.py lock|check|audit|licences|sbom    by `make lock` and its like

The tools (uv, pip-audit, pip-licenses, cyclonedx-bom) are in an environment of their own, the
folder of which is $SUPPLY_ENV (.venv-supply).
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

LOCK = Path("requirements.lock")
SERVICES = {"pypi": "PyPI's JSON interface", "osv": "api.osv.dev"}
# of what a user installs; what only our tests import may be any, for it is passed on to nobody
FREE = re.compile(
    r"MIT|BSD|Apache|ISC|PSF|Python Software|MPL|Mozilla|LGPL|Lesser|Zlib|CC0|CNRI|HPND",
    re.IGNORECASE,
)
STRONG = re.compile(r"(?<!L)A?GPL|(?<!Lesser )General Public License", re.IGNORECASE)


def tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run one of the tools and keep what it says."""
    place = Path(os.environ.get("SUPPLY_ENV", ".venv-supply")) / "bin" / name
    # what one machine has in a folder of its own is no part of a lock
    environment = {k: v for k, v in os.environ.items() if k != "UV_FIND_LINKS"}
    return subprocess.run(
        [str(place), *arguments], capture_output=True, text=True, check=False, env=environment
    )


def lock(target: Path = LOCK) -> int:
    """Write every version of `constraints.txt` that is needed, with the hashes of its files."""
    done = tool(
        "uv",
        *("pip", "compile", "pyproject.toml", "--extra", "dev", "--universal"),
        *("--generate-hashes", "--python-version", "3.11", "-c", "constraints.txt"),
        *("--no-annotate", "--custom-compile-command", "make lock", "-q", "-o", str(target)),
    )
    print(done.stderr, end="", file=sys.stderr)
    if not done.returncode:
        print(f"{target}: {len(pins(target.read_text()))} packages")
    return done.returncode


def pins(text: str) -> dict[str, str]:
    """Names and versions of a lock; ValueError for one without a hash."""
    found = {}
    for block in re.split(r"\n(?=\S)", text):
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)", block)
        if match is None:
            continue
        if "--hash=sha256:" not in block:
            raise ValueError(f"{match[1]} has no hash")
        found[match[1].lower().replace("_", "-")] = match[2]
    return found


def check() -> int:
    """Whether the lock has a hash for each package, and the versions of constraints.txt."""
    locked = pins(LOCK.read_text())
    lines = Path("constraints.txt").read_text().splitlines()
    pinned = dict(line.split(";")[0].strip().split("==") for line in lines if "==" in line)
    other = [
        f"{name} {locked[key]}, not {version}"
        for name, version in pinned.items()
        if (key := name.lower().replace("_", "-")) in locked and locked[key] != version
    ]
    print(*other or [f"{len(locked)} packages, each with hashes"], sep="\n")
    return int(bool(other))


def audit() -> int:
    """Known faults of the locked versions; 1 if there are some, 2 if nobody could be asked."""
    unasked: set[str] = set(pins(LOCK.read_text()))
    faults: list[str] = []
    for service, name in SERVICES.items():
        arguments = ("--require-hashes", "--disable-pip", "-r", str(LOCK), "-f", "json")
        done = tool("pip-audit", "-s", service, "--progress-spinner", "off", *arguments)
        asked, known = answers(done.stdout)
        faults += known
        unasked -= asked
        print(f"{name}: {len(asked)} packages answered for" + ("" if asked else why(done.stderr)))
        if not unasked:
            break
    print(*faults or ["no known fault in what was answered for"], sep="\n")
    if unasked:
        print(f"NOT AUDITED: {len(unasked)} packages, for no advisory service answered for them")
    return 1 if faults else 2 if unasked else 0


def answers(text: str) -> tuple[set[str], list[str]]:
    """What a service answered for, and a line for each known fault, of pip-audit's JSON."""
    try:
        packages = json.loads(text)["dependencies"]
    except (ValueError, KeyError):
        return set(), []
    asked = [p for p in packages if "skip_reason" not in p]
    faults = [
        f"{p['name']} {p['version']}: {fault['id']}, mended in {', '.join(fault['fix_versions'])}"
        for p in asked
        for fault in p["vulns"]
    ]
    return {p["name"].lower().replace("_", "-") for p in asked}, faults


def why(text: str) -> str:
    """The last line of an error."""
    lines = text.strip().splitlines()
    return f" ({lines[-1][:200]})" if lines else ""


def closure(names: Iterable[str]) -> set[str]:
    """All that the installed packages `names` need, themselves included."""
    from packaging.requirements import Requirement

    known: set[str] = set()
    open_ = list(names)
    while open_:
        name = re.split(r"[\[;]", open_.pop())[0].lower().replace("_", "-")
        if name in known:
            continue
        known.add(name)
        try:
            needed = [Requirement(text) for text in requires(name) or ()]
        except PackageNotFoundError:
            continue
        open_ += [r.name for r in needed if r.marker is None or r.marker.evaluate({"extra": ""})]
    return known


def judged(packages: Iterable[Mapping[str, str]], shipped: set[str]) -> tuple[list[str], list[str]]:
    """Lines of the table of licences, and what a user would get and may not."""
    lines, faults = [], []
    for package in sorted(packages, key=lambda p: p["Name"].lower()):
        name, licence = package["Name"], package["License"].strip().splitlines()[0][:80]
        ours = name.lower().replace("_", "-") in shipped
        lines.append(f"| {name} | {package['Version']} | {licence} | {'' if ours else 'tests'} |")
        strong = STRONG.search(licence) is not None and FREE.search(licence) is None
        if ours and (strong or FREE.search(licence) is None):
            faults.append(f"{name} {package['Version']}: {licence}")
    return lines, faults


def licences(target: Path = Path("results/licences.md")) -> int:
    """The licence of each package; 1 if a user would get one that is not free for any use."""
    done = tool("pip-licenses", f"--python={sys.executable}", "--format=json", "--from=mixed")
    shipped = closure(["zppo"])
    lines, faults = judged(json.loads(done.stdout), shipped)
    target.parent.mkdir(exist_ok=True)
    head = "| package | version | licence | for |\n| --- | --- | --- | --- |\n"
    target.write_text(head + "\n".join(lines) + "\n")
    print(f"{target}: {len(lines)} packages, {sum('| tests |' not in x for x in lines)} for users")
    print(*faults or ["each that a user gets is free for any use"], sep="\n")
    return int(bool(faults))


def sbom(target: Path = Path("results/sbom.json")) -> int:
    """A list of all packages here in CycloneDX's format, read again once it is written."""
    target.parent.mkdir(exist_ok=True)
    done = tool(
        "cyclonedx-py",
        *("environment", sys.executable, "--pyproject", "pyproject.toml", "-o", str(target)),
    )
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        return done.returncode
    listed = json.loads(target.read_text())
    print(f"{target}: CycloneDX {listed['specVersion']}, {len(listed['components'])} packages")
    return 0


COMMANDS = {"lock": lock, "check": check, "audit": audit, "licences": licences, "sbom": sbom}

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in COMMANDS:
        raise SystemExit(__doc__)
    raise SystemExit(COMMANDS[sys.argv[1]]())
