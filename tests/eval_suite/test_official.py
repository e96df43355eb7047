"""Our rules and totals against the scorers of lm-eval and lmms-eval, on generated answers."""

from __future__ import annotations

import random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from lm_eval.tasks.aime import utils as aime
from lm_eval.tasks.mmmu.utils import eval_open, parse_open_response

from eval.benchmark import Sample
from eval.scoring import totals
from eval.scoring.rules import RULES

WORDS = st.sampled_from(["river delta", "copper", "lime stone", "blue", "glucose"])
NUMBERS = st.one_of(
    st.integers(-5000, 5000).map(str),
    st.decimals(-500, 500, places=2, allow_nan=False).map(str),
)
FRAMES = st.sampled_from(["{}", "{}.", "x = {}", "It is {}", "{} metres", "about {}", "The {}"])
MANY = settings(max_examples=300, deadline=None)


@MANY
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=2, max_size=9))
def test_the_clustered_standard_error_is_lmms_evals_but_for_the_factors_of_small_samples(
    lmms, clusters
):
    """Miller's formula divides one of two terms by n - 1, and has no G / (G - 1)."""
    values = [v for own in clusters for v in own]
    names = [str(g) for g, own in enumerate(clusters) for _ in own]
    theirs = lmms("api.metrics").clustered_stderr(values, names)
    n, groups = len(values), len(clusters)
    sides = [(str(i), v) for i, v in enumerate(values)]
    ours = totals.total("pooled", sides, dict(zip(map(str, range(n)), names, strict=True))).stderr
    squares = sum((v - sum(values) / n) ** 2 for v in values)
    expected = theirs**2 - squares / n**2 / (n - 1)
    assert ours**2 * (groups - 1) / groups == pytest.approx(expected, abs=1e-9)


@settings(max_examples=400, deadline=None)
@given(st.one_of(WORDS, NUMBERS), st.one_of(WORDS, NUMBERS), FRAMES)
def test_mmmus_open_rule_is_lm_evals(gold, said, frame):
    """Without commas in numbers: lm-eval reads "1,000" as 0, too, and would call a 0 right."""
    answer = frame.format(said)
    official = eval_open(gold, parse_open_response(answer))
    ours = RULES["mmmu"](Sample("s", "", gold), answer)
    assert bool(ours) == official, (gold, answer)


TEXTS = st.text("abcde 12.%ABéü-", min_size=1, max_size=12).map(lambda t: " ".join(t.split()))


@MANY
@given(st.lists(TEXTS.filter(bool), min_size=1, max_size=3), TEXTS.filter(bool))
def test_anls_is_lmms_evals(lmms, golds, answer):
    official = lmms("api.metrics").anls(golds, [answer])["anls"]
    ours = RULES["anls"](Sample("s", "", golds[0], golds=tuple(golds[1:])), answer)
    assert ours == pytest.approx(official), (golds, answer)


CHOICES = ["12", "12.5", "blue", "bleu", "A square"]
SHAPES = st.sampled_from(["{}", "({})", "$ {}$", "{} "])


@MANY
@given(st.data())
def test_mathvistas_values_are_lmms_evals(lmms, data):
    evaluator = lmms("tasks.mathvista.mathvista_evals").MathVistaEvaluator()
    kind = data.draw(st.sampled_from(["choice", "integer", "float", "list", "text"]))
    choices = data.draw(st.permutations(CHOICES)) if kind == "choice" else []
    said = data.draw(
        st.one_of(NUMBERS, st.sampled_from([*CHOICES, *"ABCDE", "(B)", "[1, 2]", "1e3", "nan", ""]))
    )
    precision = data.draw(st.sampled_from([1, 2])) if kind == "float" else None
    gold = data.draw(
        st.sampled_from([*(choices or ["12", "12.5", "0.33", "[1, 2]", "1000"]), said])
    )
    normal = evaluator.normalize_extracted_answer(
        said, choices, "multi_choice" if choices else "free_form", kind, precision
    )
    official = evaluator.safe_equal(normal, gold)
    extra = {"answer_type": kind, "precision": precision}
    ours = RULES["mathvista"](Sample("s", "", gold, options=tuple(choices), extra=extra), said)
    assert bool(ours) == official, (kind, said, gold, normal)


BLIND = {
    "Touching Circles": (["Yes", "No"], ["{}", "{} "]),
    "Nested Squares": (["2", "3", "12"], ["{}", "{{{}}}", " {}"]),
    "Circled Letter": (["a", "Q", "z"], ["{}", "{{{}}}"]),
    "Subway Connections": (["0", "1", "3"], ["{}", "{{{}}}"]),
    "Olympic Counting - Circles": (["5", "9"], ["{}", "{{{}}}"]),
    "Counting Grid - Word Grids": (
        ["3,4", "4,3", "10,10"],
        [
            "({0},{1})",
            "({0}, {1})",
            "{{{0}}}{{{1}}}",
            "{{{0}}} {{{1}}}",
            "rows={{{0}}} columns={{{1}}}",
        ],
    ),
}


@MANY
@given(st.data())
def test_blind_drawings_are_read_as_lmms_eval_reads_them(lmms, data):
    module = lmms("tasks.vlmsareblind.utils")
    task = data.draw(st.sampled_from(sorted(BLIND)))
    values, shapes = BLIND[task]
    gold, said = data.draw(st.sampled_from(values)), data.draw(st.sampled_from(values))
    answer = data.draw(st.sampled_from(shapes)).format(*said.split(","))
    row = {"task": task, "groundtruth": gold}
    official = module.vlmsareblind_process_results(row, [answer])["accuracy"]
    ours = RULES["vlmsareblind"](Sample("s", "", gold, extra={"task": task}), answer)
    assert ours == official, (task, gold, answer)


OPTIONS = ("red cube", "blue ball", "green cone", "left of it")


@MANY
@given(st.integers(0, 3), st.integers(0, 3), st.sampled_from(["{}", "({})", "{}.", "{0}. {1}"]))
def test_letters_are_read_as_lmms_eval_reads_them(lmms, gold, said, shape):
    answer = shape.format("ABCD"[said], OPTIONS[said])
    row = {"answer": gold, "question_id": "s", "relation": "left"}
    boxes = lmms("tasks.embspatial.utils").embspatial_process_results(row, [answer])
    clips = lmms("tasks.mvbench.utils").mcq_acc("ABCD"[gold], answer)
    texts = dict(zip("ABCD", OPTIONS, strict=True))
    puzzle = lmms("tasks.VisualPuzzles.utils").parse_response(answer, list("ABCD"), texts)
    pro = lmms("tasks._task_utils.mmmu_mcq_utils").parse_mmmu_multi_choice_response(
        answer, list("ABCD"), texts
    )
    ours = RULES["choice"](Sample("s", "", "ABCD"[gold], options=OPTIONS), answer)
    assert ours == boxes["embspatial_acc"]["is_correct"] == clips, (gold, answer)
    assert ours == (puzzle == "ABCD"[gold]) == (pro == "ABCD"[gold]), (gold, answer)


@MANY
@given(
    st.integers(0, 999), st.integers(0, 999), st.sampled_from(["{}", "{}^\\circ", "{}\\%", "{}.0"])
)
def test_aimes_numbers_are_lm_evals(gold, said, shape):
    """But for leading zeros and a closing ".0", which ours forgives as well."""
    answer = shape.format(said)
    assume(shape != "{}.0" or said != gold)
    response = rf"so the answer is $\boxed{{{answer}}}$"
    official = aime.process_results({"answer": gold}, [response])["exact_match"]
    ours = RULES["integer"](Sample("s", "", str(gold)), answer)
    assert ours == official, (gold, answer)


@MANY
@given(TEXTS, TEXTS, st.sampled_from(["", ".", "!", " "]))
def test_babyvisions_texts_are_tidied_as_lmms_eval_does(lmms, gold, other, end):
    """But for several marks at the end and spaces at commas, which ours forgives as well."""
    tidy = lmms("tasks.babyvision.utils").normalize_answer
    assume(gold[-1:] not in ("", ".") and other[-1:] != ".")
    for answer in (gold.upper() + end, other + end):
        ours = RULES["text"](Sample("s", "", gold), answer)
        assert bool(ours) == (tidy(answer.strip()) == tidy(gold)), (gold, answer)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.95))
def test_wemaths_scores_are_lmms_evals(lmms, seed, share):
    """525 problems, the number that lmms-eval divides by."""
    module = lmms("tasks.wemath.reasoning.utils")
    rng = random.Random(seed)
    rows, scored = [], []
    for problem in range(525):
        steps = 2 if problem < 360 else 3
        for part in (*range(1, steps + 1), "multi"):
            right, key = float(rng.random() < share), f"{steps}steps_{part}"
            rows.append({"ID": str(problem), "key": key, "acc_score": right})
            scored.append((f"{problem}/{key}", right))
    assume(any(score for _, score in scored))
    for kind in ("strict", "loose"):
        official = float(module.wemath_aggregate_results(rows, f"wemath_{kind}").rstrip("%"))
        ours = totals.total(f"wemath_{kind}", scored)
        assert ours is not None
        assert ours.units == 525
        assert 100 * ours.score == pytest.approx(official, abs=0.0051)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from([0.0, 1.0]), min_size=10, max_size=10), min_size=1))
def test_dynamaths_average_and_worst_case_are_lmms_evals(lmms, problems):
    module = lmms("tasks.dynamath.reasoning.utils")
    results = [
        {"acc": acc, "question_id": f"{p}-{v}", "variant_id": p}
        for p, variants in enumerate(problems)
        for v, acc in enumerate(variants)
    ]
    scored = [(f"{r['variant_id']}/{r['question_id']}", r["acc"]) for r in results]
    for ours, official in (("pooled", "average"), ("worst", "worst")):
        total = totals.total(ours, scored)
        assert total is not None
        assert total.score == pytest.approx(
            module.dynamath_aggregate_results(results, f"dynamath_{official}")
        )
