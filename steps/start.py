"""The `start` step: resolve the configuration, check what costs nothing, name the run."""

from __future__ import annotations

from collections.abc import Iterable

from eval.preflight import check
from zppo_core.config import Source, parse_override
from zppo_core.config.load import scale_named
from zppo_core.config.overrides import resolve, split_overrides
from zppo_core.run import setup
from zppo_core.run.names import check_apart, check_name
from zppo_core.run.preflight import check_stores
from zppo_core.run.spec import Artifact


def open_run(
    scale: str,
    method: str,
    seed: str,
    overrides: str | Iterable[str],
    run_id: str,
    name: str = "",
    config_file: str | None = None,
    default: str = "nano",
) -> Artifact:
    """The run as an artifact that every later step reads, and that `resume` clones.

    `config_file` is the text of a TOML of the user's own, `default` the scale if none is named.
    UserError on the faults of the configuration, or if `name` is another run's.
    """
    if name:
        check_name(name)
    sets = split_overrides(overrides)
    source = Source("--config", config_file) if config_file else None
    config = resolve(scale_named(scale, source) or default, method, seed, sets, source)
    if name:
        check_apart(name, *setup.places(config))
    check(config)
    explicit = {".".join(parse_override(text)[:2]) for text in sets}
    run = setup.open_run(config, run_id, name, explicit)
    check_stores(run)
    return run.artifact()
