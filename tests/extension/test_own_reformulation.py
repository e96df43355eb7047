"""A reformulation is one file and its template, from outside the package too."""

import json

import pytest
from short_run import ROOT, rows, short_run

from zppo_core.algorithm import reformulations
from zppo_core.algorithm.reformulations import NAMES, find
from zppo_core.config import load
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.run.preflight import check

FILE = ROOT / "examples" / "one_wrong.py"


def test_a_reformulation_of_ones_own_is_planned_written_sampled_and_trained_on(tmp_path) -> None:
    run = short_run(tmp_path, run__method=f"{FILE}:METHOD")
    assert run.key.startswith("nano-zppo_one_wrong-s0")
    asks = json.loads((run.journal.read("step-000000/reformulate") or {})["asks.json"])
    mine = [a for a in asks if a["kind"] == "one_wrong"]
    assert mine
    for ask in mine:
        assert "is wrong. Find its first fault" in ask["text"]
        (wrong,) = ask["negatives"]
        assert f"<candidate>\n{wrong['text']}\n</candidate>" in ask["text"]
    groups = rows(run, "augmented", "groups")
    assert {g["kind"] for g in groups} == {a["kind"] for a in asks}
    kinds = {r["kind"]: r for r in rows(run, "update", "step_kinds")}
    assert kinds["one_wrong"]["groups"] == len(mine)
    assert kinds["one_wrong"]["tokens"] > 0


def test_a_prompt_folder_replaces_the_template_of_a_reformulation_from_outside(tmp_path) -> None:
    (tmp_path / "one_wrong.jinja").write_text("{{ question }} {{ nothing }}")
    method = f"run.method={FILE}:METHOD"
    check(load("nano", [method]))
    with pytest.raises(UserError, match=r"one_wrong\.jinja, line 1: 'nothing' is undefined"):
        check(load("nano", [method, f"data.prompts={tmp_path}"]))


def test_the_papers_kinds_are_files_of_one_folder() -> None:
    assert {find(name).name for name in NAMES} == set(NAMES) >= {"bcq", "ncq", "hint", "prefix"}
    with pytest.raises(UserError, match=r"unknown reformulation 'bqc'; did you mean 'bcq'\?"):
        find("bqc")


def test_two_kinds_of_one_name_are_refused() -> None:
    twice = ("ncq", f"{FILE}:REFORMULATION", f"{FILE}:REFORMULATION")
    with pytest.raises(UserError, match="two kinds of groups are named 'one_wrong'"):
        reformulations.check(twice, Templates())


def test_what_is_no_reformulation_is_one_line_before_a_run() -> None:
    with pytest.raises(UserError, match="is no reformulation: it is 'zppo_core"):
        find("zppo_core.algorithm.reformulations.bcq:__name__")
    with pytest.raises(UserError, match=r"cannot import 'no\.such\.module:KIND'"):
        find("no.such.module:KIND")
