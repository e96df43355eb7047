"""All 31 benchmarks on fixtures with their real schemas, through the real loaders and rules."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from eval import fixtures, harness
from eval.suite import SUITES, Sample, load
from zppo_core import models
from zppo_core.config import EvaluationConfig
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.grading import Grader
from zppo_core.prompts import Templates
from zppo_core.types import Prompt

PAPER = {b.name: b for b in SUITES["paper31"]}
RULED = [n for n, b in PAPER.items() if b.kind != "judge"]
SNAPSHOTS = Path(__file__).parent / "prompts"
ACCEPT = bool(os.environ.get("ZPPO_ACCEPT_PROMPTS"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fixtures")
    assert len(fixtures.build(folder)) == 31
    return str(folder)


def evaluated(name: str, source: str, say) -> tuple[list[harness.EvalSample], harness.EvalScore]:
    """The benchmark with an engine that answers `say(sample)`."""
    templates = Templates()
    by_digest: dict[str, Sample] = {}
    for sample in load(PAPER[name], source):
        by_digest.setdefault(harness.ask(sample, templates, False).digest(), sample)

    def answer(prompt: Prompt, member: int) -> str:
        return say(by_digest[prompt.digest()])

    protocol = EvaluationConfig(max_tokens=20_000)
    return harness.evaluate(ScriptedEngine(answer), PAPER[name], protocol, False, templates,
                            Grader(), source)  # fmt: skip


@pytest.mark.parametrize("name", sorted(PAPER))
def test_every_row_becomes_a_question_whose_media_can_be_read(source, name):
    samples = list(load(PAPER[name], source))
    assert samples
    assert len({s.id for s in samples}) == len(samples)
    for sample in samples:
        assert sample.text.strip() or sample.images()
        assert all(i[:4] in (b"\x89PNG", b"\xff\xd8\xff\xe0") for i in sample.images())
    if PAPER[name].family == "Video":
        assert all(len(s.images()) > 1 for s in samples)


@pytest.mark.parametrize("name", sorted(PAPER))
def test_prompts_are_as_accepted(source, name):
    """A changed prompt fails here until ZPPO_ACCEPT_PROMPTS=1 accepts it."""
    asked = [harness.ask(s, Templates(), False) for s in load(PAPER[name], source)]
    text = "\n=====\n".join(
        "".join(f"[{role}] {said}\n" for role, said in p.history)
        + f"({len(p.images)} images)\n{p.text}" for p in asked[:3]
    )  # fmt: skip
    path = SNAPSHOTS / f"{name}.txt"
    if ACCEPT:
        SNAPSHOTS.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert text + "\n" == path.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", RULED)
def test_nonsense_scores_nothing_and_silence_is_counted_as_unparsed(source, name):
    samples, score = evaluated(name, source, lambda s: r"\boxed{zzqx}")
    # any line is a line of a document by STEDS, the official metric of one type
    assert score.score <= (0.05 if name.startswith("OCR") else 0.0)
    assert score.unparsed == 0
    silent, score = evaluated(name, source, lambda s: "<think>no end")
    assert score.score == 0.0
    assert score.unparsed == len(silent) == len(samples)
    assert {s.outcome for s in silent} == {"unparsed"}


@pytest.mark.parametrize("name", [n for n in RULED if not n.startswith("OCR")])
def test_an_oracle_scores_100(source, name):
    samples, score = evaluated(name, source, lambda s: rf"\boxed{{{s.gold}}}")
    assert [s.outcome for s in samples if s.score < 1.0] == []
    assert score.score == 1.0


def test_benchmarks_that_a_judge_decides_say_so_and_have_no_score(source):
    for name in set(PAPER) - set(RULED):
        samples, score = evaluated(name, source, lambda s: r"\boxed{1}")
        assert (samples, score.score) == ([], None)
        assert "judge" in (score.missing_reason or "")


def alone(name: str, folder: Path) -> harness.EvalScore:
    return harness.evaluate(
        ScriptedEngine(lambda p, m: r"\boxed{A}"), PAPER[name], EvaluationConfig(), False,
        Templates(), Grader(), str(folder),
    )[1]  # fmt: skip


def test_a_data_set_that_is_not_there_is_named_with_how_to_get_it(tmp_path):
    score = alone("AI2D", tmp_path)
    assert score.score is None
    assert "hf download" in (score.missing_reason or "")


def test_a_broken_picture_is_named_and_the_others_go_on(tmp_path):
    (folder,) = fixtures.build(tmp_path, ["AI2D"]).values()
    (file,) = folder.rglob("*.parquet")
    table = pq.read_table(file)
    cells = table["image"].to_pylist()
    cells[1] = {"bytes": b"no picture", "path": None}
    at = table.schema.get_field_index("image")
    broken = pa.array(cells, table.schema.field("image").type)
    pq.write_table(table.set_column(at, table.schema.field("image"), broken), file)
    score = alone("AI2D", tmp_path)
    assert score.n == 3
    assert score.missing_reason.startswith("3 of 3088 samples; 1 unreadable, first ")
    assert "row 1" in score.missing_reason


def test_a_real_student_is_asked_all_31(source):
    """Images, frames, subtitles and conversations through its processor and template."""
    model, renderer = models.load("nano:student", torch.float32, "cpu")
    engine = HfEngine(model, renderer, "student")
    protocol = EvaluationConfig(max_tokens=4)
    asked = 0
    for benchmark in PAPER.values():
        samples, score = harness.evaluate(
            engine, benchmark, protocol, False, Templates(), Grader(), source
        )
        asked += len(samples)
        assert (score.n > 0) == (benchmark.kind != "judge")
        assert "unreadable" not in (score.missing_reason or "")
    assert asked == 186
