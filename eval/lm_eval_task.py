"""A benchmark of ours as a task of lm-eval.

    python -m eval.lm_eval_task --out tasks
    lm_eval run --include_path tasks --tasks zppo_mmlu_pro ...

The files of `tasks` are made from the records; another `--suite` may name benchmarks of one's own.
lm-eval drives: it builds the requests, asks the model, and aggregates. Answers are marked all at
once, where lm-eval applies its filters, so that algebra and judge work in batches.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, SupportsIndex, overload

from lm_eval.api.instance import Instance
from lm_eval.api.metrics import mean
from lm_eval.api.task import Task
from lm_eval.config.task import TaskConfig
from PIL import Image

from eval.archives import UnreadableError
from eval.benchmark import Benchmark, Sample
from eval.engines import ModelSpec
from eval.judges import Judge
from eval.protocol import SCORER_VERSION, EvalSample, Evaluator, Reply
from eval.scoring import totals
from eval.scoring.clusters import Clustered
from eval.suite import SUITES, benchmarks, load
from zppo_core.config import EvaluationConfig
from zppo_core.data.pixels import read_picture
from zppo_core.errors import UserError
from zppo_core.extensions import is_outside
from zppo_core.processes.command_line import command, reported
from zppo_core.prompts import Templates
from zppo_core.rewards.grader import Grader
from zppo_core.streams import derive_seed
from zppo_core.types import Prompt

FILTER = "marked"


def task_name(benchmark: Benchmark) -> str:
    """lm-eval's name of a benchmark: "zppo_mmlu_pro" for MMLU-Pro."""
    return "zppo_" + (benchmark.task or benchmark.name.lower())


def task_text(benchmark: Benchmark, reference: str = "") -> str:
    """lm-eval's YAML of a benchmark; `reference` names it where `suite.benchmarks` finds it."""
    tags = ["zppo_paper31"] if benchmark in SUITES["paper31"] else []
    tags.append(f"zppo_{benchmark.family.lower()}")
    return (
        f"task: {task_name(benchmark)}\n"
        f"tag: [{', '.join(tags)}]\n"
        "class: !function eval.lm_eval_task.BenchmarkTask\n"
        f"benchmark: {json.dumps(reference) if reference else benchmark.name}\n"
    )


def write_tasks(folder: Path, suite: str = "paper31") -> list[Path]:
    """A file for each benchmark of `suite`, for lm-eval's --include_path; UserError if unknown."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in (part.strip() for part in suite.split(",")):
        for benchmark in benchmarks(name):
            path = folder / f"{task_name(benchmark)}.yaml"
            text = task_text(benchmark, name if is_outside(name) else "")
            path.write_text(text, encoding="utf-8")
            paths.append(path)
    return paths


class Doc(dict[str, str]):
    """A sample as lm-eval's document: what it logs, and the way to the sample itself."""

    def __init__(self, benchmark: Benchmark, sample: Sample, evaluator: Evaluator) -> None:
        super().__init__(id=sample.id, question=sample.text, gold=sample.gold)
        self.sample, self._evaluator = sample, evaluator
        self.seed = derive_seed(0, "evaluation", benchmark.name, sample.id)

    def ask(self, thinking: bool) -> Prompt:
        """The prompt, its media read now; UnreadableError if they cannot be."""
        return self._evaluator.ask(self.sample, thinking)


class Pictures(list[object]):
    """A document's pictures, read when a model of lm-eval's own looks at them.

    What the list itself holds is the document's identity: lm-eval's cache of responses makes its
    keys of that, without reading a picture.
    """

    def __init__(self, doc: Doc) -> None:
        super().__init__([f"{doc.seed}/{doc['id']}"])
        self._sample = doc.sample

    def __len__(self) -> int:
        return len(self._sample.images())

    @overload
    def __getitem__(self, index: SupportsIndex) -> Image.Image: ...
    @overload
    def __getitem__(self, index: slice) -> list[object]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> object:
        return self._read()[index]

    def __iter__(self) -> Iterator[Image.Image]:
        return iter(self._read())

    def _read(self) -> list[Image.Image]:
        return [read_picture(data) for data in self._sample.images()]


class BenchmarkTask(Task):
    """One benchmark under our protocol; from Python, or from a file that `write_tasks` wrote.

    From a file, lm-eval's --metadata may set "source" (a folder with the data sets), "settings" (a
    table or text, as evaluation.settings), "judge" (a model; none: the rules alone) and "protocol"
    (other fields of EvaluationConfig). "thinking" (true, as in the paper) says how a model of
    lm-eval's own was asked, whose replies do not say it themselves: a reply without the end of a
    thought has no answer then but a box.
    """

    VERSION = int(SCORER_VERSION)
    OUTPUT_TYPE = "generate_until"

    def __init__(
        self,
        config: Mapping[str, Any] | None = None,
        benchmark: Benchmark | None = None,
        evaluator: Evaluator | None = None,
        samples: Sequence[Sample] | None = None,
    ) -> None:
        metadata = (config or {}).get("metadata") or {}
        self.benchmark = benchmark or benchmarks((config or {})["benchmark"])[0]
        self.evaluator = evaluator or _evaluator_of(metadata)
        self._samples = samples
        self._docs: list[Doc] | None = None
        self.scored: list[EvalSample] = []
        self.unreadable: list[str] = []
        self._unasked: dict[int, str] = {}
        self.thinking = metadata.get("thinking", True)
        if not isinstance(self.thinking, bool):
            raise UserError(f"metadata thinking: true or false, not {self.thinking!r}")
        self._instances: list[Instance] | None = None
        self.MULTIMODAL = self.benchmark.family != "LLM" or self.benchmark.name == "HLE"
        s = self.evaluator.sampling()
        # transformers' generate refuses what it does not know, even as nothing
        penalty = {"presence_penalty": s.presence_penalty} if s.presence_penalty else {}
        self._config = TaskConfig(
            task=task_name(self.benchmark),
            output_type="generate_until",
            num_fewshot=0,
            generation_kwargs={
                "until": [],
                "do_sample": s.temperature > 0,
                "temperature": s.temperature,
                "top_p": s.top_p,
                "top_k": s.top_k,
                "min_p": s.min_p,
                "repetition_penalty": s.repetition_penalty,
                "max_gen_toks": s.max_tokens,
                **penalty,
            },
            metadata={"benchmark": self.benchmark.name, **metadata},
        )

    def has_training_docs(self) -> bool:
        return False

    has_validation_docs = has_training_docs

    def has_test_docs(self) -> bool:
        return True

    def test_docs(self) -> list[Doc]:
        """Every sample, its media not read yet; UserError if the data set cannot be had."""
        if self._docs is None:
            if self._samples is None:
                protocol = self.evaluator.protocol
                self._samples = list(
                    load(self.benchmark, protocol.source, protocol.limit, self.evaluator.settings)
                )
            self._docs = [Doc(self.benchmark, sample, self.evaluator) for sample in self._samples]
        return self._docs

    def doc_to_text(self, doc: Doc) -> str:
        return self.evaluator.text(doc.sample)

    def doc_to_target(self, doc: Doc) -> str:
        return doc.sample.gold

    def build_all_requests(
        self,
        *,
        limit: int | None = None,
        samples: list[int] | None = None,
        rank: int = 0,
        world_size: int = 1,
        chat_template: Callable[..., str] | None = None,
        **_: object,
    ) -> None:
        """A request for each document; a chat template is for models that want the whole text."""
        self.scored, self.unreadable, self._unasked = [], [], {}
        chosen = self.doc_iterator(rank=rank, limit=limit, samples=samples, world_size=world_size)
        self._instances = []
        for doc_id, doc in chosen:
            try:
                text = self.doc_to_text(doc)
            except UnreadableError as fault:  # lm-eval wants a request all the same
                text, self._unasked[doc_id] = "", str(fault)
            if chat_template is not None:
                turns = [*doc.sample.history, ("user", text)]
                text = chat_template([{"role": r, "content": content} for r, content in turns])
            place = (self.config.task, doc_id, 1)
            self._instances.append(self.construct_requests(doc, text, metadata=place))

    def construct_requests(self, doc: Doc, ctx: str, **details: object) -> Instance:
        """One request; lm-eval's text models take two arguments, its others three."""
        media = ({"visual": Pictures(doc)},) if doc.sample.pictures else ()
        arguments = (ctx, dict(self.config.generation_kwargs), *media)
        return Instance("generate_until", doc, arguments, 0, metadata=details["metadata"])

    def apply_filters(self) -> None:
        """Mark every reply: the seam where lm-eval hands over all of them at once."""
        asked = [(i, self._reply(i)) for i in self._instances or []]
        readable = [(i, reply) for i, reply in asked if not reply.unreadable]
        self.unreadable = [f"{i.doc['id']}: {r.unreadable}" for i, r in asked if r.unreadable]
        self.scored = self.evaluator.score(self.benchmark, [(i.doc.sample, r) for i, r in readable])
        for instance, _ in asked:
            instance.filtered_resps[FILTER] = None
        for (instance, _), sample in zip(readable, self.scored, strict=True):
            instance.filtered_resps[FILTER] = sample

    def _reply(self, instance: Instance) -> Reply:
        if (why := self._unasked.get(instance.doc_id)) is not None:
            return Reply.of("", unreadable=why)
        text = instance.resps[0]
        return text if isinstance(text, Reply) else Reply.of(text, thinking=self.thinking)

    def process_results(self, doc: Doc, results: Sequence[EvalSample | None]) -> dict[str, object]:
        """The document's score, and whether it had an answer; nothing if it was unreadable."""
        sample = results[0]
        if sample is None:
            return {"unreadable": 1.0}
        mark = (sample.sample_id, sample.score, sample.cluster or sample.sample_id)
        return {
            "score": sample.score if self._total == "pooled" else mark,
            # lm-eval puts its own there, of independent samples, and the later one stays
            "score_stderr": mark,
            "unparsed": float(sample.answer is None),
            "detail": asdict(sample),
        }

    @property
    def _total(self) -> str:
        return self.evaluator.settings.total_of(self.benchmark.name, self.benchmark.totals)

    def aggregation(self) -> dict[str, Callable[..., float]]:
        """The benchmark's total, and its standard error over clusters of samples."""
        return {
            "score": mean if self._total == "pooled" else lambda marks: self._with_error(marks)[0],
            "score_stderr": lambda marks: self._with_error(marks)[1],
            "unparsed": mean,
            "unreadable": sum,
            "detail": len,
        }

    def _with_error(self, marks: Sequence[tuple[str, float, str]]) -> tuple[float, float]:
        """(score, standard error)."""
        scored = [(sample_id, score) for sample_id, score, _ in marks]
        shared = {sample_id: cluster for sample_id, _, cluster in marks}
        units = totals.units_of(self._total, scored, shared)
        if not units:
            return float("nan"), float("nan")
        table = Clustered.of(units)
        return table.mean, table.stderr()

    def higher_is_better(self) -> dict[str, bool]:
        good = {"score": True, "detail": True}
        return good | {"score_stderr": False, "unparsed": False, "unreadable": False}


def _evaluator_of(metadata: Mapping[str, Any]) -> Evaluator:
    """The paper's protocol, with what a command line may set."""
    protocol = EvaluationConfig(
        source=str(metadata.get("source", "")),
        settings=metadata.get("settings", {}),
        **metadata.get("protocol", {}),
    )
    named, templates = metadata.get("judge"), Templates()
    evaluator = Evaluator(protocol, templates, Grader())
    if not named:
        return evaluator
    spec = ModelSpec(**named) if isinstance(named, dict) else ModelSpec(str(named))
    settings = evaluator.settings
    judge = Judge(spec.open(), templates, None, settings.judge_tokens, settings.prompts)
    return Evaluator(protocol, templates, evaluator.grader, judge)


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo tasks`: write lm-eval's files."""
    parser = command(
        "tasks", "Write the benchmarks as lm-eval's task files.", "zppo tasks --out tasks"
    )
    parser.add_argument("--out", type=Path, required=True, help="a folder for --include_path")
    parser.add_argument("--suite", default="paper31", help="suites and benchmarks with commas")
    asked = parser.parse_args(arguments)
    paths = write_tasks(asked.out, asked.suite)
    print(f"{len(paths)} tasks in {asked.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
