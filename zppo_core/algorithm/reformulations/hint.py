"""Answer-free hints, written by the teacher from a right response (section 5, grpo_replay_hint)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from zppo_core.algorithm.compression import Compressed
from zppo_core.algorithm.reformulation import Instance, PromptContext, RightRollout
from zppo_core.algorithm.step_types import Ask
from zppo_core.prompts import OURS, Templates
from zppo_core.protocols import Engine, Sampling
from zppo_core.rewards.clean import clean
from zppo_core.rewards.where import extract_boxed
from zppo_core.streams import derive_seed
from zppo_core.types import Prompt

_HINT = re.compile(r"<hint>(.*?)</hint>", re.DOTALL)
_TAG = re.compile(r"</?think>")


class Hint(RightRollout):
    """The question with a hint that a teacher wrote from one of its right rollouts."""

    name = "hint"

    def write(self, instances: Sequence[Instance], context: PromptContext) -> list[Ask]:
        hints = writer_of(context).write(
            [(one.question.text, one.right.text) for one in instances], context.seed
        )
        return [
            context.ask(one, hint_text(one.question.text, hint.text, context.templates), hint)
            for one, hint in zip(instances, hints, strict=True)
        ]

    def example(self, templates: Templates) -> tuple[str, tuple[str, ...]]:
        question, hint = "How many cats?", "count them"
        return hint_text(question, hint, templates), (question, hint)


REFORMULATION = Hint()


def writer_of(context: PromptContext) -> HintWriter:
    """The writer of a run: its first teacher, with the cap and the retries of candidates."""
    settings = context.config.reformulation
    teacher = context.roles.teachers[0] if context.roles.teachers else None
    return HintWriter(teacher, context.templates, settings.candidate_tokens, settings.retries)


def hint_text(question_text: str, hint: str, templates: Templates = OURS) -> str:
    """The question with an answer-free hint; boxed text in the hint is an error upstream."""
    return templates.render(
        "hint", question=question_text, hint=templates.neutralise(hint), closer=templates.closer
    )


def parse_hint(output: str, answer: str | None = None) -> str | None:
    """The hint in `output`; None if there is none, or if it holds boxed text or the answer."""
    match = _HINT.search(output)
    hint = match.group(1).strip() if match else ""
    return hint if hint and "\\boxed" not in hint and _without(hint, answer) == hint else None


def first_half(response: str) -> str:
    """The deterministic fallback: the first half of the words before any boxed answer.

    Where the answer itself stands among them there are three dots.
    """
    before = _TAG.sub(" ", response).split("\\boxed")[0]
    words = before.split()
    return _without(" ".join(words[: (len(words) + 1) // 2]), extract_boxed(response))


def _without(text: str, answer: str | None) -> str:
    """`text` with dots for the answer as a word of its own; a single letter may be any word."""
    bare = clean(answer or "")
    if not bare or (len(bare) == 1 and bare.isalpha()):
        return text
    return re.sub(rf"(?<!\w){re.escape(bare)}(?!\w)", "...", text, flags=re.IGNORECASE)


@dataclass(frozen=True)
class HintWriter:
    """Asks `engine` for hints, again by sampling, and at last takes the response's first half."""

    engine: Engine | None  # None: always the first half
    templates: Templates
    cap: int  # tokens
    retries: int = 1

    def write(self, tasks: Sequence[tuple[str, str]], seed: int) -> list[Compressed]:
        """A hint for each (question text, right response), in order; none holds the answer."""
        done: dict[int, Compressed] = {}
        spent = [0] * len(tasks)
        rounds = 0 if self.engine is None else 1 + self.retries
        for attempt in range(rounds):
            open_ = [i for i in range(len(tasks)) if i not in done]
            if not open_:
                break
            assert self.engine is not None
            prompts = [Prompt(self.templates.write_hint(*tasks[i]), thinking=False) for i in open_]
            sampling = Sampling(self.cap + 32, temperature=0.0 if attempt == 0 else 1.0)
            seeds = [derive_seed(seed, "hint", p.digest(), attempt) for p in prompts]
            outputs = self.engine.generate(prompts, sampling, seeds)
            for i, group in zip(open_, outputs, strict=True):
                spent[i] += len(group[0].token_ids_T)
                hint = parse_hint(group[0].text, extract_boxed(tasks[i][1]))
                if hint is not None:
                    done[i] = Compressed(hint, None, False, attempt + 1, spent[i])
        return [
            done.get(i) or Compressed(first_half(response), None, True, rounds, spent[i])
            for i, (_, response) in enumerate(tasks)
        ]
