"""Weights of transformers names into vLLM's workers: names complete both ways, sums read back."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zppo_core.processes.shm import quick_folder

if TYPE_CHECKING:
    import torch

TOLERANCE = 1e-9  # relative: sums in float64, taken in another order
BLOCK = 1 << 24  # entries summed at once
Sources = dict[str, list[str]]  # of each of vLLM's tensors the checkpoint's that it is made of
Sums = tuple[int, float, float]  # size, sum, sum of squares: they add up over parts of a tensor


class WeightAccess:
    """Methods that `collective_rpc` finds on each worker, by name and with plain arguments."""

    model_runner: Any

    def zppo_names(
        self, checkpoint_names: list[str]
    ) -> tuple[list[str | None], dict[str, str], dict[str, list[str]]]:
        """These names with vLLM's prefixes (None: ignored), its own with types, what it stacks."""
        model = self.model_runner.get_model()
        mapper = getattr(model, "hf_to_vllm_mapper", None)
        mapped = [n if mapper is None else mapper.map_name(n) for n in checkpoint_names]
        packed = {k: list(v) for k, v in getattr(model, "packed_modules_mapping", {}).items()}
        return mapped, {n: _type(p) for n, p in model.named_parameters()}, packed

    def zppo_load_file(self, path: str) -> None:
        """Take the tensors of a safetensors file, under their checkpoint names."""
        from safetensors import safe_open

        with safe_open(path, framework="pt") as file:
            pairs = ((name, file.get_tensor(name)) for name in sorted(file.keys()))
            self.model_runner.reload_weights(weights_iterator=pairs)

    def zppo_repack_heads(self) -> int:
        """Pack every tied head anew, as a fresh load does; how many there were.

        The CPU build multiplies by a packed copy of the head. A reload renews it where the head has
        weights of its own; where it shares the embedding's, it would keep the old ones.
        """
        heads = [
            module
            for name, module in self.model_runner.get_model().named_modules()
            if name.rpartition(".")[2] == "lm_head" and getattr(module, "weight", None) is not None
        ]
        for head in heads:
            head.quant_method.process_weights_after_loading(head)
        return len(heads)

    def zppo_sums(self) -> dict[str, Sums]:
        """`sums` of this worker's tensors, which may be shards."""
        return {n: sums(p) for n, p in self.model_runner.get_model().named_parameters()}


def _type(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def sources_of(
    mapped: Mapping[str, str | None], parameters: Iterable[str], packed: Mapping[str, Sequence[str]]
) -> Sources:
    """For each of vLLM's tensors the checkpoint's that it is made of; complete both ways.

    `mapped` are checkpoint names with vLLM's prefixes (None: not used by it), `own` vLLM's names,
    `packed` its stacked modules with their parts. Raises KeyError on names missing or left over.
    """
    old_of = {new: old for old, new in mapped.items() if new is not None}
    sources: Sources = {}
    missing, left = [], set(old_of.values())
    for name in parameters:
        targets = [name] if name in old_of else parts_of(name, packed)
        missing += [w for w in targets if w not in old_of]
        sources[name] = [old_of[w] for w in targets if w in old_of]
        left -= set(sources[name])
    if missing or left:
        raise KeyError(
            f"weights do not fit vLLM's model: missing {missing[:5]}, left over {sorted(left)[:5]}"
        )
    return sources


def parts_of(name: str, packed: Mapping[str, Sequence[str]]) -> list[str]:
    """The tensors that vLLM stacks into `name`; itself if it stacks none."""
    pieces = name.split(".")
    for i, piece in enumerate(pieces):
        if piece in packed:
            return [".".join([*pieces[:i], part, *pieces[i + 1 :]]) for part in packed[piece]]
    return [name]


def sums(tensor: torch.Tensor) -> Sums:
    """Size, sum and sum of squares in float64, block by block: an embedding at once is 15 GiB."""
    total = square = 0.0
    for block in tensor.detach().flatten().split(BLOCK):
        values = block.double()
        total += float(values.sum())
        square += float(values.square().sum())
    return tensor.numel(), total, square


def cast(
    weights: Mapping[str, torch.Tensor],
    sources: Mapping[str, Sequence[str]],
    types: Mapping[str, str],
    dtype: torch.dtype,
) -> Iterator[tuple[str, torch.Tensor]]:
    """The weights in the types a fresh load gives them: vLLM's own, for biases the model's `dtype`.

    The CPU build rounds a bias to `dtype` and then widens it; vLLM keeps A_log in float32.
    """
    import torch

    dtypes = {g: getattr(torch, types[name]) for name, given in sources.items() for g in given}
    for name, tensor in weights.items():
        to = dtype if name.endswith("bias") else dtypes.get(name, dtype)
        yield name, tensor.detach().to(to)


def compare(
    given: Mapping[str, Sums],
    sources: Mapping[str, Sequence[str]],
    ranks: Sequence[Mapping[str, Sums]],
) -> int:
    """Number of vLLM's tensors found to hold what was given; RuntimeError names one that does not.

    `given` are the `sums` of what was sent, `ranks` the workers'. Left out: tensors that a CPU
    repacks, keeping no plain copy, and stacked shards, whose heads may stand on several ranks.
    """
    checked = 0
    for name, parts in sources.items():
        held = [rank[name] for rank in ranks]
        if not held[0][0] or (len(parts) > 1 and len(ranks) > 1):
            continue
        expected = _added([given[p] for p in parts])
        # split over the ranks, or a copy on each
        if not (_same(expected, _added(held)) or _same(expected, held[0])):
            raise RuntimeError(f"after the sync vLLM holds other values in {name}")
        checked += 1
    if not checked:
        raise RuntimeError("after the sync no tensor of vLLM could be read back")
    return checked


def _added(parts: Sequence[Sums]) -> Sums:
    sizes, totals, squares = zip(*parts, strict=True)
    return sum(sizes), sum(totals), sum(squares)


def _same(expected: Sums, held: Sums) -> bool:
    """Sizes may differ: the rows that vLLM pads a vocabulary with are zero."""
    near = TOLERANCE * max(1.0, expected[2])
    return all(abs(e - h) <= near for e, h in zip(expected[1:], held[1:], strict=True))


@contextmanager
def shared_file(weights: Iterable[tuple[str, torch.Tensor]], size: int) -> Iterator[str]:
    """The weights of `size` bytes in a file that workers of this host can read; in memory if it
    has room."""
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory(prefix="zppo-sync-", dir=quick_folder(size)) as folder:
        path = str(Path(folder) / "weights.safetensors")
        # from main memory: tensors that are made as they are asked for are not all on a GPU
        save_file({name: tensor.cpu().contiguous() for name, tensor in weights}, path)
        yield path


def weights_identity(model: str) -> str:
    """A hub id as it is; for a folder SHA-256 (hex) of its configuration and weight files."""
    folder = Path(model)
    if not folder.is_dir():
        return model
    h = hashlib.sha256()
    for path in [folder / "config.json", *sorted(folder.glob("*.safetensors"))]:
        h.update(path.name.encode() + b"\0")
        with path.open("rb") as file:
            h.update(hashlib.file_digest(file, "sha256").digest())
    return h.hexdigest()
