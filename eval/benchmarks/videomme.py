"""Video-MME: 900 videos of 11 seconds to an hour, three questions on each."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, read_rows, without_letter
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings
from eval.video import clip

PROMPT = Template(
    "videomme",
    """{# Stripped upstream: "Respond with only the letter (A, B, C, or D)"; "The best answer is:" #}
{% from "options" import dotted %}
The pictures are frames of a video, in order.
{{ question }}
{{ dotted(options) }}
""",  # noqa: E501
)

COLUMNS = ("videoID", "question_id", "duration", "question", "options", "answer")


def video_files(video_id: str) -> tuple[str, ...]:
    """The names under which a video may lie in the data set, unpacked or zipped."""
    return tuple(f"{folder}{video_id}.mp4" for folder in ("data/", "videos/", ""))


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(without_letter(o, i) for i, o in enumerate(row["options"]))
        text = ask(PROMPT, settings, question=row["question"], options=options)
        files = video_files(row["videoID"])
        name = f"{row['duration']}/{row['question_id']}"
        pictures = (clip(lambda: source.open(*files), settings),)
        return Sample(name, text, row["answer"].strip(), pictures, options)

    return read_rows(source, COLUMNS, read)


BENCHMARK = Benchmark(
    "VMME",
    "Video",
    "lmms-eval/Video-MME",
    "test",
    2700,
    "choice",
    task="videomme",
    cluster="videoID",
    configs=("videomme",),
    licence="academic use only",
    totals=("pooled", "mean_of_groups"),
    archives="videos_chunked_*.zip",
    revision="ead1408f75b618502df9a1d8e0950166bf0a2a0b",
    formerly=("lmms-lab/Video-MME",),
    prompts=(PROMPT,),
    samples=samples,
)
