import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch

from eval.models import judge_engine, name_of, named_model
from zppo_core import models
from zppo_core.config import load
from zppo_core.engines import factory as engines
from zppo_core.engines import openai, vllm_kind
from zppo_core.engines.base import BaseEngine
from zppo_core.engines.hf import HfEngine
from zppo_core.errors import UserError
from zppo_core.models.memory import ROOM
from zppo_core.processes.machine import code_version
from zppo_core.protocols import Sampling
from zppo_core.records.phases import Clock
from zppo_core.run.session import TimedLearner, open_session
from zppo_core.store.objects import LocalStore, open_store
from zppo_core.store.teacher_cache import Memo
from zppo_core.types import Prompt


@pytest.fixture
def endpoint() -> Iterator[str]:
    """A teacher that always answers \\boxed{7}."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.say({"data": [{"id": "nano:teacher"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            message = {"content": r"\boxed{7}"}
            self.say({"choices": [{"index": i, "message": message} for i in range(body["n"])]})

        def say(self, content: Any) -> None:
            data = json.dumps(content).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    server.server_close()


def test_a_teacher_behind_an_endpoint_takes_the_place_of_the_local_one(endpoint, tmp_path) -> None:
    sets = ["data.train_questions=64", f"teacher.endpoint={endpoint}", "teacher.concurrency=3"]
    world = open_session(load("nano", sets), open_store(str(tmp_path)), lambda phase: None)
    (teacher,) = world.roles.teachers
    assert (teacher.name, world.teacher_params) == ("nano:teacher", 0)
    made = teacher.generate([Prompt("a"), Prompt("b")], Sampling(9, n=2), [0, 1])
    assert [[c.text for c in g] for g in made] == [[r"\boxed{7}"] * 2] * 2
    # the student's tokenizer counts what it said
    assert made[0][0].token_ids_T.tolist() == world.renderer.encode_text(r"\boxed{7}")


def test_a_missing_endpoint_or_model_is_one_line(endpoint, monkeypatch) -> None:
    monkeypatch.setattr(openai, "BACKOFF", 0.0)
    wrong = load("nano", [f"teacher.endpoint={endpoint}", "teacher.model=other"])
    with pytest.raises(UserError, match="serves no model 'other'"):
        engines.teachers(wrong, models.load_renderer("nano:student", 0, True))
    nobody = load("nano", ["teacher.endpoint=http://127.0.0.1:9/v1"])
    with pytest.raises(UserError, match="cannot reach"):
        engines.teachers(nobody, models.load_renderer("nano:student", 0, True))


@pytest.mark.parametrize(
    ("sets", "says"),
    [
        (["teacher.endpoint=gpu:8000"], "http://host:8000/v1"),
        (["teacher.endpoint=http://h/v1", "run.method=on_distill"], "leave teacher.endpoint empty"),
        (["teacher.concurrency=0"], "teacher.concurrency"),
        (["compute.engine_memory=1.5"], r"must be in \(0, 1\)"),
        (["compute.engine=sglang"], "one of hf, vllm"),
    ],
)
def test_faults_of_the_configuration(sets: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        load("nano", sets)


def test_transformers_engines_share_the_models() -> None:
    config = load("nano")
    model, renderer = models.load("nano:student", torch.float32)
    student = engines.student_engine(config, model, renderer)
    assert isinstance(student, HfEngine)
    assert student.model is model
    (teacher,) = engines.teachers(config, renderer)
    assert teacher.engine.name == models.weights_name(teacher.model)
    vocab = teacher.model.get_output_embeddings().weight.shape[0]
    assert models.shape("nano:teacher") == (teacher.parameters, vocab, True)
    assert engines.teachers(load("nano", ["run.method=grpo"]), renderer) == []


class Recorded(BaseEngine):
    """Stands for VllmEngine: keeps what it was made with."""

    def __init__(
        self, model: str, renderer: Any, name: str = "", version: int = 0, **settings: Any
    ) -> None:
        self.model, self.name, self.version, self.settings = model, name, version, settings
        self.closed = 0

    def generate(self, *_: object) -> Any:
        """These tests only open engines."""
        raise AssertionError("nothing is to be asked")

    def close(self) -> None:
        self.closed += 1


def test_vllm_engines_have_a_gpu_each_and_the_teacher_its_own(monkeypatch) -> None:
    monkeypatch.setattr("zppo_core.engines.vllm.VllmEngine", Recorded)
    sets = ["student.model=nano:student", "teacher.model=nano:teacher"]
    renderer = models.load_renderer("nano:student", 0, True)
    paper = load("4B", sets)
    pool: Any = engines.student_engine(paper, None, renderer)
    assert [e.settings["devices"] for e in pool.engines] == ["0", "1", "2", "3", "4", "5"]
    made: Any = engines.teachers(paper, renderer)[0]
    teacher = made.engine.settings
    assert (teacher["devices"], teacher["tensor_parallel_size"]) == ("6,7", 2)
    assert teacher["gpu_memory_utilization"] == 0.9
    assert teacher["max_model_len"] == 4096 + 16 * 512 + ROOM + 12288
    assert made.parameters > 100_000
    shared = load("4B", [*sets, "compute.student_gpus=1", "compute.teacher_gpus=0"])
    student: Any = engines.student_engine(shared, None, renderer)
    assert student.settings["gpu_memory_utilization"] == 0.4
    assert "devices" not in student.settings
    beside: Any = engines.teachers(shared, renderer)[0].engine
    assert (beside.settings["devices"], beside.settings["gpu_memory_utilization"]) == ("", 0.4)
    cpu: Any = engines.student_engine(load("nano", ["compute.engine=vllm"]), None, renderer)
    assert cpu.settings == {"max_model_len": 4096 + 16 * 64 + ROOM + 64}
    # benchmarks: the paper's context if the model takes it, and nobody else on the GPU
    monkeypatch.setattr(models, "context", {"nano:student": 300_000, "nano:teacher": 32_768}.get)
    for run, memory in ((paper, 0.9), (shared, 0.4)):
        asked: Any = engines.evaluation_engine(run)
        settings = (asked.engines[0] if run is paper else asked).settings
        assert settings["max_model_len"] == 262_144
        assert settings["gpu_memory_utilization"] == memory
    examined: Any = engines.teacher_engine(paper)
    assert examined.settings["max_model_len"] == 32_768
    # distillation in this process needs the weights themselves
    distil = load("nano", ["compute.engine=vllm", "run.method=on_distill"])
    assert engines.teachers(distil, renderer, near=True)[0].model is not None
    assert engines.teachers(distil, renderer)[0].model is None


@pytest.mark.parametrize(
    ("place", "share"), [([], 0.9), (["compute.student_gpus=1", "compute.teacher_gpus=0"], 0.4)]
)
def test_teachers_of_the_same_gpus_share_them(monkeypatch, place: list[str], share: float) -> None:
    monkeypatch.setattr("zppo_core.engines.vllm.VllmEngine", Recorded)
    sets = ["student.model=nano:student", "teacher.model=nano:teacher", *place]
    several = ["run.method=zppo_teachers", "teacher.more_models=nano:student,nano:teacher"]
    config = load("4B", [*sets, *several])
    made: Any = engines.teachers(config, models.load_renderer("nano:student", 0, True))
    given = [teacher.engine.settings["gpu_memory_utilization"] for teacher in made]
    assert given == [pytest.approx(share / 3)] * 3
    # a benchmark has the first alone
    monkeypatch.setattr(models, "context", lambda name: 32_768)
    examined: Any = engines.teacher_engine(config)
    assert examined.settings["gpu_memory_utilization"] == share


def test_a_trained_student_with_tied_weights_is_evaluated_by_their_one_name(monkeypatch) -> None:
    """0.8B, 2B and 4B are tied: vLLM's model has no head of its own to take lm_head.weight."""
    given: list[str] = []

    class Takes(Recorded):
        def load_weights(self, weights: Any, version: int) -> None:
            given.extend(weights)

    monkeypatch.setattr("zppo_core.engines.vllm.VllmEngine", Takes)
    model, _ = models.load("nano:student", torch.float32)
    model.lm_head.weight = model.get_input_embeddings().weight
    assert "lm_head.weight" in model.state_dict()
    engines.evaluation_engine(load("nano", ["compute.engine=vllm"]), model)
    assert "model.language_model.embed_tokens.weight" in given
    assert "lm_head.weight" not in given


def test_engines_on_the_trainers_gpu_sleep_while_it_works() -> None:
    order: list[str] = []

    class Sleeper:
        def sleep(self, replaced: bool = False) -> None:
            order.append("sleep, weights dropped" if replaced else "sleep")

    class Works:
        def score(self, groups: Any) -> None:
            order.append("score")

        def update(self, groups: Any, tokens: int | None = None) -> None:
            order.append("update")

    student, teacher = Sleeper(), Sleeper()
    learner = TimedLearner(Works(), Clock(), [student, teacher], student)  # type: ignore[arg-type]
    learner.score([])
    learner.update([])
    both = ["sleep, weights dropped", "sleep"]  # the student's come anew, the teacher's never
    assert order == [*both, "score", *both, "update"]


@pytest.mark.parametrize("method", ["grpo", "zppo"])
def test_free_form_gold_answers_go_to_the_teacher_as_judge_for_every_method(
    tmp_path: Path, method: str
) -> None:
    rows = [
        {"question": "Why?", "answer": "scattering of light", "free": True},
        {"question": "What is 2 + 2?", "answer": "4", "free": False},
    ]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    sets = [f"run.method={method}", f"data.source={tmp_path}/own.jsonl", "data.columns=judged=free"]
    store = open_store(str(tmp_path / "cache"))
    world = open_session(load("nano", sets), store, lambda phase: lambda done, total: None)
    assert len(world.roles.teachers) == (method == "zppo")
    why, sum_ = world.corpus["row-0000000"], world.corpus["row-0000001"]
    pairs = [(why, r"\boxed{magic}"), (sum_, r"\boxed{2+2}"), (sum_, r"\boxed{5}"), (why, "none")]
    graded = world.roles.grading.grade_all(pairs)
    assert [g.outcome for g in graded[1:]] == ["correct", "wrong", "no_box"]
    (verdict,) = [k for k in store.list() if k.startswith("memo/verdict/")]
    judge = world.roles.grading.judge
    prompt = Prompt(world.roles.templates.judge("Why?", why.gold, "magic"), thinking=False)
    assert verdict.endswith(Memo(store)._key("verdict", [judge.engine.name, prompt.digest()])[-40:])


def test_a_corpus_without_free_form_gold_answers_loads_no_judge(tmp_path: Path) -> None:
    config = load("nano", ["run.method=grpo"])
    world = open_session(config, open_store(str(tmp_path)), lambda phase: lambda done, total: None)
    assert world.roles.grading.judge is None
    assert engines.teachers(config, world.renderer) == []


def test_an_evaluated_model_and_a_local_judge_have_gpus_of_their_own(monkeypatch) -> None:
    monkeypatch.setattr("zppo_core.engines.vllm.VllmEngine", Recorded)
    monkeypatch.setattr(models, "context", lambda name: 262_144)
    config = load(
        "4B",
        [
            "student.model=nano:student",
            "evaluation.judge=nano:teacher",
            "teacher.endpoint=http://host:1/v1",
        ],
    )
    scored_model = named_model("mine", config)
    assert scored_model.key == name_of("nano:student", torch.bfloat16)
    asked = scored_model.engine._inner()
    # heads cannot be split over six GPUs: an engine on each
    assert [e.settings["devices"] for e in asked.engines] == ["0", "1", "2", "3", "4", "5"]
    assert all("tensor_parallel_size" not in e.settings for e in asked.engines)
    judge = judge_engine(config, "nano:teacher")._inner()
    assert (judge.model, judge.settings["devices"]) == ("nano:teacher", "6,7")
    assert judge.settings["transport"] == "file"
    scored_model.close()
    assert [e.closed for e in asked.engines] == [1] * 6


@pytest.mark.parametrize(
    ("judge", "share"),
    [("none", 0.9), ("http://host:1/v1#j", 0.9), ("nano:teacher", 0.4), ("", 0.4)],
)
def test_a_student_shares_its_gpu_with_a_local_judge_alone(monkeypatch, judge, share) -> None:
    monkeypatch.setattr(models, "context", lambda name: 262_144)
    config = load("4B@one-gpu", [f"evaluation.judge={judge}"])
    settings = vllm_kind.evaluation_settings(config, "nano:student")
    assert settings.get("gpu_memory_utilization", config.compute.engine_memory) == share


def test_a_world_ends_its_engines_for_another_may_follow(monkeypatch, tmp_path) -> None:
    monkeypatch.setattr("zppo_core.engines.vllm.VllmEngine", Recorded)
    config = load("nano", ["compute.engine=vllm"])
    world = open_session(config, LocalStore(tmp_path), lambda phase: None)
    sampler, teacher = world.engines
    assert (sampler.model, teacher.model) == ("nano:student", "nano:teacher")
    world.close()
    assert (sampler.closed, teacher.closed) == (1, 1)


def test_a_machine_without_git_runs_all_the_same(monkeypatch, tmp_path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    release = code_version()
    assert release
    assert "+" not in release
