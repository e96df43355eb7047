"""The `prepare_data` step: build or check the corpus before anything is spent on it."""

from __future__ import annotations

from eval.overlap import evaluation_signatures
from zppo_core.run import corpus
from zppo_core.run.heartbeat import Heartbeat
from zppo_core.run.spec import Artifact, Run


def prepare_data(setup: Artifact) -> dict[str, object]:
    """The corpus's size, hash and make-up; raises UserError if it cannot serve the run."""
    run = Run.of(setup)
    return corpus.prepare(run, evaluation_signatures(run.config), Heartbeat().progress("corpus"))


def settled(setup: Artifact) -> Artifact:
    """The run with its number of rollout steps: one pass over the corpus if none is configured."""
    return corpus.settled(Run.of(setup)).artifact()
