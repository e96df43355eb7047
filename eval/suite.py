"""The benchmark suites as data, and where their samples come from.

A benchmark is a record; how a row of its data set becomes a question is its task
(`eval/benchmarks/`), and a rule of `eval/scoring/` or a judge decides on the answer.
"""

from __future__ import annotations

import importlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

from eval.archives import UnreadableError
from eval.benchmark import Benchmark, Picture, Sample
from eval.revisions import FORMERLY, REVISIONS
from eval.rows import Source
from eval.scoring.totals import group_of
from eval.settings import Settings
from zppo_core.data.digits import BENCHMARKS as DIGITS
from zppo_core.data.digits import benchmark_questions
from zppo_core.data.pixels import Bounds
from zppo_core.errors import UserError

NANO_SAMPLES = 2000  # per benchmark; the preset asks 300: sampling error of 2.9 points at 50 %
GROUPS = ("pooled", "mean_of_groups")

# fmt: off
_VLM = (
    Benchmark("AI2D", "VLM", "lmms-lab-encoder/ai2d", "test", 3088, "choice", task="ai2d",
              licence="unstated; for research"),
    Benchmark("BabyV", "VLM", "UnipatAI/BabyVision", "train", 388, "text", task="babyvision",
              licence="MIT", totals=GROUPS),
    Benchmark("CharXiv", "VLM", "princeton-nlp/CharXiv", "validation", 5000, "charxiv_reasoning",
              task="charxiv", licence="CC BY-SA 4.0", kind="judge",
              totals=("pooled", "mean_of_groups", "only:reasoning", "only:descriptive"),
              headline=("only:reasoning", "only:descriptive")),
    Benchmark("DynaM", "VLM", "DynaMath/DynaMath_Sample", "", 5010, "dynamath", task="dynamath",
              licence="Apache-2.0", totals=("worst", "pooled"), whole=10,
              headline=("pooled", "worst")),
    Benchmark("EmbSp", "VLM", "FlagEval/EmbSpatial-Bench", "test", 3640, "choice",
              task="embspatial", licence="CC BY 4.0", totals=GROUPS),
    Benchmark("InfoVQA", "VLM", "lmms-lab-encoder/DocVQA", "validation", 2801, "anls",
              task="infovqa", configs=("InfographicVQA",), licence="Apache-2.0", kind="rule"),
    Benchmark("MVerse", "VLM", "CaraJ/MathVerse-lmmseval", "testmini", 3940, "math",
              task="mathverse", configs=("testmini",), licence="unstated (MIT upstream)",
              totals=(*GROUPS, "only:Vision Only", "only:Vision Dominant", "only:Vision Intensive",
                      "only:Text Lite", "only:Text Dominant")),
    Benchmark("MVision", "VLM", "MathLLMs/MathVision", "test", 3040, "math", task="mathvision",
              licence="MIT"),
    Benchmark("MVista", "VLM", "AI4Math/MathVista", "testmini", 1000, "mathvista",
              task="mathvista", licence="CC BY-SA 4.0"),
    Benchmark("MMMUPro", "VLM", "MMMU/MMMU_Pro", "test", 5190, "choice", task="mmmu_pro",
              configs=("standard (4 options)", "standard (10 options)", "vision"),
              licence="Apache-2.0",
              totals=("mean_of_groups", "official", "only:vision",
                      "only:standard (4 options)", "only:standard (10 options)"),
              headline=("official",)),
    Benchmark("MM-Vet", "VLM", "lmms-lab-encoder/MMVet", "test", 218, "mmvet", task="mmvet",
              licence="unstated", kind="judge", totals=("half_or_more", "pooled"),
              headline=("pooled",)),
    Benchmark("OCREN", "VLM", "ling99/OCRBench_v2", "test", 7400, "ocrbench", task="ocrbench_en",
              licence="MIT; for research", kind="rule", totals=("mean_of_groups", "pooled")),
    Benchmark("OCRZH", "VLM", "ling99/OCRBench_v2", "test", 2600, "ocrbench", task="ocrbench_zh",
              licence="MIT; for research", kind="rule", totals=("mean_of_groups", "pooled")),
    Benchmark("VisP", "VLM", "neulab/VisualPuzzles", "test|train", 1168, "choice",
              task="visualpuzzles", licence="MIT", totals=GROUPS),
    Benchmark("VBlind", "VLM", "XAI/vlmsareblind", "valid", 8016, "vlmsareblind",
              task="vlmsareblind", licence="MIT", totals=GROUPS,
              headline=("mean_of_groups",)),
    Benchmark("WeMath", "VLM", "We-Math/We-Math", "testmini", 1740, "choice", task="wemath",
              licence="CC BY-NC 4.0",
              totals=("pooled", "wemath_loose", "wemath_strict"), whole=4,
              headline=("wemath_strict", "wemath_loose")),
)
# fmt: on

# fmt: off
_LLM = (
    Benchmark("AIME25", "LLM", "opencompass/AIME2025", "test", 30, "integer", task="aime25",
              configs=("AIME2025-I", "AIME2025-II"), licence="MIT"),
    Benchmark("AIME26", "LLM", "MathArena/aime_2026", "train", 30, "integer", task="aime26",
              licence="CC BY-NC-SA 4.0"),
    Benchmark("CEval", "LLM", "ceval/ceval-exam", "val", 1346, "choice", task="ceval",
              configs=("*",), licence="CC BY-NC-SA 4.0", totals=GROUPS),
    Benchmark("GPQA-D", "LLM", "Idavidrein/gpqa", "train", 198, "choice", task="gpqa",
              configs=("gpqa_diamond",), licence="CC BY 4.0", gated=True),
    Benchmark("HLE", "LLM", "cais/hle", "test", 2500, "hle", task="hle", licence="MIT",
              gated=True, kind="judge"),
    Benchmark("IMO-AB", "LLM", "OpenEvals/IMO-AnswerBench", "train", 400, "math",
              task="imo_answerbench", licence="CC BY 4.0", totals=GROUPS),
    Benchmark("MMLU", "LLM", "cais/mmlu", "test", 14042, "choice", task="mmlu", configs=("all",),
              licence="MIT", totals=GROUPS),
    Benchmark("MMLU-Pro", "LLM", "TIGER-Lab/MMLU-Pro", "test", 12032, "choice", task="mmlu_pro",
              licence="MIT", totals=GROUPS),
    Benchmark("MMLU-Rd", "LLM", "edinburgh-dawg/mmlu-redux-2.0", "test", 5700, "choice",
              task="mmlu_redux", configs=("*",), licence="CC BY 4.0",
              totals=("pooled", "only:ok")),
    Benchmark("MultiCh", "LLM", "ScaleAI/MultiChallenge", "test", 266, "multichallenge",
              task="multichallenge", licence="CC BY 4.0", kind="judge", totals=GROUPS,
              headline=("mean_of_groups",)),
)
# fmt: on

# fmt: off
_VIDEO = (
    Benchmark("MMVU", "Video", "yale-nlp/MMVU", "validation", 1000, "mmvu", task="mmvu",
              licence="unstated", kind="judge", totals=GROUPS),
    Benchmark("MVBench", "Video", "OpenGVLab/MVBench", "train", 4000, "choice", task="mvbench",
              configs=("*",), licence="MIT", gated=True, totals=("mean_of_groups", "pooled"),
              archives="*.zip"),
    Benchmark("VMME", "Video", "lmms-eval/Video-MME", "test", 2700, "choice", task="videomme",
              configs=("videomme",), licence="academic use only", totals=GROUPS,
              archives="videos_chunked_*.zip"),
    Benchmark("VMMES", "Video", "lmms-eval/Video-MME", "test", 2700, "choice",
              task="videomme_subtitles", configs=("videomme",), licence="academic use only",
              totals=GROUPS, archives="*.zip"),
    Benchmark("VMMMU", "Video", "lmms-eval/VideoMMMU", "test", 900, "mmmu", task="videommmu",
              configs=("Perception", "Comprehension", "Adaptation"), licence="unstated",
              gated=True, totals=("mean_of_groups", "pooled"), archives="*.zip"),
)
# fmt: on


def _placed(records: tuple[Benchmark, ...]) -> tuple[Benchmark, ...]:
    return tuple(
        replace(b, revision=REVISIONS.get(b.dataset, "main"), formerly=FORMERLY.get(b.dataset, ()))
        for b in records
    )


SUITES: dict[str, tuple[Benchmark, ...]] = {
    "nano": tuple(
        Benchmark(
            name,
            b.family,
            "digits",
            "held-out scans",
            NANO_SAMPLES,
            "exact",
            licence="BSD-3-Clause",
            kind="rule",
        )
        for name, b in DIGITS.items()
    ),
    "paper31": _placed(_VLM + _LLM + _VIDEO),
}


def benchmarks(suite: str) -> tuple[Benchmark, ...]:
    """The benchmarks of a named suite, or of a comma-separated list of suites and benchmarks.

    UserError if a name is unknown.
    """
    known = {b.name: (b,) for own in SUITES.values() for b in own} | SUITES
    names = [name.strip() for name in suite.split(",")]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise UserError(
            f"no suite or benchmark {unknown[0]!r}; suites: {', '.join(SUITES)}; benchmarks: "
            f"{', '.join(name for name in known if name not in SUITES)}"
        )
    return tuple(dict.fromkeys(b for name in names for b in known[name]))


def find(suite: str, name: str) -> Benchmark:
    """The record `name` of `suite`; UserError if either is unknown."""
    for benchmark in benchmarks(suite):
        if benchmark.name == name:
            return benchmark
    raise UserError(f"suite {suite} has no benchmark {name!r}")


def load(
    benchmark: Benchmark, source: str = "", limit: int = 0, settings: Settings | None = None
) -> Iterator[Sample]:
    """The samples of `benchmark` in a fixed order, at most `limit` if it is not 0.

    `source` is a folder with copies of the data sets under their hub ids; empty: the hub itself.
    With a limit the samples are spread evenly over the whole; where a total needs whole groups,
    whole groups are. UserError if the data set is missing, gated or lacks a column, or the limit
    holds no group; a single unreadable picture shows only when it is read.
    """
    if benchmark.dataset == "digits":
        n = min(limit or benchmark.expected, benchmark.expected)
        for q in benchmark_questions(benchmark.name, n):
            yield Sample(q.id, q.text, q.gold, (_still(q.images),) if q.images else ())
        return
    task = importlib.import_module(f"eval.benchmarks.{benchmark.task}")
    settings = settings or Settings()
    place = Source(source, benchmark, settings.dataset_of(benchmark.name))
    samples = task.samples(place, settings)
    if benchmark.family != "Video":  # frames have bounds of their own
        samples = (bounded(sample, settings) for sample in samples)
    if not limit:
        yield from samples
    elif benchmark.whole:
        yield from _whole_groups(benchmark, list(samples), limit)
    else:
        everything = list(samples)
        chosen = min(limit, len(everything))
        yield from (everything[i * len(everything) // chosen] for i in range(chosen))


def _whole_groups(benchmark: Benchmark, samples: list[Sample], limit: int) -> list[Sample]:
    """At most `limit` of `samples`, in order, of groups that are spread evenly over all.

    A group is taken when the share of `limit` that is due by then has room for it, so that less
    than a group is missing at the end.
    """
    sizes = Counter(group_of(sample.id) for sample in samples)
    limit = min(limit, len(samples))
    chosen: set[str] = set()
    seen = taken = 0
    for group, size in sizes.items():
        seen += size
        if taken + size <= seen * limit // len(samples):
            chosen.add(group)
            taken += size
    if samples and not chosen:
        raise UserError(
            f"{benchmark.name}: a limit of {limit} samples holds no whole group; set "
            f"evaluation.limit to {benchmark.whole} or more"
        )
    return [sample for sample in samples if group_of(sample.id) in chosen]


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


def _still(images: tuple[bytes, ...]) -> Picture:
    return lambda: images
