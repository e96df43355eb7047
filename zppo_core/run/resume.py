"""What an `epoch` task leaves for the next one, and takes up again, bit for bit."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from zppo_core.errors import UserError
from zppo_core.models.loading import mtp_weights, weights_name
from zppo_core.models.weights import load_weights, write_student
from zppo_core.records.phases import RUN_UNIT
from zppo_core.records.schema import decode
from zppo_core.run.session import Session
from zppo_core.run.spec import Run
from zppo_core.store.checkpoint import Checkpoint, save_checkpoint
from zppo_core.store.objects import DamagedObjectError
from zppo_core.store.small_json import damaged, read_object


def checkpoint(session: Session, run: Run) -> None:
    """Commit student, optimizer, buffer and counters after `session.state.step` rollout steps."""

    session.trainer.publish()

    def write(folder: Path) -> None:
        processor = session.renderer.processor
        write_student(
            folder / "student",
            session.model,
            session.renderer.tokenizer,
            None if processor is None else processor.image_processor,
            mtp_weights(session.config.student.model),
        )
        session.trainer.write_state(folder)
        (folder / "state.json").write_text(json.dumps(session.state.state_dict(), sort_keys=True))

    save_checkpoint(
        run.store, run.key, session.state.step, write, session.config.store.keep_checkpoints
    )


def same_beginning(session: Session, run: Run) -> None:
    """UserError if the run began with other questions, whose order would change in mid-run.

    Likewise with another base, if adapters are learned: checkpoints hold them and not the base.
    """
    files = run.journal.read(RUN_UNIT) if session.config.trainer.lora_rank else None
    if files is not None:
        before = decode("runs", files["runs.parquet"]).to_pylist()[0]["base_model_key"]
        if before != weights_name(session.model):
            raise UserError(
                f"{session.config.student.model} is not the base that the run began with; bring "
                "that back, or start a new run"
            )
    key, now = f"{run.key}/corpus.json", {"sha256": session.corpus.digest()}
    run.store.put_new(key, json.dumps(now).encode())
    place = f"{run.store_url}/{key}, which says what corpus the run began with,"
    remedy = "delete it if the corpus is still the same, then `resume`"
    try:
        began = str(read_object(run.store.get(key), place, remedy, {"sha256": str})["sha256"])
    except DamagedObjectError:
        raise damaged(place, "it is not what was put there", remedy) from None
    if began != now["sha256"]:
        raise UserError(
            f"the corpus is not the one that the run began with (SHA-256 {now['sha256'][:16]}, it "
            f"was {began[:16]}); bring that back, or start a new run"
        )


def restore(session: Session, checkpoint: Checkpoint | None) -> int:
    """Take up the newest sound checkpoint if there is one; the rollout steps done."""
    if checkpoint is not None:
        if not session.config.trainer.lora_rank:  # the base stays, and its adapters return
            load_student(session, checkpoint)
        session.trainer.read_state(checkpoint)
        session.state.load_state_dict(json.loads(checkpoint.read("state.json")))
        print(f"going on from the checkpoint after step {checkpoint.step}", flush=True)
    session.sync()
    return session.state.step


def load_student(session: Session, checkpoint: Checkpoint) -> None:
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.fetch(folder, "student")
        load_weights(Path(folder), session.model)
