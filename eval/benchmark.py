"""What a benchmark is, as data, and what one of its questions is.

A benchmark is one file: its prompts, `samples`, and the record `BENCHMARK`. Ours are in
`eval/benchmarks/`, another is named as `package.module:NAME` or `path/to/file.py:NAME`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from eval.prompting import Template
from eval.settings import Settings

# rule: no judge at all. rule+judge: the shared judge sees what the rule rejects. judge: the
# benchmark's own judge decides every row.
Kind = Literal["rule", "rule+judge", "judge"]
Reader = Callable[[Any, Settings], "Iterator[Sample]"]
Picture = Callable[[], tuple[bytes, ...]]  # read late: a suite's pictures do not fit in memory


@dataclass(frozen=True)
class Benchmark:
    """One benchmark: its name, where its rows are, how many there are, how they are scored.

    `totals` are the ways to make one number of the samples' scores; the first is the default.
    `cluster` is the column whose value is equal where samples are not independent: the problem, the
    video, or the picture, which counts by its digest. Empty: every sample stands alone.
    """

    name: str  # abbreviation as in the paper's tables, or the suite's own
    family: str  # VLM, LLM or Video
    dataset: str  # hub id, or "digits" for what is composed here
    split: str
    expected: int  # samples of the whole split
    # a name of eval.scoring.RULES or eval.judges.JUDGES, or package.module:rule of one's own
    scorer: str
    configs: tuple[str, ...] = ("",)
    licence: str = ""
    gated: bool = False
    kind: Kind = "rule+judge"
    task: str = ""  # short name: lm-eval calls it zppo_<task>
    totals: tuple[str, ...] = ("pooled",)
    archives: str = ""  # pattern of the zip files that hold its media
    whole: int = 0  # most samples of a group that a total takes as a whole; 0: none does
    cluster: str = ""  # column of the rows, see above
    revision: str = "main"  # of the data set: a commit, or a branch that is looked up when read
    formerly: tuple[str, ...] = ()  # hub ids that it had before it moved
    headline: tuple[str, ...] = ()  # totals that its authors publish, where the default is another
    prompts: tuple[Template, ...] = field(default=(), repr=False)
    # its questions, of a `eval.rows.Source` and the settings; None: composed here
    samples: Reader | None = field(default=None, repr=False, compare=False)

    @property
    def pinned(self) -> str:
        """The data set at its revision, "org/name@commit"."""
        return f"{self.dataset}@{self.revision}"


@dataclass(frozen=True, eq=False)
class Sample:
    """One question of a benchmark as it is asked, and its gold answer.

    `id` is "group/row" where a total needs the groups, so that every total can be taken again from
    stored samples. `options` are the lettered choices; `golds` further answers that count as right;
    `extra` is what a rule or a judge needs besides (JSON values). `context` is read late and stands
    before the text (subtitles). `rule` and `judge` replace the benchmark's own for this sample.
    `cluster` gives the name of what the sample shares with others; None: it stands alone.
    """

    id: str
    text: str
    gold: str
    pictures: tuple[Picture, ...] = ()
    options: tuple[str, ...] = ()
    golds: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)
    history: tuple[tuple[str, str], ...] = ()
    context: Callable[[], str] | None = None
    rule: str = ""
    judge: str = ""
    cluster: Callable[[], str] | None = None

    def images(self) -> tuple[bytes, ...]:
        """The pictures' bytes; raises `eval.archives.UnreadableError` if one cannot be read."""
        return tuple(data for picture in self.pictures for data in picture())
