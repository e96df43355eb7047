"""What a configuration must hold beyond its types: ranges, and fields that go together."""

from __future__ import annotations

import re
from collections.abc import Iterator

from zppo_core.config import bounds
from zppo_core.config.methods import find_method
from zppo_core.config.schema import Config
from zppo_core.data.layouts import parse_columns, parse_format
from zppo_core.data.zppo77k.sources import parse_more
from zppo_core.errors import UserError
from zppo_core.extensions import is_outside

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_STORE = re.compile(r"s3://[^/]+(/.*)?|(?!.*://).+")
_MODEL = re.compile(r"https?://.+|(?!.*://).*")


def validate(c: Config) -> None:
    """Raise UserError on the first rule that `c` breaks: it names the field and the remedy."""
    parse_more(c.data.more_configs)
    parse_columns(c.data.columns)
    layout = parse_format(c.data.format)
    objective = find_method(c.run.method).objective
    if fault := bounds.fault(c):
        raise UserError(fault)
    several = c.run.method == "zppo_teachers"
    rules = [
        (
            c.compute.engine in ("hf", "vllm") or is_outside(c.compute.engine),
            f"compute.engine: {c.compute.engine!r} is not one of hf, vllm; one of your own is "
            "package.module:NAME",
        ),
        (
            several == bool(c.teacher.more_models),
            "teacher.more_models belongs to method zppo_teachers: set both, like --method "
            "zppo_teachers --set teacher.more_models=<folder or hub id>",
        ),
        (
            c.data.min_pixels >= 0 <= c.data.max_pixels
            and (c.data.max_pixels == 0 or c.data.min_pixels <= c.data.max_pixels),
            "data.min_pixels must be >= 0 and at most data.max_pixels (0: no bound)",
        ),
        *(
            (not _CONTROL.search(text), f"{field} holds a control character; leave it out")
            for field, text in texts(c)
        ),
        *(
            (bool(_STORE.fullmatch(place)), f"{field}: give a folder or s3://bucket/prefix")
            for field, place in places(c)
        ),
        (
            bool(c.store.database.strip()) and "://" not in c.store.database,
            "store.database is a file, like results/zppo.duckdb",
        ),
        *(
            (bool(_MODEL.fullmatch(model)), f"{field}: give a folder, a hub id or http://host/v1")
            for field, model in models(c)
        ),
        (bool(c.data.source.strip()), "data.source is empty; name digits, zppo77k or a table"),
        (
            not c.data.columns or layout in ("", "columns"),
            f"data.columns names the columns of data.format=columns, not of {layout}: unset one",
        ),
        (
            c.rollout.temperature == 1.0 and c.rollout.top_p == 1.0,
            "rollout.temperature and rollout.top_p must be 1: the trainer's log-probabilities are "
            "of the untempered distribution",
        ),
        (
            not c.teacher.endpoint or c.teacher.endpoint.startswith(("http://", "https://")),
            "teacher.endpoint is an address, like http://host:8000/v1",
        ),
        (
            not c.teacher.endpoint or not objective.teacher_weights,
            "distillation needs the teacher's weights; leave teacher.endpoint empty",
        ),
        (
            c.compute.teacher_tensor_parallel >= 0
            and c.compute.teacher_gpus % max(c.compute.teacher_tensor_parallel, 1) == 0,
            "compute.teacher_tensor_parallel must divide compute.teacher_gpus (0: all of them)",
        ),
        (
            c.compute.overlap == 1
            or c.compute.device == "cpu"
            or c.compute.teacher_gpus > 0
            or bool(c.teacher.endpoint),
            "compute.overlap needs a teacher beside the student; set compute.teacher_gpus or "
            "teacher.endpoint",
        ),
        (c.compute.zero_stage in (1, 2, 3), "compute.zero_stage is 1, 2 or 3"),
        (
            c.compute.update_hosts == 1
            or c.compute.rendezvous == "auto"
            or ":" in c.compute.rendezvous,
            "compute.rendezvous is where several hosts meet, like 10.0.0.1:29500, or auto",
        ),
    ]
    for holds, message in rules:
        if not holds:
            raise UserError(message)


def texts(c: Config) -> Iterator[tuple[str, str]]:
    """Each field that holds text, as section.field and its value."""
    for section, fields in c.to_dict().items():
        if isinstance(fields, dict):
            yield from ((f"{section}.{k}", v) for k, v in fields.items() if isinstance(v, str))


def places(c: Config) -> list[tuple[str, str]]:
    """The stores that are named."""
    named = {"store.root": c.store.root.strip(), "store.cache": c.store.cache}
    return [(field, place) for field, place in named.items() if place or field == "store.root"]


def models(c: Config) -> list[tuple[str, str]]:
    """The models that are named, each a folder, a hub id or an address."""
    return [
        ("student.model", c.student.model),
        ("teacher.model", c.teacher.model),
        ("evaluation.judge", c.evaluation.judge),
    ]
