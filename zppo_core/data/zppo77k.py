"""ZPPO-77K as data: which sub-datasets, under which names, how many rows of each (appendix B.1).

What the paper leaves open keeps its default here: the named lists alone, one cap for a canonical
name, Vero first on duplicates, no topping up.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

Source = Literal["vero", "mmfine"]
SOURCES: tuple[Source, ...] = ("vero", "mmfine")  # priority: the first wins on duplicates

HUB: dict[Source, str] = {
    "vero": "zlab-princeton/Vero-600k",
    "mmfine": "OpenDataArena/MMFineReason-SFT-586K-Qwen3-VL-235B-Thinking",
}
CAPS = {1: 2800, 2: 1400}  # rows of a canonical name, by tier
MAX_ANSWER = 512  # characters
MIN_SIDE = 100  # pixels
MAX_PASS_RATE = 0.5  # MMFineReason: a row above it is too easy


@dataclass(frozen=True)
class SubDataset:
    """One canonical name: its tier, and what the two sources call it (without prefixes)."""

    name: str
    tier: int
    vero: tuple[str, ...] = ()
    mmfine: tuple[str, ...] = ()

    @property
    def cap(self) -> int:
        return CAPS[self.tier]


_VERO_1 = ("geomverse", "geoqa_plus", "mmk12")
_VERO_2 = ("pathvqa", "vqarad", "evochart", "infographic_vqa", "aokvqa", "gqa", "iconqa", "vqav2",
           "visual7w", "tallyqa", "pixelreasoner", "multihop", "pixmo", "visual_probe")  # fmt: skip

SUB_DATASETS: tuple[SubDataset, ...] = (
    SubDataset("ai2d", 1, ("ai2d_merged",), ("FineVision-ai2d_merged",)),
    SubDataset("geo170k", 1, ("geo170k",), ("FineVision-geo170k(qa)", "FineVision-geo170k")),
    *(SubDataset(name, 1, (name,)) for name in _VERO_1),
    SubDataset("cosyn_math", 1, ("CoSyn_400k_math",)),
    SubDataset("cosyn_chart", 1, ("CoSyn_400k_chart",)),
    SubDataset("cosyn_diagram", 1, ("CoSyn_400k_diagram",)),
    SubDataset("cosyn_table", 1, ("CoSyn_400k_table",)),
    SubDataset("wemath", 1, ("wemath20_pro", "wemath20_standard"),
               ("WeMath2-Pro", "WeMath2-Standard", "WeMath2-SFT")),
    SubDataset("tqa", 1, ("tqa",), ("FineVision-tqa",)),
    SubDataset("visualwebinstruct", 1, ("visualwebinstruct",),
               ("FineVision-visualwebinstruct(filtered)", "FineVision-visualwebinstruct")),
    SubDataset("chartqa", 1, ("chartqa_difficulty", "chartqa")),
    SubDataset("arxivqa", 1, ("arxivqa_formatted", "arxivqa")),
    SubDataset("mmr1", 1, (), ("MMR1",)),
    SubDataset("euclid", 1, (), ("Euclid30K", "Euclid")),
    SubDataset("geometry3k", 1, (),
               ("FineVision-geometry3k(mathv360k)", "FineVision-geometry3k")),
    SubDataset("mm_openr1", 1, (), ("mmopenr1-8k", "mm-openr1")),
    SubDataset("bmmr", 1, (), ("BMMR",)),
    SubDataset("scienceqa", 1, (), ("FineVision-scienceqa",)),
    SubDataset("virl39k", 1, (), ("ViRL39K",)),
    SubDataset("raven", 2, ("raven",), ("FineVision-raven",)),
    *(SubDataset(name, 2, (name,)) for name in _VERO_2),
    SubDataset("visualsphinx", 2, (), ("VisualSphinx",)),
    SubDataset("puzzleqa", 2, (), ("PuzzleQA",)),
    SubDataset("llava_cot", 2, (), ("LLaVA-CoT",)),
    SubDataset("zebra_cot", 2, (), ("Zebra-CoT-Physics", "Zebra-CoT")),
)  # fmt: skip

BY_NAME = {s.name: s for s in SUB_DATASETS}
# known values that the paper lists in neither tier: left out, and no reason to stop
UNLISTED: dict[Source, tuple[str, ...]] = {
    "vero": ("ecd_vqa", "reachqa", "objects365_qa", "refcocog", "aerialvg", "groundui", "oodvqa",
             "osatlas", "indoor_qa", "vizwiz", "viquae", "vcr", "vcrqa", "kvqa", "kvg", "popvqa",
             "game_qa", "visual_jigsaw_2d", "visual_jigsaw_3d", "magma_mind2web", "magma_aitw",
             "spatial_ssrl", "stvqa", "robo2vlm"),
    "mmfine": ("GameQA-140K", "WaltonColdStart", "MMK12"),
}  # fmt: skip
# reward types of Vero whose gold is no short answer
UNUSABLE_REWARDS = frozenset({"grounding", "clicking", "web_action", "instruction_following"})
VERO_DOMAINS = ("chart_ocr", "stem", "spatial_action", "knowledge_recognition",
                "counting_grounding_search", "captioning_IF")  # fmt: skip


def _plain(name: str) -> str:
    return name.strip().lower()


_LOOKUP: dict[Source, dict[str, str]] = {
    "vero": {_plain(v): s.name for s in SUB_DATASETS for v in (*s.vero, s.name) if s.vero},
    "mmfine": {_plain(m): s.name for s in SUB_DATASETS for m in s.mmfine},
}


def canonical(source: Source, name: str) -> str | None:
    """The canonical name of a config or `source` value; None if the paper does not list it.

    A Vero config's domain ("stem-tqa") is taken off. Raises KeyError on a name that nobody knows:
    the map must be extended, not the rows lost.
    """
    plain = _plain(name)
    if source == "vero":
        for domain in VERO_DOMAINS:
            plain = plain.removeprefix(f"{domain.lower()}-")
        if _plain(name).startswith("captioning_if"):
            return None
    found = _LOOKUP[source].get(plain)
    if found is not None:
        return found
    if plain in map(_plain, UNLISTED[source]):
        return None
    raise KeyError(name)


_IMAGE_MARK = re.compile(r"\s*<image>\s*", re.IGNORECASE)
# directives on the form of the answer: the closer takes their place
_DIRECTIVES = (
    re.compile(r"(?im)^\s*(hint|note)\s*:\s*please answer.*$"),
    re.compile(
        r"(?i)\s*(please\s+)?(answer|respond)\s+(the question\s+)?(directly\s+)?(with|using|by)\s+"
        r"(only\s+)?(the\s+)?(option|letter|a single word|one word|single word|a number)[^.\n]*\.?"
    ),
    re.compile(r"(?i)\s*(please\s+)?(put|write|give|provide)\s+(your\s+|the\s+)?(final\s+)?answer\s+"
               r"(in|inside|within|as|between)[^.\n]*\\?boxed\{?\}?[^.\n]*\.?"),
    re.compile(r"(?i)\s*(first\s+)?(think|reason)[^.\n]*<think>[^.\n]*\.?"),
)  # fmt: skip


def strip_directives(text: str) -> str:
    """The question without image marks and upstream directives on the form of the answer."""
    text = _IMAGE_MARK.sub("\n", text)
    for pattern in _DIRECTIVES:
        text = pattern.sub("", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()
