"""Checkpoints: an ordinary Hugging Face folder, and beside it all that a bitwise resume needs.

Written aside and put under its step, a manifest of hashes last, so a half-written one does not
exist; a damaged one is passed over for the one before. No pickles: safetensors and JSON alone.
Files of any size: none is held in memory to be copied or checked.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zppo_core.errors import UserError
from zppo_core.store.journal import MANIFEST, Journal
from zppo_core.store.objects import (
    DamagedObjectError,
    MissingObjectError,
    ObjectStore,
    check_key,
    hash_file,
    in_parallel,
    join,
    put_tree,
)

if TYPE_CHECKING:
    import torch

FOLDER = "checkpoints"


MTP = "mtp."  # what names of multi-token prediction begin with
MASTER = "master"  # of a parameter, beside the optimizer's own state


@dataclass(frozen=True)
class Checkpoint:
    """A committed checkpoint: after `step` rollout steps, below `prefix`; `digests` by file."""

    store: ObjectStore
    prefix: str
    step: int
    digests: Mapping[str, str]

    def files(self, part: str = "") -> list[str]:
        """Names of its files, or of those below `part`, sorted."""
        below = join(part) + "/" if join(part) else ""
        return sorted(name for name in self.digests if name.startswith(below))

    def read(self, name: str) -> bytes:
        """One file, checked; MissingObjectError if there is none of this name."""
        if name not in self.digests:
            raise MissingObjectError(name)
        data = self.store.get(join(self.prefix, name))
        if hashlib.sha256(data).hexdigest() != self.digests[name]:
            raise self._damaged(name)
        return data

    def fetch(self, folder: str | Path, part: str = "") -> list[Path]:
        """Copy its files, or those below `part`, into `folder`, checked; their paths, sorted.

        `part` is "student" for the Hugging Face folder. MissingObjectError if it has none.
        """
        names = self.files(part)
        if not names:
            raise MissingObjectError(join(self.prefix, part))
        below = join(part) + "/" if join(part) else ""

        def copy(name: str) -> Path:
            path = Path(folder) / check_key(name.removeprefix(below))
            self.store.get_file(join(self.prefix, name), path)
            if hash_file(path) != self.digests[name]:
                raise self._damaged(name)
            return path

        return in_parallel(copy, names)

    def verify(self) -> None:
        """Read every file anew; DamagedObjectError names the first that is not what was put."""

        def check(name: str) -> bool:
            try:
                return self.store.digest(join(self.prefix, name)) == self.digests[name]
            except (MissingObjectError, DamagedObjectError):
                return False

        names = self.files()
        for name, sound in zip(names, in_parallel(check, names), strict=True):
            if not sound:
                raise self._damaged(name)

    def _damaged(self, name: str) -> DamagedObjectError:
        return DamagedObjectError(f"{name} is damaged or missing in {self.store.url}/{self.prefix}")


def save_checkpoint(store: ObjectStore, prefix: str, step: int, write: Callable[[Path], None],
                    keep: int) -> None:  # fmt: skip
    """Commit what `write` puts into a folder as the checkpoint of `step`; keep the last `keep`.

    The folder lies in the store itself if that is local: its files are renamed, not copied. Warns
    if what killed writers left there cannot be removed.
    """
    root = join(prefix, FOLDER)
    place = join(root, unit_of(step))
    try:
        store.sweep(root)
    except UserError as error:  # a right of its own on S3: no reason to lose the checkpoint
        warnings.warn(
            f"what killed writers left below {root} stays ({str(error).partition(';')[0]})",
            stacklevel=2,
        )
    with store.scratch(root) as folder:
        write(folder)
        paths = sorted(p for p in folder.rglob("*") if p.is_file())
        digests = {p.relative_to(folder).as_posix(): hash_file(p) for p in paths}
        delete_checkpoint(store, prefix, step)  # of a crash, or damaged: nothing of it may stay
        put_tree(folder, store, place, move=True)
    manifest = json.dumps({"files": digests, "step": step}, indent=1, sort_keys=True)
    store.put(join(place, MANIFEST), manifest.encode())
    for old in steps(store, prefix)[:-keep]:
        delete_checkpoint(store, prefix, old)


def delete_checkpoint(store: ObjectStore, prefix: str, step: int) -> None:
    """Remove a checkpoint, its manifest first, so that it is never half there."""
    place = join(prefix, FOLDER, unit_of(step))
    store.delete(join(place, MANIFEST))
    for key in store.list(place + "/"):
        store.delete(key)


def unit_of(step: int) -> str:
    return f"step-{step:06d}"


def steps(store: ObjectStore, prefix: str) -> list[int]:
    """Steps with a committed checkpoint, ascending."""
    units = Journal(store, join(prefix, FOLDER)).units("step-")
    return sorted(int(u.removeprefix("step-")) for u in units)


def checkpoint_of(store: ObjectStore, prefix: str, step: int) -> Checkpoint:
    """The checkpoint of `step`, verified.

    MissingObjectError if there is none, DamagedObjectError if a hash does not hold.
    """
    unit = unit_of(step)
    manifest = Journal(store, join(prefix, FOLDER)).manifest(unit)
    if manifest is None:
        raise MissingObjectError(join(prefix, FOLDER, unit))
    found = Checkpoint(store, join(prefix, FOLDER, unit), step, manifest["files"])
    found.verify()
    return found


def latest_checkpoint(store: ObjectStore, prefix: str) -> Checkpoint | None:
    """The newest checkpoint whose hashes hold, None if there is none.

    Warns of each damaged one that it passes over.
    """
    for step in reversed(steps(store, prefix)):
        try:
            return checkpoint_of(store, prefix, step)
        except DamagedObjectError as error:
            warnings.warn(
                f"checkpoint of step {step} is damaged ({error}); going back to the one before",
                stacklevel=2,
            )
    return None


def weight_hash(tensors: Iterable[tuple[str, torch.Tensor]]) -> str:
    """SHA-256 (hex) over names, types, shapes and bytes, in order of the names."""
    import torch

    h = hashlib.sha256()
    for name, tensor in sorted(tensors, key=lambda item: item[0]):
        h.update(f"{name}\0{tensor.dtype}\0{tuple(tensor.shape)}\0".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        h.update(flat.view(torch.uint8).numpy().data)
    return h.hexdigest()


def write_student(folder: Path, model: Any, tokenizer: Any, image_processor: Any = None,
                  mtp: Mapping[str, torch.Tensor] | None = None) -> None:  # fmt: skip
    """The student as an ordinary Hugging Face folder, for transformers and vLLM as it stands.

    `mtp` are the base's tensors of multi-token prediction, which stand beside the trained ones.
    """
    from safetensors.torch import save_file

    from zppo_core.training import lora

    own = {"state_dict": lora.merged(model)} if lora.adapted(model) else {}
    model.save_pretrained(folder, safe_serialization=True, **own)
    if mtp:
        save_file(dict(mtp), folder / "mtp.safetensors", metadata={"format": "pt"})
        index = folder / "model.safetensors.index.json"
        if index.is_file():
            content = json.loads(index.read_text())
            content["weight_map"] |= dict.fromkeys(mtp, "mtp.safetensors")
            index.write_text(json.dumps(content, indent=2, sort_keys=True))
    tokenizer.save_pretrained(folder)
    if image_processor is not None:
        image_processor.save_pretrained(folder)


def load_weights(folder: Path, model: Any) -> None:
    """Read the *.safetensors of a Hugging Face folder into `model`, bit for bit.

    UserError if a tensor of the model is missing there, or one there is none of the model's.
    """
    from safetensors.torch import load_file

    found: dict[str, torch.Tensor] = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= {k: v for k, v in load_file(path).items() if not k.startswith(MTP)}
    result = model.load_state_dict(found, strict=False)
    tied = set(getattr(model, "all_tied_weights_keys", ()) or ())
    missing = [name for name in result.missing_keys if name not in tied]
    if missing or result.unexpected_keys:
        names = ", ".join([*missing, *result.unexpected_keys][:3])
        raise UserError(f"the checkpoint does not fit the model ({names}); was the model changed?")


def write_optimizer(folder: Path, optimizer: torch.optim.Optimizer,
                    named: Mapping[str, torch.Tensor],
                    masters: Mapping[str, torch.Tensor] | None = None) -> None:  # fmt: skip
    """The optimizer's state by parameter name: tensors as safetensors, settings as JSON.

    `masters` are float32 weights that differ from the student's own.
    """
    from safetensors.torch import save_file

    tensors = {f"{n}:{MASTER}": t.detach().contiguous() for n, t in (masters or {}).items()}
    scalars = {}
    names = {tensor: name for name, tensor in named.items()}
    for parameter, state in optimizer.state.items():
        for key, value in state.items():
            full = f"{names[parameter]}:{key}"
            if hasattr(value, "dtype"):
                tensors[full] = value.detach().contiguous()
            else:
                scalars[full] = value
    settings = [
        {k: v for k, v in group.items() if k != "params"} for group in optimizer.param_groups
    ]
    save_file(tensors, folder / "optimizer.safetensors")
    content = {"scalars": scalars, "settings": settings}
    (folder / "optimizer.json").write_text(json.dumps(content, indent=1, sort_keys=True))


def read_optimizer(checkpoint: Checkpoint, optimizer: torch.optim.Optimizer,
                   named: Mapping[str, torch.Tensor]) -> None:  # fmt: skip
    """Put back what `write_optimizer` wrote, bit for bit; masters into `named` itself."""
    from safetensors.torch import load

    content = json.loads(checkpoint.read("optimizer.json"))
    states: dict[str, dict[str, Any]] = {}
    everything: dict[str, Any] = {
        **load(checkpoint.read("optimizer.safetensors")),
        **content["scalars"],
    }
    for full, value in everything.items():
        name, _, key = full.rpartition(":")
        states.setdefault(name, {})[key] = value
    optimizer.state.clear()
    for name, state in states.items():
        parameter = named[name]
        if MASTER in state:
            parameter.data.copy_(state.pop(MASTER))
        optimizer.state[parameter] = {
            k: v.to(parameter.device) if hasattr(v, "dtype") and k != "step" else v
            for k, v in state.items()
        }
    for group, settings in zip(optimizer.param_groups, content["settings"], strict=True):
        group.update({k: tuple(v) if isinstance(v, list) else v for k, v in settings.items()})
