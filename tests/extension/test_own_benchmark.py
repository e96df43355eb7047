"""A benchmark is one file, from outside the package too."""

import json
from pathlib import Path

import pytest
from lm_eval.tasks import TaskManager
from short_run import ROOT

from eval import harness
from eval.lm_eval_task import BenchmarkTask, write_tasks
from eval.protocol import Evaluator
from eval.suite import SUITES, benchmarks, find
from zppo_core.config import EvaluationConfig
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader

FILE = ROOT / "examples" / "capitals.py"
SUITE = f"{FILE}:BENCHMARK"
ROWS = {"France": "Paris", "Peru": "Lima", "Ghana": "Accra"}


@pytest.fixture
def source(tmp_path: Path) -> str:
    folder = tmp_path / "data" / "capitals"
    folder.mkdir(parents=True)
    lines = [json.dumps({"country": c, "capital": name}) for c, name in ROWS.items()]
    (folder / "test.jsonl").write_text("\n".join(lines))
    return str(folder.parent)


def evaluator(source: str, **more: str) -> Evaluator:
    protocol = EvaluationConfig(suite=SUITE, source=source, **more)
    return Evaluator(protocol, Templates(), Grader())


def test_a_benchmark_of_ones_own_is_asked_and_scored_by_its_own_rule(source) -> None:
    asked: list[str] = []

    def answer(prompt, member):
        asked.append(prompt.text)
        said = (
            "PARIS it is" if "France" in prompt.text else "Lima" if "Peru" in prompt.text else "?"
        )
        return rf"hm</think>\boxed{{{said}}}"

    record = find(SUITE, "Capitals")
    engine = ScriptedEngine(answer)
    samples, score = harness.evaluate(engine, record, evaluator(source), thinking=True)
    assert sorted(t.splitlines()[0] for t in asked) == [
        f"What is the capital of {c}?" for c in sorted(ROWS)
    ]
    assert [s.score for s in samples] == [1.0, 1.0, 0.0]
    assert score.score == pytest.approx(2 / 3)
    assert score.missing_reason is None


def test_it_may_stand_beside_suites_and_changes_their_scores_key_alone(source, tmp_path) -> None:
    names = [b.name for b in benchmarks(f"nano,{SUITE},MMLU")]
    assert names == [*(b.name for b in SUITES["nano"]), "Capitals", "MMLU"]
    copy = tmp_path / "capitals.py"
    copy.write_text(FILE.read_text())
    other = Evaluator(EvaluationConfig(suite=f"{copy}:BENCHMARK"), Templates(), Grader())
    assert other.key(True) == evaluator(source).key(True)  # the same content
    changed = tmp_path / "changed.py"
    changed.write_text(FILE.read_text().replace("What is", "Which is"))
    other = Evaluator(EvaluationConfig(suite=f"{changed}:BENCHMARK"), Templates(), Grader())
    assert other.key(True) != evaluator(source).key(True)


def test_a_prompt_folder_replaces_its_template(source, tmp_path) -> None:
    (tmp_path / "capitals.jinja").write_text("Capital of {{ country }}:")
    engine = ScriptedEngine(lambda p, m: rf"</think>\boxed{{{p.text}}}")
    protocol = evaluator(source, settings=f"prompts={tmp_path}")
    samples, _ = harness.evaluate(engine, find(SUITE, "Capitals"), protocol, thinking=True)
    assert all("Capital of" in s.output for s in samples)


def test_lm_eval_loads_it_from_the_file_that_is_made_of_its_record(source, tmp_path) -> None:
    (path,) = write_tasks(tmp_path / "tasks", SUITE)
    assert path.name == "zppo_capitals.yaml"
    manager = TaskManager(
        include_path=str(path.parent), include_defaults=False, metadata={"source": source}
    )
    loaded = manager.load(["zppo_capitals"])["tasks"]["zppo_capitals"]
    assert isinstance(loaded, BenchmarkTask)
    assert [doc["gold"] for doc in loaded.test_docs()] == list(ROWS.values())


def test_what_is_no_benchmark_is_one_line() -> None:
    with pytest.raises(UserError, match="is no benchmark: it is"):
        benchmarks(f"{FILE}:PROMPT")
    with pytest.raises(UserError, match="cannot import"):
        benchmarks(f"nano,{FILE}:NONE")
