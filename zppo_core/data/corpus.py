"""The training corpus: questions by id, asked in an order that only (seed, pass) decides."""

from __future__ import annotations

import hashlib
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NotRequired, TypedDict

from zppo_core.data.directives import with_form
from zppo_core.errors import UserError
from zppo_core.streams import stream
from zppo_core.types import Question


@dataclass(frozen=True)
class Coverage:
    """How often a run goes over its corpus, which the paper goes over once (Table 8)."""

    steps: int  # rollout steps of the run
    steps_per_pass: int
    unasked: int  # questions that no step asks as new
    again: int  # new prompts that were new before, in an earlier pass

    def text(self) -> str:
        """In one sentence."""
        if self.steps > self.steps_per_pass:
            return (
                f"one pass is {self.steps_per_pass} rollout steps and the run takes {self.steps}: "
                f"a second pass begins at step {self.steps_per_pass + 1}, and {self.again:,} "
                "questions are asked as new once more (run.rollout_steps=0 ends after one pass)"
            )
        whole = self.steps == self.steps_per_pass
        part = "one pass" if whole else f"a part of one pass, which is {self.steps_per_pass}"
        rest = f"; {self.unasked:,} questions are never asked" if self.unasked else ""
        return f"{self.steps} rollout steps are {part}{rest}"


class ListCorpus:
    """Questions held in memory, for corpora that fit there."""

    def __init__(self, questions: Iterable[Question], seed: int) -> None:
        self._questions: Mapping[str, Question] = {q.id: q for q in questions}
        self._ids = list(self._questions)
        self._seed = seed

    def __len__(self) -> int:
        return len(self._ids)

    def __getitem__(self, question_id: str) -> Question:
        return self._questions[question_id]

    @property
    def ids(self) -> Sequence[str]:
        """All ids in their stable order."""
        return self._ids

    def steps_per_pass(self, n: int) -> int:
        """Rollout steps of `n` new prompts that one pass gives; the rest of a pass is left out."""
        return len(self._ids) // n

    def new_ids(self, step: int, n: int) -> list[str]:
        """The `n` distinct new questions of rollout step `step`; each pass has its own order."""
        if n > len(self._ids):
            raise UserError(
                f"rollout.new_prompts={n} but the corpus has {len(self._ids)} questions; "
                "lower it or use a larger corpus"
            )
        pass_, position = divmod(step, self.steps_per_pass(n))
        order = stream(self._seed, "data order", pass_).permutation(len(self._ids))
        return [self._ids[i] for i in order[position * n : (position + 1) * n]]

    def coverage(self, steps: int, n: int) -> Coverage:
        """What `steps` rollout steps of `n` new prompts ask of the corpus."""
        asked: set[str] = set()
        again = 0
        for step in range(steps):
            ids = self.new_ids(step, n)
            again += len(asked.intersection(ids))
            asked.update(ids)
        return Coverage(steps, self.steps_per_pass(n), len(self._ids) - len(asked), again)

    def kinds(self) -> dict[str, int]:
        """Questions by category."""
        return dict(Counter(q.category for q in self._questions.values()))

    def without_pictures(self) -> Iterator[Question]:
        """Every question in its stable order, its pictures left out where reading them costs."""
        return iter(self._questions.values())

    def judged(self) -> int:
        """Questions whose gold answer is free text, which needs a judge."""
        return sum(q.judged for q in self._questions.values())

    def digest(self) -> str:
        """SHA-256 (hex) over every question's content, in order."""
        h = hashlib.sha256()
        for q in self._questions.values():
            for part in (q.id, q.text, q.gold, q.family, q.category, str(q.judged)):
                h.update(part.encode() + b"\0")
            h.update(q.facts().encode())
            for image in q.images:
                h.update(hashlib.sha256(image).digest())
        return h.hexdigest()


TEXTS = [
    "id",
    "question",
    "answer",
    "canonical",
    "judged",
    "kind",
    "options",
    "accepted",
    "tolerance",
    "form",
]


class StoredQuestion(TypedDict):
    """A row of a corpus file, by the columns `TEXTS`; `image` where it was asked for."""

    id: str
    question: str
    answer: str
    canonical: str
    judged: bool
    kind: str
    options: list[str]
    accepted: list[str]
    tolerance: float | None
    form: str
    image: NotRequired[bytes]


def _question(row: StoredQuestion) -> Question:
    """A row of a corpus file, with the form of answer that is wanted said below its text."""
    text, gold = with_form(row["question"], row["form"], row["answer"]), row["answer"]
    images = (row["image"],) if "image" in row else ()
    return Question(
        row["id"],
        text,
        gold,
        images,
        "VLM",
        row["canonical"],
        row["judged"],
        row["kind"],
        tuple(row["options"]),
        tuple(row["accepted"]),
        row["tolerance"],
    )


class _OnDisk(Mapping[str, Question]):
    """Questions in Parquet files, read a row group at a time when they are asked for."""

    KEPT = 64  # row groups held

    def __init__(self, files: Sequence[Path]) -> None:
        import pyarrow.parquet as pq

        self._files = [pq.ParquetFile(f) for f in files]
        self._places: dict[str, tuple[int, int, int]] = {}
        for i, file in enumerate(self._files):
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=["id"]).column("id").to_pylist()
                for row, question_id in enumerate(ids):
                    self._places[question_id] = (i, group, row)
        self._held: OrderedDict[tuple[int, int], list[StoredQuestion]] = OrderedDict()

    def __getitem__(self, question_id: str) -> Question:
        i, group, row = self._places[question_id]
        if (i, group) not in self._held:
            columns = [*TEXTS, "image"]
            self._held[i, group] = self._files[i].read_row_group(group, columns).to_pylist()
            if len(self._held) > self.KEPT:
                self._held.popitem(last=False)
        self._held.move_to_end((i, group))
        return _question(self._held[i, group][row])

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


class TableCorpus(ListCorpus):
    """A corpus that `build77k` wrote into `folder`; UserError if it is not finished."""

    def __init__(self, folder: str | Path, seed: int) -> None:
        if not (Path(folder) / "manifest.json").is_file():
            raise UserError(f"no finished corpus in {folder}; run prepare_data, or build it there")
        super().__init__((), seed)
        self._questions = _OnDisk(sorted((Path(folder) / "corpus").glob("*.parquet")))
        self._ids = list(self._questions)
        self._folder = Path(folder)

    def kinds(self) -> dict[str, int]:
        """Questions by canonical sub-dataset, without reading an image."""
        import pyarrow.parquet as pq

        counted: Counter[str] = Counter()
        for file in sorted((self._folder / "corpus").glob("*.parquet")):
            counted.update(pq.read_table(file, columns=["canonical"])["canonical"].to_pylist())
        return dict(counted)

    def without_pictures(self) -> Iterator[Question]:
        """Every question in its stable order, without its picture."""
        import pyarrow.parquet as pq

        for path in sorted((self._folder / "corpus").glob("*.parquet")):
            for batch in pq.ParquetFile(path).iter_batches(columns=TEXTS):
                yield from map(_question, batch.to_pylist())

    def judged(self) -> int:
        """Questions whose gold answer is free text, without reading an image."""
        import pyarrow.compute as pc
        import pyarrow.parquet as pq

        files = sorted((self._folder / "corpus").glob("*.parquet"))
        columns = [pq.read_table(f, columns=["judged"])["judged"] for f in files]
        return sum(pc.sum(column).as_py() or 0 for column in columns)

    def digest(self) -> str:
        """SHA-256 (hex) over the files, in order."""
        h = hashlib.sha256()
        for file in sorted((self._folder / "corpus").glob("*.parquet")):
            with file.open("rb") as opened:
                h.update(hashlib.file_digest(opened, "sha256").digest())
        return h.hexdigest()
