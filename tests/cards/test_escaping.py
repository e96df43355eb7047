"""What a model wrote is shown as it is, and acts as nothing."""

from __future__ import annotations

import base64
import gzip
import html.parser
import itertools
import json
from dataclasses import replace
from pathlib import Path

import duckdb
import pytest
from browser import Browser
from drawn import evaluated
from hypothesis import given, settings
from hypothesis import strategies as st

from eval import suite
from eval.report.connection import open_database
from eval.report.transcripts import chosen_steps as steps_of
from eval.report.transcripts import cut_to, size_of, transcripts, within
from steps.cards import evaluation
from steps.cards.blocks import PLAIN_JSON, facts, head, json_script, table, tag
from steps.cards.chart import intervals, lines
from steps.cards.page import page
from steps.cards.transcripts import section
from steps.cards.whole_run import html_of
from zppo_core.run.spec import Run
from zppo_core.streams import stream

ATTACKS = [
    "<script>alert(1)</script>",
    '<img src=x onerror="alert(1)">',
    "</div><iframe src=javascript:alert(1)>",
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "[click](javascript:alert(1))",
    "![x](http://evil/track.png)",
    "```\n<b>\n```",
    "&lt;script&gt;",
    "\u2028\u2029",
]
READY = "document.documentElement.dataset.ready === 'yes'"


class Tags(html.parser.HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)

    def handle_data(self, data) -> None:
        self.text += data


def rendered(markup: str) -> Tags:
    """What a browser makes of it."""
    parser = Tags()
    parser.feed(markup)
    parser.close()
    return parser


@given(st.one_of(st.text(), st.sampled_from(ATTACKS)))
@settings(max_examples=200, deadline=None)
def test_model_text_is_shown_as_it_is_and_acts_as_nothing(text: str) -> None:
    shown = tag(text)
    parsed = rendered(shown)
    assert parsed.tags == ["span"]
    inside = shown[shown.index(">") + 1 : -len("</span>")]
    assert not set(inside) & set("<>\"'")
    clean = text.replace("\r", "")
    if "\0" not in text and clean == text and text.isascii():
        assert parsed.text == text


@given(st.one_of(st.text(), st.sampled_from(ATTACKS)))
@settings(max_examples=100, deadline=None)
def test_data_of_a_page_comes_back_as_it_was_and_ends_no_element(text: str) -> None:
    for data in ({"a": text}, {"a": text, "long": "x" * PLAIN_JSON}):
        script = json_script("transcripts", data)
        inside = script[script.index(">") + 1 : -len("</script>")]
        assert not set(inside) & set("<>&\u2028\u2029")
        if "gzip" in script:
            inside = gzip.decompress(base64.b64decode(inside)).decode()
        known = text.encode("utf-8", "replace").decode()
        assert json.loads(inside)["a"] in (text, known)


@pytest.mark.parametrize("attack", ATTACKS)
def test_blocks_and_charts_add_no_element(attack: str) -> None:
    kept = {attack: [(1, 0.5), (2, 0.7)]}
    shown = rendered(
        head(attack, attack)
        + facts({attack: attack}, code=True)
        + table([attack], [[attack]])
        + tag(attack)
        + lines(attack, kept, note=attack)
        + intervals(attack, [])
    )
    assert not {"script", "img", "iframe", "b1"} & set(shown.tags)


def attacked(run: Run, folder: Path) -> Run:
    """The recorded run with an attack in every text that a model or a corpus wrote."""
    database = folder / "attacked.duckdb"
    database.write_bytes(Path(run.database).read_bytes())
    text = " ".join(ATTACKS).replace("'", "''")
    with duckdb.connect(str(database)) as connection:
        for table_name, columns in {
            "groups": ("prompt_text", "gold"),
            "rollouts": ("text", "answer"),
            "teacher_draws": ("text",),
            "runs": ("machine", "student_model"),
        }.items():
            for column in columns:
                connection.execute(f"UPDATE {table_name} SET {column} = {column} || '{text}'")
        connection.execute(
            f"UPDATE groups SET candidate_texts = ['{text}', '{text}'] "
            "WHERE candidate_texts IS NOT NULL"
        )
    return replace(run, database=str(database))


def test_the_file_of_show_runs_nothing_that_a_model_wrote(
    recorded: Run, chromium: Browser, tmp_path: Path
) -> None:
    run = attacked(recorded, tmp_path)
    _, text = html_of(run.database, run.key)
    path = tmp_path / "show.html"
    path.write_text(text, encoding="utf-8")
    opened = chromium.open(path, ready=READY)
    chromium.run("document.querySelectorAll('details.group').forEach(d => { d.open = true; })")
    chromium.until("document.querySelector('details.group .inside')")
    assert opened.errors == []
    assert chromium.run("document.querySelectorAll('iframe, b').length >= 0")
    assert chromium.run("document.querySelectorAll('iframe').length") == 0
    assert chromium.run("[...document.images].every(i => i.src.startsWith('data:image/'))")
    assert chromium.run("document.querySelectorAll('script:not([type])').length") == 1
    assert "<script>alert(1)</script>" in chromium.run("document.body.innerText")
    assert all(url.startswith(("data:", "file:")) for url in opened.requests)


def test_a_page_runs_no_script_but_its_own(chromium: Browser, tmp_path: Path) -> None:
    path = tmp_path / "page.html"
    body = "<script>document.title = 'run'</script><img src=x onerror=\"document.title='run'\">"
    path.write_text(page("still", body), encoding="utf-8")
    chromium.open(path)
    assert chromium.run("document.title") == "still"


def test_an_evaluation_card_escapes_questions_and_answers(recorded: Run) -> None:
    rows, answers = evaluated(recorded)
    text = " ".join(ATTACKS)
    for own in answers.values():
        for row in own:
            row |= {"output": text, "answer": text, "outcome": text}
    benchmark = suite.find("nano", "nano_grids")
    samples = (replace(s, text=text, gold=text) for s in suite.load(benchmark, "", 6))
    shown = rendered("".join(evaluation.view(benchmark, rows, answers, samples)))
    assert not {"script", "iframe"} & set(shown.tags)


def words(seed: int) -> str:
    """A long text that packs as badly as text does."""
    return " ".join(map(str, stream(seed, "words", 0).integers(0, 9999, 4000)))


def test_transcripts_fit_their_budget_by_cutting_texts_first(recorded: Run) -> None:
    with open_database(recorded.database) as connection:
        found = transcripts(connection, recorded.key, steps_of(connection, recorded.key, 10_000))
    seeds = itertools.count()
    groups = [g | {"r": [[words(next(seeds)), *r[1:]] for r in g["r"]]} for g in found["groups"]]
    long = found | {"groups": groups}
    budget = size_of(cut_to(long, 500)) + 10
    shown = within(long, budget)
    assert size_of(shown) <= budget
    assert shown["cut"] in (500, 1000, 2000, 4000)
    assert len(shown["groups"]) == len(long["groups"])
    assert "are cut in their middle" in section(long, "key", budget)
    heavy = {
        n: q | {"img": ["data:image/png;base64," + "A" * 999]}
        for n, q in found["questions"].items()
    }
    pictured = within(found | {"questions": heavy}, 40_000)["questions"]
    assert 0 < sum(bool(q["img"]) for q in pictured.values()) <= 20_000 // 999
    small = within(long, 9_000)
    assert 0 < len(small["groups"]) < len(long["groups"])
    assert {g["q"] for g in small["groups"]} == set(small["questions"])
