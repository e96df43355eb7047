"""Markup in every card and in the page of `zppo show`, opened in a real browser."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from browser import Browser
from cases import read
from drawn import BENCHMARK, evaluated

from eval import suite
from eval.report import tables
from eval.report.progress import progress_of
from steps.cards import data, epoch, evaluation, scores, summary, sweep, teacher
from steps.cards.page import page
from steps.cards.places import next_steps
from steps.cards.transcripts import pictures_of
from steps.cards.whole_run import html_of
from zppo_core.data.corpus import ListCorpus
from zppo_core.run.corpus import build_corpus, preview_of
from zppo_core.run.draws import Sampled, Seen
from zppo_core.run.spec import Run
from zppo_core.types import Grade, whole_characters

READY = (
    "!document.querySelector('.transcripts') || document.documentElement.dataset.ready === 'yes'"
)
OPENED = "document.querySelectorAll('details').forEach(d => { d.open = true; })"
NAMES = "[...new Set([...document.querySelectorAll('*')].map(e => e.localName))].sort()"
HANDLERS = (
    "[...document.querySelectorAll('*')].filter(e => [...e.attributes].some("
    "a => a.name.startsWith('on') || /javascript:/i.test(a.value))).length"
)
COLUMNS = {
    "groups": ("prompt_text", "gold", "question_id"),
    "rollouts": ("text", "answer"),
    "teacher_draws": ("text", "answer", "question_id"),
    "buffer_events": ("question_id",),
    "runs": ("machine", "student_model", "code_version"),
}


def marked() -> list[str]:
    """The texts of the cases; each that runs would say so in the title of the page."""
    texts = [whole_characters(case["text"]) for case in read("markup")]
    return [text.replace("'ran'", f"'ran {n}'") for n, text in enumerate(texts, 1)]


def attacked(run: Run, text: str, path: Path) -> Run:
    """The run with `text` in all that a model or a corpus wrote."""
    path.write_bytes(Path(run.database).read_bytes())
    with duckdb.connect(str(path)) as connection:
        for table, columns in COLUMNS.items():
            for column in columns:
                connection.execute(f"UPDATE {table} SET {column} = {column} || ?", [text])
        connection.execute(
            "UPDATE groups SET candidate_texts = [?, ?] WHERE candidate_texts IS NOT NULL",
            [text, text],
        )
    student = replace(run.config.student, model=text)
    return replace(run, database=str(path), config=replace(run.config, student=student))


def pages(run: Run, text: str) -> dict[str, str]:
    """Every card, with `text` wherever one may stand."""
    benchmark, limit = suite.find("nano", BENCHMARK), run.config.evaluation.limit
    rows, answers = evaluated(run)
    for of_role in answers.values():
        for answer in of_role:
            answer |= {"output": text, "answer": text, "outcome": text}
    samples = [replace(s, text=text, gold=text) for s in suite.load(benchmark, "", limit)]
    odd = [row | {"missing_reason": text, "family": text, "benchmark": text} for row in rows]
    asking = replace(run.config, student=replace(run.config.student, model="nano:student"))
    corpus = build_corpus(asking)
    asked = [replace(corpus[i], text=text, gold=text) for i in corpus.new_ids(0, 12)]
    of_texts = ListCorpus(asked, 0)
    about = data.Corpus(12, 3, (5, 9), text, text, 8, {text: text})
    drawn = (Sampled(asked[0], ((text, Grade(1.0, "correct", text)),)),)
    members = [sweep.Row(text, text, text, 0, 8, text)]
    progress = progress_of(run.database, run.key)
    return {
        "epoch": "".join(epoch.parts_of(run, pictures_of(corpus), text)),
        "evaluation": "".join(evaluation.view(benchmark, rows, answers, samples)),
        "scores": "".join(scores.view(text, odd, text)),
        "summary": "".join(
            summary.view(tables.summary(run.database, run.key), progress, next_steps(run))
        ),
        "data": "".join(data.view(text, about, preview_of(asking, of_texts))),
        "teacher": "".join(
            teacher.view(run, teacher.State(1, 1, 1.0, Seen(1, 2, 3, 4, 5, 0.5, drawn)))
        ),
        "sweep": "".join(sweep.view(text, members, sweep.found_in(run.database, members), text)),
    }


@pytest.fixture(scope="module")
def opened_pages(recorded: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The files of the attacked pages, and of the same with a harmless word."""
    folder = tmp_path_factory.mktemp("pages")
    files = {}
    for kind, text in (("odd", "\n".join(marked())), ("plain", "word")):
        run = attacked(recorded, text, folder / f"{kind}.duckdb")
        made = {name: page(f"ZPPO: {text}", body) for name, body in pages(run, text).items()}
        made["show"] = html_of(run.database, run.key)[1]
        for name, html in made.items():
            files[f"{name} {kind}"] = folder / f"{name}-{kind}.html"
            files[f"{name} {kind}"].write_text(html, encoding="utf-8", errors="replace")
    return files


@pytest.mark.parametrize(
    "name", ["epoch", "evaluation", "scores", "summary", "data", "teacher", "sweep", "show"]
)
def test_no_markup_acts_in_any_card(
    chromium: Browser, opened_pages: dict[str, Path], name: str
) -> None:
    """The page has the elements that it has with harmless words, and reaches for nothing."""

    def elements(kind: str) -> tuple[list[str], int]:
        done = chromium.open(opened_pages[f"{name} {kind}"], ready=READY)
        chromium.run(OPENED)
        chromium.until(f"({READY})")
        assert done.errors == []
        assert all(url.startswith(("data:", "file:")) for url in done.requests)
        assert len([url for url in done.requests if url.startswith("file:")]) == 1
        return chromium.run(NAMES), chromium.run(HANDLERS)

    plain = elements("plain")
    odd = elements("odd")
    assert set(odd[0]) <= {*plain[0], "sub", "sup"}, name
    assert odd[1] == plain[1] == 0
    assert chromium.run("document.title").startswith("ZPPO: ")
    assert not chromium.run("document.title").startswith("ran")
    assert chromium.run("location.href.startsWith('file:')")


def test_each_text_is_shown_as_it_is(chromium: Browser, opened_pages: dict[str, Path]) -> None:
    chromium.open(opened_pages["show odd"], ready=READY)
    chromium.run(OPENED)
    chromium.until("document.querySelector('details.group .inside')")
    shown = "".join(
        chromium.run("document.querySelector('details.group .inside').textContent").split()
    )
    missing = [t for t in marked() if "".join(t.split()) not in shown]
    assert missing == []
