"""What the paper leaves open about evaluation, as settings that are recorded with every score."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal, get_args, get_origin, get_type_hints

from zppo_core.errors import UserError, suggestion

REPAIRED, ORIGINAL = "repaired", "original"


@dataclass(frozen=True)
class Settings:
    """The choices of a protocol beyond decoding; each default our likeliest reading.

    `totals` names for a benchmark, like "DynaM=pooled", another of its totals than the first.
    """

    frames: int = 32  # per video, at the middles of equal spans: the paper states no number
    frame_pixels: int = 262_144  # most pixels of a frame
    min_pixels: int = 262_144  # images are scaled into these bounds, as in the paper
    max_pixels: int = 1_310_720
    subtitles: Literal["frames", "whole"] = "frames"  # of Video-MME: lines at the sampled frames
    mmlu_redux: Literal["repaired", "original"] = "repaired"  # gold answer of faulty rows
    judge_sees: Literal["snippet", "trajectory"] = "snippet"  # of a response with a parsed answer
    judge_unparsed: bool = True  # a response without an answer goes to the judge as a whole
    judge_unfinished: bool = False  # and one whose thought never ends, as the paper's judge may
    judge_tokens: int = 512
    totals: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()  # moved or pinned data sets, like "AI2D=org/name@revision"
    prompts: str = ""  # a folder with NAME.jinja in place of templates

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


def parse(text: str) -> Settings:
    """Settings from "frames=16;totals=DynaM=pooled,WeMath=strict"; UserError on a fault."""
    hints = get_type_hints(Settings)
    values: dict[str, object] = {}
    for entry in filter(None, (part.strip() for part in text.split(";"))):
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or name not in hints:
            remedy = suggestion(name, hints, lambda known: f"{known}=...")
            raise UserError(f"evaluation setting {entry!r} is unknown; {remedy}")
        values[name] = _convert(name, value, hints[name])
    return dataclasses.replace(Settings(), **values)  # type: ignore[arg-type]


def _convert(name: str, value: str, kind: object) -> object:
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise UserError(f"evaluation setting {name}: one of {', '.join(get_args(kind))}")
        return value
    if kind is bool:
        if value.lower() not in ("true", "false"):
            raise UserError(f"evaluation setting {name}: true or false, not {value!r}")
        return value.lower() == "true"
    if kind is int:
        if not value.isdecimal():
            raise UserError(f"evaluation setting {name}: a whole number, not {value!r}")
        return int(value)
    if get_origin(kind) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value
