"""A method is one record, from outside the package too."""

import pytest
from short_run import ROOT, rows, short_run

from zppo_core.config import load
from zppo_core.config.methods import METHODS
from zppo_core.errors import UserError
from zppo_core.run.sweep import members, plan

FILE = ROOT / "examples" / "bcq_then_hint.py"


def test_a_method_of_ones_own_runs_under_its_own_name(tmp_path) -> None:
    before = dict(METHODS)
    run = short_run(tmp_path, run__method=f"{FILE}:METHOD", teacher__rollouts=6)
    assert run.key == "nano-bcq_then_hint-s0-test"
    kinds = {g["kind"] for g in rows(run, "augmented", "groups")}
    assert kinds == {"bcq", "hint"}
    assert before == METHODS  # nothing was registered


def test_a_method_is_found_by_module_where_its_folder_is_in_the_path(monkeypatch) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    config = load("nano", ["run.method=bcq_then_hint:METHOD"])
    assert config.run.method == "bcq_then_hint:METHOD"


def test_a_sweep_takes_a_method_of_ones_own_beside_the_papers() -> None:
    sweep = plan("", "mine", f"zppo,{FILE}:METHOD", "nano", "1", "")
    names = [member.name for member in members(sweep)]
    assert names == ["mine-nano-zppo-s1", "mine-nano-bcq_then_hint-s1"]


def test_what_is_no_method_is_one_line_as_the_configuration_is_read() -> None:
    with pytest.raises(UserError, match="is no method: it is "):
        load("nano", [f"run.method={FILE}:__doc__"])
    with pytest.raises(UserError, match="cannot import"):
        load("nano", [f"run.method={FILE}:NONE"])
    with pytest.raises(UserError, match=r"unknown method 'zpo'; did you mean 'zppo'\?"):
        load("nano", ["run.method=zpo"])
