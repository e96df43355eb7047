"""A file of one's own over the preset; a plan reads back and says where each value is from."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zppo_core.config import LAYOUTS, SCALES, Config, Source, load
from zppo_core.config.load import resolved
from zppo_core.config.overrides import named
from zppo_core.config.plan import plan_text, toml
from zppo_core.errors import UserError

FLOW = Path(__file__).parents[2] / "flows" / "zppo_flow.py"
TABLES = {
    "run.method": "zppo_teachers",
    "teacher.more_models": ["a/b", "nano:student"],
    "data.more_configs": {"ecd_vqa": 2},
    "data.columns": {"question": "my question", "answer": 'a "b" \\ c'},
    "evaluation.settings": {"frames": 16, "judge_unparsed": False, "totals": {"DynaM": "pooled"}},
    "optimizer.betas": [0.8, 0.95],
    "store.root": "pfad mit ümläut 日本 \U0001f600",
}


@pytest.mark.parametrize("layout", ["", *LAYOUTS])
@pytest.mark.parametrize("scale", SCALES)
def test_a_plan_reads_back_as_the_same_configuration(scale: str, layout: str) -> None:
    for sets in ({}, TABLES):
        made = resolved(f"{scale}@{layout}" if layout else scale, sets)
        again = resolved("", (), Source("plan.toml", plan_text(made)))
        assert again.config == made.config
        assert again.config.to_json() == made.config.to_json()


VALUES = st.recursive(
    st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner)
    ),
    max_leaves=8,
)


@given(VALUES)
@settings(max_examples=200)
def test_any_value_is_written_as_toml_reads_it(value: object) -> None:
    assert tomllib.loads(f"value = {toml(value)}")["value"] == value


def test_a_plan_says_where_each_value_that_is_not_the_default_comes_from() -> None:
    text = "[optimizer]\nlr = 3e-6\nupdates = 4\n[rollout]\nnew_prompts = 8\n"
    made = resolved(
        "4B@one-gpu",
        ["rollout.new_prompts=16"],
        Source("my.toml", text),
        named({"seed": "3", "method": ""}),
    )
    lines = plan_text(made).splitlines()
    said = [line for line in lines if "#" in line]
    assert said == [
        "seed = 3  # --seed",
        'model = "Qwen/Qwen3.5-4B"  # preset 4B',
        "new_prompts = 16  # --set",
        "lr = 3e-06  # my.toml",
        "token_budget = 16384  # layout one-gpu",
        "student_gpus = 1  # layout one-gpu",
        "teacher_gpus = 0  # layout one-gpu",
        "offload = true  # layout one-gpu",
    ]
    assert "updates = 4" in lines  # as the default is
    assert len(tomllib.loads(plan_text(made))) == len(Config().to_dict())


def test_a_file_goes_over_the_preset_and_under_the_options(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('scale = "4B@one-gpu"\n[run]\nseed = 5\nmethod = "grpo"\nrollout_steps = 7\n')
    config = load("", ["run.rollout_steps=9"], str(path))
    assert (config.scale, config.compute.student_gpus) == ("4B", 1)
    assert (config.run.seed, config.run.method, config.run.rollout_steps) == (5, "grpo", 9)
    assert load("nano", (), str(path)).scale == "nano"
    over = resolved("", (), Source.at(str(path)), named({"seed": "6", "method": "zppo"})).config
    assert (over.run.seed, over.run.method) == (6, "zppo")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("[run]\nseed = = 3", ["my.toml: Invalid value (at line 2, column 8)"]),
        ("[run]\nsede = 3", ["my.toml: unknown field run.sede; did you mean run.seed?"]),
        ("[rnu]\nseed = 3", ["my.toml: unknown section 'rnu'; did you mean 'run'?"]),
        ("run = 3", ["my.toml: run is a section; set a field of it, like run.<field>=<value>"]),
        ("scale = 4", ['my.toml: scale is a text, like scale = "4B@one-gpu"']),
        ("[run]\nseed = true", ["my.toml: run.seed: True is not a whole number"]),
        (
            "[optimizer]\nlr = 'x'\n[data]\ncolumns = 3",
            [
                "my.toml: data.columns: 3 is not a table",
                "my.toml: optimizer.lr: 'x' is not a number",
            ],
        ),
        ("[replay]\nthreshold = nan", ["my.toml: replay.threshold must be a finite number"]),
    ],
)
def test_a_fault_of_a_file_is_one_line_with_the_files_name(text, faults) -> None:
    with pytest.raises(UserError) as error:
        resolved("nano", (), Source("my.toml", text))
    assert str(error.value).splitlines() == faults


def test_a_fault_of_an_override_is_not_blamed_on_the_file() -> None:
    with pytest.raises(UserError) as error:
        resolved("nano", ["run.seed=x"], Source("my.toml", "[run]\nseed = 3"))
    assert str(error.value) == "run.seed: 'x' is not a whole number"


def flow(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(FLOW), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        check=False,
    )


def test_a_dry_run_of_the_flow_prints_the_plan_and_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text('scale = "9B"\n[optimizer]\nlr = 2e-6\n')
    said = flow("run", "--config", str(path), "--set", "run.seed=4", "--dry-run")
    assert said.returncode == 0, said.stderr
    assert f"lr = 2e-06  # {path}" in said.stdout
    assert "seed = 4  # --set" in said.stdout
    expected = load("", ["run.seed=4"], str(path))
    assert resolved("", (), Source("plan", said.stdout)).config == expected
    path.write_text("[optimizer]\nlr = 2\nlrr = 3\n")
    fault = flow("run", "--config", str(path))
    assert fault.returncode == 2
    assert fault.stderr.splitlines() == [
        f"zppo: {path}: optimizer.lr must be in (0, 1]",
        f"zppo: {path}: unknown field optimizer.lrr; did you mean optimizer.lr?",
    ]
    sweep = subprocess.run(
        [sys.executable, str(FLOW.with_name("sweep_flow.py")), "run", "--dry-run"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert sweep.stderr == (
        "zppo: --dry-run is of one run; see a member by zppo plan --scale X --method Y\n"
    )
    missing = flow("run", "--config", str(tmp_path / "none.toml"))
    assert missing.stderr.startswith("zppo: --config ")
    assert len(missing.stderr.splitlines()) == 1
