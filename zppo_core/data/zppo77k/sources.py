"""ZPPO-77K as data: which sub-datasets, under which names, how many rows of each (appendix B.1).

What the paper leaves open keeps its default here: the named lists alone, one cap for a canonical
name, Vero first on duplicates, no topping up.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from zppo_core.data.pixels import ANY_SIZE, Bounds
from zppo_core.errors import UserError

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
LICENCES: dict[Source, str] = {
    "vero": "Apache-2.0 (Vero-600k); the sub-dataset's own terms hold too",
    "mmfine": "Apache-2.0 (MMFineReason); the sub-dataset's own terms hold too",
}


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


def _fine(name: str, ending: str = "") -> tuple[str, ...]:
    """MMFineReason's spellings of `name`: documents differ about the prefix and the ending."""
    plain = {f"{name}{ending}": 0, name: 0}  # an ordered set
    return (*(f"FineVision-{p}" for p in plain), *plain)


_VERO_1 = ("geomverse", "geoqa_plus", "mmk12")
_VERO_2 = (
    "pathvqa",
    "vqarad",
    "evochart",
    "infographic_vqa",
    "aokvqa",
    "gqa",
    "iconqa",
    "vqav2",
    "visual7w",
    "tallyqa",
    "pixelreasoner",
    "pixmo",
    "visual_probe",
)

SUB_DATASETS: tuple[SubDataset, ...] = (
    SubDataset("ai2d", 1, ("ai2d_merged",), (*_fine("ai2d_merged"), *_fine("ai2d"))),
    SubDataset("geo170k", 1, ("geo170k",), _fine("geo170k", "(qa)")),
    *(SubDataset(name, 1, (name,)) for name in _VERO_1),
    SubDataset("cosyn_math", 1, ("CoSyn_400k_math",)),
    SubDataset("cosyn_chart", 1, ("CoSyn_400k_chart",)),
    SubDataset("cosyn_diagram", 1, ("CoSyn_400k_diagram",)),
    SubDataset("cosyn_table", 1, ("CoSyn_400k_table",)),
    SubDataset(
        "wemath",
        1,
        ("wemath20_pro", "wemath20_standard"),
        ("WeMath2-Pro", "WeMath2-Standard", "WeMath2-SFT", "WeMath2", "WeMath"),
    ),
    SubDataset("tqa", 1, ("tqa",), _fine("tqa")),
    SubDataset(
        "visualwebinstruct", 1, ("visualwebinstruct",), _fine("visualwebinstruct", "(filtered)")
    ),
    SubDataset("chartqa", 1, ("chartqa_difficulty", "chartqa")),
    SubDataset("arxivqa", 1, ("arxivqa_formatted", "arxivqa")),
    SubDataset("mmr1", 1, (), ("MMR1",)),
    SubDataset("euclid", 1, (), ("Euclid30K", "Euclid")),
    SubDataset("geometry3k", 1, (), (*_fine("geometry3k", "(mathv360k)"), "geo3k")),
    SubDataset("mm_openr1", 1, (), ("mmopenr1-8k", "mmopenr1", "mm-openr1-8k", "mm-openr1")),
    SubDataset("bmmr", 1, (), ("BMMR",)),
    SubDataset("scienceqa", 1, (), _fine("scienceqa")),
    SubDataset("virl39k", 1, (), ("ViRL39K", "ViRL")),
    SubDataset("raven", 2, ("raven",), _fine("raven")),
    *(SubDataset(name, 2, (name,)) for name in _VERO_2),
    SubDataset("multihop", 2, ("multihop", "multihop_qa")),
    SubDataset("visualsphinx", 2, (), ("VisualSphinx",)),
    SubDataset("puzzleqa", 2, (), ("PuzzleQA",)),
    SubDataset("llava_cot", 2, (), ("LLaVA-CoT",)),
    SubDataset("zebra_cot", 2, (), ("Zebra-CoT-Physics", "Zebra-CoT")),
)

# known values that the paper lists in neither tier: left out, and no reason to stop
UNLISTED: dict[Source, tuple[str, ...]] = {
    "vero": (
        "ecd_vqa",
        "reachqa",
        "objects365",
        "objects365_qa",
        "refcocog",
        "aerialvg",
        "groundui",
        "oodvqa",
        "osatlas",
        "indoor_qa",
        "vizwiz",
        "viquae",
        "vcr",
        "vcrqa",
        "kvqa",
        "kvg",
        "popvqa",
        "game_qa",
        "visual_jigsaw_2d",
        "visual_jigsaw_3d",
        "magma_mind2web",
        "magma_aitw",
        "spatial_ssrl",
        "stvqa",
        "robo2vlm",
        "mavis_math_metagen",
        "mavis_math_rule_geo",
        "CoSyn_400k_chemical",
    ),
    "mmfine": ("GameQA-140K", "GameQA", "WaltonColdStart", "MMK12"),
}
VERO_DOMAINS = (
    "chart_ocr",
    "stem",
    "spatial_action",
    "knowledge_recognition",
    "counting_grounding_search",
    "captioning_IF",
)


@dataclass(frozen=True)
class Recipe:
    """What decides the corpus besides its sources."""

    seed: int = 0
    max_tokens: int = 4096
    drop_duplicates: bool = True
    drop_overlap: bool = False
    bounds: Bounds = ANY_SIZE  # of the pictures as they are written
    more: tuple[tuple[str, int], ...] = ()  # further Vero configs with their tiers
    reserve: float = 1.25  # candidates kept a sub-dataset, over its cap

    def settings(self) -> dict[str, object]:
        """It as settings of a run, by name."""
        return {
            "data.seed": self.seed,
            "data.max_prompt_tokens": self.max_tokens,
            "data.drop_duplicates": self.drop_duplicates,
            "data.drop_overlap": self.drop_overlap,
            "data.min_pixels": self.bounds.least,
            "data.max_pixels": self.bounds.most,
            "data.more_configs": ",".join(f"{name}={tier}" for name, tier in self.more),
            "data.reserve": float(self.reserve),
        }


def differences(before: object, now: Mapping[str, object]) -> tuple[str, str]:
    """The settings in which a recorded recipe and `now` differ, of either as text; "" if none."""
    if not isinstance(before, Mapping):
        return f"an older version's recipe ({before})", as_text(now)
    names = [n for n in {**before, **now} if before.get(n) != now.get(n)]
    return (as_text({n: before.get(n) for n in names}), as_text({n: now.get(n) for n in names}))


def as_text(settings: Mapping[str, object]) -> str:
    """Settings as `--set` takes them, separated by commas."""
    return ", ".join(
        f"{n}={str(v).lower() if isinstance(v, bool) else v}" for n, v in settings.items()
    )


class UnknownNameError(KeyError):
    """A sub-dataset's name that nobody knows: the map must be extended, not the rows lost."""


def _plain(name: str) -> str:
    return name.strip().lower()


def _config(name: str) -> str:
    """A Vero config without its domain: "stem-tqa" is "tqa"."""
    plain = _plain(name)
    for domain in VERO_DOMAINS:
        plain = plain.removeprefix(f"{domain.lower()}-")
    return plain


def parse_more(tiers: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Further configs and their tiers as ((config, tier), ...), sorted; UserError on a fault."""
    more: dict[str, int] = {}
    taken = {_config(v) for s in SUB_DATASETS for v in (*s.vero, s.name)}
    for name, tier in tiers.items():
        if tier not in CAPS:
            raise UserError(f"data.more_configs: {name}={tier} is no tier; it is 1 or 2")
        config = _config(name)
        if config in taken:
            raise UserError(f"data.more_configs: {name!r} is taken already; leave it out")
        taken.add(config)
        more[config] = tier
    return tuple(sorted(more.items()))


@dataclass(frozen=True)
class Names:
    """The paper's sub-datasets and `more` Vero configs with their tiers."""

    more: tuple[tuple[str, int], ...] = ()

    @cached_property
    def subs(self) -> tuple[SubDataset, ...]:
        """All sub-datasets in the order of their priority on duplicates: Vero's first."""
        further = (SubDataset(name, tier, (name,)) for name, tier in self.more)
        return tuple(sorted((*SUB_DATASETS, *further), key=lambda s: not s.vero))

    @cached_property
    def by_name(self) -> dict[str, SubDataset]:
        return {s.name: s for s in self.subs}

    @cached_property
    def _lookup(self) -> dict[Source, dict[str, str]]:
        return {
            "vero": {_config(v): s.name for s in self.subs for v in (*s.vero, s.name) if s.vero},
            "mmfine": {_plain(m): s.name for s in self.subs for m in s.mmfine},
        }

    @cached_property
    def _unlisted(self) -> dict[Source, set[str]]:
        return {source: set(map(_plain, names)) for source, names in UNLISTED.items()}

    def canonical(self, source: Source, name: str) -> str | None:
        """The canonical name of a config or `source` value; None if it is not taken.

        Raises UnknownNameError on a name that nobody knows.
        """
        plain = _config(name) if source == "vero" else _plain(name)
        name_found = self._lookup[source].get(plain)
        if name_found is not None:
            return name_found
        captions = source == "vero" and _plain(name).startswith("captioning_if")
        if captions or plain in self._unlisted[source]:
            return None
        raise UnknownNameError(name)

    def unknown(self, source: Source, names: Iterable[str]) -> list[str]:
        """Those of `names` that nobody knows, sorted, each once."""
        strangers = set()
        for name in set(names):
            try:
                self.canonical(source, name)
            except UnknownNameError:
                strangers.add(name)
        return sorted(strangers)


def check_configs(names: Names, configs: list[str], place: str) -> None:
    """UserError if Vero's folder has configs that nobody knows, or lacks one that is asked for."""
    named = {c for c in configs if c}  # files that lie flat name their sub-datasets row by row
    if strange := names.unknown("vero", named):
        raise unknown_names("vero", strange)
    present = {names.canonical("vero", c) for c in named}
    missing = [name for name, _ in names.more if named and name not in present]
    if missing:
        raise UserError(
            f"data.more_configs: {place} has no {', '.join(missing)}, only "
            f"{', '.join(sorted(named))}"
        )


def unknown_names(source: Source, names: list[str]) -> UserError:
    """The error that names sub-datasets nobody knows, and what to do."""
    fix = "name them in data.more_configs, or " if source == "vero" else ""
    return UserError(
        f"{source} has sub-datasets that nobody knows: {', '.join(map(repr, names))}; {fix}add "
        "them to SUB_DATASETS or UNLISTED in zppo_core/data/zppo77k/sources.py"
    )
