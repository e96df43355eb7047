"""`zppo mechanism`: a run is played again unchanged, and its cosines say what a step would do."""

from __future__ import annotations

import sys
from dataclasses import astuple, replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from whole_run import opened, trained

from eval.report import mechanism
from eval.report.mechanism_files import read
from eval.report.mechanism_page import CATEGORIES
from zppo_core.algorithm.rollouts import plain_ask
from zppo_core.errors import UserError
from zppo_core.run.spec import Run

ZONE = {
    "data.source": "zone",
    "student.model": "nano:zone-student",
    "teacher.model": "nano:zone-teacher",
    "rollout.max_tokens": 48,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    """Two rollout steps in the world of the zone."""
    run = opened(tmp_path_factory.mktemp("mechanism"), ZONE)
    trained(run)
    return run


def test_a_run_comes_out_the_same_and_nothing_of_it_is_touched(run, tmp_path, capsys) -> None:
    before = {e.key for e in run.store.entries()}
    out = tmp_path / "findings.json"
    options = ["--every", "1", "--questions", "1", "--out", str(out)]
    assert mechanism.main([f"{run.store_url}/{run.key}", *options]) == 0
    said = capsys.readouterr().out
    assert "Weights after the last step: the run's own in 1 of 1." in said
    assert {e.key for e in run.store.entries()} == before

    findings = read(out)
    assert findings.same
    assert {s.step for s in findings.shares} == {0, 1}
    assert {s.kind for s in findings.shares} & {"bcq", "ncq"}
    assert all(s.norm > 0 and s.groups > 0 for s in findings.shares)
    assert findings.transfers
    for transfer in findings.transfers:
        cosines = list(astuple(transfer)[3:])
        assert all(-1 <= c <= 1 for c in cosines if c is not None)
    plain = {
        c.category: c.probability for c in findings.chances if (c.step, c.asked) == (0, "plain")
    }
    assert min(plain[k] for k in CATEGORIES["easy"]) > 0.9
    assert max(plain[k] for k in CATEGORIES["hard"]) < 1e-4
    shown = {c.category: c.probability for c in findings.chances if (c.step, c.asked) == (0, "bcq")}
    assert np.mean([shown[k] for k in CATEGORIES["hard"]]) > 0.1
    assert {c.step for c in findings.chances} == {0, 1, 2}


def test_a_cosine_says_how_a_small_step_changes_the_plain_log_probability(run, monkeypatch) -> None:
    """Finite differences, on the first reformulated group of the run."""
    compared = []

    def look(probe: mechanism.Probe, groups) -> None:
        session, trainer = probe.session, probe.trainer
        group = next(g for g in groups if g.kind in ("bcq", "ncq") and mechanism._right(g))
        question = session.corpus[group.uid.split("/")[1]]
        ask = plain_ask(question, "plain", session.roles, session.config)
        right = mechanism._right(group)
        plain = replace(group, prompt=session.roles.encode(ask.prompt), suffixes=right)

        def surprise() -> float:
            scores = trainer.score([plain])[0]
            logp = [s[x.mask_T] for s, x in zip(scores, right, strict=True)]
            return -float(np.concatenate(logp).astype(np.float64).mean())

        g, d = probe._gradient(group, None), probe._gradient(plain, None)
        length = 0.002
        weights = list(trainer.masters.tensors.values())
        kept = [w.detach().clone() for w in weights]
        values = []
        for sign in (1, -1):
            step = (sign * length * g / g.norm()).split([w.numel() for w in weights])
            with torch.no_grad():
                for w, k, part in zip(weights, kept, step, strict=True):
                    w.copy_(k - part.view_as(w))
            values.append(surprise())
        with torch.no_grad():
            for w, k in zip(weights, kept, strict=True):
                w.copy_(k)
        compared.append(((values[1] - values[0]) / (2 * length), mechanism._cosine(g, d), d.norm()))

    monkeypatch.setattr(mechanism.Probe, "_look", look)
    assert mechanism.mechanism(run, every=2, questions=1).same
    ((slope, cosine, norm),) = compared
    assert abs(cosine) > 0.02
    assert slope == pytest.approx(cosine * float(norm), rel=0.05)


def test_a_run_that_cannot_be_played_is_one_line(run) -> None:
    with pytest.raises(UserError, match="has no checkpoint"):
        mechanism.mechanism(replace(run, key="nobody"))
    once = replace(run.config, optimizer=replace(run.config.optimizer, updates=1))
    with pytest.raises(UserError, match="updates is 1"):
        mechanism.mechanism(replace(run, config=once))


def test_a_damaged_file_is_one_line(tmp_path) -> None:
    path = tmp_path / "findings.json"
    path.write_text('{"run": "x"}')
    with pytest.raises(UserError, match="cannot be read"):
        read(path)
