"""ZPPO's replay buffer and reformulated prompts in TRL's GRPOTrainer.

    pip install -e '.[bench]'
    python examples/trl_replay.py --model Qwen/Qwen3.5-0.8B --steps 10

What to expect: a line a step with the accuracy of plain prompts and the buffer's events.
A batch keeps its size: of its questions a quarter makes room for questions of the buffer, and a
quarter for BCQ and NCQ prompts about what was hard the step before. Only plain prompts move the
buffer, as in the paper. The teacher here is a table of solutions; put a model in its place.
"""

from __future__ import annotations

import argparse
from collections import deque
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer

from zppo_core import PromptReplayBuffer, grade, reformulate_bcq, reformulate_ncq
from zppo_core.algorithm.replay_buffer import BufferEvent
from zppo_core.streams import stream

Row = dict[str, str]  # prompt, question_id, gold, kind
Grader = Callable[[str, str], float]  # (response, gold) -> reward


class Zone:
    """What lasts between batches: the buffer, and reformulated prompts that wait for a place."""

    def __init__(self, rows: Sequence[Row], solutions: Mapping[str, str], grader: Grader) -> None:
        self.rows = {row["question_id"]: row for row in rows}
        self.solutions, self.grader = solutions, grader
        self.buffer = PromptReplayBuffer(capacity=512, threshold=0.5)
        self.waiting: deque[Row] = deque()
        self.step = 0
        self.accuracies: list[dict[str, float]] = []  # by step: of plain prompts
        self.events: list[BufferEvent] = []
        self.kinds: list[list[str]] = []  # by step: of the batch's groups

    def fill(self, rows: Sequence[Row]) -> list[Row]:
        """The batch with replayed and reformulated prompts in the places of its last questions."""
        share = max(len(rows) // 4, 1)
        reformulated = [self.waiting.popleft() for _ in range(min(share, len(self.waiting)))]
        new = list(rows[: len(rows) - share - len(reformulated)])
        rng, asked = stream(0, "replay", self.step), [row["question_id"] for row in new]
        ids = self.buffer.sample(share, rng, exclude=asked)
        replayed = [self.rows[q] | {"kind": "replay"} for q in ids]
        rest = [r for r in rows[len(new) :] if r["question_id"] not in ids]
        room = len(rows) - len(new) - len(replayed) - len(reformulated)
        filled = [*new, *rest[:room], *replayed, *reformulated]
        self.waiting.clear()  # what is left is of weights that are gone
        return filled

    def learn(self, rows: Sequence[Row], responses: Sequence[Sequence[str]]) -> list[float]:
        """Rewards, in order; the buffer moves, and hard questions are asked in other words."""
        rewards = [
            [self.grader(t, r["gold"]) for t in g] for r, g in zip(rows, responses, strict=True)
        ]
        plain: dict[str, float] = {}
        for row, texts, own in zip(rows, responses, rewards, strict=True):
            if row["kind"] in ("bcq", "ncq"):
                continue
            plain[row["question_id"]] = float(np.mean(own))
            if np.mean(own) < self.buffer.threshold:
                wrong = [t for t, r in zip(texts, own, strict=True) if r < 1.0]
                self.reformulate(row, wrong)
        events = self.buffer.update_all(plain, self.step)
        self.events += events
        self.accuracies.append(plain)
        self.kinds.append([row["kind"] for row in rows])
        said = ", ".join(f"{e.kind} {e.question_id}" for e in events)
        print(f"step {self.step}: accuracy {np.mean([*plain.values()]):.0%}; {said}", flush=True)
        self.step += 1
        return [reward for own in rewards for reward in own]

    def reformulate(self, row: Row, wrong: Sequence[str]) -> None:
        """A BCQ and an NCQ of a hard question wait for the next batch."""
        question, rng = row["prompt"], stream(0, row["question_id"], self.step)
        bcq = reformulate_bcq(question, self.solutions[row["question_id"]], wrong[0], rng)
        ncq = reformulate_ncq(question, wrong)
        self.waiting.append(row | {"kind": "bcq", "prompt": bcq.text})
        self.waiting.append(row | {"kind": "ncq", "prompt": ncq.text})


class ZoneTrainer(GRPOTrainer):
    """GRPOTrainer whose batches and rewards go through a `Zone`."""

    def __init__(self, zone: Zone, **settings: object) -> None:
        self.zone = zone
        super().__init__(reward_funcs=self.rewards, **settings)

    def _generate_and_score_completions(self, inputs: list[Row]) -> dict[str, object]:
        count = self.num_generations
        filled = self.zone.fill(inputs[::count])
        return super()._generate_and_score_completions([r for r in filled for _ in range(count)])

    def rewards(self, completions: list[str], **columns: list[str]) -> list[float]:
        """TRL's reward function: the columns of the rows come beside the responses."""
        count = self.num_generations
        names = ("prompts", "question_id", "gold", "kind")
        values = zip(*(columns[name][::count] for name in names), strict=True)
        rows = [dict(zip(("prompt", *names[1:]), v, strict=True)) for v in values]
        groups = [completions[i : i + count] for i in range(0, len(completions), count)]
        return self.zone.learn(rows, groups)


def boxed(response: str, gold: str) -> float:
    """1.0 if the boxed answer is `gold`."""
    return grade(response, gold=gold).reward


def sums(count: int) -> tuple[list[Row], dict[str, str]]:
    """Questions with their solutions: additions of two numbers."""
    rows, solutions = [], {}
    for i in range(count):
        a, b = stream(0, "sums", i).integers(1, 100, 2).tolist()
        text = f"What is {a} + {b}? Put the answer into \\boxed{{}}."
        rows.append({"prompt": text, "question_id": f"q{i}", "gold": str(a + b), "kind": "plain"})
        solutions[f"q{i}"] = f"{a} plus {b} is \\boxed{{{a + b}}}."
    return rows, solutions


def train(model: object, steps: int, grader: Grader = boxed, **settings: object) -> Zone:
    """Train `model` (a name or a model) for `steps` batches of 8 questions with 4 responses."""
    zone = Zone(*sums(64), grader)
    usual: dict[str, object] = {
        "output_dir": "results/trl_replay",
        "per_device_train_batch_size": 32,
        "num_generations": 4,
        "max_completion_length": 256,
        "save_strategy": "no",
        "report_to": [],
    }
    processing = settings.pop("processing_class", None)
    arguments = GRPOConfig(**{**usual, "max_steps": steps, **settings})
    data = Dataset.from_list([*zone.rows.values()])
    ZoneTrainer(
        zone, model=model, args=arguments, processing_class=processing, train_dataset=data
    ).train()
    return zone


if __name__ == "__main__":
    reader = argparse.ArgumentParser(description=__doc__)
    reader.add_argument("--model", default="Qwen/Qwen3.5-0.8B")
    reader.add_argument("--steps", type=int, default=10)
    train(**vars(reader.parse_args()))
