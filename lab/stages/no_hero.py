"""The settings that somebody takes who searches nothing: what every search has to beat."""

from __future__ import annotations

from lab.record.folder import Record
from lab.spec.batch_size import BATCH_SIZE
from lab.spec.optimizer import OPTIMIZER
from lab.spec.points import template_params
from lab.spec.space import Choice, Float, Int, Params, Space, Value
from lab.spec.study import StudySpec
from lab.stages import bounds
from lab.stages.from_bounds import space_of
from lab.stages.job import with_cycles

_USUAL = {"weight_decay": 0.01, "dropout": 0.1}
"""PyTorch's own weight decay of AdamW, and a dropout that seldom hurts."""


def no_hero(spec: StudySpec, record: Record) -> Params:
    """The rate that the range test suggests, a usual weight decay and dropout, one cycle, and the middle of all else.

    What lies outside the space is moved to its nearer end.
    """
    own: dict[str, Value] = {BATCH_SIZE: spec.batch_size, OPTIMIZER: spec.optimizer.get("kind", "adamw")}
    space = space_of(spec, record)
    params = template_params(space, own)
    wanted: dict[str, float] = dict(_USUAL)
    tested = bounds.STAGE.if_any(record)
    if tested is not None:
        wanted["max_lr"] = tested.suggestion
    return with_cycles(params | {name: _within(space, name, wanted[name]) for name in wanted.keys() & params.keys()}, 1)


def _within(space: Space, name: str, value: float) -> Value:
    dimension = space[name]
    if isinstance(dimension, Choice):
        numbers = [option for option in dimension.options if isinstance(option, (int, float))]
        return min(numbers, key=lambda option: abs(option - value), default=dimension.options[0])
    assert isinstance(dimension, (Float, Int))  # the range test has been filled in
    inside = min(max(value, dimension.low), dimension.high)
    return round(inside) if isinstance(dimension, Int) else inside
