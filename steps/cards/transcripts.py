"""Transcripts of a run on a page: filters, groups, and all their responses."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from html import escape

from eval.report.transcripts import Pictures, Transcripts, within
from steps.cards.blocks import data_uri, heading, json_script
from zppo_core.algorithm.step_types import Corpus
from zppo_core.data.pixels import Bounds

BUDGET = 700_000  # bytes of transcripts on a live card
SMALL = Bounds(0, 50_000)  # pixels of a picture on a page, which holds hundreds


def section(written: Transcripts, key: str, budget: int = BUDGET, note: str = "") -> str:
    """The transcripts with their filters; `key` is the run's, under which filters are kept."""
    shown = within(written, budget)
    notes = [note] if note else []
    asked, pictured = illustrated(written), illustrated(shown)
    if pictured < asked:
        notes.append(f"Pictures of {pictured:,} of {asked:,} questions fit on this page.")
    if shown["cut"]:
        notes.append(f"Texts over {shown['cut']:,} characters are cut in their middle.")
    if len(shown["groups"]) < len(written["groups"]):
        notes.append(f"{len(shown['groups'])} of {len(written['groups'])} groups fit on this page.")
    return (
        heading("Transcripts", " ".join(notes))
        + f'<div class="transcripts" data-source="transcripts" data-key="{escape(key)}">'
        + '<p class="dim">reading the transcripts</p></div>'
        + json_script("transcripts", shown)
    )


def illustrated(written: Transcripts) -> int:
    """How many questions have a picture."""
    return sum(bool(question["img"]) for question in written["questions"].values())


def pictures_of(corpus: Corpus) -> Pictures:
    """A question's pictures as addresses that hold them, no larger than a page needs."""

    @lru_cache(maxsize=4096)  # a live card shows the same questions again and again
    def pictures(question_id: str) -> Sequence[str]:
        try:
            images = corpus[question_id].images
        except KeyError:  # a corpus that was changed since: the text is still there
            return ()
        return [data_uri(SMALL.scaled(image, small=True)) for image in images]

    return pictures
