"""`zppo chat`: talk to a student, with or without pictures, on whatever device there is.

CHECKPOINT is nano:student, a Hugging Face folder or hub id, or the folder of a run: then its
newest checkpoint answers. A question gets the closer of training, which asks for a boxed answer;
--plain leaves it out. Without --prompt each line of the standard input is a turn.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from zppo_core import models
from zppo_core.errors import UserError
from zppo_core.processes.command_line import command, reported
from zppo_core.prompts import Templates
from zppo_core.protocols import Engine, Sampling
from zppo_core.store.checkpoint import latest_checkpoint
from zppo_core.store.objects import open_store
from zppo_core.types import Prompt

if TYPE_CHECKING:
    from argparse import Namespace


def answers(
    engine: Engine, turns: Iterator[str], images: Sequence[bytes], settings: Namespace
) -> Iterator[str]:
    """An answer to each turn; later turns know those before, the pictures stand in the first."""
    templates = Templates("")
    history: list[tuple[str, str]] = []
    sampling = Sampling(settings.max_tokens, temperature=settings.temperature)
    for turn in turns:
        text = turn if settings.plain else templates.with_closer(turn)
        asked = Prompt(text, tuple(images), settings.thinking, tuple(history))
        ((answer,),) = engine.generate([asked], sampling, [settings.seed])
        history.append((text, answer.text))
        yield answer.text


def opened(checkpoint: str, device: str, keep: ExitStack) -> Engine:
    """An engine over the model; what is fetched from a store goes when `keep` is closed."""
    import torch

    from zppo_core.engines.hf import HfEngine

    student = checkpoint
    if checkpoint.startswith("s3://") or (Path(checkpoint) / "checkpoints").is_dir():
        latest = latest_checkpoint(open_store(checkpoint), "")
        if latest is None:
            raise UserError(f"no sound checkpoint in {checkpoint} yet; zppo runs lists runs")
        folder = keep.enter_context(tempfile.TemporaryDirectory())
        latest.fetch(folder, "student")
        student = folder if (Path(folder) / "config.json").is_file() else f"{folder}/student"
    elif Path(checkpoint).is_dir() and not (Path(checkpoint) / "config.json").is_file():
        inner = Path(checkpoint) / "student"
        if not (inner / "config.json").is_file():
            raise UserError(f"{checkpoint} is no model and no run; give a folder with config.json")
        student = str(inner)
    dtype = torch.float32 if device == "cpu" else torch.bfloat16
    model, renderer = models.load(student, dtype, device)
    return HfEngine(model, renderer, "chat")


def pictures(paths: Sequence[str]) -> list[bytes]:
    """The files' bytes; UserError if one is not there or no picture."""
    from PIL import Image, UnidentifiedImageError

    encoded = []
    for path in paths:
        try:
            with Image.open(path) as image:
                image.verify()
            encoded.append(Path(path).read_bytes())
        except (OSError, UnidentifiedImageError) as fault:
            raise UserError(f"--image {path}: {fault}; give a PNG or JPEG file") from None
    return encoded


def typed() -> Iterator[str]:
    """Lines of the standard input, with a mark where somebody types them."""
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "")
        except (EOFError, KeyboardInterrupt):
            return
        if line.strip():
            yield line


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo chat`; 0, or 2 with a line for each fault."""
    example = "zppo chat nano:student --prompt 'What is 3 plus 4?'"
    reader = command("chat", __doc__ or "", example)
    reader.add_argument("checkpoint")
    reader.add_argument("--prompt", help="one question instead of a conversation")
    reader.add_argument("--image", action="append", default=[], metavar="FILE", help="repeatable")
    reader.add_argument("--plain", action="store_true", help="without the closer of training")
    reader.add_argument("--thinking", action="store_true")
    reader.add_argument("--max-tokens", type=int, default=256, help="default: %(default)s")
    reader.add_argument("--temperature", type=float, default=0.0, help="0: greedy, the default")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    reader.add_argument("--json", action="store_true", help="one JSON object an answer")
    settings = reader.parse_args(arguments)
    images = pictures(settings.image)
    turns = typed() if settings.prompt is None else iter([settings.prompt])
    with ExitStack() as keep:
        engine = opened(settings.checkpoint, settings.device, keep)
        for answer in answers(engine, turns, images, settings):
            print(json.dumps({"answer": answer}) if settings.json else answer, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
