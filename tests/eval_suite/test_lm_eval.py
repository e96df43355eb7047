"""The benchmarks as tasks of lm-eval, from its own command line and with its own models."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
import yaml

from eval import fixtures, harness
from eval.engines import ModelSpec
from eval.lm_eval_model import EngineLM, sampling_of
from eval.lm_eval_task import BenchmarkTask, task_name, write_tasks
from eval.protocol import EvalSample, Evaluator
from eval.suite import SUITES
from zppo_core import models
from zppo_core.config import EvaluationConfig
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.errors import UserError
from zppo_core.models.nano import resolve
from zppo_core.prompts import Templates
from zppo_core.protocols import Sampling
from zppo_core.rewards.grader import Grader

PAPER = {b.name: b for b in SUITES["paper31"]}


class Tagged(yaml.SafeLoader):
    """YAML with lm-eval's !function as plain text."""


Tagged.add_constructor("!function", lambda loader, node: node.value)


def test_every_benchmark_gets_its_file(tmp_path):
    found = {}
    for path in write_tasks(tmp_path / "tasks"):
        content = yaml.load(path.read_text(), Tagged)  # a SafeLoader, on files of ours
        assert path.stem == content["task"]
        assert content["class"] == "eval.lm_eval_task.BenchmarkTask"
        record = PAPER[content["benchmark"]]
        assert content["tag"] == ["zppo_paper31", f"zppo_{record.family.lower()}"]
        found[record.name] = content["task"]
    assert found == {name: task_name(record) for name, record in PAPER.items()}
    assert len(found) == len(list((tmp_path / "tasks").iterdir())) == 31
    # what lm-eval logs and users' scripts name
    assert (tmp_path / "tasks" / "zppo_videomme_subtitles.yaml").read_text() == (
        "task: zppo_videomme_subtitles\n"
        "tag: [zppo_paper31, zppo_video]\n"
        "class: !function eval.lm_eval_task.BenchmarkTask\n"
        "benchmark: VMMES\n"
    )


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fixtures")
    fixtures.build(folder, ["MMLU-Pro", "AI2D", "DynaM"])
    return str(folder)


def lm_eval(
    python: str,
    folder: Path,
    source: str,
    *arguments: str,
    module: str = "eval.lm_eval_model",
    **metadata: object,
) -> dict:
    include = []
    if module == "lm_eval":  # our own way to it knows our tasks
        write_tasks(folder / "tasks")
        include = ["--include_path", str(folder / "tasks")]
    command = [
        python,
        "-m",
        module,
        "run",
        *include,
        "--metadata",
        json.dumps({"source": source} | metadata),
        "--log_samples",
        "--output_path",
        str(folder),
        *arguments,
    ]
    # lm-eval asks the hub for a tokenizer's name
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    (results,) = folder.rglob("results_*.json")
    logged = {
        p.name.split("_2")[0].removeprefix("samples_"): p.read_text()
        for p in folder.rglob("samples_*.jsonl")
    }
    return json.loads(results.read_text()) | {"logged": logged}


def test_the_command_line_and_our_harness_agree_on_every_answer_and_score(
    tmp_path, source, warm_python
):
    """The same questions, decoding and seeds: the same answers; one total plain, one grouped."""
    found = lm_eval(
        warm_python,
        tmp_path,
        source,
        "--model",
        "zppo",
        "--tasks",
        "zppo_mmlu_pro,zppo_dynamath",
        "--model_args",
        "model=nano:student,dtype=float32,device=cpu,thinking=false",
        "--gen_kwargs",
        "max_gen_toks=24",
    )
    import torch

    model, renderer = models.load("nano:student", torch.float32, "cpu")
    engine = HfEngine(model, renderer, "student")
    protocol = EvaluationConfig(source=source, max_tokens=24)
    evaluator = Evaluator(protocol, Templates(), Grader())
    for name, metric in (("MMLU-Pro", "score,marked"), ("DynaM", "score,marked")):
        samples, score = harness.evaluate(engine, PAPER[name], evaluator, False)
        task = task_name(PAPER[name])
        lines = [json.loads(line) for line in found["logged"][task].splitlines()]
        assert [line["detail"]["output"] for line in lines] == [s.output for s in samples]
        assert [line["detail"]["score"] for line in lines] == [s.score for s in samples]
        assert found["results"][task][metric] == pytest.approx(score.score)
        # of DynaM's worst case too, of which lm-eval knows none
        assert found["results"][task]["score_stderr,marked"] == pytest.approx(score.stderr)
        assert found["results"][task]["unparsed,marked"] == score.unparsed / score.n
        assert len({s.output for s in samples}) > 1


def test_models_of_lm_evals_own_take_our_tasks(tmp_path, source, warm_python):
    found = lm_eval(
        warm_python,
        tmp_path,
        source,
        "--model",
        "dummy",
        "--tasks",
        "zppo_mmlu_pro",
        module="lm_eval",
    )
    assert found["results"]["zppo_mmlu_pro"]["score,marked"] == 0.0
    assert found["results"]["zppo_mmlu_pro"]["score_stderr,marked"] == 0.0


def test_lm_evals_standard_error_is_that_of_clusters(source, monkeypatch):
    """Its own, of independent samples, would stand there: the five questions of a chart."""
    from lm_eval.api.metrics import mean_stderr
    from lm_eval.evaluator_utils import _compute_task_aggregations

    task = BenchmarkTask({"benchmark": "DynaM", "metadata": {"source": source}})
    monkeypatch.setattr(BenchmarkTask, "_total", "pooled")
    raw: dict[tuple[str, str], list[object]] = {}
    for doc in task.test_docs():
        sample = doc.sample
        made = EvalSample(
            sample.id,
            "",
            "",
            "",
            "box",
            "text",
            "5",
            float(sample.id.startswith("0/")),
            "",
            1,
            cluster=sample.cluster(),
        )
        for metric, value in task.process_results(doc, [made]).items():
            raw.setdefault((metric, "marked"), []).append(value)
    found, n = _compute_task_aggregations(task, raw)
    scores = raw["score", "marked"]
    assert (n, found["score,marked"]) == (30, pytest.approx(1 / 3))
    # three questions, of which one is right ten times
    assert found["score_stderr,marked"] == pytest.approx(1 / 3)
    assert found["score_stderr,marked"] > 3 * mean_stderr(scores)


@pytest.mark.parametrize(
    ("thinking", "reply", "answer"),
    [
        (True, "so it has to be B", None),
        (True, "so</think>B", "B"),
        (True, r"so \boxed{B}", "B"),
        (False, r"so \boxed{B}", "B"),
        (False, "B", "B"),
        (None, "so it has to be B", None),
    ],
)
def test_a_thought_without_end_is_no_answer_of_a_model_of_lm_evals_own(
    source, thinking, reply, answer
):
    """The closer asks for a thought; a plain string does not say whether it was one."""
    about = {"source": source} | ({} if thinking is None else {"thinking": thinking})
    task = BenchmarkTask({"benchmark": "MMLU-Pro", "metadata": about})
    task.build_all_requests()
    for instance in task.instances:
        instance.resps = [reply]
    task.apply_filters()
    assert {s.answer for s in task.scored} == {answer}
    assert {s.outcome == "unfinished" for s in task.scored} == {answer is None}


def test_thinking_is_the_papers_unless_it_is_given(monkeypatch):
    monkeypatch.setattr(ModelSpec, "open", lambda spec: ScriptedEngine(lambda p, m: ""))
    assert EngineLM(ScriptedEngine(lambda p, m: "")).thinking
    for said, thinking in (("", True), (",thinking=false", False), (",thinking=true", True)):
        made = EngineLM.create_from_arg_string(f"model=nano:student{said}")
        assert made.thinking is thinking
    with pytest.raises(UserError, match="true or false"):
        EngineLM.create_from_arg_string("model=nano:student,thinking=off")
    with pytest.raises(UserError, match="true or false"):
        BenchmarkTask({"benchmark": "MMLU-Pro", "metadata": {"thinking": "off"}})


def test_transformers_by_lm_eval_alone_takes_our_text_tasks(tmp_path, source, warm_python):
    """Its generate() knows no presence penalty: the protocol goes without."""
    # by lm-eval's own enable_thinking it would cut the thought off, and its end with it
    arguments = json.dumps(
        {
            "pretrained": str(resolve("nano:student")),
            "dtype": "float32",
            "chat_template_args": {"enable_thinking": True},
        }
    )
    found = lm_eval(
        warm_python,
        tmp_path,
        source,
        "--model",
        "hf",
        "--model_args",
        arguments,
        "--device",
        "cpu",
        "--apply_chat_template",
        "--tasks",
        "zppo_mmlu_pro",
        "--gen_kwargs",
        "max_gen_toks=8",
        module="lm_eval",
        protocol={"presence_penalty": 0.0},
    )
    lines = [json.loads(line) for line in found["logged"]["zppo_mmlu_pro"].splitlines()]
    assert any(line["detail"]["output"] for line in lines)
    asked = [json.dumps(line["arguments"]) for line in lines]
    assert all(r"<|im_start|>assistant\n<think>\n" in text for text in asked)
    assert not any("</think>\\n\\n" in text.rpartition("assistant")[2] for text in asked)


def test_lm_evals_cache_of_responses_serves_pictures_too(tmp_path, source, warm_python):
    arguments = (
        "--model",
        "zppo",
        "--tasks",
        "zppo_ai2d",
        "--model_args",
        "model=nano:student,dtype=float32,device=cpu",
        "--gen_kwargs",
        "max_gen_toks=8,do_sample=False",
        "--use_cache",
        str(tmp_path / "cache"),
    )
    settings = {"settings": "min_pixels=256;max_pixels=4096"}
    said = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        found = lm_eval(warm_python, tmp_path / name, source, *arguments, **settings)
        lines = [json.loads(line) for line in found["logged"]["zppo_ai2d"].splitlines()]
        said.append([line["detail"] for line in lines])
    # the seconds of the first run return with its answers: nothing was asked again
    assert said[0] == said[1]
    assert len({line["seconds"] for line in said[0]}) == 1


def test_generation_arguments_become_our_decoding():
    assert sampling_of({"max_gen_toks": 5, "do_sample": False, "temperature": 0.7}) == Sampling(
        5, temperature=0.0
    )
    given = {
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
        "top_k": 20,
        "min_p": 0.1,
        "presence_penalty": 1.5,
        "repetition_penalty": 1.1,
        "max_gen_toks": 7,
    }
    assert sampling_of(given) == Sampling(7, 1, 0.6, 0.95, 20, 0.1, 1.5, 1.1)


def test_our_model_serves_other_tasks_with_their_stop_strings():
    from lm_eval.api.instance import Instance

    engine = ScriptedEngine(lambda p, m: f"{p.text}\nQ: more")
    request = Instance("generate_until", {"a": 1}, ("two", {"until": ["\nQ:"]}), 0)
    assert EngineLM(engine).generate_until([request]) == ["two"]
    with pytest.raises(UserError, match="generates only"):
        EngineLM(engine).loglikelihood([request])


def test_faulty_model_arguments_are_named():
    with pytest.raises(UserError, match="pretrain"):
        EngineLM.create_from_arg_string("pretrain=x")
    with pytest.raises(UserError, match="model="):
        EngineLM.create_from_arg_string("thinking=true")
