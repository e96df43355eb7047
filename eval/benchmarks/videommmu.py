"""Video-MMMU: lecture videos in three tracks; the last brings a picture of its own."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from eval.benchmark import Benchmark, Sample
from eval.benchmarks.common import ask, literal_list, read_rows, without_letter
from eval.picture_bounds import within_bounds
from eval.prompting import Template
from eval.rows import Row, Source
from eval.settings import Settings
from eval.video import clip

PROMPT = Template(
    "videommmu",
    """{# Stripped upstream: answer with the letter directly, or with a number, word or short phrase. #}
{% from "options" import dotted %}
The pictures are frames of a video, in order.
{% if track == "Adaptation" %}
{{ "The last picture shows" if picture else "The end of the video shows" }} the picture of the question below; watch the lecture, then solve it.
{% else %}
Ignore the quiz shown in the last frame.
{% endif %}
{{ question }}
{{ dotted(options) }}
""",  # noqa: E501
)

COLUMNS = ("id", "question", "options", "answer")
GROUPS = {
    "Art": ("Art", "Art_Theory", "Design", "Music"),
    "Business": ("Accounting", "Economics", "Finance", "Manage", "Marketing"),
    "Science": ("Biology", "Chemistry", "Geography", "Math", "Physics"),
    "Medicine": (
        "Basic_Medical_Science",
        "Clinical_Medicine",
        "Diagnostics_and_Laboratory_Medicine",
        "Pharmacy",
        "Public_Health",
    ),
    "Humanities": ("History", "Literature", "Sociology", "Psychology"),
    "Engineering": (
        "Agriculture",
        "Architecture_and_Engineering",
        "Computer_Science",
        "Electronics",
        "Energy_and_Power",
        "Materials",
        "Mechanical_Engineering",
    ),
}
# between quotes, of which the last may be missing
_QUOTED = re.compile(r"['\"]([^'\"\[\],]+)(?:['\"]|\]?$)")
_GROUP_OF = {subject: group for group, subjects in GROUPS.items() for subject in subjects}


def video_file(name: str) -> str:
    """ "Art/dev_Art_Theory_3.mp4" of "dev_Art_Theory_3"; KeyError if the subject is unknown."""
    subject = name.partition("_")[2].rpartition("_")[0]
    return f"{_GROUP_OF[subject]}/{name}.mp4"


def samples(source: Source, settings: Settings) -> Iterator[Sample]:
    def read(row: Row) -> Sample:
        options = tuple(without_letter(o, i) for i, o in enumerate(row["options"] or ()))
        path = video_file(row["id"])
        pictures = [clip(lambda: source.open(path, path.partition("/")[2]), settings)]
        has_picture = row.config == "Adaptation" and row.has("image")
        if has_picture:
            # a still of its own, unlike the frames, which have other bounds
            pictures.append(within_bounds(row.picture(), settings))
        text = ask(
            PROMPT,
            settings,
            question=row["question"],
            options=options,
            track=row.config,
            picture=has_picture,
        )
        golds = golds_of(row["answer"])
        rule = "choice" if options else "mmmu"
        return Sample(
            f"{row.config}/{row['id']}",
            text,
            golds[0],
            tuple(pictures),
            options,
            golds[1:],
            rule=rule,
        )

    return read_rows(source, COLUMNS, read)


def golds_of(answer: object) -> tuple[str, ...]:
    """The acceptable answers: one text, or a list of them written as a text.

    A list that is no Python literal is a text, as upstream reads it; what stands in quotes in it
    counts besides. One row of the real data has such a list (`validation_Math_15`).
    """
    if isinstance(answer, (list, tuple)):
        return _some(str(entry) for entry in answer)
    text = str(answer).strip()
    if not text.startswith("["):
        return _some([text])
    try:
        return _some(literal_list(text))
    except SyntaxError:
        return _some([text, *_QUOTED.findall(text)])


def _some(answers: Iterable[str]) -> tuple[str, ...]:
    """The answers that say something, each once; ValueError if none does."""
    accepted = tuple(dict.fromkeys(a.strip() for a in answers if a.strip()))
    if not accepted:
        raise ValueError("no answer")
    return accepted


BENCHMARK = Benchmark(
    "VMMMU",
    "Video",
    "lmms-eval/VideoMMMU",
    "test",
    900,
    "mmmu",
    task="videommmu",
    cluster="id",
    configs=("Perception", "Comprehension", "Adaptation"),
    licence="unstated",
    gated=True,
    totals=("mean_of_groups", "pooled"),
    archives="*.zip",
    revision="d1c35ac933123d79e877b7f1b9506afb0309cf1b",
    formerly=("lmms-lab/VideoMMMU",),
    prompts=(PROMPT,),
    samples=samples,
)
