"""Video-MME: 900 videos of 11 seconds to an hour, three questions on each."""

from __future__ import annotations

from collections.abc import Iterator

from eval.benchmark import Sample
from eval.benchmarks.common import ask, read_rows, without_letter
from eval.rows import Row, Source
from eval.settings import Settings
from eval.video import clip

COLUMNS = ("videoID", "question_id", "duration", "question", "options", "answer")


def video_files(video_id: str) -> tuple[str, ...]:
    """The names under which a video may lie in the data set, unpacked or zipped."""
    return tuple(f"{folder}{video_id}.mp4" for folder in ("data/", "videos/", ""))


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(without_letter(o, i) for i, o in enumerate(row["options"]))
        text = ask("videomme", settings, question=row["question"], options=options)
        files = video_files(row["videoID"])
        name = f"{row['duration']}/{row['question_id']}"
        pictures = (clip(lambda: source.open(*files), settings),)
        return Sample(name, text, row["answer"].strip(), pictures, options)

    return read_rows(source, COLUMNS, read)
