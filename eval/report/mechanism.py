"""Does what is learnt on reformulated prompts reach the plain ones? `zppo mechanism RUN`.

The run's journal is played again from its first step: nothing is sampled, every update is computed
anew. At some of the steps, before the update:

- the gradient of each group with something to teach, and each kind of group's part of the norm;
- the transfer of each reformulated group: the cosine between its gradient and that of the loss on
  its own right responses behind the *plain* prompt of the same question. Above zero, a small step
  along the group's gradient makes these responses likelier where no candidates are shown. Beside it
  the same with other questions' right responses, of the same category and of others;
- in the world `zone`, the probability of the right procedure on plain, BCQ, NCQ, placebo and
  random-word prompts of held-out questions. It is computed, not sampled.

Files of several seeds and methods together give means over seeds, each with its interval.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from eval.rates import LAYOUTS, procedures, prompts
from eval.render import put
from eval.report.mechanism_files import Chance, Findings, Share, Transfer, read, write
from eval.report.mechanism_page import ASKED, by_method, panels, text
from zppo_core.algorithm.rollouts import plain_ask
from zppo_core.algorithm.train_groups import Suffix, TrainGroup, UpdateMetrics
from zppo_core.data.digit_kinds import WORLDS
from zppo_core.data.digits import Facts, draw_facts
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.protocols import silent
from zppo_core.run.changes import changes
from zppo_core.run.loop import one_step
from zppo_core.run.preflight import check_machine
from zppo_core.run.resume import restore, same_beginning
from zppo_core.run.session import Session, open_session
from zppo_core.run.spec import Run
from zppo_core.run.verify import aside, recorded_run, weights_of
from zppo_core.store.checkpoint import checkpoint_of, steps
from zppo_core.store.objects import LocalStore, open_store
from zppo_core.streams import stream

if TYPE_CHECKING:
    import torch

    from zppo_core.training.updater import Trainer

PLAIN = ("plain", "replay")


class Probe:
    """A learner that looks at a step's groups before the first of its updates."""

    def __init__(self, session: Session, trainer: Trainer, findings: Findings) -> None:
        self.session, self.trainer, self.findings = session, trainer, findings
        self.inner = session.roles.learner
        self.looking = False

    def score(self, groups: Sequence[TrainGroup]) -> list[tuple[np.ndarray, ...]]:
        """As the learner does; the look comes before."""
        if self.looking and groups:
            self._look(groups)
        return self.inner.score(groups)

    def update(self, groups: Sequence[TrainGroup], tokens: int | None = None) -> UpdateMetrics:
        """As the learner does."""
        return self.inner.update(groups, tokens)

    def _look(self, groups: Sequence[TrainGroup]) -> None:
        step, corpus = self.session.state.step, self.session.corpus
        total = sum(g.tokens for g in groups)
        gradients = [self._gradient(g, total) for g in groups]
        for kind in dict.fromkeys(g.kind for g in groups):
            of_kind = [v for g, v in zip(groups, gradients, strict=True) if g.kind == kind]
            norm = float(sum(of_kind[1:], of_kind[0]).norm())
            self.findings.shares.append(Share(step, kind, len(of_kind), norm))
        asked = [i for i, g in enumerate(groups) if g.kind not in PLAIN and _right(g)]
        questions = [corpus[groups[i].uid.split("/")[1]] for i in asked]
        directions = []
        for i, question in zip(asked, questions, strict=True):
            plain = plain_ask(question, "plain", self.session.roles, self.session.config)
            encoded = self.session.roles.encode(plain.prompt)
            directions.append(
                self._gradient(replace(groups[i], prompt=encoded, suffixes=_right(groups[i])), None)
            )
        cosines = np.array([[_cosine(gradients[i], d) for d in directions] for i in asked])
        for row, (i, question) in enumerate(zip(asked, questions, strict=True)):
            apart = [
                k for k, other in enumerate(questions) if other.id != question.id
            ]  # a question may be asked in two ways
            alike = [k for k in apart if questions[k].category == question.category]
            others = [k for k in apart if questions[k].category != question.category]
            self.findings.transfers.append(
                Transfer(
                    step,
                    groups[i].kind,
                    question.category,
                    float(cosines[row, row]),
                    _mean(cosines[row, alike]),
                    _mean(cosines[row, others]),
                )
            )

    def _gradient(self, group: TrainGroup, total: int | None) -> torch.Tensor:
        """The loss's gradient on one group, flat; the weights and their gradients stay as before.

        `total` tokens divide the loss; None: those of the group.
        """
        import torch

        self.trainer.accumulate([group], total)
        masters = self.trainer.masters
        masters.fill()
        flat = torch.cat([t.grad.flatten() for t in masters.tensors.values() if t.grad is not None])
        masters.zero_grad()
        return flat


def mechanism(run: Run, every: int = 2, questions: int = 6) -> Findings:
    """Play a finished run again and look at every `every`-th step.

    `questions` of each category are asked for the probabilities, if the run is one of the zone's.
    UserError if the run has no finished step, changed its settings, or trains on several processes.
    """
    kept = steps(run.store, run.key)
    if not kept:
        raise UserError(f"run {run.key} has no checkpoint; see zppo runs")
    if changed := changes(run.journal):
        raise UserError(f"{changed[0].field} changed in run {run.key}; look at one that kept it")
    if run.config.optimizer.updates < 2:
        raise UserError("optimizer.updates is 1: no groups are scored before the update to look at")
    check_machine(run.config)
    findings = Findings(run.key, run.config.run.method, run.config.run.seed)
    with tempfile.TemporaryDirectory() as folder:
        session = open_session(run.config, LocalStore(folder), lambda phase: silent)
        try:
            same_beginning(session, run)
            restore(session, None)
            probe = _placed(session, findings)
            facts = _facts(questions) if run.config.data.source == "zone" else []
            while session.state.step < max(kept):
                probe.looking = session.state.step % every == 0
                if probe.looking:
                    findings.chances += _chances(session, facts)
                one_step(session, run)
            findings.chances += _chances(session, facts)
            now, recorded = weights_of(session, checkpoint_of(run.store, run.key, max(kept)))
            findings.same = now == recorded
        finally:
            session.close()
    return findings


def _placed(session: Session, findings: Findings) -> Probe:
    from zppo_core.training.updater import Trainer

    if not isinstance(session.trainer, Trainer):
        raise UserError(
            "gradients of groups are looked at in one process, and this run trains on several; "
            "look at one with compute.update_processes=1"
        )
    probe = Probe(session, session.trainer, findings)
    session.roles = replace(session.roles, learner=probe)
    return probe


def _right(group: TrainGroup) -> tuple[Suffix, ...]:
    """The responses above the group's mean, each to be made likelier by one."""
    return tuple(
        replace(s, weights_T=np.ones_like(s.weights_T))
        for s in group.suffixes
        if len(s.weights_T) and s.weights_T[-1] > 0
    )


def _cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    import torch

    return float(torch.nn.functional.cosine_similarity(a.double(), b.double(), dim=0))


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None


def _facts(questions: int) -> list[Facts]:
    rng = stream(0, "mechanism questions")
    return [
        draw_facts(rng, kind, LAYOUTS[i % len(LAYOUTS)], True, "zone")
        for i in range(questions)
        for kind in WORLDS["zone"]
    ]


def _chances(session: Session, facts: Sequence[Facts]) -> list[Chance]:
    findings = []
    for asked in ASKED if facts else ():
        chances = procedures(session.model, session.renderer, facts, prompts(facts, asked, 0))
        for category in dict.fromkeys(one.kind for one in facts):
            values = [c for one, c in zip(facts, chances, strict=True) if one.kind == category]
            findings.append(Chance(session.state.step, category, asked, sum(values) / len(values)))
    return findings


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo mechanism`; 0, 1 if the weights do not come out the same, or 2 with a line a fault."""
    reader = command("mechanism", __doc__ or "", "zppo mechanism my-run --out my-run.json")
    reader.add_argument(
        "run", nargs="+", help="key or path of a run's folder, or files of --out: seeds and methods"
    )
    reader.add_argument("--every", type=int, default=2, help="steps; default: %(default)s")
    reader.add_argument("--questions", type=int, default=6, help="of a category; %(default)s")
    reader.add_argument("--store", default="runs", metavar="URL", help="default: %(default)s")
    reader.add_argument("--out", type=Path, help="the findings as JSON")
    reader.add_argument("--picture", type=Path, help="the curves, as SVG or PNG")
    reader.add_argument(
        "--page", type=Path, help="put the tables between <!-- measured --> marks there"
    )
    options = reader.parse_args(arguments)
    if options.every < 1 or options.questions < 1:
        raise UserError("--every and --questions are at least 1")
    if all(name.endswith(".json") for name in options.run):
        findings = [read(Path(name)) for name in options.run]
    elif len(options.run) > 1:
        raise UserError("a run is played alone; then give the files of --out together")
    else:
        above, slash, key = options.run[0].rstrip("/").rpartition("/")
        store = open_store(above or "/") if slash else open_store(options.store)
        with aside():
            findings = [mechanism(recorded_run(store, key), options.every, options.questions)]
        if options.out:
            write(findings[0], options.out)
    _show(findings, options.page, options.picture)
    return 1 if any(one.same is False for one in findings) else 0


def _show(findings: Sequence[Findings], page: Path | None, picture: Path | None) -> None:
    pools = by_method(findings)
    words = text(pools)
    print(words)
    if page is not None:
        put(page, "measured", words)
    if picture is not None:
        from eval.report.plot import draw, save  # matplotlib

        save(draw(panels(pools)), picture)
