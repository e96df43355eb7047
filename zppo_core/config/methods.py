"""A method is data: which prompts are replayed, which are reformulated, and which loss trains.

`rollout_step.py` reads the record; no method has a loop of its own (section 7). A user's own is a
`Method` that `run.method` names as `package.module:NAME`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from zppo_core.errors import UserError, shown, suggestion
from zppo_core.extensions import imported, is_outside, load


@dataclass(frozen=True)
class Loss:
    """What the tokens of an update add up to.

    `component` names a function of tokens and settings that gives each token's loss: one of
    `algorithm.losses.COMPONENTS`, or `package.module:function`. With `teacher_weights` it looks at
    the divergence to the teacher, whose weights are then beside the student's.

    `learns_from` says what is trained on: the student's rollouts by their "advantages", in I
    updates; all responses of the "student", or the right ones of the "teacher", in one.

    `mean` says what an update's mean is over: sampled tokens, or responses by the mean of each.
    `demonstrations` of a group's rollouts are replaced by right responses of the teacher. With
    `evidence` the divergence is to the student itself, whose prompt then shows such a response.
    """

    component: str
    teacher_weights: bool = False
    learns_from: Literal["advantages", "student", "teacher"] = "advantages"
    mean: Literal["token", "response"] = "token"
    demonstrations: int = 0
    evidence: bool = False

    @property
    def draws_for_all(self) -> bool:
        """Whether the teacher answers every question of a step."""
        return self.learns_from == "teacher" or self.demonstrations > 0 or self.evidence


LOSSES: dict[str, Loss] = {
    "surrogate": Loss("surrogate"),
    "off_distill": Loss("divergence", teacher_weights=True, learns_from="teacher"),
    "on_distill": Loss("divergence", teacher_weights=True, learns_from="student"),
    "gspo": Loss("gspo", mean="response"),
    "cispo": Loss("cispo"),
    "luffy": Loss("luffy", demonstrations=1),
    "opsd": Loss("divergence", learns_from="student", evidence=True),
}


def find_loss(name: str) -> Loss:
    """The loss of this name; UserError if there is none.

    A user's own is `package.module:NAME`: a function of tokens and settings, or a `Loss`.
    """
    if is_outside(name):
        value = imported(name)
        return value if isinstance(value, Loss) else Loss(name)
    if name not in LOSSES:
        raise UserError(f"unknown loss {shown(name)}; {suggestion(name, LOSSES)}")
    return LOSSES[name]


@dataclass(frozen=True)
class Method:
    """One row of the paper's method table (section 7).

    `reformulations` are names of files in `algorithm/reformulations/`, `loss` is one of `LOSSES`;
    either may be a user's own, as `package.module:NAME`. `settings` are the method's own values of
    "section.field": over the preset's, under whatever a user sets.
    """

    name: str
    replay: bool
    reformulations: tuple[str, ...]
    loss: str
    summary: str
    # drop a hard question's plain group only if its BCQ and NCQ groups are trivial too
    dynamic_sampling: bool = False
    # how often a step asks new questions at most, until enough groups have something to teach
    sampling_rounds: int = 1
    # whether a teacher answers or compresses for the reformulations
    teacher: bool = True
    # whether its prompts change with the share of the run that is done
    anneals: bool = False
    # the share of the run's steps that nothing is reformulated in
    exempt: float = 0.0
    # a right reformulated rollout takes the place of a wrong one in its question's plain group, and
    # reformulated groups are not trained on themselves
    merges: bool = False
    settings: Mapping[str, object] = field(default_factory=dict, hash=False)

    @property
    def objective(self) -> Loss:
        """The loss that `loss` names; UserError if there is none."""
        return find_loss(self.loss)

    @property
    def uses_teacher(self) -> bool:
        """Whether a teacher takes part in training."""
        objective = self.objective
        distils = objective.teacher_weights or objective.draws_for_all
        return (self.teacher and bool(self.reformulations)) or distils


ONE_IN_ALL = 1e-6  # a threshold under which a question is hard only if no rollout is right

_BOTH: tuple[str, ...] = ("bcq", "ncq")

_ALL = (
    Method("grpo", False, (), "surrogate", "GRPO with the paper's recipe"),
    Method("grpo_replay", True, (), "surrogate", "GRPO with the prompt replay buffer"),
    Method("grpo_both", False, _BOTH, "surrogate", "BCQ and NCQ, no buffer"),
    Method("grpo_replay_bcq", True, ("bcq",), "surrogate", "replay and BCQ"),
    Method("grpo_replay_ncq", True, ("ncq",), "surrogate", "replay and NCQ"),
    Method("zppo", True, _BOTH, "surrogate", "replay, BCQ and NCQ: the paper's method"),
    Method("grpo_replay_hint", True, ("hint",), "surrogate", "replay and answer-free hints"),
    Method(
        "grpo_replay_prefix",
        True,
        ("prefix",),
        "surrogate",
        "replay and the start of a right teacher response",
    ),
    Method("off_distill", False, (), "off_distill", "JSD on the teacher's right responses"),
    Method("off_distill_replay", True, (), "off_distill", "the same with the buffer"),
    Method("on_distill", False, (), "on_distill", "JSD on the student's own responses"),
    Method("on_distill_replay", True, (), "on_distill", "the same with the buffer"),
    # named by the paper as future work
    Method(
        "zppo_dynamic",
        True,
        _BOTH,
        "surrogate",
        "zppo, dynamic sampling after reformulation",
        dynamic_sampling=True,
    ),
    Method("zppo_teachers", True, _BOTH, "surrogate", "zppo, candidates from several teachers"),
)

# ours: is it the content of the candidates that helps? Each replaces BCQ, NCQ or both of zppo
_CONTROLS = (
    Method(
        "zppo_placebo",
        True,
        ("placebo_bcq", "placebo_ncq"),
        "surrogate",
        "replay, BCQ and NCQ with candidates of another question",
    ),
    *(
        Method(
            f"grpo_replay_{kind}",
            True,
            (kind,),
            "surrogate",
            f"replay and {shown}",
            teacher=kind != "again",
        )
        for kind, shown in {
            "placebo_bcq": "BCQ with candidates of another question",
            "placebo_ncq": "NCQ with wrong responses to another question",
            "shuffled_bcq": "BCQ with two wrong candidates",
            "lorem": "BCQ with random words for candidates",
            "bcq_right_only": "the right candidate alone",
            "bcq_wrong_only": "the wrong candidate alone",
            "again": "more plain rollouts of hard questions",
        }.items()
    ),
)

# of others, with the settings of their sources (docs/methods.md#rivals)
_RIVALS = (
    Method(
        "gspo",
        False,
        (),
        "gspo",
        "GRPO with ratio and clip of the whole response",
        settings={"loss.clip_low": 3e-4, "loss.clip_high": 4e-4, "advantage.norm": "grpo"},
    ),
    Method(
        "cispo",
        False,
        (),
        "cispo",
        "GRPO whose importance weights are clipped, and no token's gradient",
        settings={"loss.clip_high": 4.0, "advantage.norm": "grpo"},
    ),
    Method(
        "dapo",
        False,
        (),
        "surrogate",
        "GRPO that asks until enough groups are not trivial",
        dynamic_sampling=True,
        sampling_rounds=10,
        settings={"loss.clip_low": 0.2, "loss.clip_high": 0.28, "advantage.norm": "grpo"},
    ),
    Method(
        "luffy",
        False,
        (),
        "luffy",
        "GRPO with a right teacher response in each group",
        settings={"advantage.norm": "none"},
    ),
    Method(
        "questa",
        False,
        ("questa",),
        "surrogate",
        "GRPO and hard questions with the first part of a solution",
        anneals=True,
        settings={
            "reformulation.ratio": 1.0,
            "loss.clip_low": 0.2,
            "loss.clip_high": 0.2,
            "advantage.norm": "none",
        },
    ),
    Method(
        "bread",
        False,
        ("bread",),
        "surrogate",
        "GRPO and branches from a short start of a right teacher response",
        dynamic_sampling=True,
        settings={
            "reformulation.ratio": 1.0,
            "replay.threshold": ONE_IN_ALL,
            "loss.clip_low": 0.2,
            "loss.clip_high": 0.2,
            "advantage.norm": "grpo",
        },
    ),
    Method(
        "scaf_grpo",
        False,
        ("scaffold",),
        "surrogate",
        "GRPO and the least of three hints that brings a right rollout",
        anneals=True,
        exempt=0.15,
        merges=True,
        settings={
            "reformulation.ratio": 1.0,
            "replay.threshold": ONE_IN_ALL,
            "loss.clip_low": 0.2,
            "loss.clip_high": 0.2,
            "advantage.norm": "grpo",
        },
    ),
    Method("opsd", False, (), "opsd", "JSD to itself with a right response in the prompt"),
)

METHODS: dict[str, Method] = {m.name: m for m in (*_ALL, *_CONTROLS, *_RIVALS)}


def find_method(name: str) -> Method:
    """The method of this name, or a user's own; UserError if there is none."""
    if is_outside(name):
        return load(name, Method, "method")
    if name not in METHODS:
        raise UserError(f"unknown method {shown(name)}; {suggestion(name, METHODS)}")
    return METHODS[name]
