"""The Dockerfiles are well formed, small where it is cheap, and copy only what exists."""

import json
import re
import tomllib
from pathlib import Path

import pytest

parse = pytest.importorskip("dockerfile_parse", reason="in the extra `dev`: make setup")

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "docker").glob("*.Dockerfile"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
KNOWN = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "CMD"}


@pytest.fixture(params=FILES, ids=lambda path: path.name)
def steps(request: pytest.FixtureRequest, tmp_path: Path) -> list[dict[str, str]]:
    text = request.param.read_text(encoding="utf-8")
    parser = parse.DockerfileParser(path=str(tmp_path))
    parser.content = text
    return [s for s in parser.structure if s["instruction"] != "COMMENT"]


def values(steps: list[dict[str, str]], name: str) -> list[str]:
    return [step["value"] for step in steps if step["instruction"] == name]


def test_there_is_one_for_a_cpu_and_one_for_gpus() -> None:
    assert [path.name for path in FILES] == ["cpu.Dockerfile", "gpu.Dockerfile"]


def test_instructions_are_known_and_the_base_is_pinned(steps: list[dict[str, str]]) -> None:
    assert {step["instruction"] for step in steps} <= KNOWN
    assert steps[0]["instruction"] == "FROM"
    (base,) = values(steps, "FROM")
    _, colon, tag = base.partition(":")
    assert colon
    assert tag != "latest"
    assert re.search(r"\d+\.\d+", tag)


def test_what_is_copied_exists_and_is_not_ignored(steps: list[dict[str, str]]) -> None:
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = [word for value in values(steps, "COPY") for word in value.split()[:-1]]
    assert {"zppo_core", "eval", "steps", "flows", "constraints.txt"} <= set(copied)
    for name in copied:
        assert (ROOT / name).exists(), name
        assert name not in ignored


def test_package_lists_leave_no_layer_and_versions_are_those_of_the_project(
    steps: list[dict[str, str]],
) -> None:
    for run in values(steps, "RUN"):
        if "apt-get install" in run:
            assert "--no-install-recommends" in run
            assert run.rstrip().endswith("rm -rf /var/lib/apt/lists/*")
            assert "apt-get update" in run
        for torch in re.findall(r"torch==[\w.]+", run):
            assert torch in PROJECT["project"]["dependencies"]
        if "pip install" in run and "torch==" not in run and "--no-deps" not in run:
            assert "-c constraints.txt" in run
        for extra in re.findall(r"\.\[(\w+)\]", run):
            assert extra in PROJECT["project"]["optional-dependencies"]
        assert "sudo" not in run


def test_nobody_is_root_and_the_command_is_a_list(steps: list[dict[str, str]]) -> None:
    users = values(steps, "USER")
    assert users
    assert users[-1] not in ("root", "0")
    assert steps[-1]["instruction"] == "CMD"
    assert json.loads(steps[-1]["value"]) == ["zppo", "doctor"]


def test_the_python_of_the_image_is_one_that_the_project_takes(steps: list[dict[str, str]]) -> None:
    (base,) = values(steps, "FROM")
    version = re.search(r"^python:3\.(\d+)", base)
    assert PROJECT["project"]["requires-python"] == ">=3.11"
    assert version is None or int(version[1]) >= 11


def test_the_pages_name_the_images() -> None:
    scale = (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")
    for path in FILES:
        assert f"docker/{path.name}" in scale
