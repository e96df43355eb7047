"""OCRBench v2's metrics of text: containment, counting, formulas, and pages."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from rapidfuzz.distance import Levenshtein

_CHINESE = re.compile(r"[\u4e00-\u9fa5]")
_TEXT = re.compile(r"\\text\{([^{}]*)\}")


def _contained(answer: str, gold: str, short: bool) -> float:
    if short:
        return float(gold in answer)
    similarity = 1 - Levenshtein.distance(answer, gold) / max(len(answer), len(gold), 1)
    return similarity if similarity >= 0.5 else 0.0


def contained(answer: str, golds: Sequence[str], lower: bool = True) -> float:
    """1 if a gold answer of fewer than five words stands in the answer; longer ones by ANLS."""

    def tidy(text: str) -> str:
        text = text.strip().replace("\n", " ")
        return text.lower() if lower else text

    given = tidy(answer)
    return max(_contained(given, g, len(g.split()) < 5) for g in map(tidy, golds))


def contained_chinese(answer: str, golds: Sequence[str]) -> float:
    """The same without spaces; short is a gold answer of fewer than four parts between commas."""

    def tidy(text: str) -> str:
        return text.lower().strip().replace("\n", " ").replace(" ", "")

    given = tidy(answer)
    return max(_contained(given, g, len(g.split(",")) < 4) for g in map(tidy, golds))


def counting(answer: str, golds: Sequence[str], how: str) -> float:
    """Exact: the gold number stands in the answer. Regression: 1 - |p - a| / a if above 1/2."""
    if how == "exact match":
        return float(any(gold.lower().strip().replace("\n", " ") in answer for gold in golds))
    first = re.search(r"[0-9]{1,18}", answer)
    return max(_near(int(first.group()), int(gold)) for gold in golds) if first else 0.0


def _near(given: int, right: int) -> float:
    if not 0 < given < 2 * right:
        return 0.0
    closeness = 1 - abs(given - right) / right
    return closeness if closeness > 0.5 else 0.0


def formula(answer: str, golds: Sequence[str], chinese: bool = False) -> float:
    r"""Whether a gold formula stands in the answer, white space and (Chinese) \text{} removed."""

    def tidy(text: str) -> str:
        if chinese:
            text = _TEXT.sub(r"\1", text)
        return text.strip().replace("\n", " ").replace(" ", "")

    return float(any(tidy(gold) in tidy(answer) for gold in golds))


def page(answer: str, gold: str) -> float:
    """Mean of BLEU, METEOR, F-measure of the words and 1 - normalised edit distance."""
    from nltk.translate.bleu_score import sentence_bleu
    from nltk.translate.meteor_score import meteor_score

    if _CHINESE.search(gold) or _CHINESE.search(answer):
        import jieba

        jieba.setLogLevel("ERROR")
        right, given = jieba.lcut(gold), jieba.lcut(answer)
    else:
        right, given = gold.split(), answer.split()
    with warnings.catch_warnings():
        # nltk warns where a page has no run of four words in common with the gold one: BLEU is 0
        warnings.simplefilter("ignore", UserWarning)
        bleu = sentence_bleu([right], given)
    meteor = meteor_score([right], given, wordnet=synonyms())
    distance = Levenshtein.distance(answer, gold) / max(len(answer), len(gold), 1)
    return float((bleu + meteor + f_measure(set(right), set(given)) + 1 - distance) / 4)


def f_measure(right: set[str], given: set[str]) -> float:
    """The harmonic mean of precision and recall of two sets of words."""
    common = len(right & given)
    return 2 * common / (len(right) + len(given)) if common else 0.0


class Synonyms(Protocol):
    """What METEOR asks of WordNet."""

    def synsets(self, word: str) -> list[object]: ...


class NoSynonyms:
    """Stands in for WordNet where its data is not installed: words match by form and stem alone."""

    def synsets(self, word: str) -> list[object]:
        return []


@lru_cache(maxsize=1)
def synonyms() -> Synonyms:
    """WordNet if its data is installed, else nothing; `has_wordnet` tells which."""
    from nltk.corpus import wordnet

    try:
        wordnet.ensure_loaded()
    except LookupError:
        return NoSynonyms()
    lookup: Synonyms = wordnet
    return lookup


def has_wordnet() -> bool:
    """Whether METEOR counts synonyms here; `eval.scoring` says so where it does not."""
    return not isinstance(synonyms(), NoSynonyms)
