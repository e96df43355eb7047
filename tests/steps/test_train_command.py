"""`zppo train`: the options of a run, handed to the pipeline that needs no Metaflow."""

from __future__ import annotations

from types import SimpleNamespace

import eval.pipeline
from steps import train


def test_options_decide_the_configuration_and_the_name(monkeypatch, tmp_path, capsys):
    given = {}

    def run(config, name):
        given[name] = config
        return SimpleNamespace(summary="the summary of the run")

    monkeypatch.setattr(eval.pipeline, "train", run)
    monkeypatch.setattr(train, "summary_text", str)
    file = tmp_path / "own.toml"
    file.write_text("scale = 'zone'\n[optimizer]\nlr = 1e-3\n[run]\nseed = 7\n")
    options = ["--config", str(file), "--method", "grpo", "--seed", "3", "--name", "one"]
    assert train.main([*options, "--set", "optimizer.lr=2e-3;rollout.max_tokens=9"]) == 0
    config = given["one"]
    assert (config.data.source, config.run.method, config.run.seed) == ("zone", "grpo", 3)
    assert (config.optimizer.lr, config.rollout.max_tokens) == (2e-3, 9)
    assert capsys.readouterr().out == "the summary of the run\n"


def test_a_fault_is_one_line_before_anything_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(eval.pipeline, "train", None)
    for options in (["--config", str(tmp_path / "none.toml")], ["--set", "optimizer.lrr=1"]):
        assert train.main(options) == 2
        assert len(capsys.readouterr().err.splitlines()) == 1
