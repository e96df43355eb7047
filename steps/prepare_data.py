"""The `prepare_data` step: build or check the corpus before anything is spent on it."""

from __future__ import annotations

from eval.overlap import evaluation_signatures
from steps.cards import data
from steps.cards.page import Card
from zppo_core.data.corpus import ListCorpus
from zppo_core.data.preview import Preview
from zppo_core.run import corpus
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.spec import Artifact, Run


def prepare_data(setup: Artifact, card: Card | None = None) -> dict[str, object]:
    """The corpus's size, hash and make-up; raises UserError if it cannot serve the run."""
    run = Run.of(setup)

    def look(questions: ListCorpus, preview: Preview, steps: int) -> None:
        if card is not None:
            data.draw(card, run, questions, preview, steps)

    signatures = evaluation_signatures(run.config)
    return corpus.prepare(run, signatures, Heartbeat().progress("corpus"), look=look)


def settled(setup: Artifact) -> Artifact:
    """The run with its number of rollout steps: one pass over the corpus if none is configured."""
    return corpus.settled(Run.of(setup)).artifact()
