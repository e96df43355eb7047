"""Reads a configuration: a preset, the layout of a machine, overrides, a recorded dictionary."""

from __future__ import annotations

import tomllib
import types
from collections.abc import Iterable, Mapping
from dataclasses import replace
from importlib import resources
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from zppo_core.config.methods import METHODS
from zppo_core.config.rules import validate
from zppo_core.config.schema import LAYOUTS, SCALES, Config
from zppo_core.errors import UserError, suggestion


def _describe(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(annotation)))
    return getattr(annotation, "__name__", str(annotation))


def _convert(where: str, value: Any, annotation: Any) -> Any:
    """`value` as `annotation`, from TOML or the text of `--set`; UserError if it cannot be."""
    fault = UserError(f"{where}: {value!r} is not {_describe(annotation)}")
    origin = get_origin(annotation)
    if origin in (Union, types.UnionType):
        raise TypeError(f"{where}: unions are not used in configuration")
    if origin is Literal:
        if value not in get_args(annotation):
            raise fault
        return value
    if origin is tuple:
        parts = value.split(",") if isinstance(value, str) else list(value)
        if len(parts) != len(get_args(annotation)):
            raise fault
        return tuple(
            _convert(where, p, a) for p, a in zip(parts, get_args(annotation), strict=True)
        )
    if annotation is bool:
        named = {"true": True, "1": True, "false": False, "0": False}
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in named:
            return named[value.lower()]
        raise fault
    if annotation in (int, float):
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise fault
        if annotation is int and isinstance(value, float):
            raise fault
        try:
            return annotation(value.replace("_", "") if isinstance(value, str) else value)
        except ValueError:
            raise fault from None
    if not isinstance(value, str):
        raise fault
    return value


def _section(cls: type, name: str, values: Mapping[str, Any]) -> Any:
    hints = get_type_hints(cls)
    for key in values:
        if key not in hints:
            remedy = suggestion(key, hints, lambda field: f"{name}.{field}")
            raise UserError(f"unknown field {name}.{key}; {remedy}")
    return cls(**{k: _convert(f"{name}.{k}", v, hints[k]) for k, v in values.items()})


def from_dict(values: Mapping[str, Any]) -> Config:
    """Build and validate a `Config` from nested mappings; raises UserError on the first fault."""
    hints = get_type_hints(Config)
    sections: dict[str, Any] = {}
    for name, content in values.items():
        if name == "scale":
            sections[name] = _convert(name, content, str)
        elif name not in hints:
            raise UserError(f"unknown section {name!r}; {suggestion(name, hints)}")
        elif not isinstance(content, Mapping):
            raise UserError(f"{name} is a section; set a field of it, like {name}.<field>=<value>")
        else:
            sections[name] = _section(hints[name], name, content)
    config = Config(**sections)
    method = config.run.method.strip().casefold()  # GRPO is what papers write
    if method in METHODS:
        config = replace(config, run=replace(config.run, method=method))
    validate(config)
    return config


def parse_override(text: str) -> tuple[str, str, str]:
    """Split `section.field=value`; raises UserError with the right form."""
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().partition(".")
    if not (equals and dot and section and name):
        raise UserError(f"--set {text!r}: write it as section.field=value, e.g. optimizer.lr=1e-6")
    return section, name, value.strip()


def load(scale: str = "nano", overrides: Iterable[str] = ()) -> Config:
    """The preset `presets/<scale>.toml` with `section.field=value` overrides applied in order.

    "4B@one-gpu" is the preset 4B on the machine of `config/layouts/one-gpu.toml`.
    """
    scale, at, layout = scale.partition("@")
    if scale not in SCALES:
        raise UserError(f"unknown scale {scale!r}; {suggestion(scale, SCALES)}")
    if at and layout not in LAYOUTS:
        raise UserError(f"unknown layout {layout!r}; {suggestion(layout, LAYOUTS)}")
    folder = resources.files("zppo_core.config")
    values: dict[str, Any] = {}
    for name in [f"presets/{scale}", *([f"layouts/{layout}"] if at else [])]:
        for section, fields in tomllib.loads((folder / f"{name}.toml").read_text("utf-8")).items():
            values.setdefault(section, {}).update(fields)
    values["scale"] = scale
    for text in overrides:
        section, name, value = parse_override(text)
        if not isinstance(values.setdefault(section, {}), dict):
            raise UserError(f"--set {text!r}: {section} is not a section")
        values[section][name] = value
    return from_dict(values)
