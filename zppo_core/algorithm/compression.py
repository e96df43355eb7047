"""Candidate compression by the teacher, with the final-answer check (section 5).

Right and wrong responses take the same way: same prompt, same cap, same fallback, so that form does
not tell them apart. A summary counts only if its boxed answer is the response's own, unchanged.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from zppo_core.prompts import Templates
from zppo_core.protocols import Engine, Sampling
from zppo_core.rewards.where import extract_boxed, find_answer
from zppo_core.store.teacher_cache import Memo
from zppo_core.streams import derive_seed
from zppo_core.types import Prompt

MAX_LINES = 5
_SUMMARY = re.compile(r"<summary>(.*?)</summary>", re.DOTALL)
_THINK_TAG = re.compile(r"</?think>")


@dataclass(frozen=True)
class Compressed:
    """A candidate as it will stand in a prompt, and how it came about."""

    text: str
    answer: str | None
    fallback: bool  # the deterministic extract, because no summary kept the answer
    attempts: int  # teacher summaries asked for
    tokens: int = 0  # of what the teacher wrote for it, in all attempts
    recalled: int = 0  # of them those that a memo had: not generated now
    source_answer: str | None = None  # boxed in the text that was compressed
    source_characters: int | None = None  # its length; None: not a compression


def normalise_answer(answer: str | None) -> str | None:
    """Answers compared up to white space alone: anything more would let them change."""
    return None if answer is None else " ".join(answer.split())


def parse_summary(output: str, answer: str | None) -> str | None:
    """The summary in `output` if it is whole and keeps `answer`; None if it must be retried.

    Whole: one <summary> block of at most 5 lines. A response without an answer must not gain one.
    """
    match = _SUMMARY.search(output)
    if match is None:
        return None
    summary = match.group(1).strip()
    if not summary or len(summary.splitlines()) > MAX_LINES:
        return None
    if normalise_answer(extract_boxed(summary)) != normalise_answer(answer):
        return None
    return summary


def extract(response: str, answer: str | None, count_tokens: Callable[[str], int], cap: int) -> str:
    """The deterministic fallback: the last lines that fit, ending in the boxed answer.

    At most 5 lines and `cap` tokens, counted by `count_tokens`. An answer that alone is longer is
    no answer to show: the end of the response stands there without it, as where no line fits.
    """
    closing = [] if answer is None else [rf"\boxed{{{answer}}}"]
    if closing and count_tokens(closing[0]) > cap:
        return _tail(_THINK_TAG.sub(" ", response).split(), count_tokens, cap)
    body = _THINK_TAG.sub("\n", response)
    if answer is None:  # a box in a thought that never ends is no answer to show
        body = body.split("\\boxed")[0]
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    if closing and lines and normalise_answer(extract_boxed(lines[-1])) == normalise_answer(answer):
        lines = lines[:-1]
    kept: list[str] = []
    for line in reversed(lines):
        candidate = [line, *kept]
        if len(candidate) + len(closing) > MAX_LINES:
            break
        if count_tokens("\n".join(candidate + closing)) > cap:
            break
        kept = candidate
    if not kept and not closing:
        return _tail(body.split(), count_tokens, cap)
    return "\n".join(kept + closing)


def _tail(words: Sequence[str], count_tokens: Callable[[str], int], cap: int) -> str:
    """The last words that fit."""
    fit, most = 0, len(words)
    while fit < most:
        middle = (fit + most + 1) // 2
        if count_tokens(" ".join(words[-middle:])) <= cap:
            fit = middle
        else:
            most = middle - 1
    return " ".join(words[len(words) - fit :])


@dataclass(frozen=True)
class Compressor:
    """Asks `engine` for summaries; greedy first, then sampled retries, then the extract."""

    engine: Engine | None  # None: always the extract
    templates: Templates
    count_tokens: Callable[[str], int]
    cap: int
    retries: int
    memo: Memo | None = None  # what a teacher wrote once for a text it need not write again

    def compress(self, responses: Sequence[str], seed: int) -> list[Compressed]:
        """One candidate text for each response, in order; batches each round of attempts."""
        answers = [find_answer(r)[0] for r in responses]
        done: dict[int, Compressed] = {}
        tokens, recalled = [0] * len(responses), [0] * len(responses)
        rounds = 0 if self.engine is None else 1 + self.retries
        for attempt in range(rounds):
            open_ = [i for i in range(len(responses)) if i not in done]
            if not open_:
                break
            for i, output, length, new in self._ask(open_, responses, seed, attempt):
                tokens[i] += length
                recalled[i] += 0 if new else length
                summary = parse_summary(output, answers[i])
                if summary is not None and self.count_tokens(summary) <= self.cap:
                    done[i] = Compressed(summary, answers[i], False, attempt + 1)
        for i, response in enumerate(responses):
            if i not in done:
                text = extract(response, answers[i], self.count_tokens, self.cap)
                shown = normalise_answer(extract_boxed(text)) == normalise_answer(answers[i])
                done[i] = Compressed(text, answers[i] if shown else None, True, rounds)
        return [
            replace(
                done[i],
                tokens=tokens[i],
                recalled=recalled[i],
                source_answer=answers[i],
                source_characters=len(text),
            )
            for i, text in enumerate(responses)
        ]

    def _ask(
        self, indices: Sequence[int], responses: Sequence[str], seed: int, attempt: int
    ) -> list[tuple[int, str, int, bool]]:
        """For each of `indices`: what the teacher wrote, its tokens, and whether it is new."""
        assert self.engine is not None
        prompts = [Prompt(self.templates.compress(responses[i]), thinking=False) for i in indices]
        # the tags need room beside the summary itself
        sampling = Sampling(self.cap + 32, temperature=0.0 if attempt == 0 else 1.0)
        seeds = [derive_seed(seed, "compression", p.digest(), attempt) for p in prompts]
        # a greedy summary depends on the text alone, a sampled one on its seed too
        keys = [
            (self.engine.name, p.digest(), sampling.max_tokens, 0 if attempt == 0 else s)
            for p, s in zip(prompts, seeds, strict=True)
        ]
        recalled = [self._recall(key) for key in keys]
        new = [i for i, kept in enumerate(recalled) if kept is None]
        outputs = self.engine.generate([prompts[i] for i in new], sampling, [seeds[i] for i in new])
        written = {i: (g[0].text, len(g[0].token_ids_T)) for i, g in zip(new, outputs, strict=True)}
        if self.memo is not None:
            for i, (text, tokens) in written.items():
                self.memo.put([text, tokens], "compress", *keys[i])
        return [
            (index, *(recalled[i] or written[i]), i in written) for i, index in enumerate(indices)
        ]

    def _recall(self, key: tuple[object, ...]) -> tuple[str, int] | None:
        """What the memo has for it, and its tokens; of an older memo, which has the text alone."""
        kept = None if self.memo is None else self.memo.get("compress", *key)
        match kept:
            case [str(text), int(tokens)]:
                return text, tokens
            case str(text):
                return text, self.count_tokens(text)
        return None
