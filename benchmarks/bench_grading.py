"""Our grader beside Math-Verify, mathruler, lm-eval's and verl's rules, on labelled pairs.

`grading_pairs.jsonl` has a gold answer a line, with right and wrong answers; its `batch` tells when
they were written: "a" before the grader was, the others after it and before they were run, "f" for
faults that were known.
Every other rule runs in a process that is killed when a pair takes too long. A false positive is a
wrong answer that is rewarded, a false negative a right one that is not.

    python benchmarks/bench_grading.py [--easy 100000]
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import random
import sys
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from zppo_core.processes.killable import WorkerPool
from zppo_core.rewards.answers import AnswerSpec, spec_of
from zppo_core.rewards.grader import Grader

PAIRS = Path(__file__).parent / "grading_pairs.jsonl"
SECONDS = 5.0  # for a pair, for every rule
Pair = tuple[str, str, AnswerSpec, bool, str, str]  # answer, gold, spec, right, kind, batch


def labelled_pairs() -> list[Pair]:
    """Every (answer, gold, spec, whether it is right, kind, batch) of the file."""
    pairs = []
    for line in PAIRS.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        spec = spec_of(**row.get("spec", {}))
        for label in ("right", "wrong"):
            for answer in row[label]:
                about = (label == "right", row["kind"], row["batch"])
                pairs.append((answer, row["gold"], spec, *about))
    return pairs


# --- the other rules, each as it is called on a boxed answer


def math_verify(answer: str, gold: str) -> bool:
    """Math-Verify: both parsed as LaTeX, then verified."""
    from math_verify import parse, verify

    left = parse(rf"\boxed{{{answer}}}", parsing_timeout=None)
    right = parse(rf"\boxed{{{gold}}}", parsing_timeout=None)
    return bool(verify(right, left, timeout_seconds=None))


def mathruler(answer: str, gold: str) -> bool:
    """mathruler, which the paper names."""
    from mathruler.grader import extract_boxed_content, grade_answer

    return bool(grade_answer(extract_boxed_content(rf"\boxed{{{answer}}}"), gold))


def lm_eval_math(answer: str, gold: str) -> bool:
    """lm-eval's hendrycks_math: equal after a normalisation of LaTeX."""
    from lm_eval.tasks.hendrycks_math.utils import is_equiv

    return bool(is_equiv(answer, gold))


def verl_math(answer: str, gold: str) -> bool:
    """verl's default rule of mathematics."""
    return verl_rule("math_reward").compute_score(rf"\boxed{{{answer}}}", gold) == 1.0


def verl_dapo(answer: str, gold: str) -> bool:
    """verl's rule of DAPO."""
    rule = verl_rule("math_dapo")
    return rule.normalize_final_answer(answer) == rule.normalize_final_answer(gold)


@lru_cache(maxsize=8)
def verl_rule(name: str) -> ModuleType:
    """One file of verl's rules; importing the package would want its whole training stack."""
    found = importlib.util.find_spec("verl")
    if found is None or found.submodule_search_locations is None:
        raise ImportError("verl is not installed: pip install --no-deps verl==0.9.1")
    file = Path(found.submodule_search_locations[0]) / "utils" / "reward_score" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(f"verl_{name}", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


OTHERS: dict[str, tuple[str, Callable[[str, str], bool]]] = {
    "Math-Verify": ("math-verify", math_verify),
    "mathruler": ("mathruler", mathruler),
    "lm-eval hendrycks_math": ("lm_eval", lm_eval_math),
    "verl math_reward": ("verl", verl_math),
    "verl math_dapo": ("verl", verl_dapo),
}


def ours(pairs: Sequence[Pair]) -> tuple[list[bool], float]:
    """Our verdicts and the seconds they took."""
    grader = Grader(workers=1, timeout=SECONDS)
    grader.agree_many([(r"\sin 2x", r"2\sin x\cos x")])  # starts the worker
    start = time.perf_counter()
    grades = grader.grade_many([(rf"\boxed{{{a}}}", g, spec) for a, g, spec, *_ in pairs])
    took = time.perf_counter() - start
    grader.close()
    return [g.reward == 1.0 for g in grades], took


def theirs(name: str, pairs: Sequence[Pair]) -> tuple[list[bool], float]:
    """Another rule's verdicts and the seconds they took; what breaks or hangs is not rewarded."""
    function = OTHERS[name][1].__name__
    path = f"bench_grading:{function}"
    pool = WorkerPool(path, 1, SECONDS, prepare=(path, "1", "2"))
    start = time.perf_counter()
    # an accepted further answer is a second gold for every rule
    jobs = [[(a, gold) for gold in (g, *spec.accepted)] for a, g, spec, *_ in pairs]
    flat = [job for several in jobs for job in several]
    outcomes = iter(pool.map(flat))
    verdicts = [max(bool(next(outcomes).value) for _ in several) for several in jobs]
    pool.close()
    return verdicts, time.perf_counter() - start


def row(
    name: str, package: str, pairs: Sequence[Pair], verdicts: Sequence[bool], took: float
) -> dict[str, Any]:
    wrong = sum(not right for *_, right, _, _ in pairs)
    false_positives = sum(v and not p[3] for v, p in zip(verdicts, pairs, strict=True))
    false_negatives = sum(p[3] and not v for v, p in zip(verdicts, pairs, strict=True))
    return {
        "rule": name,
        "version": version(package) if package else "",
        "false positives": false_positives,
        "of wrong, %": 100 * false_positives / wrong,
        "false negatives": false_negatives,
        "of right, %": 100 * false_negatives / (len(pairs) - wrong),
        "pairs/s": len(pairs) / took,
    }


def by_kind(pairs: Sequence[Pair], verdicts: dict[str, list[bool]]) -> list[dict[str, Any]]:
    """False positives and negatives of ours, Math-Verify and mathruler, kind by kind."""
    rows = []
    for kind in dict.fromkeys(p[4] for p in pairs):
        places = [i for i, p in enumerate(pairs) if p[4] == kind]
        about: dict[str, Any] = {"kind": kind, "pairs": len(places)}
        for name, said in verdicts.items():
            positives = sum(said[i] and not pairs[i][3] for i in places)
            negatives = sum(pairs[i][3] and not said[i] for i in places)
            about[name] = f"{positives} + {negatives}"
        rows.append(about)
    return rows


def easy_pairs(n: int) -> list[tuple[str, str]]:
    """Responses with integers, decimals, fractions and letters, about half of them right."""
    rng, pairs = random.Random(0), []
    for i in range(n):
        number, other = rng.randrange(10**6), rng.randrange(10**6)
        gold = (
            str(number),
            f"{number / 1000:.3f}",
            rf"\frac{{{number}}}{{{other + 1}}}",
            rng.choice("ABCDE"),
        )[i % 4]
        wrong = (
            str(other),
            f"{other / 1000:.3f}",
            rf"\frac{{{other}}}{{{number + 1}}}",
            rng.choice("ABCDE"),
        )[i % 4]
        said = gold if rng.random() < 0.5 else wrong
        pairs.append((f"First we look at the figure, step {i}.\nSo it is \\boxed{{{said}}}.", gold))
    return pairs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--easy", type=int, default=100_000, help="easy answers to time")
    easy = parser.parse_args().easy
    from common import record, table

    pairs = labelled_pairs()
    verdicts: dict[str, list[bool]] = {}
    verdicts["ours"], took = ours(pairs)
    rows = [row("ours", "", pairs, verdicts["ours"], took)]
    for name, (package, _) in OTHERS.items():
        verdicts[name], took = theirs(name, pairs)
        rows.append(row(name, package, pairs, verdicts[name], took))
    for p, v in zip(pairs, verdicts["ours"], strict=True):
        if v != p[3]:
            print(f"ours, {p[4]}: {p[0]!r} for {p[1]!r} is {'right' if p[3] else 'wrong'}")
    print(table(by_kind(pairs, {n: verdicts[n] for n in ("ours", "Math-Verify", "mathruler")})))
    grader = Grader(workers=1)
    answers = easy_pairs(easy)
    start = time.perf_counter()
    grader.grade_many(answers)
    settings = {
        "pairs": len(pairs),
        "wrong": sum(not p[3] for p in pairs),
        "kinds": len({p[4] for p in pairs}),
        "easy answers a second": round(easy / (time.perf_counter() - start)),
    }
    print(settings)
    record("bench_grading", settings, rows)


if __name__ == "__main__":
    main()
