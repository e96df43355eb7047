"""The `prepare_data` step: build or check the corpus before anything is spent on it."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from steps.run_setup import Setup, config_of
from steps.stage import record_stage
from zppo_core.config import Config
from zppo_core.data.corpus import ListCorpus, TableCorpus
from zppo_core.data.similar import Signature, signature
from zppo_core.errors import UserError
from zppo_core.pixels import Bounds, picture_size
from zppo_core.store.objects import get_tree, open_store, put_tree
from zppo_core.types import Question

MANIFEST = "manifest.json"
EXTRAS = ("card.md", "card.png", "rejects.parquet")


def build_corpus(config: Config) -> ListCorpus:
    """The training questions that `data.source` names, their pictures within its bounds.

    Engines, endpoints and the trainer take the same bytes, and so does the teacher cache's key.
    UserError if a corpus was built with other bounds.
    """
    bounds = Bounds(config.data.min_pixels, config.data.max_pixels)
    if config.data.source == "digits":
        from zppo_core.data.digits import train_questions

        # the same questions for every seed, so that runs share teacher draws; the seed orders them
        questions = train_questions(config.data.train_questions, seed=0)
        return ListCorpus((_within(q, bounds) for q in questions), config.run.seed)
    if config.data.source == "zppo77k":
        corpus = TableCorpus(corpus_here(config.data.corpus), config.run.seed)
        if corpus.bounds != bounds:
            raise UserError(
                f"the corpus in {config.data.corpus} was built with {_pixels(corpus.bounds)} but "
                f"the run has {_pixels(bounds)}; set those, or another data.corpus to build one"
            )
        return corpus
    from zppo_core.data.table import read_table

    questions, report = read_table(
        config.data.source, config.data.columns, bounds, prompt_fault(config)
    )
    print(f"{config.data.source}: {report.text()}", flush=True)
    return ListCorpus(questions, config.run.seed)


def prompt_fault(config: Config) -> Callable[[Question], str]:
    """A test of a question's prompt against `data.max_prompt_tokens`: why it is out, else empty."""
    from zppo_core import models
    from zppo_core.prompts import Templates

    _, vocab, images = models.shape(config.student.model)
    renderer = models.load_renderer(config.student.model, vocab, images)
    templates, most = Templates(config.data.prompts), config.data.max_prompt_tokens

    def fault(question: Question) -> str:
        text, sizes = templates.with_closer(question.text), list(map(picture_size, question.images))
        long = renderer.count(text, sizes, config.student.thinking) > most
        return f"with a prompt of more than {most} tokens" if long else ""

    return fault


def _within(question: Question, bounds: Bounds) -> Question:
    return replace(question, images=tuple(map(bounds.scaled, question.images)))


def _pixels(bounds: Bounds) -> str:
    return f"data.min_pixels={bounds.least} and data.max_pixels={bounds.most}"


def corpus_here(place: str) -> Path:
    """The folder of a corpus; one on S3 is copied to this machine, once.

    UserError if there is no finished corpus on S3.
    """
    if not place.startswith("s3://"):
        return Path(place)
    folder = _copy_of(place)
    if folder.is_dir():
        return folder
    store = open_store(place)
    if not store.exists(MANIFEST):
        raise UserError(f"no finished corpus in {place}; run prepare_data, or build it there")
    print(f"corpus: copied from {place} to {folder}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        get_tree(store, "corpus", Path(aside) / "whole" / "corpus")
        store.get_file(MANIFEST, Path(aside) / "whole" / MANIFEST)
        with suppress(OSError):  # another task of this machine was quicker
            (Path(aside) / "whole").rename(folder)
    return folder


def _copy_of(place: str) -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return base / "zppo" / "corpora" / hashlib.sha256(place.encode()).hexdigest()[:16]


def build_77k(config: Config) -> None:
    """Build ZPPO-77K where `data.corpus` names, or go on with it; nothing if it is there.

    For S3 it is built on this machine and put there when it is whole.
    """
    place = config.data.corpus
    if not place.startswith("s3://"):
        _build(config, Path(place))
        return
    store = open_store(place)
    if store.exists(MANIFEST):
        return
    folder = _copy_of(place).with_suffix(".build")
    _build(config, folder)
    put_tree(folder / "corpus", store, "corpus")
    for name in (*EXTRAS, MANIFEST):  # last: it says that the rest is there
        store.put_file(name, folder / name)


def _build(config: Config, folder: Path) -> None:
    from steps.epoch import Heartbeat
    from zppo_core import models
    from zppo_core.data.build77k import Recipe, build
    from zppo_core.data.card77k import write_card
    from zppo_core.data.zppo77k import HUB, Source
    from zppo_core.prompts import Templates

    data = config.data
    if (folder / MANIFEST).is_file():
        return
    renderer = models.load_renderer(config.student.model, 0, images=True)
    templates = Templates(data.prompts)

    def count_tokens(question: str, size: tuple[int, int]) -> int:
        return renderer.count(templates.with_closer(question), [size], config.student.thinking)

    places: dict[Source, str] = {"vero": data.vero or HUB["vero"],
                                 "mmfine": data.mmfine or HUB["mmfine"]}  # fmt: skip
    bounds = Bounds(data.min_pixels, data.max_pixels)
    recipe = Recipe(config.run.seed, data.max_prompt_tokens, data.drop_overlap, bounds)
    built = build(places, folder, recipe, count_tokens, evaluation_signatures(config),
                  Heartbeat().progress("corpus"))  # fmt: skip
    print(f"{built.kept} of {built.rows} rows kept", flush=True)
    write_card(folder)


def evaluation_signatures(config: Config) -> Iterator[Signature]:
    """What the suite asks, as far as its data is at hand: a benchmark that is not is named."""
    from eval.settings import parse
    from eval.suite import benchmarks, load

    settings = parse(config.evaluation.settings)
    for benchmark in benchmarks(config.evaluation.suite):
        try:
            for sample in load(benchmark, config.evaluation.source, 0, settings):
                for image in sample.images()[:1]:
                    yield signature(sample.text, image)
        except (UserError, OSError) as error:
            print(f"no check of overlap with {benchmark.name}: {error}", flush=True)


def prepare_data(setup: Setup) -> dict[str, Any]:
    """The corpus's size, hash and make-up; raises UserError if it cannot serve the run."""
    config = config_of(setup)
    if config.data.source == "zppo77k":
        build_77k(config)
    corpus = build_corpus(config)
    corpus.new_ids(0, config.rollout.new_prompts)  # too small a corpus fails here
    kinds = corpus.kinds()
    print(f"corpus: {len(corpus)} questions of {len(kinds)} kinds")
    record_stage(setup, "prepare_data")
    return {"questions": len(corpus), "digest": corpus.digest(), "kinds": kinds}


def steps_in_one_pass(config: Config) -> int:
    """Rollout steps that one pass over the corpus gives."""
    return build_corpus(config).steps_per_pass(config.rollout.new_prompts)
