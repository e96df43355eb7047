"""What an exported student says of itself: its README, and a processor that loads by itself.

transformers' own processor of Qwen3.5 wants torchvision for videos. A student without videos is
loaded without it by the module that lies beside its weights (`trust_remote_code=True`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from zppo_core.config.plan import toml
from zppo_core.errors import UserError
from zppo_core.records.phases import RUN_UNIT
from zppo_core.records.schema import decode
from zppo_core.store.base import DamagedObjectError
from zppo_core.store.journal import Journal
from zppo_core.store.objects import ObjectStore

CODE = "zppo_processor"
PROCESSOR = '''"""Qwen3-VL's processor without videos, which need torchvision."""

from transformers.models.qwen3_vl.processing_qwen3_vl import Qwen3VLProcessor


class StudentProcessor(Qwen3VLProcessor):
    def __init__(self, image_processor=None, tokenizer=None, chat_template=None):
        super().__init__(image_processor, tokenizer, None, chat_template)

    @classmethod
    def get_attributes(cls):
        return ["image_processor", "tokenizer"]
'''
# the field's families whose weights have this licence at the hub; of others the card says to look
APACHE = ("qwen/", "nano:")


@dataclass(frozen=True)
class Provenance:
    """Where a student comes from, by its run's own row."""

    run: str
    step: int
    row: Mapping[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        config: dict[str, Any] = json.loads(self.row["config_json"])
        return config


def provenance(source: ObjectStore, step: int) -> Provenance | None:
    """Of the run whose folder `source` is; None where a checkpoint lies without its journal."""
    try:
        files = Journal(source, "journal").read(RUN_UNIT)
    except DamagedObjectError as fault:
        raise UserError(f"the run's own record is damaged: {fault}") from None
    if files is None:
        return None
    (row,) = decode("runs", files["runs.parquet"]).to_pylist()
    return Provenance(row["run_key"], step, row)


def extras(files: Mapping[str, str], config: bytes, origin: Provenance | None) -> dict[str, bytes]:
    """What stands beside a student: README.md, and where it needs it a processor.

    `files` are the names of the student's files with their SHA-256, `config` is its config.json.
    """
    model = json.loads(config)
    pictures = "preprocessor_config.json" in files
    custom = pictures and str(model.get("model_type", "")).startswith(("qwen3_5", "qwen3_vl"))
    added = {"README.md": card(model, pictures, custom, files, origin).encode()}
    if custom:
        described = {
            "processor_class": "Qwen3VLProcessor",
            "auto_map": {"AutoProcessor": f"{CODE}.StudentProcessor"},
        }
        added["processor_config.json"] = json.dumps(described, indent=2).encode()
        added[f"{CODE}.py"] = PROCESSOR.encode()
    return {name: data for name, data in added.items() if name not in files or name == "README.md"}


def card(
    model: Mapping[str, Any],
    pictures: bool,
    custom: bool,
    files: Mapping[str, str],
    origin: Provenance | None,
) -> str:
    """The README in Markdown, with the hub's fields at its head."""
    base = origin.row["student_model"] if origin else ""
    licence = "apache-2.0" if base.lower().startswith(APACHE) else "other"
    head = [f"license: {licence}", "library_name: transformers"]
    head.append(f"pipeline_tag: {'image-text-to-text' if pictures else 'text-generation'}")
    if base and not base.startswith(("nano:", "/", ".")):
        head.append(f"base_model: {base}")
    head.append("tags: [zppo, reinforcement-learning]")
    kind = (model.get("architectures") or [model.get("model_type", "a model")])[0]
    parts = ["---", *head, "---", "", f"# {origin.run if origin else 'A student'}", ""]
    parts += [f"A {kind} that was trained by ZPPO's open implementation (arXiv 2606.18216).", ""]
    parts += ["## Use", "", "```python", usage(pictures, custom), "```", ""]
    parts += ["## Provenance", "", *lines_of(origin), ""]
    parts += ["## Licence", "", licence_text(base, licence), ""]
    parts += ["## Files", "", "| file | SHA-256 |", "| --- | --- |"]
    parts += [f"| `{name}` | `{digest}` |" for name, digest in sorted(files.items())]
    return "\n".join([*parts, ""])


def usage(pictures: bool, custom: bool) -> str:
    """Python that generates with the folder in which it is run."""
    family = "AutoModelForImageTextToText" if pictures else "AutoModelForCausalLM"
    reader = "AutoProcessor" if pictures else "AutoTokenizer"
    trust = ", trust_remote_code=True" if custom else ""
    content = (
        '[{"type": "text", "text": "What is 3 plus 4?"}]' if pictures else '"What is 3 plus 4?"'
    )
    return "\n".join(
        [
            f"from transformers import {family}, {reader}",
            "",
            f'model, reader = {family}.from_pretrained("."), {reader}.from_pretrained("."{trust})',
            f'asked = [{{"role": "user", "content": {content}}}]',
            "inputs = reader.apply_chat_template(asked, add_generation_prompt=True, tokenize=True,",
            '                                    return_dict=True, return_tensors="pt")',
            "print(reader.decode(model.generate(**inputs, max_new_tokens=64)[0]))",
        ]
    )


def lines_of(origin: Provenance | None) -> list[str]:
    """The run in a list: what trained, from what, on what, by which code."""
    if origin is None:
        return ["The run's records were not beside the checkpoint: see the store it came from."]
    row, config = origin.row, origin.config
    facts = {
        "run": origin.run,
        "rollout steps": origin.step,
        "method": row["method"],
        "scale": row["scale"],
        "seed": row["seed"],
        "student began as": row["student_model"],
        "its weights' key": row["base_model_key"] or "not recorded",
        "teacher": row["teacher_model"] or "none",
        "questions": config["data"]["source"],
        "code": row["code_version"],
        "machine": row["machine"],
        "began (UTC)": row["created_at"].isoformat(timespec="seconds"),
    }
    lines = [f"- {name}: `{value}`" for name, value in facts.items()]
    lines += ["", "The whole configuration:", "", "```toml", f"scale = {toml(config['scale'])}"]
    for section, values in config.items():
        if isinstance(values, dict):
            lines += ["", f"[{section}]", *(f"{k} = {toml(v)}" for k, v in values.items())]
    return [*lines, "```"]


def licence_text(base: str, licence: str) -> str:
    """What may be done with the weights, as far as it is known."""
    if licence == "apache-2.0":
        return f"Apache-2.0, as `{base}`, whose weights this student began with."
    return (
        "The weights are under the licence of the model that the student began with"
        + (f" (`{base}`)" if base else "")
        + ": look there, and set `license` above."
    )
