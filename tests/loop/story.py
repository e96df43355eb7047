"""Nine steps of Algorithm 1 in an unkind world, and what was seen of them.

Nothing here asks the product what is right: tests compare what engines and trainer were asked, and
what a step left behind, with values worked out from the recorded rollouts alone.
"""

import re
from dataclasses import dataclass

import numpy as np
from scripted_world import MANY, World, changing_student, often_right, teacher_with

from zppo_core.algorithm.replay_buffer import Entry

STEPS, NEW, G_S, G_T, UPDATES = 9, 8, 4, 3, 3
TAU, CAP, MOST_REPLAYED, CAPACITY = 0.5, 5, 3, 11
SETS = {
    "replay.ratio": 0.4,
    "reformulation.ratio": 0.65,
    "replay.capacity": CAPACITY,
    "teacher.scope": "hard",
    "optimizer.updates": UPDATES,
    "run.seed": 5,
}


@dataclass
class Told:
    """One step: what stood before it, what it asked for, and what came out."""

    step: int
    entries: tuple[Entry, ...]  # of the buffer, before
    visits: dict[str, int]  # before
    student: list  # calls
    teacher: list
    scored: list
    updates: list
    did: list[str]
    result: object
    entries_after: tuple[Entry, ...]
    visits_after: dict[str, int]

    @property
    def hard(self) -> list:
        return [g for g in self.result.plain if np.mean(g.rewards_G) < TAU]

    @property
    def groups(self) -> list:
        return [*self.result.plain, *self.result.augmented]


def tell(folder, steps: int = STEPS, **sets) -> tuple[World, list[Told]]:
    world = World(
        folder, changing_student(), teacher_with(often_right), questions=MANY, **{**SETS, **sets}
    )
    told = []
    student, teacher, learner = world.student, world.teacher, world.learner
    logs = (student.calls, teacher.calls, learner.asked_to_score, learner.updates, learner.did)
    for _ in range(steps):
        state, marks = world.state, [len(log) for log in logs]
        entries, visits, step = state.buffer.entries(), dict(state.visits), state.step
        result = world.step()
        since = [log[mark:] for log, mark in zip(logs, marks, strict=True)]
        told.append(
            Told(step, entries, visits, *since, result, state.buffer.entries(), dict(state.visits))
        )
    return world, told


def route_of(text: str) -> str:
    return re.findall(r"(?:route|short) (\d+)", text)[-1]


def blocks(prompt: str) -> list[str]:
    return re.findall(r"<candidate>\n(.*?)\n</candidate>", prompt, re.DOTALL)


def drawing_calls(told: Told) -> list:
    return [c for c in told.teacher if "<response>" not in c.prompts[0].text]


def summary_calls(told: Told) -> list:
    return [c for c in told.teacher if "<response>" in c.prompts[0].text]


def standardised(groups, norm: str = "nonzero", eps: float = 1e-6) -> dict[str, np.ndarray]:
    """Section 3, written out: each group's own baseline, one deviation for all."""
    centred = {g.uid: g.rewards_G - np.mean(g.rewards_G) for g in groups}
    if norm == "none":
        return centred
    if norm == "grpo":
        return {g.uid: centred[g.uid] / (np.std(g.rewards_G) + eps) for g in groups}
    pool = [a for a in centred.values() if norm == "all" or np.any(a != 0)]
    deviation = np.sqrt(np.mean(np.concatenate(pool) ** 2)) if pool else 1.0
    return {uid: a / (deviation + eps) for uid, a in centred.items()}


def reached(told: Told) -> list:
    return [g for groups, _ in told.updates for g in groups]


def active(groups) -> list:
    return [g for g in groups if len(set(g.rewards_G)) > 1]


def tokens_of(group) -> int:
    return sum(len(c.token_ids_T) for c in group.completions)
