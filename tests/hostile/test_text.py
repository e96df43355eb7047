"""What a model may write: answers, control text, and nesting without end."""

from __future__ import annotations

import re
from collections.abc import Callable

from cases import Case, cpu, failures, spelled
from families import FAMILIES

from eval.scoring.dress import undressed
from zppo_core.models.renderer import Renderer
from zppo_core.prompts import OURS
from zppo_core.rewards import clean
from zppo_core.rewards.answers import NeedsAlgebraError, spec_of
from zppo_core.rewards.compare import agree
from zppo_core.rewards.grader import Grader
from zppo_core.rewards.where import find_answer
from zppo_core.types import whole_characters


def test_each_answer_has_the_grade_that_its_case_names() -> None:
    patient, hurried = Grader(workers=1, timeout=30.0), Grader(workers=1, timeout=0.3)

    def outcome(case: Case) -> str:
        grader = hurried if case.get("impatient") else patient
        spec = spec_of(case.get("kind", ""), case.get("options", ()))
        grade = grader.grade_many([(spelled(case["text"]), case["gold"], spec)])[0]
        expected = case["outcome"].split("|")
        return "" if grade.outcome in expected else f"graded {grade.outcome}"

    assert not failures("answers", outcome)
    patient.close()
    hurried.close()


TAGS = re.compile(r"</?(?:candidate|response|summary|hint|question|gold|think)\b", re.IGNORECASE)
ROWS = 64  # of a family's embedding: some more than its tokenizer has


def test_control_text_and_tags_of_any_spelling_act_in_no_prompt() -> None:
    """A prompt has its template's tags alone, and no family of models reads a control token."""
    students = [
        Renderer(f.tokenizer(), None, ROWS, f.generation(), f.ids(f.media))
        for f in FAMILIES.values()
    ]

    def prompts(text: str) -> list[str]:
        shown = OURS.neutralise(text)
        return [
            OURS.compress(text),
            OURS.write_hint("Q?", text),
            OURS.judge("Q?", "g", text),
            OURS.render("bcq", question="Q?", candidates=[shown, "c"], closer=OURS.closer),
            OURS.render("hint", question="Q?", hint=shown, closer=OURS.closer),
        ]

    plain = [TAGS.findall(prompt) for prompt in prompts("x")]

    def outcome(case: Case) -> str:
        text = whole_characters(spelled(case["text"]))
        shown = OURS.neutralise(text)
        if shown != case.get("shown", shown):
            return f"shown as {shown!r}"
        if OURS.neutralise(shown) != shown:
            return f"not the same twice: {shown!r}"
        if [TAGS.findall(prompt) for prompt in prompts(text)] != plain:
            return f"tags in {shown!r}"
        return f"control in {shown!r}" if any(s.holds_control(shown) for s in students) else ""

    assert not failures("control", outcome)


def agreed(text: str) -> object:
    """The answer against gold answers of many kinds, and as `undressed` has it."""
    clean.clean.cache_clear()
    verdicts = [undressed(text), clean.typography(text)]
    for gold in GOLDS:
        try:
            verdicts.append(agree(text, gold, spec_of()))
        except NeedsAlgebraError:
            verdicts.append(None)
    return verdicts


GOLDS = (
    *("5", "5 km", "1,2,3", "x<1", "(1,2)", "blue", "25-34", "1:2", "2024-05-01", "A", "5%"),
    *(r"\begin{pmatrix}1&2\end{pmatrix}", "x=1,y=2", r"2\pi", "12:30", "yes", r"\{1,2\}", "x^2+1"),
)
WORK: dict[str, Callable[[str], object]] = {
    "neutralise": OURS.neutralise,
    "find_answer": find_answer,
    "agree": agreed,
}


def nested(case: Case, times: int) -> str:
    """The pieces of a case, those with a star behind them repeated."""
    return "".join(p[:-1] * times if p.endswith("*") else p for p in case["pieces"])


def test_nothing_is_too_deep_or_too_long() -> None:
    """No depth ends in an error, and the cost grows no faster than n log n, size after size."""

    def outcome(case: Case) -> str:
        work = WORK[case["where"]]
        for times in (1, 60, 250, 1000):
            work(nested(case, times))
        seconds = [cpu(lambda n=n: work(nested(case, n))) for n in SIZES]  # type: ignore[misc]
        # four times as much: by n log n 4.7 times the cost, by n squared 16 times
        grown = seconds[-1] / max(seconds[-2], FLOOR)
        return f"{seconds} s for {SIZES}" if grown > 8 else ""

    assert not failures("nesting", outcome)


SIZES = (4_000, 16_000)
FLOOR = 0.004  # seconds of CPU: less is noise
