"""An evaluation without training: its run, from the options of `zppo evaluate`."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from eval.preflight import check_suite
from zppo_core.config import Source
from zppo_core.config.load import resolved, scale_named, scale_of
from zppo_core.config.overrides import named, split_overrides
from zppo_core.engines.base import is_address
from zppo_core.run.preflight import check_checkpoint, check_evaluation_device, check_store
from zppo_core.run.setup import absolute, places
from zppo_core.run.spec import Run


def open_evaluation(
    *,
    model: str,
    suite: str,
    source: str,
    settings: str,
    limit: str,
    judge: str,
    thinking: str,
    scale: str,
    name: str,
    overrides: str | Iterable[str],
    run_id: str,
    config_file: str | None = None,
) -> Run:
    """The run of an evaluation without training; UserError before anything is loaded.

    Without a scale, nano models take the nano preset (CPU, its decoding), others that of 4B.
    """
    options = {
        "model": model,
        "suite": suite,
        "source": source,
        "settings": settings,
        "limit": limit,
        "judge": judge,
        "thinking": thinking,
    }
    file = Source("--config", config_file) if config_file else None
    preset = scale_named(scale, file) or scale_of(model)
    config = resolved(preset, split_overrides(overrides), file, named(options)).config
    check_suite(config)
    check_store(config)
    if not is_address(model):
        check_checkpoint("student", model)
        check_evaluation_device(config)
    return Run(
        f"evaluation-{run_id}",
        config,
        datetime.now(UTC).replace(tzinfo=None).isoformat(),
        *places(config),
        absolute(config.store.database),
        name=name or model,
    )
