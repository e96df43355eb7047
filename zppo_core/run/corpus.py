"""The corpus of a run: built, or checked, before anything is spent on it."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from zppo_core import models
from zppo_core.config import Config, RolloutConfig, RunConfig
from zppo_core.data.corpus import ListCorpus, TableCorpus
from zppo_core.data.digit_kinds import World
from zppo_core.data.digits import train_questions
from zppo_core.data.lengths import count_within
from zppo_core.data.pixels import Bounds, picture_size
from zppo_core.data.preview import Preview, preview
from zppo_core.data.table import read_table
from zppo_core.data.zppo77k.build import VERSION, build
from zppo_core.data.zppo77k.card import write_card
from zppo_core.data.zppo77k.rows import CONTROL
from zppo_core.data.zppo77k.similar import Signature
from zppo_core.data.zppo77k.sources import HUB, Recipe, Source, differences, parse_more
from zppo_core.errors import UserError
from zppo_core.prompts import Templates
from zppo_core.protocols import Progress
from zppo_core.rewards.custom import OwnReward
from zppo_core.rewards.grader import Grader
from zppo_core.rewards.grading import RuleGrading
from zppo_core.run.spec import Run
from zppo_core.run.timing import record_stage, stopwatch
from zppo_core.store.objects import DamagedObjectError, get_tree, open_store, put_tree
from zppo_core.store.small_json import damaged, read_object
from zppo_core.types import Prompt, Question

MANIFEST = "manifest.json"
ANEW = "delete it, and prepare_data builds the corpus anew"  # what helps where it is damaged
EXTRAS = ("card.md", "card.png", "rejects.parquet")


def build_corpus(config: Config) -> ListCorpus:
    """The training questions that `data.source` names, their pictures within its bounds.

    Engines, endpoints and the trainer take the same bytes, and so does the teacher cache's key.
    UserError if a corpus was built by another recipe.
    """
    bounds = Bounds(config.data.min_pixels, config.data.max_pixels)
    if config.data.source in ("digits", "zone"):
        # the same questions for every seed, so that runs share teacher draws; the seed orders them
        world: World = "zone" if config.data.source == "zone" else "nano"
        questions = train_questions(config.data.train_questions, seed=0, world=world)
        return ListCorpus((_within(q, bounds) for q in questions), config.run.seed)
    if config.data.source == "zppo77k":
        folder = corpus_here(config.data.corpus)
        corpus = TableCorpus(folder, config.run.seed)
        _check_recipe(config, folder)
        _check_version(config, folder)
        return corpus
    questions, report = read_table(
        config.data.source, config.data.columns, bounds, prompt_fault(config), config.data.format
    )
    print(f"{config.data.source}: {report.text()}", *report.lines(), sep="\n  ", flush=True)
    return ListCorpus(questions, config.run.seed)


def prompt_fault(config: Config) -> Callable[[Question], str]:
    """A test of a question's prompt: why it is out, else empty.

    It may hold no control text, and not more than `data.max_prompt_tokens`.
    """
    _, vocab, images = models.shape(config.student.model)
    renderer = models.load_renderer(config.student.model, vocab, images)
    templates, most = Templates(config.data.prompts), config.data.max_prompt_tokens

    def fault(question: Question) -> str:
        # another family's tokens are out too: a corpus outlives its student
        if CONTROL.search(question.text) or renderer.holds_control(question.text):
            return "with control text in the question"
        sizes = list(map(picture_size, question.images))

        def count(text: str) -> int:
            return renderer.count(templates.with_closer(text), sizes, config.student.thinking)

        long = count_within(question.text, most, count) > most
        return f"with a prompt of more than {most} tokens" if long else ""

    return fault


def _within(question: Question, bounds: Bounds) -> Question:
    return replace(question, images=tuple(map(bounds.scaled, question.images)))


def recipe_of(config: Config) -> Recipe:
    """What decides the corpus of a run besides its sources."""
    data = config.data
    return Recipe(
        data.seed,
        data.max_prompt_tokens,
        data.drop_duplicates,
        data.drop_overlap,
        Bounds(data.min_pixels, data.max_pixels),
        parse_more(data.more_configs),
        data.reserve,
    )


def _check_recipe(config: Config, folder: Path) -> None:
    """UserError if the finished corpus in `folder` is not what the run's settings make."""
    before = _manifest(config, folder)["recipe"]
    built, requested = differences(before, recipe_of(config).settings())
    if built or requested:
        raise UserError(
            f"the corpus in {config.data.corpus} was built with {built} but the run has "
            f"{requested}; "
            "set those, or another data.corpus to build one"
        )


def _check_version(config: Config, folder: Path) -> None:
    """UserError if the corpus in `folder` was made by a builder that kept less, or otherwise."""
    version = _manifest(config, folder).get("version", 1)
    if version != VERSION:
        raise UserError(
            f"the corpus in {config.data.corpus} was built by version {version} of the "
            f"builder, and this is version {VERSION}; delete it, or set another data.corpus, "
            "to build one anew"
        )


def _manifest(config: Config, folder: Path) -> dict[str, Any]:
    """What the builder wrote last beside the corpus in `folder`; UserError if it is damaged."""
    place, data = f"{config.data.corpus}/{MANIFEST}", (folder / MANIFEST).read_bytes()
    return read_object(data, place, ANEW, {"recipe": (dict, str), "questions": int})


def corpus_here(place: str) -> Path:
    """The folder of a corpus; one on S3 is copied to this machine, once for what it is now.

    UserError if there is no finished corpus on S3.
    """
    if not place.startswith("s3://"):
        return Path(place)
    store = open_store(place)
    if not store.exists(MANIFEST):
        raise UserError(f"no finished corpus in {place}; run prepare_data, or build it there")
    try:
        folder = _copy_of(place, store.get(MANIFEST))
    except DamagedObjectError:
        raise damaged(f"{place}/{MANIFEST}", "it is not what was put there", ANEW) from None
    if folder.is_dir():
        return folder
    print(f"corpus: copied from {place} to {folder}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as aside:
        get_tree(store, "corpus", Path(aside) / "whole" / "corpus")
        store.get_file(MANIFEST, Path(aside) / "whole" / MANIFEST)
        with suppress(OSError):  # another task of this machine was quicker
            (Path(aside) / "whole").rename(folder)
    return folder


def _copy_of(place: str, manifest: bytes = b"") -> Path:
    base = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache")).expanduser()
    return base / "zppo" / "corpora" / hashlib.sha256(place.encode() + manifest).hexdigest()[:16]


def build_77k(config: Config, asked: Iterable[Signature], progress: Progress) -> None:
    """Build ZPPO-77K where `data.corpus` names, or go on with it; nothing if it is there.

    For S3 it is built on this machine and put there when it is whole. `asked` are the signatures
    of what the evaluation asks.
    """
    place = config.data.corpus
    if not place.startswith("s3://"):
        _build_once(config, Path(place), asked, progress)
        return
    store = open_store(place)
    if store.exists(MANIFEST):
        return
    folder = _copy_of(place).with_suffix(".build")
    _build_once(config, folder, asked, progress)
    put_tree(folder / "corpus", store, "corpus")
    for name in (*EXTRAS, MANIFEST):  # last: it says that the rest is there
        store.put_file(name, folder / name)


def _build_once(
    config: Config, folder: Path, asked: Iterable[Signature], progress: Progress
) -> None:
    """One process of this machine builds, others wait: the runs of a sweep begin together."""
    if (folder / MANIFEST).is_file():  # it may be another user's, and not for writing
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".building").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"corpus: another process builds {folder}; waiting for it", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        if not (folder / MANIFEST).is_file():
            _build(config, folder, asked, progress)


def _build(config: Config, folder: Path, asked: Iterable[Signature], progress: Progress) -> None:
    data = config.data
    renderer = models.load_renderer(config.student.model, 0, images=True)
    templates = Templates(data.prompts)

    def count_tokens(question: str, size: tuple[int, int]) -> int:
        return renderer.count(templates.with_closer(question), [size], config.student.thinking)

    places: dict[Source, str] = {
        "vero": data.vero or HUB["vero"],
        "mmfine": data.mmfine or HUB["mmfine"],
    }
    built = build(places, folder, recipe_of(config), count_tokens, asked, progress)
    summary = [f"{built.kept} of {built.rows} rows kept", built.short_text()]
    print("; ".join(filter(None, summary)), flush=True)
    write_card(folder, RolloutConfig().new_prompts, RunConfig().rollout_steps)


def unseen(corpus: ListCorpus, preview: Preview, steps: int) -> None:
    """Looks at nothing."""


def prepare(
    run: Run,
    asked: Iterable[Signature],
    progress: Progress,
    alone: bool = True,
    look: Callable[[ListCorpus, Preview, int], None] = unseen,
) -> dict[str, Any]:
    """The corpus's size, hash and make-up; raises UserError if it cannot serve the run.

    `asked` are the signatures of what the evaluation asks, looked at where a corpus is built.
    `alone`: the process does nothing else, and its start counts as this stage's. `look` is given
    the corpus, its preview and the number of rollout steps.
    """
    seconds = stopwatch(alone)
    config = run.config
    if config.data.source == "zppo77k":
        build_77k(config, asked, progress)
    corpus = build_corpus(config)
    corpus.new_ids(0, config.rollout.new_prompts)  # too small a corpus fails here
    kinds = corpus.kinds()
    print(f"corpus: {len(corpus)} questions of {len(kinds)} kinds")
    steps = run.rollout_steps or corpus.steps_per_pass(config.rollout.new_prompts)
    coverage = corpus.coverage(steps, config.rollout.new_prompts)
    print(f"corpus: {coverage.text()}")
    report = preview_of(config, corpus)
    print(report.text(), flush=True)
    look(corpus, report, steps)
    record_stage(run, "prepare_data", seconds=seconds())
    return {
        "questions": len(corpus),
        "digest": corpus.digest(),
        "kinds": kinds,
        "coverage": asdict(coverage),
    }


def preview_of(config: Config, corpus: ListCorpus) -> Preview:
    """Ten rows of the corpus as the student will see them, and what its gold answers earn."""
    _, vocab, images = models.shape(config.student.model)
    renderer = models.load_renderer(config.student.model, vocab, images)
    templates, reward = Templates(config.data.prompts), config.data.reward

    def render(question: Question) -> str:
        text = templates.with_closer(question.text)
        return renderer.template(Prompt(text, question.images, config.student.thinking))

    grading = OwnReward(reward) if reward else RuleGrading(Grader())
    return preview(corpus, render, grading.grade_all)


def settled(run: Run) -> Run:
    """`run` with its number of rollout steps: one pass over the corpus if none is configured."""
    per_pass = build_corpus(run.config).steps_per_pass
    return run.with_steps(run.rollout_steps or per_pass(run.config.rollout.new_prompts))
