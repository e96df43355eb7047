"""Transcripts of a run on a page: filters, groups, and all their responses."""

from __future__ import annotations

from html import escape

from eval.report.transcripts import Pictures, Transcripts, within
from steps.cards.blocks import data_uri, heading, json_script
from zppo_core.algorithm.step_types import Corpus
from zppo_core.data.pixels import Bounds

BUDGET = 700_000  # bytes of transcripts on a live card
SMALL = Bounds(0, 100_000)  # pixels of a picture on a page


def section(found: Transcripts, key: str, budget: int = BUDGET, note: str = "") -> str:
    """The transcripts with their filters; `key` is the run's, under which filters are kept."""
    shown = within(found, budget)
    said = [note] if note else []
    if shown["cut"]:
        said.append(f"Texts over {shown['cut']:,} characters are cut in their middle.")
    if len(shown["groups"]) < len(found["groups"]):
        said.append(f"{len(shown['groups'])} of {len(found['groups'])} groups fit on this page.")
    return (
        heading("Transcripts", " ".join(said))
        + f'<div class="transcripts" data-source="transcripts" data-key="{escape(key)}">'
        + '<p class="dim">reading the transcripts</p></div>'
        + json_script("transcripts", shown)
    )


def pictures_of(corpus: Corpus) -> Pictures:
    """A question's pictures as addresses that hold them, no larger than a page needs."""

    def pictures(question_id: str) -> list[str]:
        try:
            images = corpus[question_id].images
        except KeyError:  # a corpus that was changed since: the text is still there
            return []
        return [data_uri(SMALL.scaled(image, small=True)) for image in images]

    return pictures
