"""What is said of others' packages, and that silence is not taken for a pass."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from subprocess import CompletedProcess

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tools"))
import supply  # noqa: E402

FAULT = {"id": "PYSEC-1", "fix_versions": ["2"]}


def reply(*packages: dict[str, object]) -> CompletedProcess[str]:
    return CompletedProcess([], 0, json.dumps({"dependencies": packages}), "no way\nno name")


@pytest.mark.parametrize(
    ("said", "code", "words"),
    [
        (reply({"name": "a", "version": "1", "vulns": []}), 0, "no known fault"),
        (reply({"name": "a", "version": "1", "vulns": [FAULT]}), 1, "a 1: PYSEC-1, mended in 2"),
        (reply({"name": "a", "skip_reason": "not found"}), 2, "NOT AUDITED: 1 packages"),
        (CompletedProcess([], 1, "", "no route"), 2, "0 packages answered for (no route)"),
    ],
)
def test_an_audit_that_nobody_answered_is_no_pass(
    monkeypatch, tmp_path, capsys, said: CompletedProcess[str], code: int, words: str
) -> None:
    (tmp_path / "requirements.lock").write_text("a==1 \\\n    --hash=sha256:0\n")
    monkeypatch.setattr(supply, "LOCK", tmp_path / "requirements.lock")
    monkeypatch.setattr(supply, "tool", lambda *_: said)
    assert supply.audit() == code
    assert words in capsys.readouterr().out


def test_a_licence_that_binds_users_is_refused_and_one_of_a_test_is_not() -> None:
    packages = [
        {"Name": "Free", "Version": "1", "License": "MIT"},
        {
            "Name": "Weak",
            "Version": "1",
            "License": "GNU Lesser General Public License v2 (LGPLv2+)",
        },
        {"Name": "Strong", "Version": "1", "License": "GPL-2.0-or-later"},
        {"Name": "Nothing", "Version": "1", "License": "UNKNOWN"},
    ]
    names = {p["Name"].lower() for p in packages}
    lines, faults = supply.judged(packages, names)
    assert len(lines) == 4
    assert [fault.split()[0] for fault in faults] == ["Nothing", "Strong"]
    assert supply.judged(packages, {"free"})[1] == []


def test_the_lock_has_a_hash_for_each_package_and_the_versions_of_the_constraints(
    monkeypatch, capsys
) -> None:
    monkeypatch.chdir(ROOT)
    assert supply.check() == 0
    locked = supply.pins((ROOT / "requirements.lock").read_text())
    assert locked["torch"] == "2.13.0"
    assert len(locked) > 180
    with pytest.raises(ValueError, match="six has no hash"):
        supply.pins("six==1.17.0\n")
