"""What the paper leaves open about evaluation, as settings that are recorded with every score."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator

from zppo_core.config.fields import Count, Text, Whole, list_of, settings_of
from zppo_core.config.reading import read
from zppo_core.config.schema import section
from zppo_core.errors import UserError

REPAIRED, ORIGINAL = "repaired", "original"


def _pairs(value: object) -> object:
    """A table as its pairs, "name=value"; text and lists as `list_of`."""
    if isinstance(value, Mapping):
        return [f"{name}={content}" for name, content in value.items()]
    return list_of(value)


Pairs = Annotated[tuple[Text, ...], BeforeValidator(_pairs)]


@section
class Settings:
    """The choices of a protocol beyond decoding; each default our likeliest reading.

    `totals` names for a benchmark, like {DynaM = "pooled"}, another of its totals than the first.
    """

    frames: Count = 32  # per video, at the middles of equal spans: the paper states no number
    frame_pixels: Count = 262_144  # most pixels of a frame
    min_pixels: Whole = 262_144  # images are scaled into these bounds, as in the paper
    max_pixels: Whole = 1_310_720
    subtitles: Literal["frames", "whole"] = "frames"  # of Video-MME: lines at the sampled frames
    mmlu_redux: Literal["repaired", "original"] = "repaired"  # gold answer of faulty rows
    judge_sees: Literal["snippet", "trajectory"] = "snippet"  # of a response with a parsed answer
    judge_unparsed: bool = True  # a response without an answer goes to the judge as a whole
    judge_unfinished: bool = False  # and one whose thought never ends, as the paper's judge may
    judge_tokens: Count = 512
    totals: Pairs = ()
    datasets: Pairs = ()  # moved or pinned data sets, like {AI2D = "org/name@revision"}
    prompts: Text = ""  # a folder with NAME.jinja in place of templates

    def dataset_of(self, benchmark: str) -> str:
        """The data set that replaces the record's, "org/name@revision"; empty: none does."""
        return dict(entry.partition("=")[::2] for entry in self.datasets).get(benchmark, "")

    def total_of(self, benchmark: str, allowed: tuple[str, ...]) -> str:
        """The total chosen for `benchmark`; UserError if it has none of that name."""
        chosen = dict(entry.partition("=")[::2] for entry in self.totals)
        name = chosen.get(benchmark, allowed[0])
        if name not in allowed:
            raise UserError(f"{benchmark} has no total {name!r}; it has {', '.join(allowed)}")
        return name


def parse(settings: str | Mapping[str, object]) -> Settings:
    """Settings from `evaluation.settings`, a table or its text; UserError names all faults."""
    try:
        values = settings_of(settings)
    except ValueError as error:
        raise UserError(f"evaluation.settings: {error}") from None
    return read(Settings, values, "evaluation.settings")
