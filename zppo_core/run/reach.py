"""Whether what a run names can be reached: endpoints, the table of questions, a model's files."""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from pathlib import Path

from zppo_core.config import Config
from zppo_core.config.schema import method_of
from zppo_core.errors import UserError

SECONDS = 5.0  # that an address has for its answer


def check_reach(config: Config) -> None:
    """Raise UserError if an endpoint, the table or a model's folder is not as the run needs it.

    No model is loaded. What is on S3 or the hub is left to who reads it.
    """
    judge, _, _ = config.evaluation.judge.partition("#")
    uses_teacher = method_of(config).uses_teacher or not config.evaluation.judge
    if config.teacher.endpoint and uses_teacher:
        check_endpoint("teacher.endpoint", config.teacher.endpoint, config.teacher.api_key_env)
    if judge.startswith(("http://", "https://")):
        check_endpoint("evaluation.judge", judge, config.teacher.api_key_env)
    check_source(config)
    check_files("student", config.student.model)
    if method_of(config).uses_teacher and not config.teacher.endpoint:
        check_files("teacher", config.teacher.model)


def check_endpoint(field: str, address: str, key_name: str = "") -> None:
    """UserError if nothing answers GET <address>/models, or it refuses the key.

    The key is the value of the variable `key_name`. A server that lists no models passes.
    """
    key = os.environ.get(key_name, "") if key_name else ""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    asked = urllib.request.Request(f"{address.rstrip('/')}/models", headers=headers)
    opener = urllib.request.build_opener(_Stay)
    try:
        with opener.open(asked, timeout=SECONDS):
            return
    except urllib.error.HTTPError as error:
        if error.code in (401, 403):
            what = f"refuses the key of {key_name}" if key else "wants a key"
            raise UserError(
                f"{field}: {address} {what} (HTTP {error.code}); set teacher.api_key_env to the "
                "variable that holds it"
            ) from None
        if error.code >= 500:
            raise UserError(
                f"{field}: {address} fails (HTTP {error.code}); look at the server's log"
            ) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", error)
        raise UserError(
            f"{field}: nothing answers at {address} ({why}); start the server, or set {field} to "
            "where it is"
        ) from None


class _Stay(urllib.request.HTTPRedirectHandler):
    """A redirect would take the key to another host."""

    def redirect_request(self, *arguments: object, **named: object) -> None:
        return None


def check_source(config: Config) -> None:
    """UserError if a local table of questions is not there or lacks the columns that it needs."""
    source = config.data.source
    if source in ("digits", "zone", "zppo77k") or source.startswith("s3://"):
        return
    from zppo_core.data.files import is_place
    from zppo_core.data.table import check_table

    if is_place(source):
        check_table(source, config.data.columns, config.data.format)


def check_files(role: str, model: str) -> None:
    """UserError if a model's local folder has no tokenizer, chat template or image processor."""
    folder = Path(model).expanduser()
    if model.startswith("nano:") or not (folder / "config.json").is_file():
        return
    named = {path.name for path in folder.iterdir()}
    if not named & {"tokenizer.json", "tokenizer_config.json", "tokenizer.model"}:
        raise UserError(f"{role}.model={model} has no tokenizer; put its tokenizer.json there")
    templates = {"chat_template.jinja", "chat_template.json"}
    if not named & templates and "chat_template" not in _read(
        role, folder, "tokenizer_config.json"
    ):
        raise UserError(
            f"{role}.model={model} has no chat template; name an instruction-tuned model, or put "
            "a chat_template.jinja there"
        )
    pictures = "vision_config" in _read(role, folder, "config.json")
    if pictures and not named & {"preprocessor_config.json", "processor_config.json"}:
        raise UserError(
            f"{role}.model={model} takes pictures and has no preprocessor_config.json; copy its "
            "base's there"
        )


def _read(role: str, folder: Path, name: str) -> dict[str, object]:
    path = folder / name
    if not path.is_file():
        return {}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{role}.model: {path} cannot be read ({error}); copy it again") from None
    return index if isinstance(index, dict) else {}
