"""Every card opened as a user opens it: wide and narrow, light and dark."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import Browser
from drawn import CARDS, drawn

from steps.cards.page import page
from steps.cards.transcripts import section
from zppo_core.run.spec import Run

READY = (
    "!document.querySelector('.transcripts') || document.documentElement.dataset.ready === 'yes'"
)
WIDTHS = (1440, 390)


@pytest.fixture(scope="session")
def pages(recorded: Run, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A file for each card of the recorded run."""
    folder = tmp_path_factory.mktemp("cards")
    found = {}
    for name in CARDS:
        found[name] = folder / f"{name}.html"
        found[name].write_text(drawn(name, recorded), encoding="utf-8")
    return found


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", CARDS)
def test_a_card_draws_without_errors_and_without_the_network(
    chromium: Browser, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    opened = chromium.open(pages[name], width, dark, READY)
    assert opened.errors == []
    outer = [url for url in opened.requests if not url.startswith(("data:", "file:"))]
    assert outer == []
    assert len([url for url in opened.requests if url.startswith("file:")]) == 1
    assert opened.seconds < 2
    charts = chromium.run(
        "[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width)"
    )
    assert all(250 < w < width for w in charts), charts
    assert chromium.run("document.documentElement.scrollWidth") <= width
    background = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (background == "rgb(15, 18, 22)") == dark


def test_the_epoch_card_has_every_curve_from_step_one(
    chromium: Browser, pages: dict[str, Path], recorded: Run
) -> None:
    chromium.open(pages["epoch"], ready=READY)
    titles = chromium.run(
        "[...document.querySelectorAll('figcaption')].map(f => f.firstChild.textContent)"
    )
    assert len(titles) == len(set(titles)) == 15
    ticks = chromium.run(
        "[...document.querySelectorAll('svg')].map(s => [...s.querySelectorAll('text')]"
        ".filter(t => t.getAttribute('text-anchor') === 'middle').map(t => t.textContent))"
    )
    assert all(found == [str(i) for i in range(1, 9)] for found in ticks), ticks
    assert not chromium.run("document.body.textContent.includes('no value yet')")


def test_transcripts_are_filtered_and_opened(chromium: Browser, pages: dict[str, Path]) -> None:
    chromium.open(pages["epoch"], 390, ready=READY)
    every = chromium.run("document.querySelectorAll('details.group').length")
    chromium.run(
        "(() => { const s = document.querySelector('select[name=kind]'); s.value = 'bcq';"
        " s.dispatchEvent(new Event('input')); })()"
    )
    shown = chromium.run(
        "[...document.querySelectorAll('details.group .kind')].map(t => t.textContent)"
    )
    assert 0 < len(shown) < every
    assert set(shown) == {"bcq"}
    chromium.run("document.querySelector('details.group').open = true")
    text = "document.querySelector('details.group .inside')"
    chromium.until(text)
    inside = chromium.run(f"{text}.textContent")
    for said in ("Candidates in the prompt", "✓ right", "✗ wrong", "4 responses", "reward", "life"):
        assert said in inside
    assert chromium.run(f"{text}.querySelectorAll('img').length") == 1
    assert chromium.run("document.documentElement.scrollWidth") <= 390


@pytest.mark.parametrize(
    ("kind", "right_first", "marks"),
    [
        ("bcq", True, ["✓ right", "✗ wrong"]),
        ("bcq", False, ["✗ wrong", "✓ right"]),
        ("ncq", None, ["✗ wrong", "✗ wrong"]),
        ("hint", None, []),
    ],
)
def test_candidates_are_marked_as_far_as_it_is_known(
    chromium: Browser, tmp_path: Path, kind: str, right_first: bool | None, marks: list[str]
) -> None:
    group = {"step": 1, "q": "a", "kind": kind, "acc": 1.0, "prompt": "p", "prompt_tokens": 1}
    group |= {"right_first": right_first, "candidates": ["x", "y"], "r": []}
    found = {"cut": 0, "groups": [group], "questions": {"a": {"gold": "1", "img": [], "draws": []}}}
    path = tmp_path / "page.html"
    path.write_text(page("marks", section(found, kind)), encoding="utf-8")
    chromium.open(path, ready=READY)
    chromium.run("document.querySelector('details.group').open = true")
    chromium.until("document.querySelector('details.group .inside')")
    shown = "[...document.querySelectorAll('.inside .pair .tag')].map(t => t.textContent)"
    assert chromium.run(shown) == marks
