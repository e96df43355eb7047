"""What a run needs of each GPU, estimated before anything is loaded.

Weights, gradients and optimizer follow from the shape and from who shares what. Activations are
those of a micro-batch of `trainer.token_budget` tokens with every layer's input kept and one layer
computed again, in the text stack and in the vision tower; or what an optimizer's step takes where
that is more. docs/scale.md has the table that `zppo memory` prints.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import ceil

from zppo_core.config import Config, load
from zppo_core.config.schema import has_ranks, method_of, node_ranks
from zppo_core.models.families import Shape, families
from zppo_core.processes.command_line import command, reported

GIB = 2**30
BUCKET = 200_000_000  # gradients that ranks exchange at once, as in training/deepspeed.py
CONTEXT = 2.0  # GiB that CUDA, kernels and communication take
PROFILING = 2.0  # GiB that vLLM's trial pass and its CUDA graphs take of an engine's share
MOST_SEQUENCES = 256  # at once in an engine
ALONE = 0.9  # share of a GPU that vLLM engines take which have it to themselves
ROOM = 512  # tokens of templates and tags around a prompt's parts


@dataclass(frozen=True)
class Need:
    """One part of what a GPU holds [GiB]."""

    what: str
    gib: float


@dataclass(frozen=True)
class Estimate:
    """What a student's GPU holds in the update and in the rollouts, and each teacher's engine."""

    update: tuple[Need, ...]
    rollout: tuple[Need, ...]
    teachers: tuple[tuple[Need, ...], ...]  # engines of the same GPUs

    @property
    def student(self) -> tuple[Need, ...]:
        """The fuller of a student's two phases."""
        return max((self.update, self.rollout), key=lambda needs: sum(n.gib for n in needs))

    @property
    def student_gib(self) -> float:
        return sum(n.gib for n in self.student)

    @property
    def teacher(self) -> tuple[Need, ...]:
        """What a teacher's GPU holds, of all teachers together."""
        parts: dict[str, float] = {}
        for need in (n for needs in self.teachers for n in needs):
            parts[need.what] = parts.get(need.what, 0.0) + need.gib
        return tuple(Need(what, gib) for what, gib in parts.items())

    @property
    def teacher_gib(self) -> float:
        return sum(n.gib for n in self.teacher)


@dataclass(frozen=True)
class Passes:
    """The passes of an update: tokens of each, how many of them are of pictures, how many passes.

    Without `steps` they only leave gradients: the optimizer has no moments yet.
    """

    tokens: int
    pictures: int = 0
    count: int = 2
    steps: bool = True


@lru_cache(maxsize=1)
def shapes() -> dict[str, Shape]:
    """The known models of all families, by hub id."""
    return {name: shape for family in families() for name, shape in family.shapes().items()}


def estimate(config: Config, gpu_gib: float = 80.0, fp8: bool = True) -> Estimate | None:
    """What `config` needs of GPUs with `gpu_gib`; None where its models' shapes are not known.

    A student's GPU is fullest in the update, when its vLLM engine sleeps, or in the rollouts, when
    the optimizer lies beside the engine: the larger one counts. GPUs that do not compute in `fp8`
    get a teacher of that type in bfloat16 from transformers.
    """
    student = shapes().get(config.student.model)
    c, trainer = config.compute, config.trainer
    if student is None or c.device != "cuda":
        return None
    # in the worst micro-batch all tokens are those of pictures
    pictures = trainer.token_budget if trainer.train_vision and not trainer.lora_rank else 0
    update = update_needs(config, student, Passes(trainer.token_budget, pictures))
    needs = {n.what: n for n in update}
    rollout: tuple[Need, ...] = (
        needs["weights"],
        needs["optimizer"],
        Need("vLLM", c.engine_memory * gpu_gib),
        Need("CUDA", CONTEXT),
    )
    if has_ranks(config):  # as ranks take up a checkpoint, engines wait with all their memory
        size = min(student.largest, learning_size(config, student))
        rollout = (*rollout, Need("a whole weight", size * 4 / GIB))
    method = method_of(config)
    teacher = shapes().get(config.teacher.model)
    if method.objective.teacher_weights and teacher is not None:  # whole on every rank
        seen = Need("teacher", teacher.params * (teacher.bytes if fp8 else 2) / GIB)
        update, rollout = (*update, seen), (*rollout, seen)
    engines = tuple(
        teacher_needs(config, shapes()[name]) for name in local_teachers(config) if name in shapes()
    )
    sampled = c.engine == "vllm" and not method.objective.teacher_weights
    if engines and c.teacher_gpus == 0 and sampled:  # all together as large as the student's
        rollout = (*rollout, Need("teacher's vLLM", c.engine_memory * gpu_gib))
    return Estimate(update, rollout, engines)


def local_teachers(config: Config) -> list[str]:
    """The models that answer in training from GPUs of ours, in order: each has an engine."""
    if config.teacher.endpoint or not method_of(config).uses_teacher:
        return []
    return [config.teacher.model, *config.teacher.more_models]


def engine_share(config: Config, engines: int = 1) -> float:
    """Of a GPU, for each of the `engines` of teachers that are on it."""
    c = config.compute
    return (ALONE if c.teacher_gpus else c.engine_memory) / max(engines, 1)


def teacher_needs(config: Config, teacher: Shape) -> tuple[Need, ...]:
    """What a GPU holds of a teacher's engine."""
    c = config.compute
    tokens = config.data.max_prompt_tokens + config.rollout.max_tokens
    width = c.teacher_tensor_parallel or max(c.teacher_gpus, 1)
    one = (teacher.cache_bytes * tokens + teacher.state_bytes) / width
    return (
        Need("weights", teacher.params * teacher.bytes / width / GIB),
        Need("cache of one response", one / GIB),
        Need("CUDA", CONTEXT),
    )


def learning_size(config: Config, student: Shape) -> int:
    """Parameters that learn: all, or float32 adapters of about r (in + out) a map."""
    rank = config.trainer.lora_rank
    return 7 * student.layers * rank * (student.hidden + student.ffn) if rank else student.params


def update_needs(config: Config, student: Shape, passes: Passes) -> tuple[Need, ...]:
    """What a GPU holds in an update of such `passes`."""
    c, trainer = config.compute, config.trainer
    ranks, shared = node_ranks(config) * c.update_hosts, has_ranks(config)
    width = 2 if config.student.dtype == "bfloat16" else 4
    size, learning = student.params, learning_size(config, student)
    weights = size * width / (ranks if shared and c.zero_stage == 3 else 1)
    # the float32 sum of several passes, beside which each has its own; from ZeRO-2 on a rank's part
    # of the sum, and a bucket: itself, joined anew, and that in float32
    handed = size * width if width < 4 else 0
    gradients = float(size * 4 if passes.count > 1 or width == 4 else 0)
    if trainer.lora_rank:
        gradients, handed = learning * 4, 0
    if shared and c.zero_stage >= 2:
        gradients, handed = learning * 4 / ranks + min(BUCKET, learning) * 8, 0
    # float32 masters, and two moments
    low = config.optimizer.moments == "bfloat16"
    state = (8 if low else 12) if passes.steps else 4
    optimizer = 0.0 if c.offload else learning * state / ranks
    # the square roots of all second moments at once
    step = learning * 4 / ranks if passes.steps and not (c.offload or low) else 0.0
    if gradients == 0:  # then the one pass has left its own
        step += learning * 4
    activations = student.activation_bytes(
        passes.tokens, trainer.checkpointing, passes.pictures, handed
    )
    return (
        Need("weights", weights / GIB),
        Need("gradients", gradients / GIB),
        Need("optimizer", optimizer / GIB),
        Need("activations", max(activations, step) / GIB),
        Need("CUDA", CONTEXT),
    )


def longest(config: Config) -> int:
    """Tokens of the longest sequence that an engine is asked for.

    All of a group may be wrong: their candidates, and their answers once more (section 5).
    """
    candidates = 2 * config.rollout.group_size * config.reformulation.candidate_tokens
    return config.data.max_prompt_tokens + candidates + ROOM + config.rollout.max_tokens


def cache_blocks(shape: Shape, gib: float, width: int = 1) -> int:
    """Blocks of vLLM's cache in `gib` of each of `width` GPUs, beside weights and its trial pass.

    A model with states does not start if it may have more sequences at once than blocks.
    """
    room = gib - shape.params * shape.bytes / width / GIB - PROFILING
    return max(0, int(room * GIB * width / shape.block_bytes))


def sequences(shape: Shape, gib: float, width: int = 1) -> int:
    """Sequences that an engine may have at once: each has its states and a block of tokens."""
    return max(1, min(MOST_SEQUENCES, cache_blocks(shape, gib, width) // shape.blocks_of(1)))


def engine_gib(config: Config) -> float:
    """The least that a student's vLLM engine starts with: weights, trial pass, one response."""
    student = shapes()[config.student.model]
    blocks = student.blocks_of(longest(config))
    return (student.params * 2 + student.block_bytes * blocks) / GIB + PROFILING


def fault(config: Config, gpu_gib: float, fp8: bool = True) -> str:
    """Why `config` does not fit on such GPUs, and the smallest change; "" if it does."""
    estimated = estimate(config, gpu_gib, fp8)
    if estimated is None:
        return ""
    c = config.compute
    if c.engine == "vllm" and c.engine_memory * gpu_gib < engine_gib(config):
        return (
            f"vLLM gets {c.engine_memory * gpu_gib:.0f} GiB of a student's GPU and needs "
            f"{engine_gib(config):.0f}; {_more_for_the_engine(config, gpu_gib, fp8)}"
        )
    if why := _crowded_teachers(config, estimated, gpu_gib):
        return why
    if estimated.student_gib <= gpu_gib:
        return ""
    why = f"a student's GPU needs {estimated.student_gib:.0f} of {gpu_gib:.0f} GiB"
    crowded = any(n.what == "teacher's vLLM" for n in estimated.student)
    remedy = "set teacher.endpoint" if crowded else _remedy(config, gpu_gib, fp8)
    return f"{why} ({spelt(estimated.student)}); {remedy}"


def _crowded_teachers(config: Config, estimated: Estimate, gpu_gib: float) -> str:
    """Why teachers' engines do not start on the GPUs that they have; empty if they do."""
    c, count = config.compute, 1
    share, needs = gpu_gib, estimated.teacher  # transformers' models lie there together
    if c.engine == "vllm":  # whose engines share it evenly
        count = max(len(local_teachers(config)), 1)
        share = gpu_gib * engine_share(config, count)
        needs = max(estimated.teachers, key=lambda n: sum(part.gib for part in n), default=())
    gib = sum(part.gib for part in needs)
    if gib <= share:
        return ""
    shared = c.teacher_gpus == 0 and c.engine == "vllm"
    one = "a teacher" if shared else "a teacher's GPU"
    owner = "beside the student's engine " if shared else ""
    owner += f"each of {count} teachers" if count > 1 else one
    split = 0 < c.teacher_tensor_parallel < c.teacher_gpus
    more = f"raise compute.teacher_{'tensor_parallel' if split else 'gpus'}"
    return (
        f"{owner} needs {gib:.0f} of {share:.0f} GiB ({spelt(needs)}); {more}, or set "
        "teacher.endpoint"
    )


def _more_for_the_engine(config: Config, gpu_gib: float, fp8: bool) -> str:
    """The share of the GPU that a student's engine starts with, if there is room for it."""
    share = ceil(20 * engine_gib(config) / gpu_gib) / 20
    if share < 1:
        compute = replace(config.compute, engine_memory=share)
        estimated = estimate(replace(config, compute=compute), gpu_gib, fp8)
        if estimated is not None and estimated.student_gib <= gpu_gib:
            return f"it fits with --set compute.engine_memory={share:g}"
    return "take larger GPUs"


def spelt(needs: Sequence[Need]) -> str:
    return ", ".join(f"{n.what} {n.gib:.0f}" for n in needs if n.gib >= 0.5)


def _remedy(config: Config, gpu_gib: float, fp8: bool) -> str:
    """The first of these that makes it fit: less at once, more shared, main memory."""
    least = config.data.max_prompt_tokens + config.rollout.max_tokens
    budget = config.trainer.token_budget
    changes: list[tuple[str, dict[str, dict[str, object]]]] = []
    while budget > least:
        budget = max(budget // 2, least)
        changes.append((f"trainer.token_budget={budget}", {"trainer": {"token_budget": budget}}))
    less: dict[str, object] = {"token_budget": budget}
    sharded, apart = "compute.zero_stage=3", "compute.offload=true"
    batches = f"trainer.token_budget={budget}"
    changes += [
        (sharded, {"compute": {"zero_stage": 3}}),
        (apart, {"compute": {"offload": True}}),
        (f"{apart};{batches}", {"compute": {"offload": True}, "trainer": less}),
        (
            f"{apart};{sharded};{batches}",
            {"compute": {"offload": True, "zero_stage": 3}, "trainer": less},
        ),
    ]
    for text, change in changes:
        changed = replace(
            config,
            **{part: replace(getattr(config, part), **values) for part, values in change.items()},
        )
        estimated = estimate(changed, gpu_gib, fp8)
        if estimated is not None and estimated.student_gib <= gpu_gib:
            return "it fits with --set " + (f'"{text}"' if ";" in text else text)
    return "take more or larger GPUs"


def table() -> str:
    """The presets on the paper's GPUs, a line each."""
    lines = []
    for scale in ("0.8B", "2B", "4B", "9B"):
        config = load(scale)
        estimated = estimate(config)
        assert estimated is not None
        parts = "  ".join(f"{n.what} {n.gib:.1f}" for n in estimated.update)
        sums = [
            sum(n.gib for n in needs)
            for needs in (estimated.update, estimated.rollout, estimated.teacher)
        ]
        size = shapes()[config.student.model].params / 1e9
        lines.append(
            f"{scale:>4}  {size:.2f} B  {parts}  update {sums[0]:.1f}  "
            f"rollouts {sums[1]:.1f}  teacher {sums[2]:.1f}"
        )
    return "\n".join(lines)


@reported
def main(arguments: Sequence[str] | None = None) -> int:
    """`zppo memory`: the table; 0."""
    command(
        "memory", "Memory of the presets on the paper's GPUs, in GiB.", "zppo memory"
    ).parse_args(arguments)
    print(table())
    return 0


if __name__ == "__main__":
    sys.exit(main())
