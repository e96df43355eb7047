"""Data sets that no record pins: read for good at the commit at which they were first read."""

from __future__ import annotations

from dataclasses import replace

from eval.rows import COMMIT, commit_of
from eval.settings import parse
from eval.suite import benchmarks
from zppo_core.config import EvaluationConfig
from zppo_core.config.fields import settings_table
from zppo_core.store.journal import Journal
from zppo_core.store.objects import ObjectStore


def pinned(protocol: EvaluationConfig, cache: ObjectStore) -> EvaluationConfig:
    """`protocol` with a commit for each data set that its suite reads from a branch of the hub.

    The first run of a teacher cache looks the branch up, and later ones read what it read, so that
    all scores of a cache are of one data set. Data sets that the settings name stay as they are.
    So do all where `source` is a folder, or where the hub cannot be asked.
    """
    settings = parse(protocol.settings)
    journal, chosen = Journal(cache, "revisions"), {}
    for benchmark in () if protocol.source else benchmarks(protocol.suite):
        fixed = COMMIT.fullmatch(benchmark.revision) or settings.dataset_of(benchmark.name)
        if fixed or not benchmark.dataset or benchmark.dataset == "digits":
            continue
        unit = f"{benchmark.dataset}@{benchmark.revision}"
        kept = journal.read(unit)
        if kept is None:
            commit = commit_of(benchmark.name, benchmark.dataset, benchmark.revision)
            if not COMMIT.fullmatch(commit):
                continue
            kept = journal.keep(unit, {"commit": commit.encode()})
        chosen[benchmark.name] = f"{benchmark.dataset}@{kept['commit'].decode()}"
    if not chosen:
        return protocol
    table = settings_table(protocol.settings)
    named = dict(entry.partition("=")[::2] for entry in settings.datasets)
    return replace(protocol, settings=table | {"datasets": named | chosen})
