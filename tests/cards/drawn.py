"""Each card of the recorded run, as the page that Metaflow keeps."""

from __future__ import annotations

from collections.abc import Callable

from record import KEY

from eval import suite
from eval.harness import SampleRow, ScoreRow
from eval.report import tables
from eval.report.progress import progress_of
from eval.scores import rows_in
from steps.cards import data, epoch, evaluation, scores, summary, sweep, teacher
from steps.cards.page import page
from steps.cards.places import next_steps
from steps.cards.transcripts import pictures_of
from steps.cards.whole_run import html_of
from zppo_core.run.corpus import build_corpus, preview_of
from zppo_core.run.draws import Sampled, Seen
from zppo_core.run.spec import Run
from zppo_core.types import Grade

BENCHMARK = "nano_grids"
ROLES = ("base", "student", "teacher")


def drawn(name: str, run: Run) -> str:
    """The page of one card; `show` is the file of `zppo show`."""
    if name == "show":
        return html_of(run.database, run.key)[1]
    return page(f"ZPPO: {name}", "".join(CARDS[name](run)))


def epoch_card(run: Run) -> list[str]:
    return epoch.parts_of(run, pictures_of(build_corpus(run.config)), "phase plain: 3 of 8 prompts")


def evaluated(run: Run) -> tuple[list[ScoreRow], dict[str, list[SampleRow]]]:
    """Scores and answers of one benchmark, of the journal."""
    rows, answers = [], {}
    for role in ROLES:
        row, answers[role] = rows_in(run.journal.read(f"eval/{role}/{BENCHMARK}") or {})
        rows.append(row)
    return rows, answers


def evaluation_card(run: Run) -> list[str]:
    rows, answers = evaluated(run)
    benchmark = suite.find("nano", BENCHMARK)
    limit = run.config.evaluation.limit
    return evaluation.view(benchmark, rows, answers, suite.load(benchmark, "", limit))


def scores_card(run: Run) -> list[str]:
    return scores.view("nano:student", evaluated(run)[0], run.database)


def summary_card(run: Run) -> list[str]:
    found = progress_of(run.database, run.key)
    return summary.view(tables.summary(run.database, run.key), found, next_steps(run))


def data_card(run: Run) -> list[str]:
    corpus = build_corpus(run.config)
    pictures, lengths = data.measured(corpus[i] for i in corpus.new_ids(0, len(corpus)))
    about = data.Corpus(len(corpus), pictures, lengths, corpus.digest(), "digits", 8, {})
    return data.view(run.key, about, preview_of(run.config, corpus))


def teacher_card(run: Run) -> list[str]:
    corpus = build_corpus(run.config)
    questions = [corpus[i] for i in corpus.new_ids(0, 3)]
    right, wrong = Grade(1.0, "correct"), Grade(0.0, "wrong")
    shown = tuple(
        Sampled(q, ((f"\\boxed{{{q.gold}}}", right), ("\\boxed{77}", wrong))) for q in questions
    )
    seen = Seen(96, 200, 184, 4321, 384, 0.87, shown)
    return teacher.view(run, teacher.State(96, 96, 12.5, seen))


def sweep_card(run: Run) -> list[str]:
    rows = [
        sweep.Row(KEY, "zppo", "nano", 0, 8, "done"),
        sweep.Row("later", "grpo_replay", "nano", 0, 8, "not done yet"),
    ]
    return sweep.view("tried", rows, sweep.found_in(run.database, rows), run.database)


def nothing(run: Run) -> list[str]:
    return []


CARDS: dict[str, Callable[[Run], list[str]]] = {
    "epoch": epoch_card,
    "evaluation": evaluation_card,
    "scores": scores_card,
    "summary": summary_card,
    "data": data_card,
    "teacher": teacher_card,
    "sweep": sweep_card,
    "show": nothing,
}
