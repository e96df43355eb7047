"""What the evaluation asks, as signatures: a training corpus is compared with them."""

from __future__ import annotations

from collections.abc import Iterator

from eval.archives import UnreadableError
from eval.benchmark import Benchmark
from eval.settings import Settings, parse
from eval.suite import benchmarks, load
from zppo_core.config import Config
from zppo_core.data.zppo77k.similar import Signature, signature
from zppo_core.errors import UserError


def evaluation_signatures(config: Config) -> Iterator[Signature]:
    """What the suite asks, as far as its data is at hand: what is not is named and counted.

    Videos are left out: their frames are no training pictures.
    """
    settings = parse(config.evaluation.settings)
    for benchmark in benchmarks(config.evaluation.suite):
        if benchmark.family != "Video":
            yield from _signatures_of(benchmark, config.evaluation.source, settings)


def _signatures_of(benchmark: Benchmark, source: str, settings: Settings) -> Iterator[Signature]:
    number, faults = 0, []
    try:
        for sample in load(benchmark, source, 0, settings):
            number += 1
            try:
                images = sample.images()[:1]
            except UnreadableError as error:
                faults.append(str(error))
                continue
            for image in images:
                yield signature(sample.text, image)
    except (UserError, OSError, UnreadableError) as error:
        print(f"no check of overlap with {benchmark.name}: {error}", flush=True)
        return
    if faults:
        print(
            f"no check of overlap with {len(faults)} of {number} questions of {benchmark.name}, "
            f"first: {faults[0]}",
            flush=True,
        )
