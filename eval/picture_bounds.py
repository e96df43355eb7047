"""Pictures of benchmarks within the protocol's bounds."""

from __future__ import annotations

from dataclasses import replace

from eval.archives import UnreadableError
from eval.benchmark import Picture, Sample
from eval.settings import Settings
from zppo_core.data.pixels import Bounds


def bounded(sample: Sample, settings: Settings) -> Sample:
    """`sample` with pictures that are scaled into the protocol's bounds when they are read."""
    return replace(sample, pictures=tuple(within_bounds(p, settings) for p in sample.pictures))


def within_bounds(picture: Picture, settings: Settings) -> Picture:
    """`picture` scaled into the protocol's bounds when it is read; UnreadableError if it cannot."""
    bounds = Bounds(settings.min_pixels, settings.max_pixels)

    def within(data: bytes) -> bytes:
        try:
            return bounds.scaled(data)
        except (OSError, ValueError) as fault:
            raise UnreadableError(str(fault)) from None

    return lambda: tuple(map(within, picture()))
