"""metrics.jsonl is always written; a tracker hears each step once and is imported only if named."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "loop"))
from scripted_world import MANY, World, changing_student

from zppo_core.algorithm.train_groups import NO_UPDATE
from zppo_core.config import load
from zppo_core.errors import UserError
from zppo_core.run import preflight
from zppo_core.run.metrics import NAMES, metrics_of
from zppo_core.run.setup import HARMLESS, open_run
from zppo_core.run.trackers import Trackers

ROOT = Path(__file__).parents[2]
SECONDS = {"plain": 1.5, "update": 0.5}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    world = World(tmp_path_factory.mktemp("world"), changing_student(), questions=MANY)
    return [world.step() for _ in range(3)]


@pytest.fixture
def run(tmp_path):
    return open_run(load("nano", [f"store.root={tmp_path}"]), "7", "a-run")


def lines(run) -> list[dict]:
    text = Path(run.store_url, run.key, "metrics.jsonl").read_text()
    return [json.loads(line) for line in text.splitlines()]


class Fake(ModuleType):
    """A tracker's package that takes down its calls."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.calls: list[tuple] = []

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)

        def call(*args, **named):
            self.calls.append((name, args, named))
            return (
                SimpleNamespace(info=SimpleNamespace(run_id="the-run")) if "run" in name else self
            )

        return call


def test_each_step_is_a_line_of_metrics(run, results) -> None:
    told = Trackers(run)
    for result in results:
        told.finished(result, SECONDS)
    found = lines(run)
    assert [line["step"] for line in found] == [0, 1, 2]
    for line, result in zip(found, results, strict=True):
        plain = [g for g in result.plain if g.kind == "plain"]
        mean = sum(g.accuracy for g in plain) / len(plain)
        assert line["accuracy/plain"] == pytest.approx(mean)
        assert line["buffer/size"] == result.buffer_size
        assert line["seconds/step"] == 2.0
        assert line["tokens/per_second"] == line["tokens/sampled"] / 2


def test_a_step_that_is_replayed_after_a_kill_is_not_told_again(run, results) -> None:
    first = Trackers(run)
    for result in results[:2]:
        first.finished(result, SECONDS)
    again = Trackers(run)
    for result in results:
        again.finished(result, SECONDS)
    assert [line["step"] for line in lines(run)] == [0, 1, 2]


def test_means_over_a_steps_updates_are_over_tokens_and_without_skipped_ones(results) -> None:
    """As the view `step_updates` has them: a mini-batch of few tokens weighs little."""
    few = replace(NO_UPDATE, loss=4.0, grad_norm=1.0, entropy=1.0, tokens=10, divisor=100)
    many = replace(NO_UPDATE, loss=1.0, grad_norm=3.0, entropy=2.0, tokens=30, divisor=200)
    lost = replace(NO_UPDATE, entropy=9.0, tokens=50, divisor=50, skipped=True)
    update = replace(results[0].update, metrics=[few, many, lost])
    told = metrics_of(replace(results[0], update=update), SECONDS)
    assert told["update/entropy"] == pytest.approx((1.0 * 10 + 2.0 * 30) / 40)
    assert told["update/loss"] == pytest.approx((4.0 * 100 + 1.0 * 200) / 300)
    assert told["update/grad_norm"] == 2.0
    assert told["update/skipped"] == 1
    assert told["tokens/trained"] == 40
    for metrics in ([], [lost]):
        update = replace(results[0].update, metrics=metrics)
        none = metrics_of(replace(results[0], update=update), SECONDS)
        assert not {"update/loss", "update/entropy", "update/grad_norm"} & none.keys()


def test_what_is_not_finite_is_left_out(results) -> None:
    lost = metrics_of(results[0], {"plain": math.inf})
    assert "seconds/step" not in lost
    assert all(map(math.isfinite, lost.values()))


@pytest.mark.parametrize(
    ("name", "module", "began", "log", "ended"),
    [
        ("wandb", "wandb", "init", "log", "finish"),
        ("trackio", "trackio", "init", "log", "finish"),
        ("mlflow", "mlflow", "start_run", "log_metrics", "end_run"),
        ("tensorboard", "torch.utils.tensorboard", "SummaryWriter", "add_scalar", "close"),
    ],
)
def test_a_tracker_hears_every_step(name, module, began, log, ended, run, results, monkeypatch):
    fake = Fake(module)
    monkeypatch.setitem(sys.modules, module, fake)
    told = Trackers(run, [name])
    for result in results:
        told.finished(result, SECONDS)
    told.close()
    called = [call for call, _, _ in fake.calls]
    assert began in called
    assert called[-1] == ended
    if name == "tensorboard":
        assert ("add_scalar", ("seconds/step", 2.0, 1), {}) in fake.calls
    else:
        logged = [(a[0], n["step"]) for call, a, n in fake.calls if call == log]
        assert [step for _, step in logged] == [0, 1, 2]
        assert logged[0][0] == metrics_of(results[0], SECONDS)
    fake.calls.clear()
    Trackers(run, [name])  # the next task goes on with the same run
    if name == "mlflow":
        assert ("start_run", (), {"run_id": "the-run", "run_name": None}) in fake.calls
    elif name != "tensorboard":
        assert fake.calls[0][2]["resume"] == "allow"


def test_no_tracker_is_imported_unless_it_is_named() -> None:
    code = "import sys, zppo_core.run.loop; print([m for m in sys.modules if m.split('.')[0] in "
    code += "('trackio', 'wandb', 'mlflow', 'tensorboard')])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "[]\n"


def test_a_tracker_that_is_not_installed_is_told_before_the_run(monkeypatch) -> None:
    config = load("nano", ["run.trackers=wandb"])
    assert config.run.trackers == ("wandb",)
    monkeypatch.setattr(preflight.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"run\.trackers=wandb needs wandb; pip install wandb"):
        preflight.check_packages(config)
    with pytest.raises(UserError, match=r"run\.trackers"):
        load("nano", ["run.trackers=wandbb"])
    assert "run.trackers" in HARMLESS  # a run that is resumed may have others


def test_the_page_lists_every_metric_with_its_unit(results) -> None:
    page = (ROOT / "docs" / "metrics.md").read_text()
    rows = dict(re.findall(r"^\| `([^`]+)` \| ([^|]+) \|", page, re.MULTILINE))
    assert rows == {name: unit for name, (unit, _) in NAMES.items()}
    for name in metrics_of(results[-1], SECONDS):
        head, _, tail = name.partition("/")
        assert name in NAMES or f"{head}/{'PHASE' if head == 'seconds' else 'KIND'}" in NAMES, tail


def test_groups_are_counted_by_kind_and_tokens_without_what_was_given(results) -> None:
    result = results[0]
    first, *rest = result.plain
    one, *others = first.completions
    cut = replace(one, finish="length", forced=2)
    plain = (replace(first, completions=(cut, *others)), *rest)
    told = metrics_of(replace(result, plain=plain), SECONDS)
    for kind in ("plain", "bcq", "ncq"):
        groups = [g for g in (*plain, *result.augmented) if g.kind == kind]
        lengths = [len(c.token_ids_T) for g in groups for c in g.completions]
        assert told[f"groups/{kind}"] == len(groups) > 0
        assert told[f"length/{kind}"] == pytest.approx(sum(lengths) / len(lengths))
        rewards = [grade.reward for g in groups for grade in g.grades]
        assert told[f"accuracy/{kind}"] == pytest.approx(sum(rewards) / len(rewards))
    responses = sum(len(g.completions) for g in plain if g.kind == "plain")
    assert told["truncated/plain"] == pytest.approx(1 / responses)
    assert told["truncated/bcq"] == 0
    whole = metrics_of(result, SECONDS)["tokens/sampled"]
    assert told["tokens/sampled"] == whole - 2
    everyone = (*result.plain, *result.augmented)
    assert whole == sum(len(c.token_ids_T) for g in everyone for c in g.completions)
