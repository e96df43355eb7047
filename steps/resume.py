"""What an `epoch` task leaves for the next one, and takes up again, bit for bit."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from steps.world import World
from zppo_core.models import mtp_weights
from zppo_core.store.checkpoint import (
    Checkpoint,
    latest_checkpoint,
    load_weights,
    save_checkpoint,
    write_student,
)
from zppo_core.store.objects import ObjectStore


def checkpoint(world: World, store: ObjectStore, prefix: str) -> None:
    """Commit student, optimizer, buffer and counters after `world.state.step` rollout steps."""

    def write(folder: Path) -> None:
        processor = world.renderer.processor
        write_student(
            folder / "student", world.model, world.renderer.tokenizer,
            None if processor is None else processor.image_processor,
            mtp_weights(world.config.student.model),
        )  # fmt: skip
        world.trainer.write_state(folder)
        (folder / "state.json").write_text(json.dumps(world.state.state_dict(), sort_keys=True))

    save_checkpoint(store, prefix, world.state.step, write, world.config.store.keep_checkpoints)


def restore(world: World, store: ObjectStore, prefix: str) -> int:
    """Take up the newest sound checkpoint if there is one; the rollout steps done."""
    found = latest_checkpoint(store, prefix)
    if found is not None:
        if not world.config.trainer.lora_rank:  # the base stays, and its adapters return
            load_student(world, found)
        world.trainer.read_state(found)
        world.state.load_state_dict(json.loads(found.read("state.json")))
        print(f"going on from the checkpoint after step {found.step}", flush=True)
    world.sync()
    return world.state.step


def load_student(world: World, found: Checkpoint) -> None:
    with tempfile.TemporaryDirectory() as folder:
        found.fetch(folder, "student")
        load_weights(Path(folder), world.model)
