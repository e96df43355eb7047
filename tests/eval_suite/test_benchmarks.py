"""All 31 benchmarks on fixtures with their real schemas, through the real loaders and rules."""

from __future__ import annotations

import io
import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from eval import fixtures, harness
from eval.archives import UnreadableError
from eval.benchmark import Sample
from eval.judges import Judge
from eval.protocol import EvalSample, Evaluator
from eval.settings import Settings
from eval.suite import SUITES, bounded, load
from zppo_core import models
from zppo_core.config import EvaluationConfig
from zppo_core.engines.hf import HfEngine
from zppo_core.engines.scripted import ScriptedEngine
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader
from zppo_core.types import Prompt

PAPER = {b.name: b for b in SUITES["paper31"]}
RULED = [n for n, b in PAPER.items() if b.kind != "judge"]
JUDGED = [n for n, b in PAPER.items() if b.kind == "judge"]
SMALL = "judge_tokens=2;min_pixels=256;max_pixels=4096"  # a student of 0.6 M parameters
ASKED = 239  # samples of all fixtures
SNAPSHOTS = Path(__file__).parent / "prompts"
ACCEPT = bool(os.environ.get("ZPPO_ACCEPT_PROMPTS"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("fixtures")
    assert len(fixtures.build(folder)) == 31
    return str(folder)


def evaluator(source: str, judge: Judge | None = None, **protocol) -> Evaluator:
    settings = {"max_tokens": 20_000, "suite": "paper31", "source": source} | protocol
    return Evaluator(EvaluationConfig(**settings), Templates(), Grader(), judge)


@cache
def by_digest(name: str, source: str) -> dict[str, Sample]:
    """The samples of a benchmark by the prompt that asks for each; reading media takes long."""
    asks, found = evaluator(source), dict[str, Sample]()
    for sample in load(PAPER[name], source):
        found.setdefault(asks.ask(sample, False).digest(), sample)
    return found


def evaluated(
    name: str,
    source: str,
    say,
    judge: Judge | None = None,
) -> tuple[list[EvalSample], harness.EvalScore]:
    """The benchmark with an engine that answers `say(sample)`."""
    asked = by_digest(name, source)

    def answer(prompt: Prompt, member: int) -> str:
        return say(asked[prompt.digest()])

    return harness.evaluate(ScriptedEngine(answer), PAPER[name], evaluator(source, judge), False)


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
    asked = [evaluator(source).ask(s, False) for s in load(PAPER[name], source)]
    text = "\n=====\n".join(
        "".join(f"[{role}] {said}\n" for role, said in p.history)
        + f"({len(p.images)} images)\n{p.text}"
        for p in asked[:3]
    )
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
    assert {s.outcome for s in silent} == {"unfinished"}
    empty, _ = evaluated(name, source, lambda s: "<think>that</think>")
    assert {s.outcome for s in empty} == {"unparsed"}


def ocr_answer(sample: Sample) -> str:
    """The gold answer of OCRBench in the form that its question asks for."""
    kind, extra = sample.extra["type"], sample.extra
    if kind.startswith("VQA with position"):
        return json.dumps({"answer": sample.gold, "bbox": list(extra["bbox"])})
    if kind.startswith("text grounding"):
        return f"[{', '.join((sample.gold, *sample.golds))}]"
    if kind.startswith("text spotting"):
        places = zip(extra["bbox_list"], extra["content"], strict=True)
        return ", ".join(f"({', '.join(map(str, box))}, {text})" for box, text in places)
    if kind.startswith("key information"):
        return json.dumps({k: v[0] for k, v in json.loads(sample.gold).items()}, ensure_ascii=False)
    return sample.gold


@pytest.mark.parametrize("name", ["OCREN", "OCRZH"])
def test_an_oracle_scores_100_on_ocrbench_up_to_meteors_last_digits(source, name):
    samples, score = evaluated(name, source, lambda s: rf"\boxed{{{ocr_answer(s)}}}")
    assert [(s.sample_id, s.score) for s in samples if s.score < 0.995] == []
    assert score.score > 0.995


def test_a_perfect_box_scores_1_by_the_loaders_gold_answers(source):
    """Four answers of a row are the four coordinates of its box, not four answers that count."""
    samples, _ = evaluated("OCREN", source, lambda s: rf"\boxed{{{ocr_answer(s)}}}")
    loaded = {s.id: s for s in load(PAPER["OCREN"], source)}
    (found,) = [s for s in samples if loaded[s.sample_id].extra["type"] == "text grounding en"]
    assert (loaded[found.sample_id].gold, loaded[found.sample_id].golds) == (
        "10",
        ("20", "200", "100"),
    )
    assert (found.answer, found.score) == ("[10, 20, 200, 100]", 1.0)


def test_rows_that_ocrbench_marks_to_be_ignored_are_left_out(tmp_path):
    (folder,) = fixtures.build(tmp_path, ["OCREN"]).values()
    everything = len(list(load(PAPER["OCREN"], str(tmp_path))))
    (file,) = folder.rglob("*.parquet")
    table = pq.read_table(file)
    marks = pa.array(["True", *["False"] * (len(table) - 1)])
    pq.write_table(table.append_column("ignore", marks), file)
    assert len(list(load(PAPER["OCREN"], str(tmp_path)))) == everything - 1


@pytest.mark.parametrize("name", [n for n in RULED if not n.startswith("OCR")])
def test_an_oracle_scores_100(source, name):
    samples, score = evaluated(name, source, lambda s: rf"\boxed{{{s.gold}}}")
    assert [s.outcome for s in samples if s.score < 1.0] == []
    assert score.score == 1.0


def fair(prompt: Prompt, member: int) -> str:
    """A judge that compares what is fenced, in the form of whichever judge it is asked to be."""
    if "Correctness" in prompt.text:
        gold, answer = prompt.text.splitlines()[-1].split(" | ")[1:3]
        return "1.0" if answer.removesuffix(" |") == gold else "0.0"
    answer = prompt.text.split("<response>\n")[1].split("\n</response>")[0]
    if "<criterion>" in prompt.text:
        return f"Because.\n{answer}"
    gold = prompt.text.split("<gold>\n")[1].split("\n</gold>")[0]
    same = gold in answer
    if "extracted_final_answer" in prompt.text:
        rest = {"extracted_final_answer": answer, "reasoning": "", "confidence": 100}
        return json.dumps(rest | {"correct": "yes" if same else "no"})
    if "extracted_answer" in prompt.text:
        return json.dumps({"extracted_answer": answer, "score": int(same)})
    return json.dumps({"verdict": "correct" if same else "wrong"})


@pytest.mark.parametrize("name", JUDGED)
def test_an_oracle_nonsense_silence_and_a_babbling_judge_at_the_five_judges(source, name):
    judge = Judge(ScriptedEngine(fair, "judge"))
    samples, score = evaluated(name, source, lambda s: rf"\boxed{{{s.gold}}}", judge)
    assert (score.score, score.malformed, score.unparsed) == (1.0, 0, 0)
    assert all(s.scorer.startswith("judge:") and s.judge_reply for s in samples)
    _, score = evaluated(name, source, lambda s: r"\boxed{zzqx}", judge)
    assert score.score == 0.0
    _, score = evaluated(name, source, lambda s: "<think>no end", judge)
    assert (score.score, score.unparsed) == (0.0, len(samples))
    babbling = Judge(ScriptedEngine(lambda p, m: "Yes, I think so: correct!", "judge"))
    samples, score = evaluated(name, source, lambda s: rf"\boxed{{{s.gold}}}", babbling)
    assert (score.score, score.malformed) == (0.0, len(samples))
    assert {s.outcome for s in samples} == {"malformed"}


def test_charxivs_judge_knows_the_order_in_which_the_legends_labels_are_asked_for(source):
    asked = {
        s.extra["number"]: s.extra["question"]
        for s in load(PAPER["CharXiv"], source)
        if "number" in s.extra
    }
    assert asked[13] == (
        "what are the names of the labels in the legend, from top to bottom, then left to right?"
    )
    assert [n for n, question in asked.items() if "top to bottom" in question] == [13]


def test_the_shared_judge_sees_what_the_rule_rejects_and_nothing_else(source):
    judge = Judge(ScriptedEngine(fair, "judge"))
    first = next(iter(load(PAPER["MMLU"], source))).gold

    def say(sample: Sample) -> str:
        told = sample.gold if sample.gold == first else f"it is {sample.gold}, surely"
        return rf"\boxed{{{told}}}"

    samples, score = evaluated("MMLU", source, say, judge)
    assert score.score == 1.0
    by_judge = [s for s in samples if s.scorer == "judge:shared"]
    assert 0 < len(by_judge) < len(samples)
    assert len(judge.engine.asked) <= len(by_judge)


def test_without_a_judge_its_benchmarks_have_no_score_and_say_so(source):
    for name in JUDGED:
        samples, score = evaluated(name, source, lambda s: r"\boxed{1}")
        assert (samples, score.score) == ([], None)
        assert "judge" in (score.missing_reason or "")


def test_pictures_are_scaled_into_the_protocols_bounds(source):
    from PIL import Image

    def sizes(settings: str) -> list[tuple[int, int]]:
        parsed = evaluator(source, settings=settings).settings
        pictures = [i for s in load(PAPER["AI2D"], source, 0, parsed) for i in s.images()]
        return [Image.open(io.BytesIO(p)).size for p in pictures]

    own = sizes("min_pixels=1")
    for low, high in ((262_144, 1_310_720), (100, 900)):
        for (w, h), (w0, h0) in zip(sizes(f"min_pixels={low};max_pixels={high}"), own, strict=True):
            assert low <= w * h <= high
            assert abs(w / h / (w0 / h0) - 1) < 0.1


def test_a_still_beside_a_video_has_the_bounds_of_pictures_and_its_frames_have_theirs(source):
    from PIL import Image

    samples = list(load(PAPER["VMMMU"], source))
    (with_still,) = [s for s in samples if len(s.pictures) == 2]
    *frames, still = (Image.open(io.BytesIO(data)).size for data in with_still.images())
    assert 262_144 <= still[0] * still[1] <= 1_310_720  # the fixture's is 96 x 64
    assert set(frames) == {(96, 64)}


def test_a_picture_that_no_processor_takes_is_unreadable(source):
    from PIL import Image

    sample = next(load(PAPER["AI2D"], source, 1))
    flat = io.BytesIO()
    Image.new("RGB", (1000, 4)).save(flat, "PNG")
    for data, said in ((flat.getvalue(), "1000 x 4"), (b"no picture", "cannot identify")):
        given = bounded(replace(sample, pictures=(lambda data=data: (data,),)), Settings())
        with pytest.raises(UnreadableError, match=said):
            given.images()


def alone(name: str, folder: Path) -> harness.EvalScore:
    engine = ScriptedEngine(lambda p, m: r"\boxed{A}")
    return harness.evaluate(engine, PAPER[name], evaluator(str(folder)), False)[1]


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
    judge = Judge(engine)
    asked = 0
    for benchmark in PAPER.values():
        taken = evaluator(source, judge, max_tokens=4, settings=SMALL)
        samples, score = harness.evaluate(engine, benchmark, taken, False)
        asked += len(samples)
        assert score.n > 0
        assert "unreadable" not in (score.missing_reason or "")
    assert asked == ASKED


def test_parts_add_up_to_the_whole_and_are_each_a_share(source):
    engine = ScriptedEngine(lambda p, m: rf"\boxed{{{'ABCD'[len(p.text) % 4]}}}")
    taken, record = evaluator(source), PAPER["MMMUPro"]
    whole, score = harness.evaluate(engine, record, taken, False)
    parts = [harness.run_part(engine, record, taken, False, harness.Part(i, 3)) for i in range(3)]
    assert all(part.samples for part in parts)
    assert [s.sample_id for part in parts for s in part.samples] == [s.sample_id for s in whole]
    assert harness.summarise(record, taken, parts) == score
    assert [p.of for p in harness.parts_of(record, 0, 2000)] == [3, 3, 3]
    assert harness.parts_of(record, 10, 2000) == [harness.WHOLE]


def test_an_unreadable_video_is_named_and_the_others_go_on(tmp_path):
    (folder,) = fixtures.build(tmp_path, ["MVBench"]).values()
    broken = min(Path(folder).rglob("*.mp4"))
    broken.write_bytes(b"no video")
    everything = len(list(load(PAPER["MVBench"], str(tmp_path))))
    score = alone("MVBench", tmp_path)
    assert score.n == everything - 1
    assert "1 unreadable, first " in (score.missing_reason or "")
    assert f"{broken.name} is no readable video" in (score.missing_reason or "")
