"""Video-MME with subtitles: the lines at the sampled frames, or the whole file."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from eval.archives import Stills, UnreadableError
from eval.benchmark import Benchmark, Sample
from eval.benchmarks import videomme
from eval.prompting import Template, render
from eval.rows import Source
from eval.settings import Settings
from eval.video import duration_of, frame_times

PROMPT = Template(
    "videomme_subtitles",
    """{# Stands before the question of Video-MME. Stripped upstream: the request for a bare letter. #}
The video's subtitles are listed below:
{{ subtitles or "No subtitles available" }}
""",  # noqa: E501
)

_TIME = re.compile(r"([0-9]+):([0-9]{2}):([0-9]{2})[,.]([0-9]{1,3})")
_TAG = re.compile(r"<[^<>]*>")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    videos = [str(row["videoID"]) for row in source.rows(("videoID",))]
    there = Subtitles(source, tuple(dict.fromkeys(videos)))
    for sample, video in zip(videomme.samples(source, settings), videos, strict=True):
        yield dataclasses.replace(sample, context=subtitles_of(there, video, settings))


@dataclasses.dataclass(frozen=True)
class Subtitles:
    """The subtitle files of the data set `source`, which has these `videos`."""

    source: Source
    videos: tuple[str, ...]

    def open(self, video: str) -> Path | io.BytesIO | None:
        """The file of `video`; None if it has none, as not every video has.

        UnreadableError if no video has any: then it is the archive that is missing.
        """
        try:
            return self._file(video)
        except UnreadableError as fault:
            if self.exist:
                return None
            raise UnreadableError(
                f"no subtitles of any video ({fault}); {self.source.how_to_get()}, with "
                "subtitle.zip"
            ) from None

    @cached_property
    def exist(self) -> bool:
        """Whether any video has subtitles."""
        for video in self.videos:
            with contextlib.suppress(UnreadableError):
                self._file(video)
                return True
        return False

    def _file(self, video: str) -> Path | io.BytesIO:
        file = self.source.open(f"subtitle/{video}.srt", f"{video}.srt")
        if isinstance(file, Stills):
            raise UnreadableError(f"{file.name} is a folder of pictures")
        return file


def subtitles_of(there: Subtitles, video_id: str, settings: Settings) -> Callable[[], str]:
    """The subtitle text that stands before the question, read when called."""

    def read() -> str:
        file = there.open(video_id)
        if file is None:
            return render(PROMPT, settings.prompts, subtitles="")
        data = file.read_bytes() if isinstance(file, Path) else file.read()
        lines = parse_srt(data.decode("utf-8", errors="replace"))
        if settings.subtitles == "frames":
            seconds = duration_of(there.source.open(*videomme.video_files(video_id)))
            times = frame_times(seconds, settings.frames)
            lines = [line for line in lines if any(line[0] <= t <= line[1] for t in times)]
        text = "\n".join(line[2] for line in lines)
        return render(PROMPT, settings.prompts, subtitles=text)

    return read


def parse_srt(text: str) -> list[tuple[float, float, str]]:
    """(start [s], end [s], words) of each subtitle, in order; damaged ones are left out."""
    spoken = []
    for block in re.split(r"\r?\n\s*\r?\n", text):
        lines = block.strip().splitlines()
        for i, line in enumerate(lines[:2]):
            times = _TIME.findall(line)
            if len(times) == 2:
                start, end = (_seconds(t) for t in times)
                words = " ".join(_TAG.sub("", part).strip() for part in lines[i + 1 :])
                spoken.append((start, end, words.strip()))
                break
    return [line for line in spoken if line[2]]


def _seconds(parts: tuple[str, ...]) -> float:
    hours, minutes, seconds, fraction = parts
    return 3600 * int(hours) + 60 * int(minutes) + int(seconds) + int(fraction.ljust(3, "0")) / 1000


BENCHMARK = Benchmark(
    "VMMES",
    "Video",
    "lmms-eval/Video-MME",
    "test",
    2700,
    "choice",
    task="videomme_subtitles",
    cluster="videoID",
    configs=("videomme",),
    licence="academic use only",
    totals=("pooled", "mean_of_groups"),
    archives="*.zip",
    revision="ead1408f75b618502df9a1d8e0950166bf0a2a0b",
    formerly=("lmms-lab/Video-MME",),
    prompts=(
        videomme.PROMPT,
        PROMPT,
    ),
    samples=samples,
)
