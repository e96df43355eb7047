"""MVBench: 20 temporal tasks, a config a task; candidates by their text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from eval.rows import Row, Source, UnreadableError
from eval.settings import Settings
from eval.suite import Picture, Sample
from eval.tasks.common import ask, letter, read_rows
from eval.video import clip

COLUMNS = ("video", "question", "candidates", "answer")
# where the branch `video` keeps the files of a config; those of "segment" folders are cut already
FOLDERS = {
    "object_interaction": "star/Charades_segment",
    "action_sequence": "star/Charades_segment",
    "action_prediction": "star/Charades_segment",
    "action_localization": "sta/sta_video_segment",
    "moving_count": "clevrer/video_validation",
    "moving_direction": "clevrer/video_validation",
    "moving_attribute": "clevrer/video_validation",
    "counterfactual_inference": "clevrer/video_validation",
    "object_existence": "clevrer/video_validation",
    "character_order": "perception/videos",
    "object_shuffle": "perception/videos",
    "state_change": "perception/videos",
    "action_count": "perception/videos",
    "fine_grained_pose": "nturgbd_convert",
    "egocentric_navigation": "vlnqa",
    "episodic_reasoning": "tvqa/video_fps3_hq_segment",
    "fine_grained_action": "Moments_in_Time_Raw/videos",
    "scene_transition": "scene_qa/video",
    "action_antonym": "ssv2_video_mp4",
    "unexpected_action": "FunQA_test/test",
}
# the same on the main branch where the files are not cut
UNCUT = {
    "star/Charades_segment": "star/Charades_v1_480",
    "sta/sta_video_segment": "sta/sta_video",
    "tvqa/video_fps3_hq_segment": "tvqa/frames_fps3_hq",
}


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(str(c) for c in row["candidates"])
        places = [i for i, o in enumerate(options) if o.strip() == str(row["answer"]).strip()]
        if len(places) != 1:
            raise ValueError(f"{len(places)} of the candidates are the answer")
        text = ask("mvbench", settings, question=row["question"], options=options)
        pictures = (_pictures(source, row, settings),)
        return Sample(f"{row.config}/{row.index}", text, letter(places[0]), pictures, options)

    return read_rows(source, COLUMNS, read)


def _pictures(source: Source, row: Row, settings: Settings) -> Picture:
    folder, video = FOLDERS[row.config], str(row["video"])

    def read() -> tuple[bytes, ...]:
        try:
            return clip(lambda: _open(source, folder, video), settings)()
        except UnreadableError:
            if folder not in UNCUT:
                raise
        start, end, fps = (float(row.get(k) or 0) for k in ("start", "end", "fps"))
        return clip(
            lambda: _open(source, UNCUT[folder], video), settings, start, end or None, fps
        )()

    return read


def _open(source: Source, folder: str, video: str) -> Path | Any:
    return source.open(f"{folder}/{video}", f"data0613/{folder}/{video}", f"video/{folder}/{video}")
