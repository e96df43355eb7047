"""Reads a configuration: preset, layout of a machine, a file of one's own, options, overrides."""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from zppo_core.config.methods import find_method
from zppo_core.config.reading import read
from zppo_core.config.rules import validate
from zppo_core.config.schema import LAYOUTS, SCALES, Config
from zppo_core.errors import UserError, shown, suggestion


@dataclass(frozen=True)
class Source:
    """A TOML file of the user's own: its name, for errors, and its text."""

    name: str
    text: str

    @classmethod
    def at(cls, path: str) -> Source:
        """The file at `path`; UserError if it cannot be read."""
        try:
            return cls(path, Path(path).read_text("utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise UserError(f"--config {path}: {why}; give a TOML file") from None

    def values(self) -> dict[str, object]:
        """What it sets; UserError with the line if it is no TOML."""
        try:
            return tomllib.loads(self.text)
        except tomllib.TOMLDecodeError as error:
            raise UserError(f"{self.name}: {error}") from None


@dataclass(frozen=True)
class Resolved:
    """A configuration, and where each `section.field` that was set comes from."""

    config: Config
    origins: Mapping[str, str]


def from_dict(values: Mapping[str, object]) -> Config:
    """Build and validate a `Config` from nested mappings; UserError names all faults."""
    config = read(Config, values)
    validate(config)
    return config


def from_record(values: Mapping[str, Mapping[str, object]]) -> Config:
    """The `Config` of a run as a database holds it; what newer versions have no more is left out.

    For reading alone: a run goes on with `from_dict`, which refuses what it does not know.
    """
    fields = Config().to_dict()
    return from_dict(
        {
            section: (
                {name: value for name, value in part.items() if name in fields[section]}
                if isinstance(part, Mapping)
                else part
            )
            for section, part in values.items()
            if section in fields
        }
    )


def parse_override(text: str) -> tuple[str, str, str]:
    """Split `section.field=value`; raises UserError with the right form."""
    key, equals, value = text.partition("=")
    section, dot, name = key.strip().partition(".")
    if section == "scale" and dot:
        raise UserError(f"--set {shown(text)}: scale is no section; name it by --scale")
    if not (equals and dot and section and name):
        raise UserError(
            f"--set {shown(text)}: write it as section.field=value, e.g. optimizer.lr=1e-6"
        )
    return section, name, value.strip()


def load(
    scale: str = "", overrides: Iterable[str] | Mapping[str, object] = (), file: str = ""
) -> Config:
    """The preset of `scale`, the TOML `file` over it, and overrides in order.

    "4B@one-gpu" is the preset 4B on the machine of `config/layouts/one-gpu.toml`. Overrides are
    texts "section.field=value", or a mapping of "section.field" to a value. Without a scale it is
    the file's, or nano.
    """
    return resolved(scale, overrides, Source.at(file) if file else None).config


def resolved(
    scale: str = "",
    overrides: Iterable[str] | Mapping[str, object] = (),
    source: Source | None = None,
    options: Mapping[str, tuple[str, str]] | None = None,
) -> Resolved:
    """As `load`, with the origin of each field.

    `options` are those of the command line that name a field: "--seed" -> ("run.seed", "3"). They
    go over the file and under the overrides. UserError names all faults, those of a file with its
    name.
    """
    user_values = source.values() if source else {}
    label = source.name if source else ""
    user_values.pop("scale", None)
    preset, at, layout = (scale_named(scale, source) or "nano").partition("@")
    if preset not in SCALES:
        raise UserError(f"unknown scale {shown(preset)}; {suggestion(preset, SCALES)}")
    if at and layout not in LAYOUTS:
        raise UserError(f"unknown layout {shown(layout)}; {suggestion(layout, LAYOUTS)}")
    layers: list[tuple[str, Mapping[str, object]]] = [
        *_presets(preset),
        (f"layout {layout}", _shipped(f"layouts/{layout}") if at else {}),
        (label, user_values),
    ]
    for option, (field, text) in (options or {}).items():
        section, _, name = field.partition(".")
        layers.append((option, {section: {name: text}}))
    layers += [("--set", {section: {name: value}}) for section, name, value in _sets(overrides)]
    # a method's own settings go over the preset's, and under all that a user says
    place = next(i for i, (origin, _) in enumerate(layers) if origin == f"layout {layout}") + 1
    layers[place:place] = _method_layers(layers)
    values: dict[str, object] = {"scale": preset}
    origins: dict[str, str] = {}
    for origin, layer in layers:
        for section, fields in layer.items():
            before = values.setdefault(section, {})
            if isinstance(fields, Mapping) and isinstance(before, dict):
                before.update(fields)
                origins.setdefault(section, origin)
                origins.update({f"{section}.{name}": origin for name in fields})
            else:
                values[section], origins[section] = fields, origin

    def where(name: str) -> str:
        origin = origins.get(name, origins.get(name.partition(".")[0], ""))
        return f"{label}: " if label and origin == label else ""

    config = read(Config, values, where=where)
    validate(config)
    return Resolved(config, origins)


def _method_layers(
    layers: Iterable[tuple[str, Mapping[str, object]]],
) -> list[tuple[str, Mapping[str, object]]]:
    """The settings of the method that the layers come to; none if they name no method of ours."""
    parts = [layer.get("run") for _, layer in layers]
    named = [p["method"] for p in parts if isinstance(p, Mapping) and "method" in p]
    try:
        method = find_method(str(named[-1]) if named else Config().run.method)
    except UserError:  # the field itself says what is wrong
        return []
    sets = _sets(method.settings)
    return [(f"method {method.name}", {section: {name: value}}) for section, name, value in sets]


def scale_named(scale: str, source: Source | None) -> str:
    """The scale of the command line, else of the file; "" if neither names one."""
    named = source.values().get("scale", "") if source else ""
    if not isinstance(named, str):
        label = source.name if source else ""
        raise UserError(f'{label}: scale is a text, like scale = "4B@one-gpu"')
    return scale or named


def _sets(overrides: Iterable[str] | Mapping[str, object]) -> Iterable[tuple[str, str, object]]:
    if not isinstance(overrides, Mapping):
        yield from map(parse_override, overrides)
        return
    for field, value in overrides.items():
        section, name, _ = parse_override(f"{field}=")
        yield section, name, value


def _presets(name: str) -> list[tuple[str, Mapping[str, object]]]:
    """The layers of a preset: before its own those of the one that it extends."""
    values = _shipped(f"presets/{name}")
    base = str(values.pop("extends", ""))
    return [*(_presets(base) if base else []), (f"preset {name}", values)]


def _shipped(name: str) -> dict[str, object]:
    path = resources.files("zppo_core.config") / f"{name}.toml"
    return tomllib.loads(path.read_text("utf-8"))


def scale_of(model: str) -> str:
    """The preset by which a model is evaluated if none is named: foreign ones as 4B."""
    if model.startswith("nano:zone"):
        return "zone-small" if model == "nano:zone-small" else "zone"
    return "4B" if model and not model.startswith("nano:") else "nano"
