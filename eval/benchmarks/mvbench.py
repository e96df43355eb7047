"""MVBench: 20 temporal tasks, a config a task; candidates by their text."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from eval.archives import UnreadableError
from eval.benchmark import Benchmark, Picture, Sample
from eval.benchmarks.common import ask, letter, read_rows
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings
from eval.video import clip

PROMPT = Template(
    "mvbench",
    """{# Stripped upstream: "Only give the best option." and the system prompt #}
{% from "options" import bracketed %}
The pictures are frames of a video, in order.
{{ question }}
{{ bracketed(options) }}
""",
)

COLUMNS = ("video", "question", "candidates", "answer")
CUT = True
_CHARADES = (("star/Charades_segment", CUT), ("star/Charades_v1_480", not CUT))
_CLEVRER = (("clevrer/video_validation", not CUT),)
_PERCEPTION = (("perception/videos", not CUT),)
# where the files of a config lie, and whether they are cut to the row's span there: the folder of
# the branch `video`, which the record reads, then that of `main` where it differs
FOLDERS: dict[str, tuple[tuple[str, bool], ...]] = {
    "object_interaction": _CHARADES,
    "action_sequence": _CHARADES,
    "action_prediction": _CHARADES,
    "action_localization": (("sta/sta_video_segment", CUT), ("sta/sta_video", not CUT)),
    "moving_count": _CLEVRER,
    "moving_direction": _CLEVRER,
    "moving_attribute": _CLEVRER,
    "counterfactual_inference": _CLEVRER,
    "object_existence": _CLEVRER,
    "character_order": _PERCEPTION,
    "object_shuffle": _PERCEPTION,
    "state_change": _PERCEPTION,
    "action_count": _PERCEPTION,
    "fine_grained_pose": (("nturgbd_convert", not CUT), ("nturgbd", not CUT)),
    "egocentric_navigation": (("vlnqa", not CUT),),
    "episodic_reasoning": (("tvqa/video_fps3_hq_segment", CUT), ("tvqa/frames_fps3_hq", not CUT)),
    "fine_grained_action": (("Moments_in_Time_Raw/videos", not CUT),),
    "scene_transition": (("scene_qa/video", not CUT),),
    "action_antonym": (("ssv2_video_mp4", not CUT), ("ssv2_video", not CUT)),
    "unexpected_action": (("FunQA_test/test", not CUT),),
}
# the branches hold some of the same videos in other containers than the rows say
CONTAINERS = (".mp4", ".webm", ".avi", ".mkv")


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(str(c) for c in row["candidates"])
        places = [i for i, o in enumerate(options) if o.strip() == str(row["answer"]).strip()]
        if len(places) != 1:
            raise ValueError(f"{len(places)} of the candidates are the answer")
        text = ask(PROMPT, settings, question=row["question"], options=options)
        pictures = (_pictures(source, row, settings),)
        return Sample(
            f"{row.config}/{row.index}",
            text,
            letter(places[0]),
            pictures,
            options,
            cluster=lambda: whole_video(row),
        )

    return read_rows(source, COLUMNS, read)


def whole_video(row: Row) -> str:
    """The video that a row's span is of, by its folder: tasks share videos, and folders names."""
    name, _ = _split(str(row["video"]))
    return f"{FOLDERS[row.config][0][0]}/{name.removesuffix(_mark(_span(row)))}"


def _span(row: Row) -> tuple[str, ...]:
    return tuple(str(row.get(key) or 0) for key in ("start", "end"))


def _pictures(source: Source, row: Row, settings: Settings) -> Picture:
    video = str(row["video"])
    span = _span(row)
    start, end, fps = (float(row.get(key) or 0) for key in ("start", "end", "fps"))

    def read() -> tuple[bytes, ...]:
        faults = []
        for folder, cut in FOLDERS[row.config]:
            names = [f"{folder}/{name}" for name in file_names(video, span, cut)]
            bounds = (0.0, None) if cut else (start, end or None)
            try:
                return clip(partial(source.open, *names), settings, *bounds, fps)()
            except UnreadableError as fault:
                faults.append(fault)
        raise faults[0]

    return read


def file_names(video: str, span: tuple[str, ...], cut: bool) -> list[str]:
    """What the file of a row may be called: its own name first.

    A cut file may carry the row's span ("NAME_21.4_37.6.mp4") where the row does not, and the row
    where the whole file does not. A name without a container is a folder of stills too.
    """
    stem, extension = _split(video)
    marked = _mark(span)
    stems = [stem, stem + marked] if cut else [stem, stem.removesuffix(marked)]
    return list(
        dict.fromkeys(s + container for s in stems for container in (extension, *CONTAINERS))
    )


def _split(video: str) -> tuple[str, str]:
    """A video's name and its container, which may be missing."""
    stem, dot, suffix = video.rpartition(".")
    if not dot or f".{suffix.lower()}" not in CONTAINERS:
        return video, ""
    return stem, f".{suffix}"


def _mark(span: tuple[str, ...]) -> str:
    return "_" + "_".join(span)


BENCHMARK = Benchmark(
    "MVBench",
    "Video",
    "OpenGVLab/MVBench",
    "train",
    4000,
    "choice",
    task="mvbench",
    cluster="video",
    configs=("*",),
    licence="MIT",
    gated=True,
    totals=("mean_of_groups", "pooled"),
    archives="*.zip",
    revision="a776e554280b99b70f00cc3eacd69a65e0727efc",
    prompts=(PROMPT,),
    samples=samples,
)
